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
    assert loaded == [160] * len(EDITS) * 5


def test_filters_hide_what_does_not_fit(page: Any) -> None:
    cards, shots, count = (
        page.locator(".card:visible"),
        page.locator("figure[data-score]:visible"),
        page.locator("output"),
    )
    assert (cards.count(), shots.count(), count.inner_text()) == (6, 18, "6 edits")
    page.select_option("select[name=type]", "addition")
    assert (cards.count(), shots.count(), count.inner_text()) == (3, 9, "3 of 6 edits")
    page.select_option("select[name=score]", "Piva")
    assert (cards.count(), shots.count()) == (3, 6)
    page.select_option("select[name=lambda]", "1")
    assert (cards.count(), shots.count()) == (3, 3)
    page.fill("input[name=words]", "EDIT 3")
    assert (cards.count(), count.inner_text()) == (1, "1 of 6 edits")
    page.select_option("select[name=lambda]", "none")  # no Piva without lambda
    assert cards.count() == 0


def test_turntables_play_when_asked_for(page: Any) -> None:
    assert page.locator("video").count() == 0
    page.locator(".play").first.click()
    page.wait_for_function("document.querySelector('video').currentTime > 0")
    page.locator(".play").first.click()
    assert page.locator("video").count() == 0
