"""What is measured and shown of an edit: pictures of the original and of the edit. No torch at run time."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from piva.errors import one_line
from piva.images import film_writer, save_image, to_uint8

if TYPE_CHECKING:
    from torch import Tensor


log = logging.getLogger(__name__)


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


def save_comparison(comparison: Comparison, folder: Path) -> None:
    """Write before.png and after.png; of several views turntable.mp4; the truth where it is known."""
    import torch

    for name, images in (("before", comparison.before), ("after", comparison.after)):
        first = images[:1]
        if comparison.size:
            first = torch.nn.functional.interpolate(first, comparison.size, mode="bicubic", antialias=True)
        save_image(folder / f"{name}.png", to_uint8(first[0]))
    if len(comparison.before) > 1:
        path = folder / "turntable.mp4"
        try:
            with film_writer(path, 12) as film:
                for views in zip(comparison.before, comparison.after, strict=True):  # at once: gigabytes
                    film.write_frame(to_uint8(torch.cat(views, dim=-1)))
        except Exception as error:  # whatever an encoder raises: the edit is worth more than its film
            path.unlink(missing_ok=True)
            log.warning("no %s: %s; the edit is kept", path.name, one_line(error))
    if comparison.truth is not None:
        save_image(folder / "truth.png", to_uint8(comparison.truth[0]))
