"""What stages hand to one another: prepared data, checkpoints, maps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auglens.artifacts.replacing import atomic, atomic_folder
from auglens.artifacts.values import Array, load_arrays, load_json, plain, save_arrays, save_json

MAP_ARRAYS = ("raw", "logits", "targets", "size", "map_key")


@dataclass(frozen=True)
class Maps:
    """One cell's explanations. raw float32 [N,h,w]; logits float32 [N,C]; targets int64 [N]; size: pixels;
    predicted, truth: of a segmentation what it says and the masks, packed bits uint8 [N,⌈size²/8⌉], else None."""

    raw: Array
    logits: Array
    targets: Array
    size: int  # side of the finished map = of the image that the network sees
    map_key: str
    predicted: Array | None = None
    truth: Array | None = None

    def segmentation(self) -> Array:
        """What a segmentation says: bool [N,size,size]; ValueError where the cell is none's."""
        return self._unpacked(self.predicted)

    def masks(self) -> Array:
        """The masks as the network sees them: bool [N,size,size]; ValueError as of `segmentation`."""
        return self._unpacked(self.truth)

    def _unpacked(self, packed: Array | None) -> Array:
        if packed is None:
            raise ValueError("maps: expected those of a segmentation, got none of its masks; run `dvc repro`")
        bits = np.unpackbits(packed, axis=1, count=self.size**2)
        return np.asarray(bits.reshape(-1, self.size, self.size).astype(bool))


def save_maps(path: Path | str, maps: Maps) -> None:
    scalars = {"size": np.int64(maps.size), "map_key": np.str_(maps.map_key)}
    arrays = {"raw": maps.raw, "logits": maps.logits, "targets": maps.targets} | scalars
    masks = {"predicted": maps.predicted, "truth": maps.truth}
    arrays |= {name: value for name, value in masks.items() if value is not None}
    save_arrays(path, **{name: np.asarray(value) for name, value in arrays.items()})


def load_maps(path: Path | str) -> Maps:
    arrays = load_arrays(path, MAP_ARRAYS, beside=("predicted", "truth"))
    raw, logits, targets = arrays["raw"], arrays["logits"], arrays["targets"]
    if raw.ndim != 3 or logits.ndim != 2 or targets.shape != (len(raw),) or len(logits) != len(raw):
        shapes = f"raw {raw.shape}, logits {logits.shape}, targets {targets.shape}"
        raise ValueError(f"{path}: expected raw [N,h,w], logits [N,C], targets [N], got {shapes}; delete it")
    masks = arrays.get("predicted"), arrays.get("truth")
    return Maps(raw, logits, targets, int(arrays["size"]), str(arrays["map_key"]), *masks)


@dataclass(frozen=True)
class Prepared:
    """The prepared data. images uint8 [N,3,H,W], memory-mapped; labels int64 [N]; masks uint8 [N,H,W] or None;
    train, validation, test int64: rows of `images`; manifest: classes, mean, std, content and more."""

    images: Array
    labels: Array
    masks: Array | None
    train: Array
    validation: Array
    test: Array
    manifest: dict[str, Any]


SPLITS = ("train", "validation", "test")


def save_prepared(folder: Path | str, prepared: Prepared) -> None:
    with atomic_folder(folder) as temporary:
        np.save(temporary / "images.npy", prepared.images)
        np.save(temporary / "labels.npy", prepared.labels)
        if prepared.masks is not None:
            np.save(temporary / "masks.npy", prepared.masks)
        save_arrays(temporary / "split.npz", **{name: getattr(prepared, name) for name in SPLITS})
        save_json(temporary / "manifest.json", prepared.manifest)


def load_prepared(folder: Path | str) -> Prepared:
    root = Path(folder)
    manifest = load_json(root / "manifest.json", ("classes", "mean", "std", "content"))
    split = load_arrays(root / "split.npz", SPLITS)
    try:
        images = np.load(root / "images.npy", mmap_mode="r")
        labels = np.load(root / "labels.npy")
        masks = np.load(root / "masks.npy", mmap_mode="r") if (root / "masks.npy").exists() else None
    except (OSError, ValueError):
        raise ValueError(f"{root}: images.npy or labels.npy is missing or damaged; run `dvc repro`") from None
    return Prepared(images, labels, masks, split["train"], split["validation"], split["test"], manifest)


def save_checkpoint(path: Path | str, tensors: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Torch tensors as safetensors. The metadata is one JSON text: several keys come in random order."""
    from safetensors.torch import save_file

    with atomic(path) as temporary:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, {"auglens": json.dumps(plain(metadata), sort_keys=True)})


def load_checkpoint(path: Path | str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, metadata) of a checkpoint; ValueError where it is missing or is not one of ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["auglens"])
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path}: no such checkpoint; run `dvc repro` to train it") from None
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError):
        raise ValueError(f"{path}: not an auglens checkpoint; delete it and run `dvc repro`") from None
