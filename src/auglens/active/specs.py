"""Parameters of the augs that look where the model looks. Free of torch, as the plan needs them.

One mechanism: at each *step* (`steps`), some training images (`images`, `fraction`) are explained by the model as
it then is (`method`, `target`), their pixels are changed by what the explanation says, and what was made stands
in the second half in place of the copies that stood there. `keep` says whether earlier steps' images stay where a
step makes none. The instances differ in what is done to the pixels: see `changes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auglens.data.knobs import AND_SO_ON, Choice, Epochs, Knob, Number, Parameters, Spec, Switch, Whole
from auglens.saliency.names import METHODS

# The five of Santos et al. 2021, each an aug of its own too, so that one study can hold them side by side.
FIVE = ("gradient", "inputxgradient", "guided_backprop", "gradcam", "guided_gradcam")

_WHEN_AND_WHERE: dict[str, Knob] = {
    "steps": Epochs(),
    "images": Choice(("all", "wrong")),
    "fraction": Number("of those images", 0.0001, 1),
    "method": Choice(METHODS),
    "target": Choice(("predicted", "label")),
    "keep": Switch(),
}


def _active(knobs: Mapping[str, Knob], *, mixes: bool = False) -> Spec:
    """An instance of the mechanism; mixes: it draws partners from the training set."""
    return Spec(
        {**_WHEN_AND_WHERE, **knobs}, lambda params: mixes or params["fraction"] < 1, active=True, mixes=mixes
    )


_LABEL = Choice(("source", "mixed"))
_ADA = _active(
    {"window": Whole("pixels, side of the window", 1, 1024), "spare": Switch(), "fill": Choice(("zero", "mean"))}
)

SPECS: dict[str, Spec] = {
    "ada": _ADA,
    **{f"ada_{method}": _ADA for method in FIVE},
    "proxy_attention": _active(
        {"threshold": Number("of a finished map", 0, 1), "image_weight": Number("weight", 0, 1)}
    ),
    "saliencymix": _active(
        {"alpha": Number("of Beta(alpha, alpha), no unit", 0.01, 100), "label": _LABEL}, mixes=True
    ),
    "attentive_cutmix": _active(
        {
            "grid": Whole("cells along a side", 1, 64),
            "cells": Whole("cells that are pasted", 1, 4096),
            "label": _LABEL,
        },
        mixes=True,
    ),
}


def fixed_method(name: str) -> str | None:
    """`ada_gradcam` → `gradcam`: it takes ada's other parameters. None where the method is a parameter."""
    method = name.removeprefix("ada_")
    return method if name != method and method in FIVE else None


def resolved(name: str, parameters: Mapping[str, Parameters]) -> Parameters | None:
    """The parameters of an aug's part: its own, or ada's with the method that its name fixes."""
    method = fixed_method(name)
    if method is None or name in parameters:
        return parameters.get(name)
    return {**parameters["ada"], "method": method} if "ada" in parameters else None


Steps = Sequence[int | str]


def due(steps: Steps, epoch: int) -> bool:
    """Whether a step comes after `epoch` epochs: see `Epochs`."""
    if steps[-1] != AND_SO_ON:
        return epoch in steps
    *_, before, last = given = [int(step) for step in steps[:-1]]
    return epoch in given or (epoch > last and (epoch - last) % (last - before) == 0)


def first_step(steps: Steps) -> int:
    return int(steps[0])


def last_step(steps: Steps) -> int:
    """The last epoch that the parameters must find in a training: of `[3, 6, ...]` the first."""
    return int(steps[0] if steps[-1] == AND_SO_ON else steps[-1])
