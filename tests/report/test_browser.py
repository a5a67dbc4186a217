"""The page in a real browser, without a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from helpers.finished_runs import drawn, write_run

from piva.report.__main__ import report

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EDITS = [f"edit {i}" for i in range(6)]
WIDTHS = (420, 800, 1440)
OVERLAPS = """() => [...document.querySelectorAll('.plot svg')].flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect());
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  return boxes.flatMap((one, i) => boxes.slice(i + 1).filter(other => meet(one, other)));
})"""
PLACE = """() => {
  const { a, e } = new DOMMatrix(getComputedStyle(document.querySelector('.frame')).transform);
  return [a, e];  // scale, pixels to the right
}"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    write_run(root / "runs/dds", drawn(EDITS))
    for lam in (0.4, 1.0):
        run = write_run(root / f"runs/piva{lam}", drawn(EDITS, lam / 10), score="Piva", lam=lam)
        film = np.zeros((6, 32, 64, 3), np.uint8)
        iio.imwrite(run / "edits/edit 0/turntable.mp4", film, plugin="pyav", codec="libx264", fps=12)
    report(str(root / "runs"), f"out={root / 'report.html'}")
    return root / "report.html"


@pytest.fixture
def page(browser: Any, report_page: Path) -> Iterator[Any]:
    """The opened page; a console error or a failed request fails the test at its end."""
    opened = browser.new_page(offline=True)
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("requestfailed", lambda request: problems.append(request.url))
    opened.goto(report_page.as_uri())
    yield opened
    opened.close()
    assert problems == []


def test_pictures_load(page: Any) -> None:
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
    loaded = page.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert loaded == [200] * len(EDITS) * 5  # the runs' own size: never enlarged


def test_filters_hide_what_does_not_fit(page: Any) -> None:
    cards, shots, count = (
        page.locator(".card:visible"),
        page.locator("figure[data-tags]:visible"),
        page.locator("output"),
    )
    assert (cards.count(), shots.count(), count.inner_text()) == (6, 18, "6 edits")
    page.select_option("select[name='tag:type']", "addition")
    assert (cards.count(), shots.count(), count.inner_text()) == (3, 9, "3 of 6 edits")
    page.select_option("select[name='tag:score']", "Piva")
    assert (cards.count(), shots.count()) == (3, 6)
    page.select_option("select[name='tag:λ']", "1")
    assert (cards.count(), shots.count()) == (3, 3)
    page.fill("input[name=words]", "EDIT 3")
    assert (cards.count(), count.inner_text()) == (1, "1 of 6 edits")
    page.select_option("select[name='tag:λ']", "none")  # no Piva without lambda
    assert cards.count() == 0


def test_turntables_play_when_asked_for(page: Any) -> None:
    assert page.locator("video").count() == 0
    page.locator(".play").first.click()
    page.wait_for_function("() => document.querySelector('video').currentTime > 0")
    page.locator(".play").first.click()
    assert page.locator("video").count() == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_overflows_and_no_names_overlap(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OVERLAPS) == []
    page.locator("figure[data-tags] a").first.click()
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= width
    assert page.evaluate("document.querySelector('.stage').clientHeight") > 450


def test_the_whole_grid_flickers(page: Any) -> None:
    tile = page.locator("figure[data-tags] a").first
    truth = page.locator(".card").first.locator("figure[data-role=truth] img").get_attribute("src")
    page.keyboard.press("t")
    assert tile.locator(".over").get_attribute("src") == truth
    page.locator("label", has=page.locator("[value=before]")).click()
    assert tile.locator(".over").get_attribute("src") != truth
    page.keyboard.press("a")
    assert page.locator(".over").count() == 0
    page.locator("input[type=search]").press("t")  # a letter of a word
    assert page.locator(".over").count() == 0


def test_one_edit_is_zoomed_and_flickers_by_keys_and_by_mouse(page: Any) -> None:
    on, title = page.locator(".frame .on"), page.locator("#zoom-title")
    page.locator(".card").nth(1).locator("figure[data-tags] a").nth(1).click()
    assert (on.get_attribute("data-role"), title.inner_text()) == ("after", "Piva λ 0.4")
    assert page.evaluate(
        "document.querySelector('.on').decode().then(() => document.querySelector('.on').src)"
    ).startswith("file:")
    for key, role in (("b", "before"), ("t", "truth"), ("a", "after"), (" ", "truth")):
        page.keyboard.press(key)
        assert on.get_attribute("data-role") == role
    page.keyboard.press("ArrowRight")
    assert (on.get_attribute("data-role"), title.inner_text()) == ("truth", "Piva λ 1")
    prompts = page.locator("dialog p").inner_text()
    page.keyboard.press("ArrowDown")
    assert (title.inner_text(), page.locator("dialog p").inner_text() == prompts) == ("Piva λ 1", False)

    stage = page.locator(".stage").bounding_box()
    x, y = stage["x"] + stage["width"] / 4, stage["y"] + stage["height"] / 4
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"() => ({PLACE})()[0] > 2")
    scale, left = page.evaluate(PLACE)
    assert left == pytest.approx((1 - scale) * stage["width"] / 4, abs=1)  # what is under the pointer stays
    page.mouse.down()
    page.mouse.move(x + 30, y, steps=3)
    page.mouse.up()
    assert page.evaluate(PLACE) == pytest.approx([scale, left + 30], abs=1)
    assert on.get_attribute("data-role") == "truth"  # moved, not clicked
    page.mouse.click(x, y)
    assert on.get_attribute("data-role") == "before"

    page.keyboard.press("f")
    page.wait_for_function("() => document.querySelector('.on').dataset.role === 'after'")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.querySelector('dialog').open")
    assert page.evaluate("document.activeElement.closest('figure').dataset.label") == "Piva λ 1"


def test_a_moved_page_shows_its_small_copies(browser: Any, report_page: Path, tmp_path: Path) -> None:
    moved = tmp_path / "report.html"
    moved.write_text(report_page.read_text())
    opened = browser.new_page(offline=True)
    opened.goto(moved.as_uri())
    opened.locator("figure[data-tags] a").first.click()
    opened.wait_for_function("() => document.querySelector('.frame .on').src.startsWith('data:')")
    opened.close()


def test_without_scripts_the_pictures_are_there(browser: Any, report_page: Path) -> None:
    opened = browser.new_context(java_script_enabled=False, offline=True).new_page()
    opened.goto(report_page.as_uri())
    assert opened.locator(".card img:visible").count() == len(EDITS) * 5
    assert not opened.locator("#zoom").is_visible()
    opened.locator("figure[data-tags] a").first.click()
    opened.wait_for_url("**/after.png")
    opened.close()
