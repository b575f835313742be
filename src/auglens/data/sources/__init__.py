"""Where images come from: four sources that all end as one `Source` value of plain arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from auglens.config import DataConfig

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Source:
    """Everything that a data set gives.

    images uint8 [N,3,H,W]; labels int64 [N]: rows of `classes`; given: train, validation, test → int64 rows
    of `images`, as far as the data set says (empty: it says nothing); masks uint8 {0,1} [N,H,W] or None;
    ids: one name per image or None; content_sha256: digest of the arrays, so that the same images read from
    an archive and from a folder are the same content.
    """

    images: Array
    labels: Array
    classes: tuple[str, ...]
    given: Mapping[str, Array]
    masks: Array | None = None
    ids: tuple[str, ...] | None = None
    content_sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content_sha256", _digest(self))


def _digest(source: Source) -> str:
    """sha256 over names, dtypes, shapes and bytes (little-endian) of all that `source` holds."""
    digest = hashlib.sha256(repr(source.classes).encode())
    arrays = {"images": source.images, "labels": source.labels, "masks": source.masks, **source.given}
    for name, array in arrays.items():
        if array is not None:
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{name} {little.dtype.str} {little.shape}".encode())
            digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def load_source(config: DataConfig) -> Source:
    """Read or make the images that `config` names; a relative `config.source` starts at the working folder.

    Raises ValueError in one line (what, where, what was expected, the fix).
    """
    if config.name == "shapes":
        from auglens.data.sources import shapes

        return shapes.load(train=config.train, test=config.test, size=config.size or shapes.SIZE)
    for key in ("train", "test"):
        if getattr(config, key) != 0:
            raise ValueError(
                f"parameter data.{key}: expected 0, since {config.name} brings its own images, "
                f"got {getattr(config, key)}; set data.{key}=0"
            )
    if config.name == "folder":
        from auglens.data.sources import folder

        if config.size is None:
            raise ValueError(
                "parameter data.size: expected a number of pixels, since images of a folder differ in size, "
                "got None; set data.size=64"
            )
        return folder.load(config.source, size=config.size, label=config.label, fit=config.fit)
    from auglens.data.sources import cifar

    if config.size not in (None, cifar.SIZE):
        raise ValueError(
            f"parameter data.size: expected null or {cifar.SIZE}, since {config.name} is kept as it is, "
            f"got {config.size}; set data.size=null (model.image_size is what the network sees)"
        )
    return cifar.load(config.name, config.source)
