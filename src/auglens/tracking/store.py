"""Reaching an MLflow store: which one, made once, with one-line errors when it does not answer."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from auglens.tracking.records import StoreUnavailable

PAGE = 1000  # runs per query: the most that every store allows is 50,000, MLflow's default 1,000
LOCK_SECONDS = 600.0
ARTIFACTS = "mlartifacts"
# What the user has set wins. Read by MLflow when it is imported or called, so set before.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the default of 7 holds a pipeline up for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
}
REASONS = {
    "Connection refused": "connection refused",
    "timed out": "no answer in time",
    "Failed to resolve": "the host's name is unknown",
}
# Bad values and mistakes in the code are not the store's. Any other exception, of whichever of the many
# libraries behind MLflow, means that the store failed.
OURS = (ValueError, TypeError, AttributeError, LookupError, NameError, AssertionError)


@dataclass(frozen=True)
class Store:
    """An MLflow client and the experiment that holds the cells."""

    client: Any
    uri: str
    experiment_id: str

    @contextlib.contextmanager
    def reaching(self, doing: str) -> Iterator[None]:
        """Turns whatever a store can fail with into one line that names it, what we did and the fix."""
        with reaching(self.uri, doing):
            yield

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """One writer of this store at a time on this machine; a killed one frees the lock."""
        with _lock(self.uri):
            yield

    def runs(self, condition: str) -> Iterator[Any]:
        """Every run of the experiment that meets `condition`. One call of MLflow's returns a page of them."""
        token, seen = None, set()
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                condition,
                max_results=PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                if run.info.run_id not in seen:  # pages shift when another process writes meanwhile
                    seen.add(run.info.run_id)
                    yield run
            token = page.token
            if not token:
                return


def store_uri(uri: str | None, root: Path) -> str:
    """The store's address: `uri`, else MLFLOW_TRACKING_URI, else `mlflow.db` in `root`.

    SQLite paths are made absolute: relative ones would die with the temporary folders of DVC's queue.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if not chosen.startswith("sqlite:///") or ":memory:" in chosen:
        return chosen
    path, *query = chosen.removeprefix("sqlite:///").split("?", 1)
    # MLflow unquotes the path, so that a folder named `50%20` needs quoting.
    return "?".join([f"sqlite:///{quote(str(root.resolve() / unquote(path)))}", *query])


def open_store(uri: str, experiment: str, root: Path) -> Store:
    """The store at `uri` with `experiment` in it, both made if need be. Raises StoreUnavailable."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with reaching(uri, "opening it"), _lock(uri):  # MLflow's first migrations are not locked
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        wanted = _artifact_location(uri, root)
        database = sqlite_path(uri)
        if wanted and database and not database.exists():
            # Else the experiment that `mlflow run` uses would keep its files in our working directory.
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            SqlAlchemyStore(uri, wanted)
        client: Any = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            try:
                identifier = client.create_experiment(experiment, artifact_location=wanted)
                return Store(client, uri, identifier)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = client.get_experiment_by_name(experiment)  # made on another machine meanwhile
    if found.lifecycle_stage == "deleted":
        raise StoreUnavailable(
            f"MLflow store {_masked(uri)}: experiment {experiment!r} was deleted; run `mlflow experiments "
            f"restore -x {found.experiment_id}` or name another experiment"
        )
    _refuse_moved(uri, found.artifact_location, wanted)
    return Store(client, uri, found.experiment_id)


@contextlib.contextmanager
def reaching(uri: str, doing: str) -> Iterator[None]:
    """StoreUnavailable instead of anything that MLflow, its database or the network raises in the block."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OURS) and not isinstance(error, OSError):
            raise
        raise StoreUnavailable(_line(uri, doing, error)) from error


def local_folder(artifact_uri: str) -> Path | None:
    """The folder behind an artefact address, or None if it is not on this machine."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return None if parts.scheme else Path(artifact_uri)


def _line(uri: str, doing: str, error: Exception) -> str:
    text = str(error)
    first = next(iter(text.strip().splitlines()), type(error).__name__)
    reason = next((short for sign, short in REASONS.items() if sign in text), first[:200])
    if isinstance(error, ImportError):
        fix = "install it: `pip install 'auglens[pipeline]'`, or what that kind of store needs"
    elif uri.startswith("http"):
        fix = "start that server or unset MLFLOW_TRACKING_URI, then run `auglens collect`"
    else:
        fix = "check that it can be written, or delete it and run `auglens collect`, which fills a new one"
    return _masked(f"MLflow store {uri}: {doing} failed: {reason}; {fix}")


def _masked(text: str) -> str:
    """Without the password of a database or server address."""
    return re.sub(r"(://[^:/@\s]*):[^@/\s]*@", r"\1:***@", text)


def sqlite_path(uri: str) -> Path | None:
    """The database file of a SQLite store, or None of any other."""
    if not uri.startswith("sqlite:///") or ":memory:" in uri:
        return None
    return Path(unquote(uri.removeprefix("sqlite:///").split("?", 1)[0]))


@contextlib.contextmanager
def _lock(uri: str) -> Iterator[None]:
    from filelock import FileLock

    database = sqlite_path(uri)
    if database is not None:
        path = database.with_name(f"{database.name}.lock")
    else:  # a server: the processes of this user on this machine
        name = hashlib.sha256(f"{Path.home()} {uri}".encode()).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"auglens-{name}.lock"
    with FileLock(path, timeout=LOCK_SECONDS):
        yield


def _artifact_location(uri: str, root: Path) -> str | None:
    """Where a new experiment keeps its files: beside the SQLite file, or in `root`; a server decides."""
    database = sqlite_path(uri)
    if database is not None:
        return (database.parent / ARTIFACTS).as_uri()
    return (root.resolve() / ARTIFACTS).as_uri() if re.match("postgresql|mysql|mssql|sqlite", uri) else None


def _refuse_moved(uri: str, location: str, wanted: str | None) -> None:
    """MLflow names artefact folders by absolute path: a moved store would write where it once lay."""
    folder = local_folder(location)
    if wanted is None or folder in (None, local_folder(wanted)) or folder.name != ARTIFACTS:
        return
    raise StoreUnavailable(
        f"MLflow store {_masked(uri)}: its artefacts belong in {folder}, so it was moved from there; move it "
        "back, or delete mlflow.db and run `auglens collect`, which fills a new one"
    )
