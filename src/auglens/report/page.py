"""The page put together: texts escaped, JSON that no text can break out of, scripts admitted by their hash."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from auglens.report.browser import BrowserData
from auglens.report.tables import Table

MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}
# How findings are grouped: what their id begins with, up to "/" → the heading.
GROUPS = {
    "claim": "What can be claimed",
    "open": "What cannot be claimed",
    "mind": "What to mind",
    "": "Also found",
}
PAGE_STYLES = ("page.css",)
SCRIPTS = ("page.js", "browser.js")


@dataclass(frozen=True)
class Finding:
    """A sentence with its numbers and intervals. id: `claim/…`, `open/…` or `mind/…` says where it stands."""

    id: str
    text: str

    @property
    def group(self) -> str:
        start = self.id.split("/")[0]
        return start if start in GROUPS else ""


@dataclass(frozen=True)
class Picture:
    """A figure of the page. alt: what it shows, for those who cannot see it; caption: what to read from it."""

    path: Path
    alt: str
    caption: str

    @property
    def content(self) -> bytes:
        content = self.path.read_bytes()
        return compact_svg(content.decode()).encode() if self.path.suffix == ".svg" else content

    @property
    def source(self) -> str:
        if self.path.suffix not in MEDIA:
            raise ValueError(f"{self.path}: expected {' or '.join(MEDIA)}, got {self.path.suffix}; save it as SVG")
        return f"data:{MEDIA[self.path.suffix]};base64,{base64.b64encode(self.content).decode()}"

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in CSS pixels, where the file says them: the page then does not jump as it loads."""
        if self.path.suffix == ".png":
            head = self.path.read_bytes()[16:24]
            return int.from_bytes(head[:4]), int.from_bytes(head[4:])
        found = re.search(rb'<svg[^>]*?\bwidth="([\d.]+)pt" height="([\d.]+)pt"', self.path.read_bytes()[:4096])
        return (round(float(found[1]) * 4 / 3), round(float(found[2]) * 4 / 3)) if found else None


@dataclass(frozen=True)
class Section:
    """A part of the page with figures. id: its anchor, letters and hyphens; text: what the figures are about."""

    id: str
    title: str
    text: str
    pictures: Sequence[Picture] = ()


def compact_svg(text: str) -> str:
    """The same figure in fewer bytes: no comments, no metadata, coordinates to a hundredth of a point."""
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<!DOCTYPE[^>]*>|<\?xml[^>]*\?>", "", text, flags=re.S)

    def rounded(attribute: re.Match[str]) -> str:
        numbers = re.sub(r"-?\d+\.\d{3,}(?![\de])", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."),
                         attribute[2])  # fmt: skip
        return f' {attribute[1]}="{" ".join(numbers.split())}"'

    text = re.sub(r'\s(d|x|y|points)="([^"]*)"', rounded, text)
    return re.sub(r">\s+<", "><", text).strip()


def unbroken(text: str) -> str:
    """No line ends between a number and its %, nor within an interval such as [0.1, 0.2]."""
    text = re.sub(r"(?<=\d) %", "\u00a0%", text)
    return re.sub(r"\[[^][]{1,24}\]", lambda found: found[0].replace(" ", "\u00a0"), text)


def safe_json(values: Any) -> Markup:
    """JSON for a <script> element: no text in it can end the element or begin a comment."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def inferno() -> str:
    """matplotlib's 256 colours as hexadecimal RGB, one after the other."""
    import matplotlib as mpl
    import numpy as np

    colours = mpl.colormaps["inferno"](np.arange(256), bytes=True)[:, :3]
    return bytes(colours.astype(np.uint8)).hex()


def render(
    *,
    title: str,
    findings: Sequence[Finding],
    facts: Mapping[str, str],
    sections: Sequence[Section],
    browser: BrowserData | None,
    tables: Sequence[Table],
    fingerprint: Mapping[str, str],
    versions: Mapping[str, str],
    commands: Sequence[str],
    parameters: str,
) -> str:
    """The page as HTML. Equal arguments and files give equal text.

    title: the question; facts: what was compared, in a few words each; fingerprint: keys that tell this study from
    any other; commands: how to make it again, a line each; parameters: the composed YAML.
    """
    package = files("auglens.report")
    style = "".join(package.joinpath(name).read_text(encoding="utf-8") for name in PAGE_STYLES)
    scripts = [package.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS]
    environment = Environment(
        loader=PackageLoader("auglens", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = unbroken
    groups = [(key, name, [f for f in findings if f.group == key]) for key, name in GROUPS.items()]
    return environment.get_template("page.html.j2").render(
        policy=_policy(style, scripts),
        style=Markup(style),  # our own files: nothing of the study is in them
        scripts=[Markup(script) for script in scripts],
        title=title,
        groups=[(key, name, found) for key, name, found in groups if found],
        facts=facts,
        sections=[section for section in sections if section.pictures],
        browser=browser,
        payload=None if browser is None else safe_json(browser.payload() | {"colours": inferno()}),
        table_groups=_grouped(tables),
        fingerprint=fingerprint,
        versions=versions,
        commands=commands,
        parameters=parameters,
    )


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Content Security Policy: nothing from anywhere but data: images, this style and these scripts."""
    admitted = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {admitted}; style-src {_hash(style)}; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _grouped(tables: Sequence[Table]) -> list[tuple[str, list[Table]]]:
    names = dict.fromkeys(table.group for table in tables)
    return [(name, [table for table in tables if table.group == name]) for name in names]
