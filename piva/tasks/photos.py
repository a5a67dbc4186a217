"""The training pictures of a scene, to fit a field to once some of them are edited."""

from typing import TYPE_CHECKING, NamedTuple

from piva.cameras.trajectories import Camera
from piva.datasets.scene import Views
from piva.tasks.image import fitting, resize

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Patches(NamedTuple):
    """Squares of pixels of some pictures, row by row: n = patches side^2."""

    rays_o: "Tensor"  # (n, 3)
    rays_d: "Tensor"  # (n, 3)
    rgb: "Tensor"  # (n, 3), in [0, 1]
    keep: "Tensor | None"  # (n): the pixels to look at, None for all
    side: int


class Photos:
    """n pictures (3, h, w) of one size before one background, kept as bytes, each original or changed."""

    def __init__(self, views: Views, size: int, multiple: int, background: "Tensor") -> None:
        """Bring the training pictures to about size^2 pixels, with sides that are multiples of `multiple`."""
        import torch

        from piva.cameras.rays import Lenses

        lens, device = views.lenses[views.train[0]], background.device
        self._size = fitting((lens.height, lens.width), size, multiple)
        height, width = self._size
        self._c2w = views.c2w[views.train]
        self._lenses = [views.lenses[i].resized(width, height) for i in views.train]
        self._poses = torch.from_numpy(self._c2w).to(device)
        self._rays = Lenses.of(self._lenses, len(self), device)
        self._pictures = torch.stack([self._read(views, i, background) for i in views.train])
        self._originals = self._pictures.clone()
        self._keep = None
        if views.keep is not None:
            masks = torch.from_numpy(views.keep[views.train]).float()[:, None]
            self._keep = torch.nn.functional.interpolate(masks, self._size, mode="area")[:, 0].to(device) == 1
        self._changed: set[int] = set()

    def _read(self, views: Views, index: int, background: "Tensor") -> "Tensor":
        import torch

        rgba = torch.from_numpy(views.images[index]).to(background) / 255
        rgb = rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:]) * background
        return _as_bytes(resize(rgb.permute(2, 0, 1)[None], self._size)[0])

    def __len__(self) -> int:
        return len(self._lenses)

    def camera(self, index: int) -> Camera:
        return self._c2w[index], self._lenses[index]

    def original(self, index: int) -> "Tensor":
        """Return a picture (1, 3, h, w) in [0, 1] as it was."""
        return self._originals[index : index + 1].float() / 255

    def change(self, index: int, picture: "Tensor") -> None:
        """Put (3, h, w) in a picture's place: bytes, or in [0, 1]."""
        self._pictures[index] = _as_bytes(picture) if picture.is_floating_point() else picture
        self._changed.add(index)

    def changed(self) -> "dict[int, Tensor]":
        """Return the pictures that were changed, as bytes."""
        return {index: self._pictures[index] for index in sorted(self._changed)}

    def patches(self, count: int, side: int, generator: "torch.Generator") -> Patches:
        """Draw squares of side^2 pixels from any pictures, smaller ones where these are smaller.

        The generator is on the host.
        """
        import torch

        from piva.cameras.rays import mixed_rays

        (height, width), device = self._size, self._poses.device
        side = min(side, height, width)
        frame, top, left = (
            torch.randint(end, (count, 1, 1), generator=generator)
            for end in (len(self), height - side + 1, width - side + 1)
        )
        along = torch.arange(side)
        square = torch.broadcast_tensors(frame, top + along[:, None], left + along)
        frame, v, u = (x.flatten().to(device, non_blocking=True) for x in square)
        which = self._rays.which.index_select(0, frame)
        rays_o, rays_d = mixed_rays(self._poses.index_select(0, frame), u, v, which, self._rays)
        keep = None if self._keep is None else self._keep[frame, v, u]
        return Patches(rays_o, rays_d, self._pictures[frame, :, v, u].float() / 255, keep, side)


def _as_bytes(picture: "Tensor") -> "Tensor":
    import torch

    return (255 * picture).round().to(torch.uint8)
