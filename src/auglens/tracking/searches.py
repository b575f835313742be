"""Runs that hold others: a search with its trials, a trial with its cells. Found again by a key, as cells are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auglens.tracking.publish import FINISHED, log_files, log_points
from auglens.tracking.records import PREFIX
from auglens.tracking.store import Store

PARENT = "mlflow.parentRunId"  # by this MLflow's UI nests runs


@dataclass(frozen=True, kw_only=True)
class Holder:
    """kind: search or trial; key: what makes it the same run when it is published again."""

    kind: str
    key: str
    name: str
    params: Mapping[str, str | int | float]
    metrics: Mapping[str, float] = field(default_factory=dict)  # those that are not finite are left out
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    parent: str | None = None
    step: int = 0  # of the metrics


def publish_holder(store: Store, holder: Holder) -> str:
    """The id of the one finished run of `holder`, made or brought up to date: metrics that it has at this step
    stay, artefacts are replaced."""
    tag = f"{PREFIX}{holder.kind}_key"
    with store.reaching(f"publishing the {holder.kind} {holder.name}"), store.exclusively():
        found = next(store.runs(f"tags.`{tag}` = '{holder.key}'"), None)
        if found is None:
            tags = {tag: holder.key, "mlflow.source.name": "auglens"}
            tags |= {PARENT: holder.parent} if holder.parent else {}
            found = store.client.create_run(store.experiment_id, tags=tags, run_name=holder.name)
        run_id = str(found.info.run_id)
        log_points(store, run_id, [], {n: v for n, v in holder.params.items() if n not in found.data.params})
        last = found.data.metrics
        points = [
            (name, float(value), holder.step)
            for name, value in holder.metrics.items()
            if float(value) - float(value) == 0 and last.get(name) != float(value)
        ]
        log_points(store, run_id, points)
        log_files(store, run_id, holder.artifacts, found.info.artifact_uri)
        store.client.set_terminated(run_id, FINISHED)
    return run_id


def nest(store: Store, run_ids: Sequence[str], parent: str) -> None:
    """Puts runs under `parent` that stand under none."""
    with store.reaching("nesting the cells of a trial"):
        for run_id in run_ids:
            if PARENT not in store.client.get_run(run_id).data.tags:
                store.client.set_tag(run_id, PARENT, parent)
