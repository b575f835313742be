"""Names, parameters, and what draws randomness; all of it without torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from auglens.data.augmentations import schema

FIVE = ("gradient", "inputxgradient", "guided_backprop", "gradcam", "guided_gradcam")
ACTIVE: dict[str, Any] = {
    "steps": [3, 6, "..."],
    "images": "all",
    "fraction": 1.0,
    "method": "gradcam",
    "target": "predicted",
    "keep": False,
}
ADA: dict[str, Any] = {"window": 12, "spare": True, "fill": "zero"}
STILL = ("equalize", "identity", "reseed", "ada", *(f"ada_{method}" for method in FIVE), "proxy_attention")
SOUND: dict[str, dict[str, Any]] = {
    "affine": {"degrees": 20, "translate": 0.1, "scale": [0.8, 1.2], "shear": 10, "outside": "zeros"},
    "cutmix": {"alpha": 1.0, "label": "source"},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "elastic": {"alpha": 30, "sigma": 4, "outside": "zeros"},
    "equalize": {"p": 1.0},
    "gaussian_blur": {"kernel_size": 5, "sigma": [0.5, 1.5]},
    "random_crop": {"scale": [0.4, 1.0], "ratio": [0.75, 1.3333]},
    "channel_shift": {"amount": 0.17},
    "ada": ACTIVE | ADA,
    **{f"ada_{method}": ACTIVE | ADA | {"method": method} for method in FIVE},
    "proxy_attention": ACTIVE | {"images": "wrong", "threshold": 0.5, "image_weight": 0.5},
    "saliencymix": ACTIVE | {"alpha": 1.0, "label": "mixed"},
    "attentive_cutmix": ACTIVE | {"grid": 7, "cells": 6, "label": "mixed"},
    "identity": {},
    "noise": {},
    "reseed": {},
}


def test_the_names() -> None:
    assert schema.AUGS == (
        "affine", "cutmix", "color_jitter", "elastic", "equalize", "gaussian_blur", "random_crop", "channel_shift",
        "ada", "ada_gradient", "ada_inputxgradient", "ada_guided_backprop", "ada_gradcam", "ada_guided_gradcam",
        "proxy_attention", "saliencymix", "attentive_cutmix",
    )  # fmt: skip
    assert schema.CONTROLS == ("identity", "noise", "reseed")
    assert set(SOUND) == {*schema.AUGS, *schema.CONTROLS}


@pytest.mark.parametrize("name", SOUND)
def test_sound_parameters_pass(name: str) -> None:
    schema.validate(name, SOUND[name])


def test_importing_the_schema_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from auglens.data.augmentations import draws_anything, schema;"
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("aug", "parts"),
    [
        ("affine", ("affine",)),
        ("affine+color_jitter", ("affine", "color_jitter")),
        ("color_jitter+affine", ("color_jitter", "affine")),
        ("reseed", ("reseed",)),
    ],
)
def test_an_aug_parses_into_its_parts_in_order(aug: str, parts: tuple[str, ...]) -> None:
    assert schema.parse(aug) == parts


@pytest.mark.parametrize(
    ("aug", "message"),
    [
        ("afine", "aug 'afine': 'afine' is unknown; did you mean affine?"),
        ("affine+equalise", "aug 'affine+equalise': 'equalise' is unknown; did you mean equalize?"),
        (
            "zzz",
            "aug 'zzz': 'zzz' is unknown; known here: affine, cutmix, color_jitter, elastic, equalize,"
            " gaussian_blur, random_crop, channel_shift, ada, ada_gradient, ada_inputxgradient,"
            " ada_guided_backprop, ada_gradcam, ada_guided_gradcam, proxy_attention, saliencymix,"
            " attentive_cutmix, identity, noise, reseed",
        ),
        (
            "affine+ada",
            "aug 'affine+ada': ada changes what the model was shown, un-augmented; put it first in the chain",
        ),
        (
            "ada+cutmix",
            "aug 'ada+cutmix': cutmix pastes un-augmented pixels, ada changed them; name one",
        ),
        ("affine+affine", "aug 'affine+affine': affine stands there twice; name each part once"),
        (
            "affine+noise",
            "aug 'affine+noise': the control noise cannot be part of a chain; name it alone",
        ),
    ],
)
def test_a_wrong_aug_is_named_with_the_nearest(aug: str, message: str) -> None:
    with pytest.raises(ValueError, match="aug") as caught:
        schema.parse(aug)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("afine", {}, "parameter aug.afine: unknown; did you mean affine?"),
        ("affine", {"degres": 3}, "parameter aug.affine.degres: unknown; did you mean degrees?"),
        ("identity", {"p": 1}, "parameter aug.identity.p: unknown; known here: none"),
        (
            "affine",
            {"degrees": 181},
            "parameter aug.affine.degrees: expected a number from 0 to 180 (degrees of rotation, either way),"
            " got 181; correct it in conf/aug/",
        ),
        (
            "equalize",
            {"p": True},
            "parameter aug.equalize.p: expected a number from 0 to 1 (probability), got True;"
            " correct it in conf/aug/",
        ),
        (
            "equalize",
            {"p": float("nan")},
            "parameter aug.equalize.p: expected a number from 0 to 1 (probability), got nan;"
            " correct it in conf/aug/",
        ),
        (
            "gaussian_blur",
            {"sigma": [2, 1]},
            "parameter aug.gaussian_blur.sigma: expected [smallest, largest] from 0.01 to 100 (pixels),"
            " got [2, 1]; correct it in conf/aug/",
        ),
        (
            "gaussian_blur",
            {"sigma": 1.0},
            "parameter aug.gaussian_blur.sigma: expected [smallest, largest] from 0.01 to 100 (pixels),"
            " got 1.0; correct it in conf/aug/",
        ),
        (
            "gaussian_blur",
            {"kernel_size": 4},
            "parameter aug.gaussian_blur.kernel_size: expected an odd whole number from 1 to 99 (pixels), got"
            " 4; correct it in conf/aug/",
        ),
        *(
            (
                "ada",
                {"steps": steps},
                "parameter aug.ada.steps: expected ascending epochs, each 1 or more, as [3, 6, 9] or [3, 6, ...],"
                f" got {steps!r}; correct it in conf/aug/",
            )
            for steps in ([], [0, 3], [3, 3], [6, 3], [3, "..."], ["..."], 3, [3.5], [True], "3", {"first": 3})
        ),
        (
            "ada",
            {"window": 0},
            "parameter aug.ada.window: expected a whole number from 1 to 1024 (pixels, side of the window), got 0;"
            " correct it in conf/aug/",
        ),
        (
            "ada",
            {"spare": 1},
            "parameter aug.ada.spare: expected true or false, got 1; correct it in conf/aug/",
        ),
        (
            "cutmix",
            {"label": "mix"},
            "parameter aug.cutmix.label: expected one of source, mixed, got 'mix'; correct it in conf/aug/",
        ),
    ],
)
def test_a_wrong_parameter_is_named_in_one_line(name: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="parameter") as caught:
        schema.validate(name, SOUND.get(name, {}) | change)
    assert str(caught.value) == message


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ValueError, match="parameter") as caught:
        schema.validate("elastic", {"alpha": 30, "outside": "zeros"})
    assert str(caught.value) == (
        "parameter aug.elastic.sigma: missing, expected a number from 0.1 to 100 (pixels); add it in conf/aug/"
    )


def test_parameters_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(ValueError, match="parameter") as caught:
        schema.validate("equalize", [1])  # type: ignore[arg-type]
    assert str(caught.value) == ("parameter aug.equalize: expected a mapping, got [1]; correct it in conf/aug/")


@pytest.mark.parametrize(
    ("name", "change", "draws"),
    [
        *((name, {}, name not in STILL) for name in SOUND),
        ("ada", {"fraction": 0.5}, True),
        ("proxy_attention", {"fraction": 0.5}, True),
        ("equalize", {"p": 0.5}, True),
        ("equalize", {"p": 0}, False),
        ("gaussian_blur", {"sigma": [1, 1]}, False),
        ("gaussian_blur", {"kernel_size": 1}, False),
        ("elastic", {"alpha": 0}, False),
        ("random_crop", {"scale": [1, 1]}, True),
        ("random_crop", {"scale": [1, 1], "ratio": [1, 1]}, False),
        ("affine", {"degrees": 0, "translate": 0, "shear": 0}, True),
        ("affine", {"degrees": 0, "translate": 0, "shear": 0, "scale": [0.9, 0.9]}, False),
    ],
)
def test_what_draws_randomness(name: str, change: dict[str, Any], draws: bool) -> None:
    assert schema.draws_anything([(name, SOUND[name] | change)]) is draws


def test_a_chain_draws_where_one_of_its_parts_does() -> None:
    parts = [schema.Part(name, SOUND[name]) for name in ("equalize", "affine")]
    assert schema.draws_anything(parts)
    assert not schema.draws_anything(parts[:1])
    assert not schema.draws_anything([])
