"""The peer of `benchmarks.study`: the same study as one would write it by hand in an afternoon.

torchvision in a DataLoader with two workers, a plain loop, pytorch-grad-cam, scipy image by image; one process, no
pipeline, no tracking, nothing kept but a table and two figures. Everything is at its library's default.

    python -m benchmarks.naive_study DATA OUT --augs affine color_jitter equalize --epochs 2
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from auglens import compat

compat.import_torchvision()  # beside a CPU torch, torchvision does not import by itself

import timm  # noqa: E402
from pytorch_grad_cam import GradCAM  # noqa: E402
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402
from scipy import stats  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

AUGMENTATIONS = {
    "affine": v2.RandomAffine(20, translate=(0.1, 0.1), scale=(0.85, 1.15), shear=10),
    "color_jitter": v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "equalize": v2.RandomEqualize(p=1.0),
}
METRICS = ("mad", "msd", "pearson", "spearman", "overlap_20", "overlap_10", "overlap_5", "class_kld")
EPS = 2.2204e-16


class Images(Dataset[Any]):
    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Any) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        return self.transform(torch.from_numpy(self.images[at])), int(self.labels[at])


def read(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    with (folder / name).open("rb") as file:
        values = pickle.load(file, encoding="latin1")
    return values["data"].reshape(-1, 3, 32, 32), np.array(values["labels"])


def make_model(name: str, output_stride: int | None) -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"output_stride": output_stride} if output_stride else {}
    return timm.create_model(name, num_classes=10, **options)


def evaluate(model: torch.nn.Module, loader: Any) -> float:
    model.eval()
    right = 0
    with torch.no_grad():
        for images, labels in loader:
            right += (model(images).argmax(1) == labels).sum().item()
    return right / len(loader.dataset)


def train(model: torch.nn.Module, training: Any, validation: Any, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    loss_function = torch.nn.CrossEntropyLoss()
    best, kept = -1.0, None
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for images, labels in training:
            optimizer.zero_grad()
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        accuracy = evaluate(model, validation)
        if accuracy > best:
            best, kept = accuracy, {name: value.clone() for name, value in model.state_dict().items()}
        print(f"epoch {epoch + 1}: loss {total / len(training.dataset):.3f}, accuracy {accuracy:.3f}", flush=True)
    model.load_state_dict(kept)


def explain(model: torch.nn.Module, layer: torch.nn.Module, loader: Any) -> tuple[np.ndarray, np.ndarray]:
    """Finished maps [N,H,W] and probabilities [N,classes]."""
    model.eval()
    maps, probabilities = [], []
    with GradCAM(model=model, target_layers=[layer]) as cam:
        for images, _ in loader:
            with torch.no_grad():
                outputs = model(images)
            targets = [ClassifierOutputTarget(int(one)) for one in outputs.argmax(1)]
            maps.append(cam(input_tensor=images, targets=targets))
            probabilities.append(outputs.double().softmax(1).numpy())
    return np.concatenate(maps), np.concatenate(probabilities)


def compare(p: np.ndarray, q: np.ndarray, p_probs: np.ndarray, q_probs: np.ndarray) -> dict[str, float]:
    a, b = p.ravel().astype(np.float64), q.ravel().astype(np.float64)
    found = {"mad": np.abs(a - b).mean(), "msd": ((a - b) ** 2).mean()}
    found["pearson"] = stats.pearsonr(a, b)[0] if np.ptp(a) and np.ptp(b) else np.nan
    found["spearman"] = stats.spearmanr(a, b)[0] if np.ptp(a) and np.ptp(b) else np.nan
    for share in (20, 10, 5):
        one, two = a >= np.percentile(a, 100 - share), b >= np.percentile(b, 100 - share)
        found[f"overlap_{share}"] = (one & two).sum() / (one | two).sum()
    found["class_kld"] = (q_probs * np.log(EPS + q_probs / (EPS + p_probs))).sum()
    return found


def figures(table: pd.DataFrame, out: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(16, 8))
    for axis, metric in zip(axes.flat, METRICS, strict=True):
        table.boxplot(metric, by="aug", ax=axis)
    figure.savefig(out / "boxes.svg")
    figure, axes = plt.subplots(2, 4, figsize=(16, 8))
    for axis, metric in zip(axes.flat, METRICS, strict=True):
        matrix = table.pivot_table(index="image", columns="aug", values=metric).corr()
        axis.imshow(matrix, vmin=-1, vmax=1)
        axis.set_title(metric)
        matrix.to_csv(out / f"correlation_{metric}.csv")
    figure.savefig(out / "correlations.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--augs", nargs="+", default=list(AUGMENTATIONS))
    parser.add_argument("--model", default="efficientnet_b0")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--output-stride", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    parts = [read(given.data, f"data_batch_{k}") for k in range(1, 6)]
    images, labels = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    shuffled = np.random.default_rng(0).permutation(len(labels))
    held, kept = shuffled[: len(labels) // 10], shuffled[len(labels) // 10 :]
    test_images, test_labels = read(given.data, "test_batch")
    mean, std = images[kept].mean((0, 2, 3)) / 255, images[kept].std((0, 2, 3)) / 255
    plain = [
        v2.Resize(given.size, antialias=True),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean.tolist(), std.tolist()),
    ]
    options = {"batch_size": given.batch, "num_workers": 2}
    validation = DataLoader(Images(images[held], labels[held], v2.Compose(plain)), **options)
    testing = DataLoader(Images(test_images, test_labels, v2.Compose(plain)), **options)

    explained, accuracies = {}, {}
    for aug in ["reference", *given.augs]:
        data: Dataset[Any] = Images(images[kept], labels[kept], v2.Compose(plain))
        if aug != "reference":
            augmented = v2.Compose([AUGMENTATIONS[aug], *plain])
            data = ConcatDataset([data, Images(images[kept], labels[kept], augmented)])
        model = make_model(given.model, given.output_stride)
        torch.manual_seed(1)
        train(model, DataLoader(data, shuffle=True, **options), validation, given.epochs)
        accuracies[aug] = evaluate(model, testing)
        layer = model.bn2 if hasattr(model, "bn2") else model.layer4
        explained[aug] = explain(model, layer, testing)
        print(f"{aug}: accuracy {accuracies[aug]:.3f}", flush=True)

    reference_maps, reference_probs = explained.pop("reference")
    rows = []
    for aug, (maps, probs) in explained.items():
        for n in range(len(maps)):
            found = compare(reference_maps[n], maps[n], reference_probs[n], probs[n])
            rows.append({"aug": aug, "image": n, **found})
    table = pd.DataFrame(rows)
    table.to_csv(given.out / "table.csv", index=False)
    pd.Series(accuracies).to_csv(given.out / "accuracy.csv")
    figures(table, given.out)


if __name__ == "__main__":
    main()
