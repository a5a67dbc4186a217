"""What is measured and shown of an edit: pictures of the original and of the edit. No torch at run time."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from piva.errors import one_line
from piva.images import film_writer, save_image, to_uint8

if TYPE_CHECKING:
    from torch import Tensor


log = logging.getLogger(__name__)

SIDE, STRIP = 256, 28  # pixels: a side of what is shown, at least; the height of a label
FILM_S, LEAST_FPS = 6, 12  # seconds; frames a second


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What an edit did, as pictures (n, 3, h, w) in [0, 1] on the run's device.

    `before` and `after` show the original and the edit from the same views (a trajectory, or one picture).
    Where the truth is known, `truth_before` and `truth_after` show them from the truth's own views, and masks
    (m, 1, h, w) are 1 where the truth differs from the source.
    """

    before: "Tensor"
    after: "Tensor"
    truth: "Tensor | None" = None
    truth_before: "Tensor | None" = None
    truth_after: "Tensor | None" = None
    truth_mask: "Tensor | None" = None
    size: tuple[int, int] | None = None  # (h, w) of the user's own picture, if the edit ran at another


def save_comparison(comparison: Comparison, folder: Path, prompts: tuple[str, str] = ("", "")) -> None:
    """Write before.png and after.png; the truth where it is known; comparison.png, all of them side by side
    with labels; of several views turntable.mp4, original beside edit.
    """
    import torch

    for name, images in (("before", comparison.before), ("after", comparison.after)):
        first = images[:1]
        if comparison.size:
            first = torch.nn.functional.interpolate(first, comparison.size, mode="bicubic", antialias=True)
        save_image(folder / f"{name}.png", to_uint8(first[0]))
    labels = [f"original: {prompts[0]}", f"edit: {prompts[1]}", "truth"]
    shown = [comparison.before, comparison.after]
    if comparison.truth is not None:
        save_image(folder / "truth.png", to_uint8(comparison.truth[0]))
        at_truth = comparison.truth_before, comparison.truth_after, comparison.truth
        shown = [images for images in at_truth if images is not None]
    save_image(folder / "comparison.png", beside([images[0] for images in shown], labels))
    if len(comparison.before) > 1:
        _save_film(comparison, labels, folder / "turntable.mp4")


def _save_film(comparison: Comparison, labels: Sequence[str], path: Path) -> None:
    """Write a film of FILM_S seconds, in which a short trajectory is gone along more than once."""
    count = len(comparison.before)
    times = -(-LEAST_FPS * FILM_S // count)
    try:
        with film_writer(path, times * count / FILM_S) as film:
            for i in range(times * count):  # all frames at once are gigabytes
                film.write_frame(beside([comparison.before[i % count], comparison.after[i % count]], labels))
    except Exception as error:  # whatever an encoder raises: the edit is worth more than its film
        path.unlink(missing_ok=True)
        log.warning("no %s: %s; the edit is kept", path.name, one_line(error))


def beside(pictures: "Sequence[Tensor]", labels: Sequence[str]) -> NDArray[np.uint8]:
    """Return pictures (3, h, w) of one size, each below its label, as bytes (strip + h', w', 3).

    Each is enlarged to at least SIDE pixels a side; sides are even, as video codecs want them.
    """
    import torch

    height, width = pictures[0].shape[-2:]
    scale = max(1.0, SIDE / min(height, width))
    size = (2 * round(scale * height / 2), 2 * round(scale * width / 2))
    large = [
        torch.nn.functional.interpolate(picture[None], size, mode="bicubic", antialias=True)[0]
        for picture in pictures
    ]
    strips = [label_strip(label, size[1]) for label in labels[: len(pictures)]]
    return np.concatenate([np.concatenate(strips, axis=1), to_uint8(torch.cat(large, dim=-1))])


@cache
def label_strip(label: str, width: int) -> NDArray[np.uint8]:
    """Return a label as bytes (STRIP, width, 3), dark on white; the end of a long one is left out."""
    strip, font = Image.new("RGB", (width, STRIP), "white"), ImageFont.load_default(14)
    text = label.strip(": ")
    while font.getlength(text) > width - 12:
        text = text.rstrip("\u2026")[:-1] + "\u2026"
    ImageDraw.Draw(strip).text((6, STRIP // 2), text, "black", font, anchor="lm")
    return np.asarray(strip)
