"""Square patches of a folder of large images with masks, so that small objects can be seen: for data=folder.

    python examples/patches.py SOURCE TARGET [--side 64] [--label label2] [--marked defect]

SOURCE and TARGET hold images/, masks/ and labels.csv (id, label, split). Of an image of the class `marked` those
patches are taken whose mask covers LEAST to MOST of them, of any other image all; PER_MARKED or PER_OTHER of them,
drawn by `--seed`. A patch keeps its image's split, so that nothing of one image stands in two.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

LEAST, MOST = 0.02, 0.5  # share of the patch that its mask covers
PER_MARKED, PER_OTHER = 3, 2  # patches of an image


def corners(mask: np.ndarray, side: int, marked: bool) -> list[tuple[int, int]]:
    """Upper left corners, half a side apart, of the patches of an image that qualify."""
    height, width = mask.shape
    rows, columns = (range(0, length - side + 1, side // 2) for length in (height, width))
    return [
        (y, x)
        for y in rows
        for x in columns
        if not marked or LEAST <= mask[y : y + side, x : x + side].mean() <= MOST
    ]


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("source", type=Path)
    told.add_argument("target", type=Path)
    told.add_argument("--side", type=int, default=64, help="pixels")
    told.add_argument("--label", default="label2", help="column of labels.csv that holds the class")
    told.add_argument("--marked", default="defect", help="the class whose patches must show what their mask marks")
    told.add_argument("--seed", type=int, default=0)
    given = told.parse_args()
    generator = np.random.default_rng(given.seed)
    for name in ("images", "masks"):
        (given.target / name).mkdir(parents=True)
    rows = []
    with (given.source / "labels.csv").open(encoding="utf-8", newline="") as file:
        entries = list(csv.DictReader(file))
    for entry in entries:
        paths = [next((given.source / kind).glob(f"{entry['id']}.*")) for kind in ("images", "masks")]
        image, mask = (Image.open(path) for path in paths)
        marked = np.asarray(mask.convert("L")) > 0
        found = corners(marked, given.side, entry[given.label] == given.marked)
        most = PER_MARKED if entry[given.label] == given.marked else PER_OTHER
        for place in sorted(generator.permutation(len(found))[:most]):
            y, x = found[place]
            box = (x, y, x + given.side, y + given.side)
            name = f"{entry['id']}_{y}_{x}"
            image.crop(box).save(given.target / f"images/{name}.png")
            Image.fromarray(marked).crop(box).save(given.target / f"masks/{name}.png")
            rows.append((name, entry[given.label], entry["split"]))
    with (given.target / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "label", "split"])
        table.writerows(rows)
    print(f"{len(rows)} patches of {len(entries)} images in {given.target}")


if __name__ == "__main__":
    main()
