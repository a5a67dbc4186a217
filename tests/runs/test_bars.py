"""Progress without a terminal: lines in the log, not a bar, and not many."""

import logging
import time

import pytest

from piva.runs import bars


def test_a_log_gets_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "EVERY_S", 0.05)
    with caplog.at_level(logging.INFO), bars.bar(20, "mug/blue", "step", done=10) as shown:
        for _ in range(10):
            time.sleep(0.02)
            shown.update()
    assert 1 <= len(caplog.messages) <= 4
    assert caplog.messages[0].startswith("mug/blue: 1")
    assert "of 20 steps after 00:00" in caplog.messages[0]
    assert capsys.readouterr().err.strip() == ""


def test_a_line_comes_every_half_minute_and_not_before(caplog: pytest.LogCaptureFixture) -> None:
    assert bars.EVERY_S == 30
    with caplog.at_level(logging.INFO), bars.bar(100, "mug/blue", "step") as shown:
        for _ in range(100):
            shown.update()
    assert caplog.messages == []


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with caplog.at_level(logging.INFO), bars.bar(2, "mug/blue", "step") as shown:
        shown.update()
        assert "1/2" in str(shown)
    assert caplog.messages == []
