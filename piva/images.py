"""Pictures from files: photos as floats on white, scene views as RGBA bytes, and a cheap check that does not keep pixels."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from piva.errors import InputError

SMALLEST = 8  # pixels on a side: one cell of the latent grid
ORIENTATION = 0x0112  # EXIF
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def read_rgb(path: Path) -> NDArray[np.float32]:
    """A photo as its owner sees it: turned as EXIF says, transparency on white. (h, w, 3) in [0, 1]; raises `InputError`."""
    with _opened(path) as image:
        rgba = _rgba(ImageOps.exif_transpose(image), path)
    alpha = rgba[..., 3:]
    return rgba[..., :3] * alpha + (1 - alpha)


def read_rgba(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """A scene view with straight alpha, (h, w, 4), 255 where the file has none; raises `InputError`.

    Shrunk to `size` (width, height), each pixel the mean of what it covers.

    EXIF orientation is ignored: poses and intrinsics belong to the pixels as they are stored.
    """
    with _opened(path) as image:
        rgba = np.rint(_rgba(image, path) * 255).astype(np.uint8)
    if size and size != (rgba.shape[1], rgba.shape[0]):
        return np.asarray(Image.fromarray(rgba).resize(size, Image.Resampling.BOX))
    return rgba


def image_size(path: Path) -> tuple[int, int]:
    """The stored (width, height), from the header alone; raises `InputError`."""
    with _opened(path) as image:
        return image.size


def shown_size(path: Path) -> tuple[int, int]:
    """The (width, height) that `read_rgb` will give, from the header alone; raises `InputError`."""
    with _opened(path) as image:
        turned = image.getexif().get(ORIENTATION, 1) >= 5  # by a quarter, perhaps mirrored
        return (image.height, image.width) if turned else image.size


def check_image(path: Path) -> tuple[int, int]:
    """Raise `InputError` where reading would fail, at a fraction of the cost; returns the stored (width, height)."""
    with _opened(path) as image:
        width, height = image.size
        if image.format == "PNG":
            image.verify()  # checksums only
        else:
            image.draft("L", (width // 8, height // 8))  # a JPEG is decoded at 1/8 of its size
            image.load()
    return width, height


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The open image; whatever goes wrong while it is open becomes an `InputError` that names the file."""
    try:
        with Image.open(path) as image:
            if min(image.size) < SMALLEST:
                raise InputError(
                    path, f"{image.width}x{image.height} pixels", f"at least {SMALLEST}x{SMALLEST}"
                )
            yield image
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(path, "no such file", "an image", "check the path") from None
    except BROKEN as error:
        reason = (
            " ".join(str(error).split())
            if not isinstance(error, UnidentifiedImageError)
            else "not an image format"
        )
        raise InputError(
            path, f"an unreadable file ({reason})", "a whole PNG or JPEG", "copy or export it again"
        ) from None


def _rgba(image: Image.Image, path: Path) -> NDArray[np.float32]:
    """(h, w, 4) in [0, 1], straight alpha, of any mode that Pillow can show."""
    if image.mode == "F":
        raise InputError(path, "floating-point pixels", "8 or 16 bits a channel", "export it as PNG")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
        grey = np.clip(np.asarray(image, np.float32) / np.float32(65535), 0, 1)
        return np.stack([grey, grey, grey, np.ones_like(grey)], axis=-1)
    return np.asarray(image.convert("RGBA"), np.float32) / np.float32(255)
