"""`auglens collect` and `compare` on 200 cells of 10,000 test images: seconds and peak memory, beside reading.

    python -m benchmarks.many_cells [ROUNDS]    the target: first collect, second collect, compare
    python -m benchmarks.many_cells growth      cost over cells and images, analyse and report included
    python -m benchmarks.many_cells build DIR [CELLS [IMAGES]]      a study of that size, to look at

The study is made here as `plan`, `explain` and `measure` would leave it, with random values that have the
structure of real ones: difficult images, augs that move some of them, seeds that scatter. Every stage is a process
of its own, as DVC runs it; peak memory is the stage's and that of the processes that draw for it, together.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import Timed, machine, note, report

CELLS, IMAGES, SEEDS = 200, 10_000, 5
SECONDS, MEGABYTES = 60.0, 2000.0  # targets, of collect and compare together and of each
CLASSES, SIDE, SIZE = 10, 7, 224  # the network of `profile=paper`: 7 × 7 maps, finished at 224 pixels
EPOCHS = 20
ROUNDS = 5
PAIR_IMAGES = 10  # of `growth`: every two models are compared on each, and the default of 1,000 takes hours
GROWN_CELLS, GROWN_IMAGES = 25, 1_000  # what `growth` holds still while the other grows
SEVEN = ("affine", "cutmix", "color_jitter", "elastic", "equalize", "gaussian_blur", "random_crop")
CONTROLS = ("identity", "noise", "reseed")


def augs(count: int) -> list[str]:
    """The seven and the controls, then chains of two, then of three."""
    chains = ["+".join(parts) for size in (2, 3) for parts in combinations(SEVEN, size)]
    return [*SEVEN[: max(count - 3, 1)], *CONTROLS, *chains][:count]


def parameters(cells: int) -> str:
    """This project's params.yaml with so many cells beside the reference, and the network of `profile=paper`."""
    import yaml

    values = yaml.safe_load(Path("params.yaml").read_text())
    values["aug"]["names"] = augs(cells // SEEDS)
    values["seeds"] = list(range(1, SEEDS + 1))
    values["model"] |= {"name": "efficientnet_b0", "image_size": SIZE, "output_stride": 32}
    return str(yaml.safe_dump(values, sort_keys=False))


def _stream(*words: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.random.SeedSequence(words).generate_state(2, np.uint64)))


def _cell(folder: Path, place: int, entry: dict[str, Any], index: dict[str, Any]) -> None:
    """What `train`, `explain` and `measure` leave of one cell: report, two variants of maps, table."""
    import pandas as pd

    from auglens import artifacts, config
    from auglens.stages import exchange, measure

    os.chdir(folder)
    settings = config.load().measure
    labels = artifacts.load_prepared("data/splits").labels[-len(np.load("test.npy")) :]
    count, cell = len(labels), entry["cell"]
    aug = augs(1000).index(entry["aug"]) if entry["aug"] != "reference" else 999
    common, of_aug, own = _stream(0), _stream(1, aug), _stream(2, place)
    hard, kind = common.random(count), of_aug.random(count)
    blobs = common.normal(size=(count, 8)) @ common.normal(size=(8, SIDE * SIDE))
    moved = 0.5 * of_aug.normal(size=(count, 4)) @ of_aug.normal(size=(4, SIDE * SIDE))
    raw = blobs + moved + 0.3 * own.normal(size=blobs.shape)
    raw = np.maximum(raw, 0).astype(np.float32).reshape(count, SIDE, SIDE)
    raw[:: max(count // 7, 1)] = 0  # a few degenerate maps, as there are
    wrong = own.random(count) < 0.05 + 0.3 * hard**2
    predicted = np.where(wrong, own.integers(0, CLASSES, count), labels)
    logits = own.normal(size=(count, CLASSES)).astype(np.float32)
    logits[np.arange(count), predicted] += 6
    known = {"logits": logits, "size": SIZE, "map_key": entry["map_key"]}
    maps = artifacts.Maps(raw=raw, targets=predicted.astype(np.int64), **known)
    other = np.where(wrong[:, None, None], raw[:, ::-1], raw)
    for variant, one in zip(
        (index["variant"], config.other_variant(index["variant"])),
        (maps, artifacts.Maps(raw=np.ascontiguousarray(other), targets=labels, **known)),
        strict=True,
    ):
        artifacts.save_maps(Path("cams", cell, f"{variant}.npz"), one)
    values = measure.describe(maps, labels)
    keys = {"map_key": entry["map_key"], "reference_map_key": index["cells"][0]["map_key"]}
    keys |= {"kld_eps": settings.kld_eps}
    values["constant"] = raw.reshape(count, -1).max(1) == 0
    if place:
        values |= {"reference_predicted": labels, "reference_correct": hard < 0.85}
        values["reference_predicted"] = values["reference_predicted"].astype(np.int16)
        values |= {"reference_raw_range": 1 + hard, "reference_constant": hard > 0.9995}
        names = [*settings.metrics[:-1], *settings.further]
        for n, name in enumerate([*settings.metrics[:-1], *settings.further, settings.metrics[-1]]):
            scatter = own.random(count)
            values[name] = 0.4 * hard + 0.2 * kind ** (1 + n / 4) + 0.3 * scatter
            if name in ("pearson", "spearman"):
                values[name][values["constant"]] = np.nan
        for name in names:
            values[f"true_{name}"] = np.where(wrong, 1 - values[name], values[name])
    table = pd.DataFrame(values)
    table.attrs = dict(keys)
    artifacts.save_table(exchange.files(cell, index["variant"])[exchange.PER_IMAGE], table)
    rising = 1 - 0.9 * np.exp(-np.arange(1, EPOCHS + 1) / 5)
    epochs = [
        {"epoch": n, "train_loss": 2.3 * (1 - at), "train_accuracy": at, "validation_loss": 2.4 * (1 - 0.9 * at)}
        | {"validation_accuracy": 0.9 * at + 0.02 * float(own.random())}
        for n, at in enumerate(rising.tolist(), 1)
    ]
    told = {"epochs": epochs, "best_epoch": EPOCHS, "steps": 1000, "parameters": 4_020_358}
    digest = artifacts.hash_values([cell if entry["aug"] != "equalize" else entry["aug"]])
    artifacts.save_json(Path("reports/training", f"{cell}.json"), told | {"checkpoint_sha256": digest})


def build(folder: Path, cells: int = CELLS, images: int = IMAGES) -> None:
    """The study in `folder`, ready for `auglens collect`; the store is fresh."""
    from auglens import artifacts

    wanted = parameters(cells)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(wanted)
    generator = _stream(3)
    count = images + 100
    names = [f"class {n}" for n in range(CLASSES)]
    manifest = {"name": "many", "classes": names, "size": 32, "content": artifacts.hash_values([images]),
                "source": artifacts.hash_values(["many"]), "mean": [0.5] * 3, "std": [0.2] * 3,
                "counts": {"train": 80, "validation": 20, "test": images}}  # fmt: skip
    artifacts.save_prepared(
        folder / "data/splits",
        artifacts.Prepared(
            generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8),
            generator.integers(0, CLASSES, count),
            None, np.arange(80), np.arange(80, 100), np.arange(100, count), manifest,
        ),
    )  # fmt: skip
    np.save(folder / "test.npy", np.arange(images))
    index = plan(folder, manifest["content"])
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_cell, [(folder, n, entry, index) for n, entry in enumerate(index["cells"])], chunksize=4)
    from PIL import Image

    Image.new("RGB", (8, 8)).save(folder / "reports/augs.png")


def plan(folder: Path, content: str) -> dict[str, Any]:
    """Specs and index as `auglens plan` writes them, without building the network."""
    from auglens import artifacts, config
    from auglens.plan import make_plan

    made = make_plan(config.load(folder / "params.yaml"), content)
    with artifacts.atomic_folder(folder / "data/cells") as cells:
        for cell in made.cells:
            artifacts.save_json(cells / f"{cell.name}.train.json", cell.train)
            artifacts.save_json(cells / f"{cell.name}.maps.json", cell.maps)
        artifacts.save_json(cells / "index.json", made.index())
    return made.index()


def part(whole: Path, folder: Path, cells: int) -> None:
    """The same study with the first so many cells: the files are those of `whole`, the plan is its own."""
    from auglens import artifacts

    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(parameters(cells))
    for name in ("data/splits", "cams", "reports/training", "reports/maps", "reports/augs.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to((whole / name).resolve())
    plan(folder, artifacts.load_json(whole / "data/splits/manifest.json")["content"])


def _memory(process: int) -> int:
    """Bytes of a process and its children, pages that they share counted once; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        found = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
        for thread in Path(f"/proc/{process}/task").iterdir():
            found += sum(_memory(int(child)) for child in (thread / "children").read_text().split())
    except OSError:
        return 0
    return found


def stage(folder: Path, *words: str) -> tuple[float, float]:
    """(seconds, peak megabytes) of one command in `folder`: its own peak as the kernel knows it, or that of all
    its processes together, looked at twice a second, whichever is more."""
    hidden = {"MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DVC_ROOT"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    ended, together = threading.Event(), [0]
    started = time.perf_counter()
    with (folder / f"{words[0]}.log").open("w") as log:
        process = subprocess.Popen([sys.executable, *words], cwd=folder, env=environment, stdout=log, stderr=log)

        def look() -> None:
            while not ended.wait(0.5):
                together[0] = max(together[0], _memory(process.pid))

        looking = threading.Thread(target=look)
        looking.start()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        ended.set()
        looking.join()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError((folder / f"{words[0]}.log").read_text())
    return seconds, max(used.ru_maxrss * 1024, together[0]) / 1e6


def auglens(folder: Path, command: str) -> tuple[float, float]:
    return stage(folder, "-m", "auglens.cli", command)


READING = """
import sys
from pathlib import Path
from auglens import artifacts
index = artifacts.load_json("data/cells/index.json")
for entry in index["cells"]:
    artifacts.load_table(f"reports/maps/{entry['cell']}.parquet")
    artifacts.load_maps(f"cams/{entry['cell']}/{index['variant']}.npz")
"""


def forget(folder: Path) -> None:
    """The store, and what `collect` and the later stages made."""
    for name in ("mlflow.db", "mlflow.db.lock", "mlartifacts", "reports/study_maps", "reports/comparison",
                 "reports/analysis", "reports/per_image.parquet"):  # fmt: skip
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def target(folder: Path, rounds: int = ROUNDS) -> bool:
    """The rows of the target: first collect + compare, second collect + compare, beside reading the files."""
    found: dict[str, Timed] = {name: Timed() for name in ("first", "second", "compare", "reading")}
    peaks: dict[str, float] = dict.fromkeys(found, 0.0)
    for turn in range(rounds):
        forget(folder)
        for name, run in (
            ("reading", lambda: stage(folder, "-c", READING)),
            ("first", lambda: auglens(folder, "collect")),
            ("second", lambda: auglens(folder, "collect")),
            ("compare", lambda: auglens(folder, "compare")),
        ):
            seconds, megabytes = run()
            note(f"many_cells {turn + 1}/{rounds}: {name} {seconds:.1f} s, {megabytes:.0f} MB")
            found[name].seconds.append(seconds)
            peaks[name] = max(peaks[name], megabytes)
    met = True
    for name, publishes in (("first", "every cell"), ("second", "nothing")):
        seconds = found[name].median + found["compare"].median
        peak = max(peaks[name], peaks["compare"])
        good = seconds <= SECONDS and peak <= MEGABYTES
        met &= good
        report(
            "many_cells", row=f"{name} collect + compare", publishes=publishes, cells=CELLS, images=IMAGES,
            seconds=seconds, target_seconds=SECONDS, peak_mb=peak, target_mb=MEGABYTES,
            collect={"seconds": found[name].median, "peak_mb": peaks[name], "all": found[name].seconds},
            compare={"seconds": found["compare"].median, "peak_mb": peaks["compare"],
                     "all": found["compare"].seconds},
            of_limit={"limit": "reading the files, one process", "seconds": found["reading"].median,
                      "peak_mb": peaks["reading"], "share": found["reading"].median / seconds},
            met=good, repetitions=rounds, machine=machine(),
        )  # fmt: skip
    return met


def growth() -> None:
    """Rows of `growth`: cost over images at GROWN_CELLS cells, then over cells at GROWN_IMAGES images."""
    with tempfile.TemporaryDirectory(prefix="many-cells-") as name:
        for images in (GROWN_IMAGES, 3_000, IMAGES):
            folder = Path(name, f"images-{images}")
            build(folder, GROWN_CELLS, images)
            _grown(folder, GROWN_CELLS, images)
        whole = Path(name, "whole")
        build(whole, CELLS, GROWN_IMAGES)
        for cells in (50, 100, CELLS):
            folder = Path(name, str(cells))
            part(whole, folder, cells)
            _grown(folder, cells, GROWN_IMAGES)


def _grown(folder: Path, cells: int, images: int) -> None:
    import yaml

    settings = yaml.safe_load((folder / "params.yaml").read_text())
    settings["analysis"]["pair_images"] = PAIR_IMAGES
    (folder / "params.yaml").write_text(str(yaml.safe_dump(settings, sort_keys=False)))
    values: dict[str, float] = {}
    for label, command in (("collect", "collect"), ("collect_again", "collect"), ("compare", "compare"),
                           ("analyse", "analyse"), ("report", "report")):  # fmt: skip
        values[f"{label}_s"], values[f"{label}_mb"] = auglens(folder, command)
        note(f"growth {cells} × {images}: {label} {values[f'{label}_s']:.1f} s")
    report("growth", cells=cells, images=images, pair_images=PAIR_IMAGES, **values)
    shutil.rmtree(folder)


def main(words: list[str]) -> int:
    if words[:1] == ["build"]:
        build(Path(words[1]), *(int(word) for word in words[2:4]))
        return 0
    if words[:1] == ["growth"]:
        growth()
        return 0
    with tempfile.TemporaryDirectory(prefix="many-cells-") as name:
        note("many_cells: building the study")
        build(Path(name))
        return 0 if target(Path(name), int(words[0]) if words else ROUNDS) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
