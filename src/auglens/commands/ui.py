"""ui: the MLflow UI on loopback, over the same store that `collect` writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(port: int) -> None:
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    if uri.startswith("sqlite") and not Path("mlflow.db").exists():
        raise ValueError("mlflow.db: no such file; run `dvc repro` first: its last stages publish every run")
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    print(f"ui: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    code = subprocess.run([*command, "--host", "127.0.0.1", "--port", str(port)], env=environment).returncode
    if code not in (0, 130, -2):
        raise ValueError(f"the MLflow UI ended with exit code {code}; is port {port} taken? use --port")
