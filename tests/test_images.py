import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from piva.errors import InputError
from piva.images import check_image, decode_runs, encode_runs, image_size, read_rgb, read_rgba

RGB = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_rgb_png_is_exact(tmp_path):
    got = read_rgb(saved(tmp_path / "a.png", Image.fromarray(RGB)))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, RGB / 255, atol=1e-6)


def test_alpha_is_composited_on_white(tmp_path):
    rgba = np.dstack([RGB, np.full((12, 20), 51, np.uint8)])  # 51/255 = 0.2
    rgba[0, 0, 3] = 0
    got = read_rgb(saved(tmp_path / "a.png", Image.fromarray(rgba)))
    np.testing.assert_allclose(got[1:], 0.2 * RGB[1:] / 255 + 0.8, atol=1e-6)
    np.testing.assert_array_equal(got[0, 0], 1)


def test_transparent_palette_entry_is_white(tmp_path):
    image = Image.frombytes("P", (20, 12), (np.arange(240) % 3).astype(np.uint8).tobytes())
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    got = read_rgb(saved(tmp_path / "a.png", image, transparency=1))
    np.testing.assert_array_equal(got.reshape(-1, 3)[:3], [[1, 0, 0], [1, 1, 1], [0, 0, 1]])


def test_grey_and_one_bit(tmp_path):
    grey = read_rgb(saved(tmp_path / "a.png", Image.fromarray(RGB[..., 0])))
    np.testing.assert_allclose(grey, np.repeat(RGB[..., :1], 3, axis=-1) / 255, atol=1e-6)
    bits = read_rgb(saved(tmp_path / "b.png", Image.fromarray(RGB[..., 0] > 127)))
    np.testing.assert_array_equal(bits[..., 0], RGB[..., 0] > 127)


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    deep = np.random.default_rng(1).integers(0, 65536, (12, 20), dtype=np.uint16)
    got = read_rgb(saved(tmp_path / "a.png", Image.fromarray(deep)))
    np.testing.assert_allclose(got[..., 1], deep / 65535, atol=1e-6)


def test_cmyk_jpeg_has_its_colours(tmp_path):
    got = read_rgb(
        saved(tmp_path / "a.jpg", Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK"), quality=95)
    )
    np.testing.assert_allclose(got[8, 8] * 255, (200, 40, 90), atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_photos_but_not_scene_views(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    turned = RGB.swapaxes(0, 1)
    flips = [RGB, RGB[:, ::-1], RGB[::-1, ::-1], RGB[::-1]]  # 1 to 4 of the EXIF standard: rows stay rows
    flips += [turned, turned[:, ::-1], turned[::-1, ::-1], turned[::-1]]
    np.testing.assert_allclose(read_rgb(path), flips[orientation - 1] / 255, atol=1e-6)
    np.testing.assert_array_equal(read_rgba(path)[..., :3], RGB)


def test_scene_views_keep_straight_alpha(tmp_path):
    rgba = np.random.default_rng(2).integers(0, 256, (12, 20, 4), dtype=np.uint8)
    np.testing.assert_array_equal(read_rgba(saved(tmp_path / "a.png", Image.fromarray(rgba))), rgba)
    np.testing.assert_array_equal(read_rgba(saved(tmp_path / "b.png", Image.fromarray(RGB)))[..., 3], 255)


def test_check_accepts_what_can_be_read(tmp_path):
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp", "a.tiff"):
        path = saved(tmp_path / name, Image.fromarray(RGB))
        assert check_image(path) == image_size(path) == (20, 12)


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True})])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_file_is_one_line(tmp_path, format, options, share):
    whole = io.BytesIO()
    Image.fromarray(RGB).save(whole, format, **options)
    path = tmp_path / "cut"
    path.write_bytes(whole.getvalue()[: int(share * len(whole.getvalue()))])
    for read in (read_rgb, read_rgba, check_image):
        with pytest.raises(InputError, match=r"cut: found an unreadable file") as error:
            read(path)
        assert "\n" not in str(error.value)


def test_other_bad_files_are_one_line(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    saved(tmp_path / "dot.png", Image.new("RGB", (1, 1)))
    saved(tmp_path / "float.tiff", Image.fromarray(np.ones((9, 9), np.float32)))
    for name, message in (
        ("text.png", "not an image format"),
        ("dot.png", "found 1x1 pixels, wanted at least 8x8"),
        ("float.tiff", "floating-point"),
        ("nowhere.png", "no such file"),
        ("", "found a folder"),
    ):
        with pytest.raises(InputError, match=message):
            read_rgb(tmp_path / name)


def plain(runs, height, width):
    """The loop of PnPInversion's evaluation, before it marks the frame."""
    flat = [0] * (height * width)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        for i in range(start, min(start + length, height * width)):
            flat[i] = 1
    return np.array(flat).reshape(height, width)


@pytest.mark.parametrize("seed", range(10))
def test_decoding_runs_equals_the_plain_loop(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 30, 2))
    runs = [
        int(n)
        for _ in range(rng.integers(0, 12))
        for n in (rng.integers(0, height * width + 5), rng.integers(0, 40))
    ]
    np.testing.assert_array_equal(decode_runs(runs, height, width), plain(runs, height, width))


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_decoding_inverts_encoding(density):
    mask = np.random.default_rng(3).random((17, 23)) < density
    np.testing.assert_array_equal(decode_runs(encode_runs(mask), 17, 23), mask)


def test_a_whole_picture_is_one_run():
    assert encode_runs(np.ones((512, 512), bool)) == [0, 262144]
    assert decode_runs([0, 262144], 512, 512).all()


@pytest.mark.parametrize("runs", [[1], [1, 2, 3], [-1, 2], [1, -2]])
def test_bad_runs_are_refused(runs):
    with pytest.raises(ValueError, match="pairs"):
        decode_runs(runs, 4, 4)
