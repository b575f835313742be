"""The study as one self-contained page: no network, no script, every text escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    import pandas as pd

MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class Picture:
    """A figure of the page. alt: what it shows, for those who cannot see it; caption: what to read from it."""

    path: Path
    alt: str
    caption: str

    @property
    def source(self) -> str:
        content = base64.b64encode(self.path.read_bytes()).decode()
        return f"data:{MEDIA[self.path.suffix]};base64,{content}"


@dataclass(frozen=True)
class Table:
    """A table of the page, its cells already text."""

    title: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def text(value: Any) -> str:
    """A cell of a table: four significant digits, an en dash for what is undefined."""
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def table(title: str, caption: str, frame: pd.DataFrame) -> Table:
    rows = [[text(value) for value in row] for row in frame.astype(object).itertuples(index=False)]
    return Table(title, caption, [str(name).replace("_", " ") for name in frame.columns], rows)


def render(
    *,
    summary: Sequence[str],
    pictures: Sequence[Picture],
    tables: Sequence[Table],
    facts: Mapping[str, str],
    parameters: str,
) -> str:
    """The page. summary: its first sentences; facts: what was compared; parameters: the composed YAML."""
    environment = Environment(
        loader=PackageLoader("auglens", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    page = environment.get_template("page.html.j2")
    return page.render(summary=summary, pictures=pictures, tables=tables, facts=facts, parameters=parameters)
