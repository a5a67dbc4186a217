from pathlib import Path

import numpy as np
import pytest

from piva.toys.training import corpus


def test_toys_are_drawn_once_and_none_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "CHUNK", 4)
    drawn = corpus.draw(6, 16, 0, tmp_path, workers=1)
    assert (drawn.images.shape, drawn.depth.shape) == ((6, 16, 16, 3), (6, 16, 16))
    assert len(drawn.toys) == len(drawn.captions) == 6
    assert not any(toy.held_out for toy in drawn.toys)
    assert all(
        set(text.split()) <= set(toy.caption.split())
        for text, toy in zip(drawn.captions, drawn.toys, strict=True)
    )
    seen = (drawn.depth > 0).mean(axis=(1, 2))
    assert seen.min() > 0.05
    monkeypatch.setattr(corpus, "picture", None)  # would fail if called
    again = corpus.draw(6, 16, 0, tmp_path, workers=1)
    np.testing.assert_array_equal(again.images, drawn.images)
    assert again.captions == drawn.captions
    assert len(list(tmp_path.rglob("*"))) == 3  # a folder of two chunks
