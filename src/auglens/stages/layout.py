"""Where everything stands, relative to the project's top folder."""

from pathlib import Path

SPLITS = Path("data/splits")
CELLS = Path("data/cells")
INDEX = CELLS / "index.json"
WORK = Path(".auglens/work")  # states of unfinished trainings, by fingerprint; outside every stage's outputs
FETCHED = Path(".auglens/fetched")  # artefacts of cells that were trained elsewhere, by content
RUNS = Path("reports/runs.json")
PER_IMAGE = Path("reports/per_image.parquet")
CURVES = Path("reports/curves.csv")
STUDY_MAPS = Path("reports/study_maps")
COMPARISON = Path("reports/comparison")
METRICS = Path("reports/metrics.json")
AUGS = Path("reports/augs.png")
REPORT = Path("reports/index.html")


def train_spec(cell: str) -> Path:
    return CELLS / f"{cell}.train.json"


def maps_spec(cell: str) -> Path:
    return CELLS / f"{cell}.maps.json"


def checkpoint(cell: str) -> Path:
    return Path("models") / f"{cell}.safetensors"


def training_report(cell: str) -> Path:
    return Path("reports/training") / f"{cell}.json"


def maps(cell: str, variant: str) -> Path:
    return Path("cams") / cell / f"{variant}.npz"


def map_table(cell: str) -> Path:
    return Path("reports/maps") / f"{cell}.parquet"
