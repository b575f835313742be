"""influence's page: figures, tables and findings put together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auglens import artifacts

if TYPE_CHECKING:
    import pandas as pd

    from auglens.report import Finding, Picture, Section, Table
    from auglens.stats import Answer, Factor, Models

TITLE = "What influences the explanations of these models?"
CAPTION = "Mean ± sd over models (seeds), in the score's unit; * = best of its row. ↑ higher, ↓ lower is better."
OTHERS = {
    "influence.csv": (
        "Differences",
        "Each level against its factor's baseline, in stored units; p_holm: after Holm within a score.",
    ),
    "methods.csv": (
        "Map methods",
        "Over all models; difference: from the best method; over_floor: from the best trivial floor.",
    ),
    "correlation.csv": ("Correlation", "Over all models; intervals by a bootstrap over configurations."),
}


def markdown(answers: Sequence[Answer]) -> str:
    return "".join(f"## {place}. {one.question}\n{one.text}\n\n" for place, one in enumerate(answers, 1))


def anchor(name: str) -> str:
    return "factor-" + re.sub(r"[^a-z0-9]+", "-", name.lower())


def draw(
    folder: Path,
    models: Models,
    factors: Sequence[Factor],
    table: pd.DataFrame,
    correlation: pd.DataFrame,
    epochs: dict[str, pd.DataFrame],
) -> list[Section]:
    """Every figure as SVG in `folder`, as sections of the page."""
    from auglens import figures, stats
    from auglens.report import Picture, Section

    def picture(name: str, figure: Any, caption: str) -> Picture:
        artifacts.save_figure(folder / f"{name}.svg", figure)
        return Picture(folder / f"{name}.svg", figures.alt_text(figure), caption)

    sections = []
    for factor in factors:
        mine, points = table[table["factor"] == factor.name], stats.level_values(models, factor)
        name = f"{factor.title}: scores of every level, per map method."
        pictures = [picture(factor.name, figures.factor_panels(mine, points, factor.title), name)]
        if factor.name in epochs:
            figure = figures.level_curves(epochs[factor.name], factor.title)
            pictures.append(picture(f"{factor.name}_curves", figure, f"{factor.title}: curves over epochs."))
        if (points["score"] == "train_seconds").any():
            figure = figures.seconds_bars(points, list(factor.levels), factor.title)
            pictures.append(picture(f"{factor.name}_seconds", figure, f"{factor.title}: time of training."))
        text = f"Compared with {factor.baseline}, all other parameters equal."
        sections.append(Section(anchor(factor.name), factor.title, text, pictures))
    against = [name for name in ("accuracy",) if (correlation["performance"] == name).any()]
    pictures = [
        picture(f"correlation_{name}", figures.correlation_grid(models.values, correlation, name),
                "Every model: performance against explanation.")
        for name in against
    ]  # fmt: skip
    text = "Over all models, whatever their configuration: a correlation says nothing of causes."
    return [*sections, Section("correlation", "Performance and explanation", text, pictures)]


def tables(
    to: str, factors: Sequence[Factor], wide: Mapping[str, pd.DataFrame], others: Mapping[str, pd.DataFrame]
) -> list[Table]:
    """The tables of the page. wide: factor → `wide_table`; others: file → table; to: where the files stand."""
    from auglens.report import table

    found = [
        table(factor.title, CAPTION, wide[factor.name], group="Factors", source=f"{to}/table_{factor.name}.csv")
        for factor in factors
    ]
    for file, frame in others.items():
        title, caption = OTHERS[file]
        found.append(table(title, caption, frame, group="In numbers", source=f"{to}/{file}"))
    return found


def findings(answers: Sequence[Answer], undefined: int) -> list[Finding]:
    from auglens.report import Finding

    found = [Finding(f"{one.kind}/{one.name}", f"{one.question} {one.text}") for one in answers]
    if undefined:
        text = f"{undefined} explanation scores of single images are undefined and left out of the means."
        found.append(Finding("mind/undefined", text))
    return found


def page(
    *,
    findings: Sequence[Finding],
    facts: Mapping[str, str],
    sections: Sequence[Section],
    tables: Sequence[Table],
    command: str,
    parameters: str,
) -> str:
    """The page as HTML. command: makes it again; parameters: the baseline's."""
    from auglens.report import render
    from auglens.stages.report import versions

    return render(
        title=TITLE,
        findings=findings,
        facts=facts,
        sections=sections,
        browser=None,
        tables=tables,
        fingerprint={},
        versions=versions(),
        commands=[command],
        parameters=parameters,
    )
