"""One picture's bytes → pixels of the size wanted, whatever the file claims to be."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps

Array = np.ndarray[Any, Any]

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")


def decode(data: bytes, where: str, *, mask: bool = False) -> Image.Image:
    """An upright 8-bit RGB picture, or a mask as it is; none above Pillow's safe size is decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data), formats=FORMATS))
            picture.load()
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise ValueError(
                f"{where}: expected at most {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller or remove it"
            ) from None
        except Exception as error:  # decoders raise nearly anything on damaged bytes
            raise ValueError(
                f"{where}: not an image that can be decoded ({type(error).__name__}); replace or remove it"
            ) from None
    if mask:
        return picture
    if picture.mode[0] in "IF":
        raise ValueError(f"{where}: has pixels of kind {picture.mode}, expected 8 bits a channel; convert it")
    return picture.convert("RGB")


def square(picture: Image.Image, size: int, how: Image.Resampling, fit: str = "crop") -> Image.Image:
    """crop: the central square, resized in one step, the same as resizing the shorter side and then cutting;
    squeeze: the whole picture, its sides brought to the same length."""
    if fit == "squeeze":
        return picture.resize((size, size), how)
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    return picture.resize((size, size), how, box=(left, top, left + side, top + side))


def mask_of(data: bytes, where: str, picture: Image.Image, size: int, fit: str = "crop") -> Array:
    """uint8 {0,1} [size,size]: the mask of `picture` by the same geometry, nearest pixel, 1 where above 0."""
    mask = decode(data, where, mask=True)
    if mask.size != picture.size:
        raise ValueError(f"{where}: has {mask.size} pixels, its image {picture.size}; give it the image's size")
    if mask.mode in ("LA", "RGBA", "PA"):  # opacity is no object
        mask = mask.convert("RGB")
    marked = np.asarray(mask) > 0
    flat = Image.fromarray((marked if marked.ndim == 2 else marked.any(axis=2)).astype(np.uint8))
    return np.asarray(square(flat, size, Image.Resampling.NEAREST, fit))
