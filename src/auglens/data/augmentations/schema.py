"""Names and parameters of the augmentations: what may be written in `conf/aug/`, and what draws randomness.

Free of torch and numpy, because the plan and the configuration need it. Values stand in
`conf/aug/_parameters.yaml`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from auglens.active import specs as active
from auglens.data.knobs import Choice, Knob, Number, Odd, Parameters, Range, Spec

CONTROLS = ("identity", "noise", "reseed")


class Part(NamedTuple):
    """One step of an aug: which, and with what parameters."""

    name: str
    params: Parameters


def _moves(*names: str) -> Callable[[Parameters], bool]:
    """Draws where any of these amplitudes is above 0 or any of these ranges is wider than a point."""

    def draws(params: Parameters) -> bool:
        values = (params[name] for name in names)
        return any(v[0] < v[1] if isinstance(v, list | tuple) else v > 0 for v in values)

    return draws


_OUTSIDE = Choice(("zeros", "reflection"))

SPECS: dict[str, Spec] = {
    "affine": Spec(
        {
            "degrees": Number("degrees of rotation, either way", 0, 180),
            "translate": Number("fraction of the side, either way", 0, 1),
            "scale": Range("factor", 0.1, 10),
            "shear": Number("degrees along x, either way", 0, 80),
            "outside": _OUTSIDE,
        },
        _moves("degrees", "translate", "scale", "shear"),
    ),
    "cutmix": Spec(
        {
            "alpha": Number("of Beta(alpha, alpha), no unit", 0.01, 100),
            "label": Choice(("source", "mixed")),
        },
        lambda params: True,
    ),
    "color_jitter": Spec(
        {
            "brightness": Number("factor 1 ± this", 0, 1),
            "contrast": Number("factor 1 ± this", 0, 1),
            "saturation": Number("factor 1 ± this", 0, 1),
            "hue": Number("turns of the colour circle, either way", 0, 0.5),
        },
        _moves("brightness", "contrast", "saturation", "hue"),
    ),
    "elastic": Spec(
        {
            "alpha": Number("pixels", 0, 10_000),
            "sigma": Number("pixels", 0.1, 100),
            "outside": _OUTSIDE,
        },
        _moves("alpha"),
    ),
    "equalize": Spec({"p": Number("probability", 0, 1)}, lambda params: 0 < params["p"] < 1),
    "gaussian_blur": Spec(
        {"kernel_size": Odd("pixels", 1, 99), "sigma": Range("pixels", 0.01, 100)},
        lambda params: params["kernel_size"] > 1 and params["sigma"][0] < params["sigma"][1],
    ),
    "random_crop": Spec(
        {"scale": Range("fraction of the area", 0.01, 1), "ratio": Range("width / height", 0.1, 10)},
        lambda params: not tuple(params["scale"]) == tuple(params["ratio"]) == (1, 1),
    ),
    "channel_shift": Spec(
        {"amount": Number("of the range of intensities, either way, per channel", 0, 1)}, _moves("amount")
    ),
    **active.SPECS,
    "identity": Spec({}, lambda params: False),
    "noise": Spec({}, lambda params: True),
    "reseed": Spec({}, lambda params: False),
}
AUGS = tuple(name for name in SPECS if name not in CONTROLS)
OWN: dict[str, Spec] = {}  # augmentations of one's own: filled by auglens.own alone


def own_spec(knobs: Mapping[str, Knob], words: int, apply: Callable[..., Any] | None) -> Spec:
    """An augmentation of one's own: it draws where it asks for words."""
    return Spec(knobs, lambda params: words > 0, apply, words)


def register_own(specs: Mapping[str, Spec]) -> None:
    """Know these augmentations, and none that were registered before, beside the built-in ones."""
    OWN.clear()
    OWN.update(specs)


def known() -> dict[str, Spec]:
    return SPECS | OWN


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known) or 'none'}"


def parse(aug: str) -> tuple[str, ...]:
    """The parts of an aug, in the order in which they apply: "affine+elastic" → ("affine", "elastic")."""
    parts = tuple(aug.split("+"))
    for part in parts:
        if part not in known():
            raise ValueError(f"aug {aug!r}: {part!r} is unknown; {_nearest(part, known())}")
        if part in CONTROLS and len(parts) > 1:
            raise ValueError(f"aug {aug!r}: the control {part} cannot be part of a chain; name it alone")
        if known()[part].active and part != parts[0]:
            raise ValueError(
                f"aug {aug!r}: {part} changes what the model was shown, un-augmented; put it first in the chain"
            )
        if known()[part].active and "cutmix" in parts:
            raise ValueError(f"aug {aug!r}: cutmix pastes un-augmented pixels, {part} changed them; name one")
        if parts.count(part) > 1:
            raise ValueError(f"aug {aug!r}: {part} stands there twice; name each part once")
    return parts


def well_formed(aug: str) -> bool:
    """Whether `aug` could be someone's aug, known here or not: parts of letters, digits and _ joined by +."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}(\+[A-Za-z][A-Za-z0-9_]{0,59})*", aug) is not None


def validate(name: str, params: Parameters, where: str = "aug") -> None:
    """Raise a one-line ValueError unless `params` are exactly the parameters of `name`, each in its range.

    where: the group that they stand in, as the message names it.
    """
    head = f"parameter {where}.{name}"
    if name not in known():
        raise ValueError(f"{head}: unknown; {_nearest(name, known())}")
    if not isinstance(params, Mapping):
        raise ValueError(f"{head}: expected a mapping, got {params!r}; correct it in conf/{where}/")
    knobs = known()[name].knobs
    for key in params:
        if key not in knobs:
            raise ValueError(f"{head}.{key}: unknown; {_nearest(str(key), knobs)}")
    for key, knob in knobs.items():
        if key not in params:
            raise ValueError(f"{head}.{key}: missing, expected {knob.expected}; add it in conf/{where}/")
        if not knob.accepts(params[key]):
            raise ValueError(
                f"{head}.{key}: expected {knob.expected}, got {params[key]!r}; correct it in conf/{where}/"
            )


def active_part(parts: Iterable[str]) -> str | None:
    """The part that is made from what the model attends to, or None."""
    return next((part for part in parts if known()[part].active), None)


def draws_anything(parts: Iterable[tuple[str, Parameters]]) -> bool:
    """Whether any of these (name, parameters) uses its seed; where none does, all seeds give equal images."""
    return any(known()[name].draws(params) for name, params in parts)
