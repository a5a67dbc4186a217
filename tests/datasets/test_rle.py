import numpy as np
import pytest

from piva.datasets.rle import decode, encode


def plain(runs, height, width):
    """The loop of PnPInversion's evaluation, before it marks the frame."""
    flat = [0] * (height * width)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        for i in range(start, min(start + length, height * width)):
            flat[i] = 1
    return np.array(flat).reshape(height, width)


@pytest.mark.parametrize("seed", range(10))
def test_decode_equals_the_plain_loop(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 30, 2))
    runs = [
        int(n)
        for _ in range(rng.integers(0, 12))
        for n in (rng.integers(0, height * width + 5), rng.integers(0, 40))
    ]
    np.testing.assert_array_equal(decode(runs, height, width), plain(runs, height, width))


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_decode_inverts_encode(density):
    mask = np.random.default_rng(3).random((17, 23)) < density
    np.testing.assert_array_equal(decode(encode(mask), 17, 23), mask)


def test_whole_picture():
    assert encode(np.ones((512, 512), bool)) == [0, 262144]
    assert decode([0, 262144], 512, 512).all()


@pytest.mark.parametrize("runs", [[1], [1, 2, 3], [-1, 2], [1, -2]])
def test_bad_runs(runs):
    with pytest.raises(ValueError, match="pairs"):
        decode(runs, 4, 4)
