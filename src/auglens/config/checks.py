"""What a value of a parameter must be, said in one line where it is not."""

from __future__ import annotations

import difflib


def require(ok: bool, key: str, expected: str, got: object) -> None:
    """One line for one bad value: what, where, what was expected."""
    if not ok:
        raise ValueError(f"parameter {key}: expected {expected}, got {got!r}; correct it in params.yaml or conf/")


def one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        require(False, key, f"one of {', '.join(choices)}{hint}", value)
