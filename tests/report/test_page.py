"""The page: what may be in it, what may not, what it holds of a large study, how large it becomes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from PIL import Image
from tests.report.conftest import AUGS, CLASSES, CONTROLS, HOSTILE, METRICS, Study, make_study

from auglens.report import Picture, Section, budget_left, select_images, table
from auglens.report.browser import make_sheets, quantise
from auglens.report.page import compact_svg, unbroken

Page = Callable[..., str]


class Reader(HTMLParser):
    """Every element with its attributes, and the text of script and style elements."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inline: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inline.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.inline[-1] += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def payload(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="browser-data">(.*?)</script>', page, re.S)
    assert found
    return dict(json.loads(found[1]))


def test_no_text_breaks_out_of_its_place(make_page: Page) -> None:
    page = make_page()
    reader = Reader(page)
    assert [attributes.get("type") for attributes in reader.all("script")] == ["application/json", None, None]
    assert "window.broken" not in "".join(reader.inline[2:])
    assert not reader.all("b")
    assert reader.text.count(HOSTILE) == 32  # title twice, finding, fact, …, 20 cells: each as text
    assert payload(page)["classes"] == list(CLASSES)
    assert not set(reader.inline[1]) & set("<>&\u2028\u2029")
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded_from_anywhere(make_page: Page) -> None:
    reader = Reader(make_page())
    for tag, attributes in reader.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background", "style"):
            target = attributes.get(name) or "#"
            assert target.startswith(("data:", "#")), (tag, name, target[:80])
        assert not any(name.startswith("on") for name in attributes), tag
    style = reader.inline[0]
    assert "url(" not in style
    assert "@import" not in style
    for script in reader.inline[2:]:
        assert not re.search(
            r"https?:|fetch\(|XMLHttpRequest|import\(|eval\(|innerHTML|insertAdjacentHTML", script
        )


def test_the_policy_admits_this_style_and_these_scripts_alone(make_page: Page) -> None:
    reader = Reader(make_page())
    policy = next(m["content"] for m in reader.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for at, text in enumerate(reader.inline)
        if at != 1  # the data
    ]
    assert policy == (
        f"default-src 'none'; script-src {hashes[1]} {hashes[2]}; style-src {hashes[0]}; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def augs_first(names: pd.Series) -> pd.Series:
    return names.map(["reference", *AUGS].index)


def test_equal_inputs_give_equal_bytes(make_page: Page, study: Study) -> None:
    page = make_page()
    assert make_page() == page
    assert make_page(browser=make_study(40).browser()) != page
    backwards = study.table.sort_values("image", ascending=False).sort_values("aug", key=augs_first, kind="stable")
    again = Study(study.images, study.rows, backwards, study.maps)
    assert make_page(browser=again.browser()) == page
    assert "/tmp" not in Reader(page).text


def test_order_and_groups(make_page: Page) -> None:
    page = make_page()
    marks = ["<h1>", "What can be claimed", "What cannot be claimed", "What to mind", "Also found", 'id="floor"',
             'id="browser"', 'id="tables"', 'id="reproduce"']  # fmt: skip
    places = [page.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "Nothing to see" not in page  # a section without figures
    assert "0.018 [0.011,\u00a00.025], 93\u00a0%" in page
    levels = [int(tag[1]) for tag, _ in Reader(page).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    targets = {str(a["href"])[1:] for a in Reader(page).all("a")}
    assert targets <= {str(attributes.get("id")) for _, attributes in Reader(page).elements}


def test_a_study_without_findings_browser_and_tables(make_page: Page) -> None:
    reader = Reader(make_page(findings=[], browser=None, tables=[], sections=[]))
    assert "No findings are recorded" in reader.text
    assert "#tables" not in {a["href"] for a in reader.all("a")}
    assert not any(s.get("type") for s in reader.all("script"))


def test_unbroken() -> None:
    assert unbroken("93 % of [−0.1, 0.2] [a, b") == "93\u00a0% of [−0.1,\u00a00.2] [a, b"


def test_tables_show_numbers_controls_and_what_is_undefined() -> None:
    frame = pd.DataFrame(
        {
            "aug": ["cutmix", "identity"],
            "aug_b": ["noise", "affine"],
            "mean": [0.123456, -1.5],
            "p": [0.00001, float("nan")],
            "n": [1017, 3],
            "count": [2.0, float("nan")],
            "claimed": [True, False],
            "low": [float("nan")] * 2,
            "best": [float("inf"), 12345.6],
        }
    )
    made = table("Means", "Caption.", frame, controls=CONTROLS)
    assert made.head == ["aug", "aug b", "mean", "p", "n", "count", "claimed", "low", "best"]
    assert made.rows[0] == ("cutmix", "noise", "0.123", "1e−05", "1017", "2", "yes", "–", "∞")
    assert made.rows[1] == ("identity", "affine", "−1.500", "–", "3", "–", "no", "–", "12346")
    assert [made.is_control_row(row) for row in made.rows] == [False, True]
    assert made.is_control(1, "noise")
    assert not made.is_control(6, "noise")


def test_long_tables_are_cut_and_say_so(make_page: Page) -> None:
    reader = Reader(make_page())
    assert "The first 20 of 50 rows; all of them stand in reports/long.csv." in " ".join(reader.text.split())
    assert len([a for a in reader.all("tr") if a.get("class") == "control"]) == 1


def test_figures_lose_bytes_and_nothing_else(tmp_path: Path, make_page: Page) -> None:
    source = next(i for i in Reader(make_page()).all("img"))
    assert (source["width"], source["height"]) == ("800", "400")
    svg = base64.b64decode(str(source["src"]).partition(",")[2]).decode()
    assert ET.fromstring(svg)[0].attrib == {"d": "M 1.23 2.99 L -3 4 z", "style": "stroke-width: 0.123456"}
    assert "metadata" not in svg
    assert "w3.org/svg11" not in svg
    text = '<svg><text x="1.005" id="d">a  0.123456 b</text> <path d="M 1.2345e-05 0.001"/></svg>'
    assert compact_svg(text) == '<svg><text x="1" id="d">a  0.123456 b</text><path d="M 1.2345e-05 0"/></svg>'
    for path in Path("reports/published/cifar10-exact/figures").glob("*.svg"):
        before, after = (ET.fromstring(s) for s in (path.read_text(), compact_svg(path.read_text())))
        shapes = [
            [e for e in tree.iter() if "metadata" not in e.tag and "RDF" not in e.tag] for tree in (before, after)
        ]
        old, new = ([e.attrib.get("d", "") for e in s if e.tag.endswith("path")] for s in shapes)
        assert len(old) == len(new) > 10
        for a, b in zip(old, new, strict=True):
            numbers = [np.array(re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", d), dtype=float) for d in (a, b)]
            np.testing.assert_allclose(numbers[0], numbers[1], atol=0.00501)
    picture = tmp_path / "a.gif"
    picture.write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.gif: expected \.svg or \.png, got \.gif; save it as SVG"):
        make_page(sections=[Section("a", "A", "", [Picture(picture, "", "")])])


def test_every_image_is_held_up_to_the_limit() -> None:
    values = np.zeros((1, 1, 5))
    chosen = select_images(np.zeros(5, int), values, np.zeros((1, 5), bool), limit=5)
    assert chosen.images.tolist() == [0, 1, 2, 3, 4]
    assert chosen.rule == "All 5 test images."
    with pytest.raises(ValueError, match="limit: expected 1 image or more, got 0; pass for example 1000"):
        select_images(np.zeros(5, int), values, np.zeros((1, 5), bool), limit=0)
    with pytest.raises(ValueError, match=r"values, lost: expected \[A,M,N\], \[A,N\] for labels \[N\]"):
        select_images(np.zeros(4, int), values, np.zeros((1, 5), bool), limit=5)


def test_of_a_large_study_the_extremes_the_lost_and_every_class_are_held() -> None:
    rng = np.random.default_rng(0)
    count, limit = 2000, 120
    labels = np.sort(rng.integers(0, 4, count))
    values = rng.normal(size=(3, 2, count)).round(2)  # with ties
    values[rng.random(values.shape) < 0.1] = np.nan
    lost = np.zeros((3, count), dtype=bool)
    lost[0, 1500:1510] = lost[1, 100:1900:4] = True
    chosen = select_images(labels, values, lost, limit=limit)
    held = set(chosen.images.tolist())
    assert len(held) == limit
    assert chosen.images.tolist() == sorted(held)
    assert chosen.ranks == 3
    extremes: set[int] = set()
    for aug in range(3):
        for metric in range(2):
            known = [(v, i) for i, v in enumerate(values[aug, metric]) if v == v]
            extremes |= {i for _, i in sorted(known)[:3]} | {
                i for _, i in sorted(known, key=lambda p: (-p[0], p[1]))[:3]
            }
    assert extremes <= held
    assert set(range(1500, 1510)) <= held  # few: all of them
    rest = limit * 3 // 4 - len(extremes) - 10
    of_second = [i for i in held if lost[1, i] and not lost[0, i]]
    assert len(of_second) >= rest
    assert min(of_second) < 400  # from all over the data set
    assert max(of_second) > 1600
    assert len([i for i in held - extremes if not lost[:, i].any()]) >= limit // 8  # the last quarter: any image
    more = select_images(labels, values, lost, limit=limit + 300)
    assert np.bincount(labels[more.images], minlength=4).min() >= 70
    few = select_images(labels, values, lost, limit=10)  # no room for the first rank of all
    assert len(few.images) == 10
    assert few.ranks == 0
    again = select_images(labels, values, lost, limit=limit)
    assert again.images.tolist() == chosen.images.tolist()
    assert again.rule == chosen.rule == (
        "120 of 2,000 test images: the 3 highest and 3 lowest values of every metric and aug, then images that the"
        " reference has right and an aug wrong, the augs in turn, then images of every class in turn."
    )  # fmt: skip


def test_browser_data_holds_what_the_study_says(study: Study) -> None:
    data = study.browser(limit=20)
    held = data.selection.images
    assert data.models == ("reference", *AUGS)
    assert data.seeds == (0, 3, 3, 3, 3)
    assert {7, 3} <= set(held.tolist())
    indexed = study.table.set_index(["aug", "image"])
    for at, image in enumerate(held):
        for row, aug in enumerate(AUGS):
            wanted = indexed.loc[(aug, image), list(METRICS)].to_numpy(dtype=np.float32)
            np.testing.assert_array_equal(data.values[at, row], wanted)
            assert data.predicted[row + 1, at] == indexed.loc[(aug, image), "predicted"]
        assert data.labels[at] == indexed.loc[("reference", image), "label"]
    assert data.confidence is not None
    assert data.confidence[0, 0] == round(100 * indexed.loc[("reference", held[0]), "confidence"])
    read = payload_arrays(data.payload())
    np.testing.assert_array_equal(read[0].reshape(20, 5, 8, 8), data.grids)
    np.testing.assert_array_equal(read[1].reshape(20, 4, 3), data.values)
    assert study.browser().missing.sum() == 1
    assert not study.browser().grids[1, 1].any()  # constant


def payload_arrays(payload: dict[str, object]) -> tuple[np.ndarray, np.ndarray]:
    grids, values = (base64.b64decode(str(payload[name])) for name in ("grids", "values"))
    return np.frombuffer(grids, np.uint8), np.frombuffer(values, "<f4")


def test_quantised_maps_are_within_half_a_step() -> None:
    raw = np.random.default_rng(0).normal(size=(50, 7, 7)).astype(np.float32) * 1e-9
    grids, missing = quantise(raw)
    low, high = raw.min((1, 2), keepdims=True), raw.max((1, 2), keepdims=True)
    np.testing.assert_allclose(grids / 255, (raw - low) / (high - low), atol=0.5 / 255 + 1e-6)
    assert not missing.any()
    assert grids.min((1, 2)).max() == 0
    assert grids.max((1, 2)).min() == 255


@pytest.mark.parametrize("shape", [(64, 64), (20, 30), (200, 100)])
def test_tiles_stand_where_they_should(shape: tuple[int, int]) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (1100, 3, 1, 1), dtype=np.uint8)
    images = np.broadcast_to(colours, (1100, 3, *shape))
    rows = np.arange(1100)[::-1] if shape == (64, 64) else np.arange(11)
    sheets = make_sheets(images, rows)
    assert sheets.tile == {(64, 64): (64, 64), (20, 30): (20, 30), (200, 100): (96, 48)}[shape]
    assert len(sheets.sheets) == (2 if shape == (64, 64) else 1)
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet)))) for sheet in sheets.sheets]
    for at, row in enumerate(rows):
        within = at % sheets.per_sheet
        top, left = within // sheets.columns * sheets.step[0], within % sheets.columns * sheets.step[1]
        tile = pictures[at // sheets.per_sheet][top : top + sheets.tile[0], left : left + sheets.tile[1]]
        assert tile.shape[:2] == sheets.tile
        np.testing.assert_allclose(tile.mean((0, 1)), images[row, :, 0, 0], atol=3)


def test_what_does_not_fit_is_refused(study: Study) -> None:
    def changed(**parts: object) -> Study:
        return Study(**{**vars(study), **parts})  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"maps: expected raw maps \[40, 8, 8\] of cutmix, got none"):
        changed(maps={k: v for k, v in study.maps.items() if k != "cutmix"}).browser()
    with pytest.raises(ValueError, match=r"of identity, got \[40, 7, 7\]; run `dvc repro`"):
        changed(maps=study.maps | {"identity": study.maps["identity"][:, :7, :7]}).browser()
    with pytest.raises(ValueError, match="table: lacks the columns pearson; run `dvc repro`"):
        changed(table=study.table.drop(columns="pearson")).browser()
    with pytest.raises(ValueError, match="expected the images 0 to 39 of cutmix-3 once each"):
        changed(table=study.table.drop(index=50)).browser()
    with pytest.raises(ValueError, match="table: no rows of the reference, got cutmix, color_jitter"):
        changed(table=study.table[study.table["aug"] != "reference"]).browser()


def test_the_colours_are_inferno(make_page: Page) -> None:
    colours = bytes.fromhex(str(payload(make_page())["colours"]))
    wanted = 255 * np.array(colormaps["inferno"].colors)  # matplotlib cuts to bytes
    np.testing.assert_allclose(np.frombuffer(colours, np.uint8).reshape(256, 3), wanted, atol=1)


@pytest.mark.parametrize("noisy", [False, True])
def test_a_large_study_stays_below_8_mb(make_page: Page, tmp_path: Path, noisy: bool) -> None:
    augs = [f"aug_{at}" for at in range(13)]
    study = make_study(10_000, augs, grid=14 if noisy else 8, side=32)
    rng = np.random.default_rng(0)
    if noisy:  # as hard for JPEG as can be
        images = rng.integers(0, 255, study.images.shape, dtype=np.uint8)
        study = Study(images, study.rows, study.table, study.maps)
    figure = tmp_path / "large.svg"
    digits = "".join(f"{x:.2f} " for x in rng.uniform(0, 700, 425_000))
    figure.write_text(f'<svg xmlns="http://www.w3.org/2000/svg"><path d="{digits}"/></svg>')
    assert figure.stat().st_size > 2_900_000
    frame = pd.DataFrame(rng.random((1000, 9)))
    parts = {
        "sections": [Section("large", "Large", "", [Picture(figure, "alt", "caption")])],
        "tables": [table(f"Table {at}", "", frame) for at in range(12)],
    }
    bare = make_page(browser=None, **parts)
    data = study.browser(budget=budget_left(bare))
    held = len(data.selection.images)
    assert data.total == 10_000
    assert held >= (200 if noisy else 900)
    assert f"{held:,} of 10,000 test images" in data.selection.rule
    page = make_page(browser=data, **parts)
    assert len(page.encode()) < 8_000_000
    assert len(page.encode()) - len(bare.encode()) < budget_left(bare) + 50_000  # the browser's controls
    assert budget_left("") == 4_000_000
    assert budget_left("x" * 8_000_000) == 200_000
