"""Pictures and films: reading photos and scene views, writing PNG and MP4, and PIE-Bench's run-length coded
masks.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from piva.errors import InputError, one_line
from piva.files import regular

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 8  # pixels on a side: one cell of the latent grid
ORIENTATION = 0x0112  # EXIF
HALF = 128  # of a byte
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def read_rgb(path: Path) -> NDArray[np.float32]:
    """Return a photo (h, w, 3) in [0, 1], rotated as its EXIF says, on white. Raises `InputError`."""
    with _opened(path) as image:
        rgba = _rgba(ImageOps.exif_transpose(image), path)
    alpha = rgba[..., 3:]
    return rgba[..., :3] * alpha + (1 - alpha)


def read_rgba(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return a scene view (h, w, 4) with straight alpha, 255 where the file has none. Raises `InputError`.

    It is shrunk to `size` (width, height) by area averaging. EXIF orientation is ignored: poses and
    intrinsics belong to the stored pixels.
    """
    with _opened(path) as image:
        rgba = np.rint(_rgba(image, path) * 255).astype(np.uint8)
    if size and size != (rgba.shape[1], rgba.shape[0]):
        return np.asarray(Image.fromarray(rgba).resize(size, Image.Resampling.BOX))
    return rgba


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (h, w) at `size` (width, height): where a scene's mask is not black, as nerfstudio reads it.

    Any value but 0 counts, as nerfstudio has it; of a JPEG, whose black is only nearly so, the brighter half.
    A smaller pixel that is masked in part is masked. Raises `InputError` for what has several meanings:
    colours, transparency, a palette whose colours say something else than its indices.
    """
    wanted = "black where it is masked, elsewhere white or another grey"
    with _opened(path) as image:
        if image.format == "JPEG":
            grey = np.asarray(image.convert("L"))
            if 0 < grey.max() < HALF:
                raise InputError(path, f"a JPEG of values up to {grey.max()}", wanted, "save it as PNG")
            seen = grey >= HALF
        elif image.mode == "P":
            seen = np.asarray(image) > 0
            if (seen != np.asarray(image.convert("RGB")).any(axis=-1)).any():
                raise InputError(path, "a palette whose first colour is not its one black", wanted)
        else:
            seen = np.asarray(image) != 0
            if seen.ndim == 3:
                rgba = np.asarray(image.convert("RGBA"))
                if (rgba[..., :3] != rgba[..., :1]).any() or rgba[..., 3].min() < 255:
                    raise InputError(path, "a mask with colours or transparency", wanted)
                seen = rgba[..., 0] > 0
    if size == seen.shape[::-1]:
        return np.asarray(seen)
    scaled = Image.fromarray(seen.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    whole: NDArray[np.bool] = np.asarray(scaled) == 255
    return whole


def image_size(path: Path) -> tuple[int, int]:
    """Return the stored (width, height) from the header alone. Raises `InputError`."""
    with _opened(path) as image:
        return image.size


def shown_size(path: Path) -> tuple[int, int]:
    """Return the (width, height) that `read_rgb` gives, from the header alone. Raises `InputError`."""
    with _opened(path) as image:
        quarter_turn = image.getexif().get(ORIENTATION, 1) >= 5
        return (image.height, image.width) if quarter_turn else image.size


def check_image(path: Path) -> tuple[int, int]:
    """Return the stored (width, height). Raises `InputError` where reading would, at less cost."""
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
    """Open an image; what goes wrong while it is open becomes an `InputError` that names the file."""
    try:
        with Image.open(regular(path, "an image")) as image:
            if min(image.size) < SMALLEST:
                found = f"{image.width}x{image.height} pixels"
                raise InputError(path, found, f"at least {SMALLEST}x{SMALLEST}")
            yield image
    except InputError:
        raise
    except BROKEN as error:
        reason = "not an image format" if isinstance(error, UnidentifiedImageError) else one_line(error)
        found = f"an unreadable file ({reason})"
        raise InputError(path, found, "a whole PNG or JPEG", "copy or export it again") from None


def _rgba(image: Image.Image, path: Path) -> NDArray[np.float32]:
    """Return (h, w, 4) in [0, 1] with straight alpha, from any mode that Pillow can show."""
    if image.mode == "F":
        raise InputError(path, "floating-point pixels", "8 or 16 bits a channel", "export it as PNG")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
        grey = np.clip(np.asarray(image, np.float32) / np.float32(65535), 0, 1)
        return np.stack([grey, grey, grey, np.ones_like(grey)], axis=-1)
    return np.asarray(image.convert("RGBA"), np.float32) / np.float32(255)


def to_uint8(images: "Tensor") -> NDArray[np.uint8]:
    """Return images with values in [0, 1], (n, 3, h, w) or (3, h, w), as bytes with channels last."""
    bytes_: NDArray[np.uint8] = (images.clamp(0, 1) * 255).round().byte().movedim(-3, -1).cpu().numpy()
    return bytes_


def save_image(path: Path, pixels: NDArray[Any], **options: Any) -> None:
    """Write one picture in the format of its suffix; a boolean mask becomes 0 and 255."""
    image = Image.fromarray(np.where(pixels, 255, 0).astype(np.uint8) if pixels.dtype == bool else pixels)
    image.save(path, **options)


@contextmanager
def film_writer(path: Path, fps: float) -> Iterator[Any]:
    """Yield the writer of an H.264 MP4: its `write_frame` takes frames (h, w, 3) of bytes with even sides."""
    import imageio.v3 as iio

    with iio.imopen(path, "w", plugin="pyav") as film:
        film.init_video_stream("libx264", fps=fps)
        yield film


def decode_runs(runs: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Return the mask (height, width) of PIE-Bench's runs: start, length, start, length, ... in row-major
    order.

    A run past the end is cut. Raises `ValueError` for an odd count or negative numbers.
    """
    pairs = np.asarray(runs, np.int64)
    if pairs.ndim != 1 or pairs.size % 2 or (pairs < 0).any():
        raise ValueError("runs must be pairs of start and length, none of them negative")
    starts, ends = np.minimum((pairs[::2], pairs[::2] + pairs[1::2]), height * width)
    steps = np.zeros(height * width + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    return (np.cumsum(steps[:-1]) > 0).reshape(height, width)


def encode_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return the runs of true pixels, as few as possible: the inverse of `decode_runs`."""
    padded = np.concatenate([[False], mask.ravel(), [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded)).reshape(-1, 2)
    return [int(number) for start, end in edges for number in (start, end - start)]
