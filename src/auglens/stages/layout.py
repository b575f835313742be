"""Where everything stands, relative to the project's top folder."""

import os
from pathlib import Path

SPLITS = Path("data/splits")
CELLS = Path("data/cells")
INDEX = CELLS / "index.json"
RUNS = Path("reports/runs.json")
PER_IMAGE = Path("reports/per_image.parquet")
SCORES = Path("reports/scores.parquet")
SANITY = Path("reports/sanity.csv")
ROBUSTNESS = Path("reports/robustness.parquet")
STEPS = Path("reports/study_steps")
CURVES = Path("reports/curves.csv")
STUDY_MAPS = Path("reports/study_maps")
COMPARISON = Path("reports/comparison")
ANALYSIS = Path("reports/analysis")
METRICS = Path("reports/metrics.json")
AUGS = Path("reports/augs.png")
REPORT = Path("reports/index.html")


def root() -> Path:
    """The project's top folder, absolute: the real one, too, where DVC runs an experiment in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def receipt() -> Path:
    """What the MLflow store was last given."""
    return root() / ".auglens/published.json"


def work(fingerprint: str) -> Path:
    """Where an unfinished training's state lies, and what several cells share, outside every stage's outputs."""
    return root() / ".auglens/work" / fingerprint


def fetched(content: str) -> Path:
    """Where the artefacts of a cell lie that was trained elsewhere."""
    return root() / ".auglens/fetched" / content


def train_spec(cell: str) -> Path:
    return CELLS / f"{cell}.train.json"


def maps_spec(cell: str) -> Path:
    return CELLS / f"{cell}.maps.json"


def checkpoint(cell: str) -> Path:
    return Path("models") / f"{cell}.safetensors"


def training_report(cell: str) -> Path:
    return Path("reports/training") / f"{cell}.json"


def steps(cell: str) -> Path:
    return Path("reports/steps") / f"{cell}.npz"


def robustness(cell: str) -> Path:
    return Path("reports/robustness") / f"{cell}.parquet"


def maps(cell: str, variant: str) -> Path:
    return Path("cams") / cell / f"{variant}.npz"


def scores(cell: str) -> Path:
    return Path("reports/scores") / f"{cell}.parquet"


def sanity(cell: str) -> Path:
    return Path("reports/sanity") / f"{cell}.csv"


def seconds(train_key: str) -> Path:
    """How long a training took on this machine: no part of any output, which must not depend on time."""
    return root() / ".auglens/seconds" / f"{train_key}.json"


def map_table(cell: str) -> Path:
    return Path("reports/maps") / f"{cell}.parquet"
