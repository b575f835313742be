"""The training that one writes by hand: torchvision image by image in a DataLoader with two workers, a plain loop.

It imports nothing of auglens: its numbers are what a user of torch gets.
"""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

WORKERS = 2


class BothHalves(Dataset[tuple[Tensor, int]]):
    """The originals and, behind them, one transformed image of each.

    images: uint8 [N,3,H,W]; labels: int64 [N] → float32 [3,size,size], normalised, and the label, 2N of them.
    """

    def __init__(self, images: Tensor, labels: Tensor, size: int, mean: list[float], std: list[float]) -> None:
        self.images, self.labels = images, labels.tolist()
        self.change = v2.RandomAffine(
            degrees=20,
            translate=(0.1, 0.1),
            scale=(0.85, 1.15),
            shear=10,
            interpolation=InterpolationMode.BILINEAR,
        )
        self.finish = v2.Compose(
            [v2.Resize(size, antialias=True), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
        )

    def __len__(self) -> int:
        return 2 * len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        source = index % len(self.images)
        image = self.images[source]
        if index >= len(self.images):
            image = self.change(image)
        return self.finish(image), self.labels[source]


class Training:
    """A model and its optimizer, trained on by every call of `epoch`."""

    def __init__(
        self,
        name: str,
        images: Tensor,
        labels: Tensor,
        *,
        classes: int,
        size: int,
        mean: list[float],
        std: list[float],
        batch_size: int,
        learning_rate: float,
        weight_decay: float,
        bf16: bool,
        **options: float,
    ) -> None:
        data = BothHalves(images, labels, size, mean, std)
        # Workers that stay: their start is no part of an epoch, which would be minutes in a real training. Forked,
        # as a program's workers are on Linux; a benchmark's process would spawn its own.
        self.loader = DataLoader(
            data,
            batch_size=batch_size,
            shuffle=True,
            num_workers=WORKERS,
            persistent_workers=True,
            multiprocessing_context="fork",
        )
        self.model = timm.create_model(name, pretrained=False, num_classes=classes, **options)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        self.criterion = nn.CrossEntropyLoss()
        self.bf16 = bf16

    def epoch(self) -> float:
        """Trains an epoch; the mean loss of its batches."""
        self.model.train()
        total = 0.0
        for images, labels in self.loader:
            self.optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                loss = self.criterion(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)
