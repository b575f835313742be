"""analyse: the collected study → intervals, noise floor, claims, and the open questions, in reports/analysis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from auglens import artifacts, config, figures, stats
from auglens.config import REFERENCE, AnalysisConfig
from auglens.metrics import compare_all, to_fixed
from auglens.progress import Progress
from auglens.saliency import finish
from auglens.saliency.finishing import repeated_edges
from auglens.stages import layout
from auglens.stages.collected import Collected, Drawing, Drawings, load, load_maps, write

CHUNK = 256  # images finished at once
PAIRS_AT_ONCE = 1 << 28  # bytes of metrics of all pairs of models
EVERY = 30.0  # seconds between two lines in a log


@contextmanager
def told(title: str, total: int) -> Iterator[Callable[[int], object]]:
    """Progress of long work, in a log too: how to advance it."""
    with Progress(f"analyse: {title}", total, unit="step") as progress:
        said = time.monotonic()

        def advance(count: int) -> None:
            nonlocal said
            progress.advance(count)
            if time.monotonic() - said > EVERY:
                said = time.monotonic()
                progress.line(f"{progress.done:,} of {progress.total:,}")

        yield advance


def claims(
    study: Collected, settings: AnalysisConfig, weights: Any
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """From the per-image metrics: means, floor, correlations, pairs, clusters. (tables, trees)."""
    metrics, level, seed = study.metrics, settings.confidence, settings.seed
    cells = stats.cells_of(study.table, study.every)
    floor = stats.floor_table(cells, study.every, weights, level, study.closer)
    found = stats.covariances(cells, study.every, weights, told)
    permutations = settings.permutations
    clusters, trees, agreement = stats.structure(
        cells, found, metrics, weights, permutations=permutations, confidence=level, seed=seed
    )
    alike = {metric: stats.correlations(found.whole[metric]) for metric in study.every}
    tables = {
        "means": stats.means_table(cells, study.every, weights, level),
        "floor": floor,
        "floor_summary": stats.floor_summary(floor),
        "correlation": stats.correlation_table(cells, found, level),
        "models": stats.models_table(cells, found, metrics, level),
        "resemblance": stats.self_resemblance(cells, alike, permutations=permutations, seed=seed),
        "pairs": stats.pair_table(
            cells, found, metrics, permutations=permutations, confidence=level, seed=seed
        ),
        "clusters": clusters,
        "agreement": agreement,
        "chains": stats.chain_table(cells, study.every, weights, level),
    }  # fmt: skip
    return tables, trees


def of_predictions(study: Collected, settings: AnalysisConfig, weights: Any) -> dict[str, pd.DataFrame]:
    """Divergence against correctness, and one target against the other."""
    level, table = settings.confidence, study.table
    points = stats.divergence_points(table, study.every, study.closer)
    other = config.other_variant(study.variant).rpartition("-")[2]
    with told("divergence", 3 * len(study.every) * (len(study.models()) - 1)) as advance:
        divergence = stats.divergence_table(table, study.every, weights, level, study.closer, advance)
    return {
        "divergence": divergence,
        "divergence_points": points,
        "divergence_augs": stats.divergence_augs(points, permutations=settings.permutations, seed=settings.seed),
        "targets": stats.target_table(table, study.every, weights, level, other=other),
    }


def directly(
    study: Collected, settings: AnalysisConfig, maps: Mapping[tuple[str, int], artifacts.Maps]
) -> dict[str, pd.DataFrame]:
    """Every two models' maps of the same images, the reference's among them."""
    models = list(maps)
    augs = tuple(dict.fromkeys(aug for aug, _ in models))
    first = next(iter(maps.values()))
    count = len(first.raw)
    images = np.unique(np.linspace(0, count - 1, min(settings.pair_images, count)).round().astype(np.int64))
    raw = np.stack([maps[model].raw[images] for model in models])
    step = max(1, PAIRS_AT_ONCE // (8 * len(models) ** 2 * (4 + len(study.overlap))))
    edges = repeated_edges((raw.shape[2], raw.shape[3]), first.size)
    parts: list[dict[str, Any]] = []
    with told("all pairs of models", len(images)) as advance:
        for at in range(0, len(images), step):
            finished = (finish(raw[:, n], first.size) for n in range(at, min(at + step, len(images))))
            some = compare_all(finished, study.overlap, advance, edges=edges)
            parts.append({metric: stats.packed(values) for metric, values in some.items()})
    pairs = {metric: np.concatenate([part.pop(metric) for part in parts], axis=1) for metric in list(parts[0])}
    places = np.array([augs.index(aug) for aug, _ in models])
    cells = stats.Cells(augs, places, np.array([seed for _, seed in models]), images, {})
    weights = stats.image_weights(len(images), settings.draws, seed=settings.seed)
    once = np.ones((1, len(images)), dtype=np.int32)
    sign = {metric: 1.0 if study.closer[metric] else -1.0 for metric in pairs}
    alike = {metric: sign[metric] * stats.image_means(values, once)[0] for metric, values in pairs.items()}
    compared = stats.without_reference(cells, alike)
    return {
        "direct": stats.direct_table(cells, pairs, weights, settings.confidence),
        "direct_resemblance": stats.self_resemblance(
            *compared, permutations=settings.permutations, seed=settings.seed
        ),
    }


def own_bias(
    study: Collected, settings: AnalysisConfig, maps: Mapping[tuple[str, int], artifacts.Maps], weights: Any
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """How much a fixed map explains; and every aug's mean map over all test images."""
    means = {}
    for (aug, _), found in maps.items():
        if aug not in means:
            means[aug] = mean_of(found)
    reference = next(found for (aug, _), found in maps.items() if aug == REFERENCE)
    centre = stats.centre_map(reference.size, reference.size)
    against: list[dict[str, Any]] = []
    for fixed in (means[REFERENCE], centre):
        cuts = (slice(at, at + CHUNK) for at in range(0, len(reference.raw), CHUNK))
        parts = [to_fixed(finish(reference.raw[cut], reference.size), fixed, study.overlap) for cut in cuts]
        against.append({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    cells = stats.cells_of(study.table, [name for name in study.metrics if name in against[0]])
    table = stats.bias_table(cells, against[0], against[1], weights, settings.confidence)
    return {"bias": table}, means | {"centre": centre}


def mean_of(maps: artifacts.Maps) -> Any:
    """The mean finished map over all images, chunk by chunk."""
    total, number = np.zeros((maps.size, maps.size)), 0
    for at in range(0, len(maps.raw), CHUNK):
        mean, count = stats.mean_map(finish(maps.raw[at : at + CHUNK], maps.size))
        if count:
            total, number = total + mean * count, number + count
    return total / number if number else np.full(total.shape, np.nan)


def make_figures(
    study: Collected, tables: Mapping[str, pd.DataFrame], trees: Mapping[str, Any], means: Mapping[str, Any]
) -> dict[str, Drawing]:
    """Every figure by its file's name."""
    metrics, further = list(study.metrics), list(study.further)
    shown = [name for name in ("mad", "pearson") if name in metrics]
    found: dict[str, Drawing] = {
        "floor.svg": partial(figures.floor_forest, tables["floor"], tables["means"], metrics),
        "further.svg": partial(figures.floor_forest, tables["floor"], tables["means"], further),
        "models.svg": partial(figures.model_similarity, tables["models"]),
        "correlation_intervals.svg": partial(figures.correlation_intervals, tables["correlation"], shown),
        "pairs.svg": partial(figures.pair_support, tables["pairs"], len(metrics)),
        "agreement.svg": partial(figures.agreement_heat, tables["agreement"]),
        "targets.svg": partial(figures.targets_dumbbell, tables["targets"], shown),
        "divergence.svg": partial(figures.divergence_forest, tables["divergence"], shown),
        "divergence_augs.svg": partial(figures.divergence_scatter, tables["divergence_points"], shown),
        "separability.svg": partial(figures.separability_forest, tables["separability"]),
        "chains.svg": partial(figures.chains_forest, tables["chains"], shown),
        "bias.svg": partial(figures.bias_bars, tables["bias"], shown),
        "mean_maps.svg": partial(figures.mean_maps, means, "Mean finished map over all test images"),
    }
    found |= {f"direct_{metric}.svg": partial(figures.direct_heat, tables["direct"], metric) for metric in shown}
    if trees:
        found["clusters.svg"] = partial(figures.dendrograms, trees, tables["clusters"])
    return found


def run() -> None:
    settings = config.load().analysis
    study = load(other_target=True)
    models = study.models()
    maps = {model: load_maps(*model) for model in models}
    images = len(next(iter(maps.values())).raw)
    weights = stats.image_weights(images, settings.draws, seed=settings.seed)
    tables: dict[str, pd.DataFrame] = {}
    drawings: dict[str, Drawing] = {}
    trees: dict[str, Any] = {}
    if len(models) > 1:  # a study of the reference alone has nothing to analyse
        tables, trees = claims(study, settings, weights)
        tables |= of_predictions(study, settings, weights)
        tables |= directly(study, settings, maps)
        bias, means = own_bias(study, settings, maps, weights)
        reference = next(found.raw for (aug, _), found in maps.items() if aug == REFERENCE)
        others = {model: found.raw for model, found in maps.items() if model[0] != REFERENCE}
        tables |= bias
        with told("separability", 2 * len(others)) as advance:
            tables["separability"] = stats.separability_table(
                reference, others, weights, settings.confidence, folds=settings.folds, seed=settings.seed,
                advance=advance,
            )  # fmt: skip
        drawings = make_figures(study, tables, trees, means)
    with artifacts.atomic_folder(layout.ANALYSIS) as folder, Drawings(folder) as drawn:
        drawn.add(drawings)
        write(folder, tables)
        drawn.finish(drawings)
        artifacts.save_json(folder / "linkage.json", trees)
    print(f"analyse: {len(models)} models, {len(tables)} tables, {len(drawings)} figures")
