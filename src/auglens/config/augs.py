"""The groups of augmentations: what the second half is made by, and what the first goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auglens.active import specs as active
from auglens.config.checks import require
from auglens.data.augmentations import schema


@dataclass(frozen=True)
class AugConfig:
    """The augs of a study and the parameters of every part that they may be made of."""

    names: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        unique = len(set(self.names)) == len(self.names)
        require(unique, "aug.names", "each aug once", list(self.names))
        for name, values in self.parameters.items():
            schema.validate(name, values)
            method = active.fixed_method(name)
            right = method is None or values["method"] == method
            require(right, f"aug.{name}.method", f"{method}, which the name says", values.get("method"))
        for name in self.names:
            for part in schema.parse(name):
                known = self.of(part) is not None or not schema.known()[part].knobs
                require(known, f"aug.{part}", f"the parameters of {part} (used by {name})", None)
        self._check_cells()

    def of(self, part: str) -> Mapping[str, Any] | None:
        """The parameters of a part, `ada_gradcam`'s among them; None where there are none."""
        return active.resolved(part, self.parameters)

    def _check_cells(self) -> None:
        cut = self.parameters.get("attentive_cutmix")
        if cut:
            most = cut["grid"] ** 2
            told = f"1 to {most}, the cells of aug.attentive_cutmix.grid"
            require(cut["cells"] <= most, "aug.attentive_cutmix.cells", told, cut["cells"])


@dataclass(frozen=True)
class ClassicConfig:
    """The augmentation of the first half, the same in every cell: what the originals go through in each epoch."""

    chain: str | None  # parts joined by +; None = the originals as they are
    from_epoch: int  # epochs that see the originals before it begins
    parameters: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        require(self.from_epoch >= 0, "classic.from_epoch", "0 or more epochs", self.from_epoch)
        for part in self.parts:
            spec = schema.known()[part]
            plain = not spec.active and part not in schema.CONTROLS and part not in schema.OWN
            told = (
                "augmentations that look at one image alone: no control, none that is saliency-driven or one's own"
            )
            require(plain and part != "cutmix", "classic.chain", told, self.chain)
            require(part in self.parameters, f"classic.{part}", f"the parameters of {part}", None)
        for name, values in self.parameters.items():
            schema.validate(name, values, where="classic")

    @property
    def parts(self) -> tuple[str, ...]:
        return schema.parse(self.chain) if self.chain else ()
