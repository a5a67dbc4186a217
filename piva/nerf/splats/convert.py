"""Splats of a fitted field: begun where its renders meet a surface, in their colours, then fitted to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt, Interval

from piva.cameras.lens import pinhole
from piva.cameras.poses import hemisphere
from piva.errors import InputError
from piva.ranges import FieldOfView

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from piva.nerf.scenes import Scene
    from piva.nerf.splats.scene import SplatScene
    from piva.nerf.splats.splats import Splats

SOLID = 0.5  # opacity of a pixel from which on its depth is that of a surface
BEGIN = 0.5  # opacity of a splat before the fit
NEIGHBOURS = 3  # whose mean distance is a splat's first size, as in 3D Gaussian Splatting


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What an object's field is seen from, on its upper hemisphere, and how splats are fitted to that."""

    views: Annotated[int, Interval(ge=1, le=10_000)]
    size: Annotated[int, Interval(ge=16, le=2048)]  # pixels a side
    fov_deg: FieldOfView
    distance: Annotated[float, Gt(0)]
    fit: Any  # SplatFit


def as_splats(
    scene: "Scene",
    fit: Any,
    settings: Conversion,
    generator: "torch.Generator",
    progress: Callable[[int, int], None] = lambda _step, _total: None,
) -> "SplatScene":
    """Return the splats of an object's field, whose settings are `fit`. Raises `InputError` where renders
    show nothing.
    """
    import torch

    from piva.cameras.rays import image_rays
    from piva.nerf.splats.fit import fit_splats

    lens, device = pinhole(settings.fov_deg, settings.size), next(scene.field.parameters()).device
    poses = torch.from_numpy(hemisphere(settings.views, settings.distance)).to(device)
    black, views, places = torch.zeros(3, device=device), [], []
    with torch.no_grad():
        for c2w in poses:
            seen, (origins, directions) = scene.view(fit, c2w, lens, black), image_rays(c2w, lens)
            alpha = seen.opacity[..., None]
            views.append(torch.cat([seen.rgb / alpha.clamp(min=1e-6), alpha], dim=-1).clamp(0, 1))
            points = (origins + directions * seen.depth.view(-1, 1))[seen.opacity.flatten() > SOLID]
            places.append(torch.cat([points, views[-1][seen.opacity > SOLID][:, :3]], dim=1))
    met = torch.cat(places)
    if len(met) < NEIGHBOURS + 1:
        wanted, remedy = "an object that renders show", "look at it with piva view"
        raise InputError("what=[splats]", "a field that is all but empty", wanted, remedy)
    begin = _initial(met, settings.fit, generator)
    return fit_splats(settings.fit, torch.stack(views), poses, lens, generator, progress, begin=begin)


def _initial(met: "Tensor", fit: Any, generator: "torch.Generator") -> "Splats":
    """Return splats at some of these points of a surface, in their colours: `met` (m, 6)."""
    import torch
    from scipy.spatial import cKDTree

    from piva.nerf.splats.rasterise import SH0
    from piva.nerf.splats.splats import Splats

    drawn = torch.randint(len(met), (fit.splats,), generator=generator, device=generator.device)
    means, colours = met[drawn.to(met.device)].split(3, dim=1)
    points = means.cpu().numpy()
    apart, _ = cKDTree(points).query(points, NEIGHBOURS + 1)
    size = torch.from_numpy(apart[:, 1:]).to(means).mean(dim=1).clamp(min=1e-4 * fit.radius)
    return Splats(
        means.clone(),
        size.log()[:, None].repeat(1, 3),
        means.new_tensor([[1.0, 0, 0, 0]]).repeat(len(means), 1),
        torch.logit(means.new_full((len(means),), BEGIN)),
        ((colours - 0.5) / SH0)[:, None],
        means.new_zeros((len(means), (fit.degree + 1) ** 2 - 1, 3)),
        torch.eye(4, device=means.device),
    )
