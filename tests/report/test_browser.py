"""The page in Chromium, offline: it works by mouse and keyboard, fits, and draws the maps that `finish` makes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.conftest import CLASSES, Study, make_study

from auglens.report.browser import quantise
from auglens.saliency.finishing import finish

pytestmark = pytest.mark.browser
WIDTHS = (390, 1280)


@pytest.fixture
def visit(chromium: Any, page_file: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page offline; at the end: no console message, no error, no request but for the page and data:."""
    contexts, told = [], []

    def open_page(width: int = 1280, path: Path = page_file, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: told.append(request.url) if foreign(request.url) else None)
        page.goto(path.as_uri())
        page.wait_for_selector("#b-maps li")
        return page

    def foreign(url: str) -> bool:
        return not url.startswith(("data:", page_file.parent.as_uri()))

    yield open_page
    for context in contexts:
        context.close()
    assert told == []


def status(page: Any) -> str:
    return str(page.locator("#b-status").inner_text())


def pixels(page: Any, model: str) -> np.ndarray:
    """uint8 [48,48,4]: every fourth pixel of every fourth row."""
    data = page.evaluate(
        """name => {
          const canvas = document.querySelector(`[data-model="${name}"] canvas`);
          const all = canvas.getContext("2d").getImageData(0, 0, 192, 192).data;
          return String.fromCharCode(...[...all].filter((_, at) =>
            Math.floor(at / 4) % 4 === 0 && Math.floor(at / 768) % 4 === 0));
        }""",
        model,
    )
    return np.frombuffer(data.encode("latin-1"), dtype=np.uint8).reshape(48, 48, 4)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_obeys_the_scheme(visit: Callable[..., Any], width: int, scheme: str) -> None:
    page = visit(width, color_scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", background)[:3])) > 384
    assert light == (scheme == "light")
    assert page.evaluate("window.broken") is None
    text = page.locator("main").inner_text()
    for expected in ("0.018 [0.011,\u00a00.025]", "93\u00a0%", "cfe304dd7b02bde9", "The first 20 of 50 rows"):
        assert expected in text


def test_a_table_sorts_by_mouse_and_keyboard(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator("summary").first.click()
    means = page.locator("table.sortable").first

    def column(at: int) -> list[str]:
        return [str(row.locator("th, td").nth(at).inner_text()) for row in means.locator("tbody tr").all()]

    assert column(1) == ["10.5", "9.2", "–", "−100.0", "−250.0"]
    head = means.locator("thead th").nth(1)
    head.locator("button").click()
    assert column(1) == ["−250.0", "−100.0", "9.2", "10.5", "–"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert column(1) == ["10.5", "9.2", "−100.0", "−250.0", "–"]
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # n: whole numbers, not words
    assert column(2) == ["1", "3", "7", "20", "100"]
    assert head.get_attribute("aria-sort") == "none"
    means.locator("thead th button").first.click()
    assert column(0) == ["affine", "cutmix", "elastic", "identity", "shear"]


def test_rows_are_filtered(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator("summary").nth(1).click()
    page.locator("input[type=search]").fill("broken nothing")
    assert page.locator(".filter [role=status]").inner_text() == "0 of 20"
    page.locator("input[type=search]").fill("BROKEN")
    assert page.locator(".filter [role=status]").inner_text() == "20 of 20"


def test_the_browser_shows_the_extremes_of_a_metric(visit: Callable[..., Any], study: Study) -> None:
    page = visit()
    assert status(page).startswith(f"Test image 7, {shown_class(study, 7)} (1 of 39). MAD of cutmix: 0.988.")
    assert page.locator("#b-table td.chosen").inner_text() == "0.988"
    row = study.table[(study.table["aug"] == "color_jitter") & (study.table["image"] == 7)].iloc[0]
    cells = page.locator("#b-table tbody tr").nth(1).locator("th, td").all_inner_texts()
    wanted = [f"{row[name]:.3f}".replace("-", "−") for name in ("mad", "pearson", "class_kld")]
    assert cells == ["color jitter", *wanted]
    assert page.locator("#b-maps li").count() == 6  # the image, the reference, four augs
    page.locator("#b-next").click()
    assert "Test image 3," in status(page)
    assert "no map: not finite" in page.locator("[data-model=cutmix]").inner_text()
    page.locator("#b-mode").select_option("low")
    mad = study.table[study.table["aug"] == "identity"].set_index("image")["pearson"]
    page.locator("#b-aug").select_option(label="identity (control)")
    page.locator("#b-metric").select_option(label="Pearson")
    assert f"Test image {mad.idxmin()}," in status(page)


def shown_class(study: Study, image: int) -> str:
    return CLASSES[int(study.table.loc[study.table["image"] == image, "label"].iloc[0])]


def test_the_browser_finds_images_by_outcome_class_and_number(visit: Callable[..., Any], study: Study) -> None:
    page = visit()
    right = study.table.assign(right=study.table["label"] == study.table["predicted"])
    right = right.pivot(index="image", columns="aug", values="right").astype(bool)
    page.locator("#b-aug").select_option(label="color jitter")
    cases = {
        "lost": right["reference"] & ~right["color_jitter"],
        "gained": ~right["reference"] & right["color_jitter"],
        "wrong": ~right["reference"] & ~right["color_jitter"],
    }
    for mode, chosen in cases.items():
        page.locator("#b-mode").select_option(mode)
        seen = []
        wanted = chosen.index[chosen].tolist()
        assert f"(1 of {len(wanted)})" in status(page)
        for _ in wanted[:3]:
            seen.append(int(re.findall(r"Test image (\d+),", status(page))[0]))
            verdict = page.locator("[data-model=color_jitter] p").nth(1).inner_text()
            assert ("✓ right" in verdict) == (mode == "gained")
            page.locator("#b-next").click()
        assert seen == wanted[:3]
    page.locator("#b-mode").select_option("class")
    page.locator("#b-class").select_option(index=2)
    first = study.table.loc[study.table["label"] == 2, "image"].min()
    assert status(page).startswith(f"Test image {first}, {CLASSES[2]} (1 of")
    page.locator("#b-number").fill("25")
    page.keyboard.press("Enter")
    assert status(page).startswith("Test image 25, ")
    page.locator("#b-random").click()
    assert not status(page).startswith("Test image 25, ")


def test_the_browser_obeys_the_keyboard(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator("#b-mode").select_option("all")
    page.locator("#b-stage").focus()
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "ArrowLeft", "Home"):
        page.keyboard.press(key)
        seen.append(int(re.findall(r"Test image (\d+),", status(page))[0]))
    assert seen == [1, 2, 1, 39, 0, 39, 0]
    page.locator("#b-opacity").focus()
    page.keyboard.press("ArrowRight")  # moves the slider, not the image
    assert "Test image 0," in status(page)
    page.keyboard.press("Home")
    assert np.ptp(pixels(page, "cutmix")[..., :3].astype(int), axis=-1).max() == 0  # the grey image alone


def test_tab_reaches_everything_in_order_beginning_with_the_skip_link(visit: Callable[..., Any]) -> None:
    page = visit()
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert seen[0] == "Skip to the findings"
    controls = [
        "b-mode",
        "b-metric",
        "b-aug",
        "b-number",
        "b-previous",
        "b-next",
        "b-random",
        "b-opacity",
        "b-stage",
    ]
    places = [seen.index(name) for name in controls]
    assert places == sorted(places)
    assert seen.index("Findings") < places[0] < next(i for i, name in enumerate(seen) if name.startswith("Means"))


def test_maps_are_finished_as_finish_does(visit: Callable[..., Any]) -> None:
    page = visit()
    for shape in ((8, 8), (7, 5), (1, 3), (200, 195)):
        raw = np.random.default_rng(0).normal(size=(1, *shape))
        grid, _ = quantise(raw)
        made = page.evaluate(
            "([grid, h, w]) => window.auglens.finish(grid, h, w, 192).join()", [grid.ravel().tolist(), *shape]
        )
        made = np.array(made.split(","), dtype=np.float64).reshape(192, 192)
        np.testing.assert_allclose(made, finish(grid.astype(np.float64), 192)[0], atol=1e-12)
        # Of the unquantised map: half a step at each of three places, over the range that is left after resizing.
        np.testing.assert_allclose(made, finish(raw, 192)[0], atol=3 * 0.5 / 255)


def test_what_is_drawn_is_the_finished_map(visit: Callable[..., Any], study: Study) -> None:
    page = visit()
    page.locator("#b-number").fill("5")
    page.keyboard.press("Enter")
    page.locator("#b-opacity").fill("100")
    from matplotlib import colormaps

    for model in ("reference", "affine+color_jitter"):
        grid, _ = quantise(study.maps[model][5:6])
        finished = finish(grid.astype(np.float64), 192)[0]
        wanted = colormaps["inferno"](np.rint(255 * finished).astype(int), bytes=True)[::4, ::4]
        # matplotlib cuts to bytes, the page rounds where it blends
        np.testing.assert_allclose(pixels(page, model).astype(int), wanted, atol=1)


def test_of_a_part_of_the_images_the_nearest_is_found(
    visit: Callable[..., Any], make_page: Callable[..., str], page_file: Path
) -> None:
    data = make_study(300).browser(limit=50)
    path = page_file.parent / "part.html"
    path.write_text(make_page(browser=data), encoding="utf-8")
    page = visit(path=path)
    assert "50 of 300 test images: " in page.locator("#browser").inner_text()
    held = data.selection.images
    absent = next(i for i in range(300) if i not in held)
    nearest = held[np.argmin(np.abs(held - absent))]
    page.locator("#b-number").fill(str(absent))
    page.keyboard.press("Enter")
    assert status(page).startswith(
        f"Test image {absent} is not held here; the nearest that is: Test image {nearest}, "
    )


def test_a_study_of_the_reference_alone(
    visit: Callable[..., Any], make_page: Callable[..., str], page_file: Path
) -> None:
    path = page_file.parent / "alone.html"
    path.write_text(make_page(browser=make_study(12, ()).browser()), encoding="utf-8")
    page = visit(path=path)
    assert page.locator("#b-mode option").count() == 2
    assert status(page).endswith(("Reference right.", "Reference wrong."))
    page.locator("#b-mode").select_option("all")
    assert "(1 of 12)" in status(page)


def test_foreign_scripts_do_not_run(
    chromium: Any, make_page: Callable[..., str], page_file: Path, study: Study
) -> None:
    """Should a text ever get out of its place after all, the policy still stops it."""
    path = page_file.parent / "hostile.html"
    intruder = "<script>window.broken = 1</script><img src=x onerror='window.broken = 2'>"
    path.write_text(make_page().replace("<h2", f"{intruder}<h2", 1), encoding="utf-8")
    context = chromium.new_context(offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#b-maps li")
    assert page.evaluate("window.broken") is None
    assert json.loads(page.evaluate("JSON.stringify([...document.querySelectorAll('h2')].length > 3)"))
    context.close()
