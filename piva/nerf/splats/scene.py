"""A scene of splats: what an edit, the viewer and an export ask of any scene (`piva.nerf.scenes.Scene`)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from piva.cameras.lens import Lens
from piva.cameras.rays import image_rays
from piva.nerf.render import Rendered
from piva.nerf.splats.rasterise import rasterise
from piva.nerf.splats.splats import DEAD, Splats

if TYPE_CHECKING:
    from piva.nerf.splats.settings import SplatFit

NEAR = 0.01  # scene units


class SplatScene(NamedTuple):
    """Splats and what lies behind them."""

    field: Splats
    background: Float[Tensor, "3"] | None

    def view(
        self,
        fit: "SplatFit",
        c2w: Float[Tensor, "4 4"],
        lens: Lens,
        background: Float[Tensor, "3"],
        near: float = 0.0,
    ) -> Rendered:
        """Draw a view, differentiable as `rasterise` is. Raises `InputError` for a bent lens."""
        drawn = rasterise(
            self.field.gaussians(), world_to_camera(c2w, self.field.turn), lens, max(near, NEAR)
        )
        cosine = -(image_rays(c2w, lens)[1] @ c2w[:3, 2]).view_as(drawn.depth)
        rgb = drawn.rgb + (1 - drawn.opacity[..., None]) * background
        return Rendered(rgb, drawn.opacity, drawn.depth / cosine)

    def refresh(
        self, fit: "SplatFit", progress: float, generator: torch.Generator, grow: int
    ) -> Bool[Tensor, "2"]:
        """Let new splats sprout; return whether all are finite, and whether one is to be seen."""
        if progress < fit.edit.sprout_until:
            self.field.sprout(fit.edit.reach, generator)
        else:
            self.field.wither()
        finite = torch.stack([x.isfinite().all() for x in self.field.parameters()]).all()
        return torch.stack([finite, (self.field.opacities.sigmoid() > DEAD).any()])

    def opened(self, fit: "SplatFit") -> "SplatScene":
        """Return a copy to edit, with splats in reserve."""
        return self._replace(field=self.field.with_reserve(fit.edit.reserve))

    def tight(self, fit: "SplatFit") -> "SplatScene":
        """Return a copy with nothing but what can be seen."""
        return self._replace(field=self.field.alive())

    def tensors(self) -> dict[str, Tensor]:
        """Return what is saved, but for the background."""
        return self.field.state_dict()

    def checkpoint(self) -> dict[str, Any]:
        return {"field": self.field.state_dict()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.field.load_state_dict(saved["field"])


def world_to_camera(c2w: Float[Tensor, "4 4"], turn: Float[Tensor, "3 3"]) -> Float[Tensor, "4 4"]:
    """Return the splats' axes to those of OpenCV's cameras, for a pose with OpenGL's axes in the scene's."""
    axes = (turn @ c2w[:3, :3]).T * c2w.new_tensor([[1.0], [-1.0], [-1.0]])
    w2c = torch.eye(4, device=c2w.device, dtype=c2w.dtype)
    w2c[:3, :3], w2c[:3, 3] = axes, -axes @ (turn @ c2w[:3, 3])
    return w2c
