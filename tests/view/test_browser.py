"""The page in a real browser: a prompt is typed, and the picture changes."""

import contextlib
import io
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from piva.datasets.pie import Pie

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT_MS = 240_000


@pytest.fixture
def page_of(tmp_path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """The address of a page that shows a toy, and the prompts of an edit of it."""
    toy = next(edit for edit in Pie(root="toys-dev", types=[6], edits=1).read())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "piva.view", str(toy.image), f"port={port}", "metrics=pixels"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == f"http://127.0.0.1:{port} shows 1 picture; Ctrl-C ends it\n"
            yield f"http://127.0.0.1:{port}", toy.prompts
        finally:
            server.send_signal(2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(30)
            server.kill()


def test_a_typed_prompt_changes_the_picture(chromium: str, page_of: tuple[str, tuple[str, str]]) -> None:
    from playwright.sync_api import sync_playwright

    address, (source, target) = page_of
    software = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=software)
        page = browser.new_page(viewport={"width": 1200, "height": 500})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        edit = page.get_by_role("button", name="edit", exact=True)
        edit.wait_for(timeout=WAIT_MS)
        page.locator(".mantine-Notification-closeButton").first.click()  # of viser, about software rendering

        def fill(label: str, text: str) -> None:
            page.get_by_text(label, exact=True).locator("xpath=following::input[1]").fill(text)

        def wait_for(words: str) -> None:
            page.get_by_text(words).wait_for(timeout=WAIT_MS)
            page.wait_for_timeout(2000)  # for the picture to come and be drawn

        def halves() -> list[NDArray[np.float32]]:
            shot = Image.open(io.BytesIO(page.locator("canvas").first.screenshot()))
            return np.split(np.asarray(shot.convert("RGB"), np.float32)[:, : shot.width // 2 * 2], 2, axis=1)

        page.wait_for_timeout(4000)
        original, before = halves()
        fill("it shows", source)
        fill("make it", "a zeppelin")
        edit.click()
        wait_for("zeppelin', which prior=toys has never seen")
        fill("make it", target)
        fill("steps", "6")
        edit.click()
        wait_for("6 steps, ")
        still, after = halves()
        page.get_by_role("button", name="undo").click()
        wait_for("undone")
        _, undone = halves()
        browser.close()
    assert problems == []
    assert before.std() > 10  # something is drawn
    for one, other in ((still, original), (undone, before)):  # up to JPEG; bits are for test_session.py
        assert np.abs(one - other).mean() < 0.5
    assert np.abs(after - before).mean() > 2
