"""Verdicts of `check` as text for a terminal, as a GitHub table and as JUnit XML. Pure: lines → text.

Names come from files that anyone may have written: a terminal gets printable characters only, Markdown character
references for everything that means something to it, XML what ElementTree escapes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from auglens.check.values import FAILED, SAME, VERDICTS, Line

HEAD = ("group", "name", "value", "expected", "difference", "allowed", "verdict")
MARKDOWN_ROWS = 150  # a comment on GitHub ends at 65,536 characters
TITLES = {0: "as expected", 1: "regressed", 2: "unusable"}
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _+/,.-")


@dataclass(frozen=True)
class Outcome:
    """What a check found. notes: on the fingerprint; error: why nothing could be compared, else ""."""

    lines: Sequence[Line]
    notes: Sequence[str]
    error: str = ""

    @property
    def code(self) -> int:
        """0 as expected, 1 regressed, 2 unusable."""
        return 2 if self.error else int(any(line.verdict in FAILED for line in self.lines))

    @property
    def counts(self) -> str:
        found = Counter(line.verdict for line in self.lines)
        told = ", ".join(f"{found[verdict]:,} {verdict}" for verdict in VERDICTS if found[verdict])
        return f"{len(self.lines):,} values checked: {told or 'none'}"

    def sorted(self, everything: bool = False) -> list[Line]:
        """The lines to show: failures first, those as expected only with `everything`."""
        shown = [line for line in self.lines if everything or line.verdict != SAME]
        return sorted(shown, key=lambda line: VERDICTS.index(line.verdict))


def printable(text: str) -> str:
    """One line, with ? for control characters and whatever else cannot be shown."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def cells(line: Line) -> tuple[str, ...]:
    """The table's seven cells of a line."""
    both = line.value is not None and line.expected is not None
    difference = f"{line.value - line.expected:+.3g}" if both else ""  # type: ignore[operator]
    verdict = f"{line.verdict}: {line.text}" if line.text else line.verdict
    allowed = "" if line.allowed is None else f"{line.allowed:.3g}"
    found = (line.group, line.name, _shown(line.value), _shown(line.expected), difference, allowed, verdict)
    return tuple(printable(cell) for cell in found)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


def terminal(outcome: Outcome, everything: bool = False) -> str:
    """The notes, an aligned table of what moved (or of everything), the counts and the outcome."""
    end = [f"check: {outcome.counts}", f"check: {TITLES[outcome.code]}"]
    return (
        "\n".join(
            [*(f"check: {printable(note)}" for note in outcome.notes), *table(outcome.sorted(everything)), *end]
        )
        + "\n"
    )


def table(lines: Sequence[Line]) -> list[str]:
    """An aligned table, as its lines of text; none for no lines."""
    rows, text = [cells(line) for line in lines], []
    if rows:
        widths = [max(len(row[i]) for row in [HEAD, *rows]) for i in range(len(HEAD))]
        for row in [HEAD, *rows]:
            left = [
                cell.rjust(w) if 2 <= i <= 5 else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            text.append("  ".join(left).rstrip())
    return text


def escaped(text: str) -> str:
    """Text as GitHub shows it and means nothing by it: no markup, link, mention, cell border or line break."""
    safe = "".join(c if c in PLAIN or not c.isascii() else f"&#{ord(c)};" for c in printable(text))
    return re.sub(r"(?i)www\.", lambda found: f"{found[0][:-1]}&#46;", safe)  # GitHub makes a link of it


def markdown(outcome: Outcome) -> str:
    """A heading, the notes, the counts and a GitHub table of what moved."""
    text = [f"### auglens check: {TITLES[outcome.code]}", ""]
    if outcome.error:
        return "\n".join([*text, escaped(outcome.error), ""])
    text += [f"* {escaped(note)}" for note in outcome.notes] + [f"* {outcome.counts}", ""]
    lines = outcome.sorted()
    if not lines:
        return "\n".join([*text, "Nothing moved further than is allowed.", ""])
    rows = [[escaped(cell) for cell in cells(line)] for line in lines[:MARKDOWN_ROWS]]
    text += [_row(HEAD), _row(["---", "---", *["---:"] * 4, "---"]), *(_row(row) for row in rows)]
    if len(lines) > MARKDOWN_ROWS:
        text += ["", f"… and {len(lines) - MARKDOWN_ROWS:,} more: `auglens check` prints them all."]
    return "\n".join([*text, ""])


def _row(row: Iterable[str]) -> str:
    return "| " + " | ".join(row) + " |"


def junit(outcome: Outcome) -> str:
    """JUnit XML as GitHub's and GitLab's readers take it: one test case per group of values."""
    grouped: dict[str, list[Line]] = {}
    for line in outcome.lines:
        grouped.setdefault(line.group, []).append(line)
    failed = {group: [ln for ln in lines if ln.verdict in FAILED] for group, lines in grouped.items()}
    counts = {
        "tests": len(grouped) or 1,
        "failures": sum(bool(lines) for lines in failed.values()),
        "errors": int(bool(outcome.error)),
        "skipped": 0,
        "time": 0,
    }
    numbers = {name: str(count) for name, count in counts.items()}
    top = ET.Element("testsuites", {"name": "auglens check", **numbers})
    suite = ET.SubElement(top, "testsuite", {"name": "auglens check", **numbers})
    if outcome.notes:
        properties = ET.SubElement(suite, "properties")
        for n, note in enumerate(outcome.notes):
            ET.SubElement(properties, "property", {"name": f"note {n + 1}", "value": printable(note)})
    for group, lines in grouped.items():
        case = _case(suite, group)
        if failed[group]:
            first, more = failed[group][0], len(failed[group]) - 1
            message = _sentence(first) + (f" (and {more} more)" if more else "")
            found = ET.SubElement(case, "failure", {"message": message, "type": first.verdict})
            found.text = "\n".join(_sentence(line) for line in failed[group])
        told = [_sentence(line) for line in lines if line.verdict not in (*FAILED, SAME)]
        if told:
            ET.SubElement(case, "system-out").text = "\n".join(told)
    if outcome.error or not grouped:
        case = _case(suite, "report")
        if outcome.error:
            message = printable(outcome.error)
            ET.SubElement(case, "error", {"message": message, "type": "unusable"}).text = message
    ET.indent(top)
    return ET.tostring(top, encoding="unicode", xml_declaration=False).join(
        ("<?xml version='1.0' encoding='UTF-8'?>\n", "\n")
    )


def _case(suite: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": "auglens.check", "name": printable(name), "time": "0"})


def _sentence(line: Line) -> str:
    _, name, value, expected, difference, allowed, verdict = cells(line)
    numbers = f": {value}, expected {expected}" if (value, expected) != ("–", "–") else ""
    moved = f" ({difference}, allowed {allowed})" if difference else ""
    return f"{printable(line.group)}, {name}{numbers}{moved}: {verdict}"
