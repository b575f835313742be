"""compare: the collected study → protocol A's tables and figures, and reports/metrics.json."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from auglens import artifacts, figures, metrics, stats
from auglens.config import REFERENCE
from auglens.saliency import finish
from auglens.stages import erasing, layout
from auglens.stages.collected import Drawing, Drawings, load, load_maps, write


def make_tables(
    table: pd.DataFrame, averaged: pd.DataFrame, values: pd.DataFrame, names: Sequence[str],
    further: Sequence[str], classes: int,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Every table of the comparison by its file's name. `table` holds distinct replicates only.

    averaged, values: its seed means, whole and by correctness (`average_seeds`, `segment_values`) of all metrics;
    names: the study's metrics; further: those beside them, which have no part in the pair counts.
    """
    every = [*names, *further]
    maps = {metric: stats.correlation_map(averaged, metric) for metric in every}
    strong, weak = stats.pair_counts({metric: maps[metric] for metric in names})
    scores = stats.performance(table, classes)
    tables = {
        "performance": scores,
        "performance_summary": stats.performance_summary(scores),
        "metric_summary": stats.metric_summary(averaged),
        "pairs_strong": strong,
        "pairs_weak": weak,
        "seed_spread": stats.seed_spread(table, every),
        "degenerate": stats.degenerate_counts(table, every),
        "segments": pd.concat(
            [stats.summarise_segments(values, metric).assign(metric=metric) for metric in every],
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
    averaged: pd.DataFrame, values: pd.DataFrame, tables: Mapping[str, pd.DataFrame], names: Sequence[str]
) -> dict[str, Drawing]:
    """The figures of the metrics, by their file's name."""
    found: dict[str, Drawing] = {"performance.svg": partial(figures.performance_bars, tables["performance"])}
    if len(averaged):
        maps = {metric: tables[f"correlation/{metric}"].set_index("aug") for metric in names}
        found |= {
            "metrics.svg": partial(figures.metric_boxes, averaged[["aug", *names]], names),
            "correlations.svg": partial(figures.correlation_heatmaps, maps),
            "pairs.svg": partial(figures.pair_counts_chart, tables["pairs_strong"], tables["pairs_weak"]),
        }
        found |= {
            f"segments/{metric}.svg": partial(figures.segment_boxes, values[["aug", "segment", metric]], metric)
            for metric in names
        }
    return found


def of_scores(checkpoints: Mapping[tuple[str, int], str], variant: str) -> tuple[
    dict[str, pd.DataFrame], dict[str, Drawing]
]:  # fmt: skip
    """How good the explanations are: tables and figures, of distinct replicates."""
    scores = stats.distinct_replicates(artifacts.load_table(layout.SCORES, ("method", "image")), checkpoints)
    sanity = stats.distinct_replicates(pd.read_csv(layout.SANITY), checkpoints)
    models = stats.scores_by_model(scores)
    found: dict[str, Drawing] = {}
    if len(models):
        found["scores.svg"] = partial(figures.score_dots, models, variant.rpartition("-")[0])
    if len(sanity):
        found["sanity.svg"] = partial(figures.sanity_curves, sanity)
    return {"scores": stats.score_table(models), "scores_models": models, "sanity": sanity}, found


def make_confusions(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Drawing]:
    """Every aug's confusion matrix, summed over its models."""
    found: dict[str, Drawing] = {}
    for aug, group in table[["aug", "seed", "label", "predicted"]].groupby("aug", sort=False):
        matrix = metrics.confusion_matrix(group["label"].to_numpy(), group["predicted"].to_numpy(), len(classes))
        title = f"{figures.aug_label(str(aug))}, {group['seed'].nunique()} model(s)"
        found[f"confusion/{aug}.svg"] = partial(figures.confusion_figure, matrix, classes, title)
    return found


def make_grids(
    averaged: pd.DataFrame, seeds: Mapping[str, int], extremes: pd.DataFrame, prepared: artifacts.Prepared
) -> dict[str, Drawing]:
    """Appendix A: the maps of the test images with the highest mean and the highest sd of each metric.

    seeds: every aug's lowest distinct seed, the reference's among them.
    """
    wanted = [
        (str(row["metric"]), kind, told, int(row[kind]))
        for row in extremes.to_dict("records")
        for kind, told in (("highest_mean", "highest mean"), ("highest_std", "highest standard deviation"))
        if not pd.isna(row[kind])
    ]
    images = sorted({at for *_, at in wanted})
    finished: dict[int, dict[str, artifacts.Array]] = {at: {} for at in images}
    for aug, seed in seeds.items() if images else ():
        maps = load_maps(aug, seed)
        for at in images:
            finished[at][aug] = finish(maps.raw[at : at + 1], maps.size)[0]
    means = averaged[averaged["image"].isin(images)].set_index(["image", "aug"])
    grids: dict[str, Drawing] = {}
    for metric, kind, told, at in wanted:
        others = {aug: one for aug, one in finished[at].items() if aug != REFERENCE}
        here = means[metric].loc[at].to_dict()
        values = {aug: float(here[aug]) for aug in others}
        grids[f"extremes/{metric}_{kind}.png"] = partial(
            figures.extreme_grid,
            np.asarray(prepared.images[prepared.test[at]]),
            finished[at][REFERENCE],
            others,
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
    values |= {score: {aug: float(scores.loc[aug, score]) for aug in augs} for score in map(str, scores)}
    compared = [aug for aug in augs if aug in means.index]
    return values | {name: {aug: float(means.loc[aug, name]) for aug in compared} for name in names}


def confusion_rows(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, str]:
    """Per aug one row per test image and model: its class and the predicted one, for `dvc plots`, as CSV."""
    size = len(classes)
    lines = [_csv_line(label, predicted) for label in classes for predicted in classes]
    places, augs = pd.factorize(table["aug"])
    cells = table["label"].to_numpy(dtype=np.int64) * size + table["predicted"].to_numpy(dtype=np.int64)
    return {
        f"confusion/{aug}.csv": _csv_line("label", "predicted")
        + "".join(map(lines.__getitem__, cells[places == place].tolist()))
        for place, aug in enumerate(augs)
    }


def _csv_line(*words: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(words)
    return text.getvalue()


def run() -> None:
    collected = load()
    prepared = artifacts.load_prepared(layout.SPLITS)
    classes = prepared.manifest["classes"]
    curves = pd.read_csv(layout.CURVES)
    table, names = collected.table, collected.metrics
    with artifacts.atomic_folder(layout.COMPARISON) as folder, Drawings(folder) as drawings:
        early: dict[str, Drawing] = {"curves.svg": partial(figures.training_curves, curves)}
        confusions = make_confusions(table, classes)
        scored, dots = of_scores(collected.checkpoints, collected.variant)
        early |= dots
        for more, pictures in (
            erasing.of_robustness(collected.checkpoints),
            erasing.of_steps(curves, collected.checkpoints, prepared),
        ):
            scored |= more
            early |= pictures
        drawings.add(early | confusions)  # they need no statistics, and are drawn meanwhile
        averaged = stats.average_seeds(table, collected.every)
        values = stats.segment_values(table, collected.every)
        tables = make_tables(table, averaged, values, names, collected.further, len(classes))
        tables["equal_steps"] = stats.against_control(tables["performance"], scored["scores_models"])
        found = make_figures(averaged, values, tables, names)
        if len(tables["equal_steps"]):
            found["equal_steps.svg"] = partial(figures.equal_steps, tables["equal_steps"])
        drawings.add(found)
        seeds: dict[str, int] = {}
        for aug, seed in collected.models():
            seeds.setdefault(aug, seed)
        grids = make_grids(averaged, seeds, tables["extremes"], prepared)
        drawings.add(grids)
        for name, text in confusion_rows(table, classes).items():
            artifacts.save_text(folder / name, text)
        write(folder, tables | scored)
        drawn = ["performance.svg", *early, *found, *confusions, *grids]
        drawings.finish(dict.fromkeys(drawn))
    summary = summarise(tables, collected.every, collected.cells, collected.absent)
    artifacts.save_json(layout.METRICS, summary)
    print(f"compare: {collected.cells} cells, {len(tables) + len(scored)} tables, {len(set(drawn))} figures")
