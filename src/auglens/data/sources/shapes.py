"""Ten kinds of shape on cluttered ground, with their masks: the embedded data set, made from numbers alone.

A class is a kind of shape and nothing else: colour, contrast, place, size, turn, stretch, texture, clutter
and occlusion come from streams that do not know the class. Image i of a part is a function of (part, i):
Philox counts to its own words, so that asking for more images changes none. Words become numbers here, not in
numpy's Generator, whose methods may change between versions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from auglens.data.sources import Source

Array = np.ndarray[Any, Any]

SIZE = 32  # pixels
CLASSES = ("disk", "ring", "square", "triangle", "cross", "star", "hexagon", "bar", "crescent", "heart")
PARTS = ("train", "test")

# How hard it is. Tuned so that a small network on a thousand images ends well above chance after a hundred
# steps and well below perfect after a few hundred; darker shapes too, or any turn, would need many more.
SCALE = (0.34, 0.54)  # outer radius; the image spans 2
# The centre's largest distance from the middle, along each axis: so far that a map must look for the shape. With
# 0.16 a fixed Gaussian in the middle of the image finds the masks better than any trained network's map.
PLACE = 0.46
TURN = 0.45  # radians, to either side
STRETCH, SKEW = 0.16, 0.16  # logarithm of the aspect's root, shear
CONTRAST = (0.36, 0.70)  # rise over the ground's mean of the channel that rises most
RISE = 0.2  # least rise of the other channels, as a share of that
TEXTURE = 0.065  # largest amplitude of one wave of the ground; the shape's own has half
WAVES = 3  # plane waves in a texture
CLUTTER, CLUTTER_CONTRAST = 3, 0.20  # small pieces behind the shape
OCCLUDED = 0.4  # share of images with a piece that may cover part of the shape
NOISE = (0.02, 0.05)  # standard deviation

NUMBERS = 96  # uniform numbers that one scene may use; a multiple of Philox's four words
PIXELS = 1 << 18  # computed at a time: about 2 MB per float64 field


def load(*, train: int, test: int, size: int = SIZE) -> Source:
    """`train` and `test` images of `size` pixels, class by turns; masks are the shape's visible pixels."""
    for key, count in (("train", train), ("test", test)):
        if count < 1:
            raise ValueError(
                f"parameter data.{key}: expected the number of shapes to make, got {count}; set it above 0"
            )
    made = [make(part, 0, count, size) for part, count in zip(PARTS, (train, test), strict=True)]
    images, masks = (np.concatenate(arrays) for arrays in zip(*made, strict=True))
    rows = np.arange(train + test)
    labels = np.concatenate([np.arange(train), np.arange(test)]) % len(CLASSES)
    return Source(images, labels, CLASSES, {"train": rows[:train], "test": rows[train:]}, masks)


def make(part: str, start: int, count: int, size: int = SIZE) -> tuple[Array, Array]:
    """(images uint8 [count,3,size,size], masks uint8 {0,1} [count,size,size]) of rows `start`… of `part`."""
    images = np.empty((count, 3, size, size), np.uint8)
    masks = np.empty((count, size, size), np.uint8)
    step = max(1, PIXELS // size**2)
    for at in range(0, count, step):
        rows = np.arange(start + at, start + min(at + step, count))
        images[at : at + step], masks[at : at + step] = _scenes(part, rows, size)
    return images, masks


def _words(part: str, stream: int, start: int, count: int, width: int) -> Array:
    """uint64 [count,width]: row r holds words (start+r)·width… of a stream; width is a multiple of four."""
    key = np.array([PARTS.index(part), stream], np.uint64)
    philox = np.random.Philox(key=key).advance(start * width // 4)
    return philox.random_raw(count * width).reshape(count, width)


class _Numbers:
    """Hands out each scene's uniform numbers in a fixed order, shaped to stand beside pixels."""

    def __init__(self, words: Array) -> None:
        self.uniform = (words >> np.uint64(11)) * 2.0**-53
        self.used = 0

    def __call__(self, low: float, high: float) -> Array:
        """float64 [n,1,1] in [low, high)."""
        self.used += 1
        return (low + (high - low) * self.uniform[:, self.used - 1])[:, None, None]

    def colour(self, low: float, high: float) -> Array:
        """float64 [n,3,1,1] in [low, high)."""
        return np.stack([self(low, high) for _ in range(3)], axis=1)


def _scenes(part: str, rows: Array, size: int) -> tuple[Array, Array]:
    """Ground, clutter, shape, occluder, light, noise, in this order; the image spans [-1, 1]."""
    draw = _Numbers(_words(part, 0, int(rows[0]), len(rows), NUMBERS))
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.broadcast_arrays(axis[None, None, :], axis[None, :, None])
    pixel = 2 / size

    ground = draw.colour(0.12, 0.58)
    picture = ground + _texture(draw, x, y, TEXTURE)
    for _ in range(CLUTTER):
        distance = _piece(draw, x, y)
        picture = _paint(
            picture, _cover(distance, pixel), ground + draw.colour(-CLUTTER_CONTRAST, CLUTTER_CONTRAST)
        )

    # the shape's own coordinates: moved, turned, stretched, scaled
    scale, stretch, skew = draw(*SCALE), draw(-STRETCH, STRETCH), draw(-SKEW, SKEW)
    u, v = _turned(x - draw(-PLACE, PLACE), y - draw(-PLACE, PLACE), draw(-TURN, TURN))
    u, v = (u + skew * v) / scale * np.exp(stretch), v / scale * np.exp(-stretch)
    distance = _distances(u, v, rows % len(CLASSES)) * scale
    shape = _cover(distance, pixel)
    contrast = _lift(draw) * draw(*CONTRAST)[:, None]
    picture = _paint(picture, shape, ground + contrast + _texture(draw, x, y, TEXTURE / 2))

    occluder = _cover(_piece(draw, x, y), pixel) * (draw(0, 1) < OCCLUDED)
    picture = _paint(picture, occluder, ground + draw.colour(-CLUTTER_CONTRAST, CLUTTER_CONTRAST))

    light = 1 + draw(-0.25, 0.25) * x + draw(-0.25, 0.25) * y
    picture = picture * light[:, None] + draw(*NOISE)[:, None] * _noise(part, rows, size)
    images = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return images, (shape * (1 - occluder) >= 0.5).astype(np.uint8)


def _noise(part: str, rows: Array, size: int) -> Array:
    """float64 [n,3,H,W], uniform with standard deviation 1: three 16-bit lanes of one word per pixel."""
    width = -(-(size**2) // 4) * 4
    words = _words(part, 1, int(rows[0]), len(rows), width)[:, : size**2].reshape(-1, 1, size, size)
    lanes = (words >> np.array([0, 16, 32], np.uint64)[:, None, None]) & np.uint64(0xFFFF)
    return (lanes / 65535 - 0.5) * np.sqrt(12)


def _paint(picture: Array, cover: Array, colour: Array) -> Array:
    return picture + cover[:, None] * (colour - picture)


def _cover(distance: Array, pixel: float) -> Array:
    """Share of a pixel that is inside, from the signed distance of its centre (negative inside)."""
    return np.clip(0.5 - distance / pixel, 0, 1)


def _turned(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return x * cosine + y * sine, y * cosine - x * sine


def _lift(draw: _Numbers) -> Array:
    """float64 [n,3,1,1]: a change of colour for the lighter, largest channel 1."""
    colour = draw.colour(RISE, 1)
    return colour / colour.max(axis=1, keepdims=True)


def _texture(draw: _Numbers, x: Array, y: Array, strength: float) -> Array:
    """float64 [n,3,H,W]: a few coloured plane waves."""
    waves = 0.0
    for _ in range(WAVES):
        phase = draw(1.5, 9) * _turned(x, y, draw(0, np.pi))[0] + draw(0, 2 * np.pi)
        waves = waves + np.sin(phase)[:, None] * draw.colour(-strength, strength)
    return np.asarray(waves)


def _piece(draw: _Numbers, x: Array, y: Array) -> Array:
    """Signed distance of a small disk or box anywhere: clutter and occluders."""
    u, v = _turned(x - draw(-1, 1), y - draw(-1, 1), draw(-np.pi, np.pi))
    long, short = draw(0.10, 0.40), draw(0.06, 0.18)
    return np.where(draw(0, 1) < 0.5, np.hypot(u, v) - short, _box(u, v, long, short))


# Signed distances of the ten shapes: negative inside, outer radius about 1; exact along the edge.


def _box(u: Array, v: Array, half: Array | float, height: Array | float) -> Array:
    return np.maximum(np.abs(u) - half, np.abs(v) - height)


def _points(u: Array, v: Array, count: int, inner: float) -> Array:
    """A star of `count` tips at radius 1 and notches at `inner`; cos(π/count) makes a regular polygon."""
    half = np.pi / count
    angle = np.abs((np.arctan2(v, u) + half) % (2 * half) - half)
    radius = np.hypot(u, v)
    edge = np.array([inner * np.cos(half) - 1, inner * np.sin(half)])  # from a tip to the next notch
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    return (radius * np.cos(angle) - 1) * normal[0] + radius * np.sin(angle) * normal[1]


def _heart(u: Array, v: Array) -> Array:
    """A square on its corner and a disk on each of its two upper sides (v points down)."""
    half = 0.55
    square = (np.abs(u) + np.abs(v - 0.1)) / np.sqrt(2) - half
    shift = half / np.sqrt(2)
    return np.minimum(square, np.hypot(np.abs(u) - shift, v - 0.1 + shift) - half)


_SHAPES: tuple[Callable[[Array, Array], Array], ...] = (
    lambda u, v: np.hypot(u, v) - 0.85,
    lambda u, v: np.abs(np.hypot(u, v) - 0.72) - 0.22,
    lambda u, v: _points(u, v, 4, np.cos(np.pi / 4)),
    lambda u, v: _points(u, v, 3, np.cos(np.pi / 3)),
    lambda u, v: np.minimum(_box(u, v, 0.95, 0.3), _box(u, v, 0.3, 0.95)),
    lambda u, v: _points(u, v, 5, 0.42),
    lambda u, v: _points(u, v, 6, np.cos(np.pi / 6)),
    lambda u, v: _box(u, v, 1.05, 0.3),
    lambda u, v: np.maximum(np.hypot(u + 0.1, v) - 0.95, 0.78 - np.hypot(u - 0.4, v)),
    _heart,
)


def _distances(u: Array, v: Array, labels: Array) -> Array:
    """float64 [n,H,W]: each image's coordinates in its own class's shape."""
    distance = np.empty(np.broadcast_shapes(u.shape, v.shape))
    for label, shape in enumerate(_SHAPES):
        own = labels == label
        distance[own] = shape(u[own], v[own])
    return distance
