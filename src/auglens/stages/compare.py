"""compare: the collected study → protocol A's tables and figures, and reports/metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from auglens import artifacts, figures, metrics, stats
from auglens.config import REFERENCE
from auglens.saliency import finish
from auglens.stages import layout
from auglens.stages.collected import load, load_maps, write

SCORES = ("accuracy", "precision", "recall", "f1")


def make_tables(
    table: pd.DataFrame, names: Sequence[str], further: Sequence[str], classes: int
) -> dict[str, pd.DataFrame]:
    """Every table of the comparison by its file's name. `table` holds distinct replicates only.

    names: the study's metrics; further: those beside them, which have no part in the pair counts.
    """
    every = [*names, *further]
    averaged = stats.average_seeds(table, every)
    maps = {metric: stats.correlation_map(averaged, metric) for metric in every}
    strong, weak = stats.pair_counts({metric: maps[metric] for metric in names})
    scores = stats.performance(table, classes)
    segmented = stats.segments(table)
    tables = {
        "performance": scores,
        "performance_summary": stats.performance_summary(scores),
        "metric_summary": stats.metric_summary(averaged),
        "pairs_strong": strong,
        "pairs_weak": weak,
        "seed_spread": stats.seed_spread(table, every),
        "degenerate": stats.degenerate_counts(table, every),
        "segments": pd.concat(
            [stats.segment_summary(segmented, metric).assign(metric=metric) for metric in every],
            ignore_index=True,
        ),
        "extremes": pd.DataFrame([{"metric": metric, **stats.extremes(averaged, metric)} for metric in names]),
    }
    for metric, matrix in maps.items():
        counts = stats.correlation_counts(averaged, metric)
        tables[f"correlation/{metric}"] = matrix.rename_axis("aug").reset_index()
        tables[f"correlation/{metric}_images"] = counts.rename_axis("aug").reset_index()
        tables[f"plots/correlation/{metric}"] = stats.pairs_of_map(matrix)
    return tables


def make_figures(
    table: pd.DataFrame, tables: Mapping[str, pd.DataFrame], curves: pd.DataFrame, names: Sequence[str],
    classes: Sequence[str],
) -> dict[str, Figure]:  # fmt: skip
    """Every figure but the grids, by its file's name."""
    found = {
        "performance.svg": figures.performance_bars(tables["performance"]),
        "curves.svg": figures.training_curves(curves),
    }
    averaged = stats.average_seeds(table, names)
    if len(averaged):
        maps = {metric: tables[f"correlation/{metric}"].set_index("aug") for metric in names}
        values = stats.segment_values(table, names)
        found |= {
            "metrics.svg": figures.metric_boxes(averaged, names),
            "correlations.svg": figures.correlation_heatmaps(maps),
            "pairs.svg": figures.pair_counts_chart(tables["pairs_strong"], tables["pairs_weak"]),
        }
        found |= {f"segments/{metric}.svg": figures.segment_boxes(values, metric) for metric in names}
    for aug, group in table.groupby("aug", sort=False):
        matrix = metrics.confusion_matrix(group["label"].to_numpy(), group["predicted"].to_numpy(), len(classes))
        title = f"{figures.aug_label(str(aug))}, {group['seed'].nunique()} model(s)"
        found[f"confusion/{aug}.svg"] = figures.confusion_figure(matrix, classes, title)
    return found


def make_grids(
    table: pd.DataFrame, extremes: pd.DataFrame, names: Sequence[str], prepared: artifacts.Prepared
) -> dict[str, Figure]:
    """Appendix A: the maps of the test images with the highest mean and the highest sd of each metric."""
    first = table.drop_duplicates("aug")  # the lowest distinct seed of each aug
    cells = zip(first["aug"], first["seed"], strict=True)
    maps = {str(aug): load_maps(str(aug), int(seed)) for aug, seed in cells}
    averaged = stats.average_seeds(table, names).set_index(["aug", "image"])
    grids = {}
    for found in extremes.to_dict("records"):
        metric = str(found["metric"])
        for kind, told in (("highest_mean", "highest mean"), ("highest_std", "highest standard deviation")):
            if pd.isna(found[kind]):
                continue
            at = int(found[kind])
            finished = {aug: finish(m.raw[at : at + 1], m.size)[0] for aug, m in maps.items()}
            here = averaged.xs(at, level="image")[metric].to_dict()
            values = {aug: float(here[aug]) for aug in finished if aug != REFERENCE}
            grids[f"extremes/{metric}_{kind}.png"] = figures.extreme_grid(
                prepared.images[prepared.test[at]],
                finished.pop(REFERENCE),
                finished,
                values,
                metric=metric,
                title=f"Test image {at}: {told} of {figures.metric_label(metric)} over the augs"
                " (numbers: mean over seeds; maps: the first seed)",
            )
    return grids


def summarise(
    tables: Mapping[str, pd.DataFrame], names: Sequence[str], cells: int, absent: Sequence[str]
) -> dict[str, object]:
    """reports/metrics.json: what `dvc metrics` shows and compares, as score → aug → number."""
    scores = tables["performance_summary"].pivot(index="aug", columns="score", values="mean")
    means = tables["metric_summary"].pivot(index="aug", columns="metric", values="mean")
    augs = list(dict.fromkeys(tables["performance_summary"]["aug"]))
    values: dict[str, object] = {"cells": cells, "absent": len(absent)}
    values |= {score: {aug: float(scores.loc[aug, score]) for aug in augs} for score in SCORES}
    compared = [aug for aug in augs if aug in means.index]
    return values | {name: {aug: float(means.loc[aug, name]) for aug in compared} for name in names}


def confusion_rows(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Per aug one row per test image and model: its class and the predicted one, for `dvc plots`."""
    named = pd.DataFrame(
        {
            "aug": table["aug"],
            "label": [classes[label] for label in table["label"]],
            "predicted": [classes[label] for label in table["predicted"]],
        }
    )
    groups = named.groupby("aug", sort=False)
    return {f"confusion/{aug}.csv": group[["label", "predicted"]] for aug, group in groups}


def run() -> None:
    collected = load()
    prepared = artifacts.load_prepared(layout.SPLITS)
    classes = prepared.manifest["classes"]
    curves = pd.read_csv(layout.CURVES)
    table, names = collected.table, collected.metrics
    tables = make_tables(table, names, collected.further, len(classes))
    pictures = make_figures(table, tables, curves, names, classes)
    pictures |= make_grids(table, tables["extremes"], names, prepared)
    with artifacts.atomic_folder(layout.COMPARISON) as folder:
        write(folder, tables | confusion_rows(table, classes), pictures)
    summary = summarise(tables, collected.every, collected.cells, collected.absent)
    artifacts.save_json(layout.METRICS, summary)
    print(f"compare: {collected.cells} cells, {len(tables)} tables, {len(pictures)} figures")
