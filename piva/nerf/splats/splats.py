"""Gaussian splats as parameters, in the usual form: scales are logarithms, opacities logits, colours
spherical harmonics.

Their number is fixed. One whose opacity is below DEAD is drawn nowhere and costs nothing: it is a reserve
that `relocate` puts to use (3D Gaussian Splatting as Markov Chain Monte Carlo, Kheradmand et al. 2024).
"""

from collections.abc import Mapping
from math import comb, sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from piva.nerf.splats.rasterise import Gaussians

DEAD = 0.005  # opacity; 1/255 is the least that is drawn
SOLID, SPROUT = 0.3, 0.015  # opacities: beside which others sprout, and theirs then
LARGEST = 20.0  # logarithm of a scale in scene units
MOST_COPIES = 20  # of one splat in one relocation


class Splats(nn.Module):
    """n splats in a scene's units, whose axes may be turned.

    `to_file` takes the scene's world to that of the file that the splats came from: [s R | c]. Means are in
    that world less c and divided by s; R is left to the cameras, so that no spherical harmonic has to be
    turned.
    """

    to_file: Tensor

    def __init__(
        self,
        means: Float[Tensor, "n 3"],
        scales: Float[Tensor, "n 3"],
        quats: Float[Tensor, "n 4"],
        opacities: Float[Tensor, "n"],
        sh0: Float[Tensor, "n 1 3"],
        shN: Float[Tensor, "n k 3"],
        to_file: Float[Tensor, "4 4"],
    ) -> None:
        super().__init__()
        self.means, self.scales, self.quats = nn.Parameter(means), nn.Parameter(scales), nn.Parameter(quats)
        self.opacities, self.sh0, self.shN = nn.Parameter(opacities), nn.Parameter(sh0), nn.Parameter(shN)
        self.register_buffer("to_file", to_file)
        self.own = len(means)  # those behind are a reserve (`with_reserve`)

    def __len__(self) -> int:
        return len(self.means)

    @property
    def scale(self) -> float:
        """The length of a scene unit in the file's world."""
        return float(torch.linalg.det(self.to_file[:3, :3].double()) ** (1 / 3))

    @property
    def turn(self) -> Float[Tensor, "3 3"]:
        """The rotation from the scene's axes to the splats'."""
        return torch.nn.functional.normalize(self.to_file[:3, :3], dim=0)

    def gaussians(self) -> Gaussians:
        """Return the splats as they are drawn, with a graph."""
        sh = torch.cat([self.sh0, self.shN], dim=1) if self.shN.shape[1] else self.sh0
        scales = self.scales.clamp(max=LARGEST).exp()  # infinity times no gradient would be no number
        return Gaussians(self.means, self.quats, scales, self.opacities.sigmoid(), sh)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {name: [parameter] for name, parameter in self.named_parameters()}

    @torch.no_grad()
    def anchor(self, start: "Splats", weights: Mapping[str, float]) -> None:
        """Add weight * (value - value of `start`) to the gradients of these parameters.

        What a reserve has become is drawn to nothing but by its opacity's anchor.
        """
        begun = start.opacities.sigmoid() > DEAD
        for name, weight in weights.items():
            now, before = getattr(self, name), getattr(start, name)
            if weight and now.grad is not None:
                of = begun if name != "opacities" else torch.ones_like(begun)
                now.grad.add_((now - before) * of.view(-1, *[1] * (now.dim() - 1)), alpha=weight)

    @torch.no_grad()
    def coarsen_gradient(self, resolution: int) -> None:
        """Replace the gradients of places, opacities and colours by their means around the nodes of a grid
        over all that lives, of so many nodes along a side: neighbours then move alike (Voxels'
        `coarsen_gradient`).
        """
        named = [self.means, self.opacities, self.sh0, self.shN]
        grads = [x.grad for x in named if x.grad is not None and x.numel()]
        alive = self.opacities.sigmoid() > DEAD
        low, high = (getattr(self.means[alive], end)(0) for end in ("amin", "amax"))
        place = ((self.means - low) / (high - low).max().clamp(min=1e-9) * (resolution - 1)).clamp(min=0)
        first = place.floor().clamp(max=resolution - 2)
        part, strides = place - first, first.new_tensor([resolution**2, resolution, 1])
        corners = torch.cartesian_prod(*[torch.arange(2.0, device=part.device)] * 3)  # (8, 3)
        weights = (1 - (part[:, None] - corners).abs()).clamp(min=0).prod(-1) * alive[:, None]  # (n, 8)
        nodes = ((first.clamp(max=resolution - 2)[:, None] + corners) @ strides).long()
        flat = torch.cat([grad.flatten(1) if grad.dim() > 1 else grad[:, None] for grad in grads], dim=1)
        values = torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)
        grid = values.new_zeros((resolution**3, values.shape[1]))
        for corner in range(8):
            grid.index_add_(0, nodes[:, corner], values * weights[:, corner, None])
        means = grid[:, :-1] / grid[:, -1:].clamp(min=1e-9)
        smooth = sum(means[nodes[:, corner]] * weights[:, corner, None] for corner in range(8))
        for grad, mean in zip(grads, smooth.split([x[0].numel() for x in grads], dim=1), strict=True):
            grad.copy_(mean.view_as(grad))

    @torch.no_grad()
    def relocate(self, generator: torch.Generator) -> int:
        """Put the dead beside living splats, drawn by opacity, and return how many were moved.

        A splat and its copies share its place, and together look as it did (Kheradmand et al., Eq. 9).
        """
        opacities = self.opacities.sigmoid()
        dead, alive = ((opacities <= DEAD).nonzero()[:, 0], (opacities > DEAD).nonzero()[:, 0])
        if not len(dead) or not len(alive):
            return 0
        weights = opacities[alive].to(generator.device)
        chosen = alive[weights.multinomial(len(dead), replacement=True, generator=generator).to(alive.device)]
        copies = chosen.bincount(minlength=len(self))[chosen].clamp(max=MOST_COPIES - 1) + 1
        opacity, factor = shared(opacities[chosen], copies)
        self.opacities[chosen] = torch.logit(opacity.clamp(DEAD * 1.01, 1 - 1e-6))
        self.scales[chosen] += factor.log()[:, None]
        for parameter in self.parameters():
            parameter[dead] = parameter[chosen]
        return len(dead)

    @torch.no_grad()
    def sprout(self, reach: float, generator: torch.Generator) -> None:
        """Put the reserve's dead at random places at most `reach` from solid splats, in their colour, just to
        be seen: where nothing is, no gradient would ask for anything.
        """
        opacities = self.opacities.sigmoid()
        dead = (opacities[self.own :] <= DEAD).nonzero()[:, 0] + self.own
        solid = (opacities > SOLID).nonzero()[:, 0]
        if not len(dead) or not len(solid):
            return
        draws = torch.rand((len(dead), 5), generator=generator, device=generator.device).to(self.means)
        parents = solid[(draws[:, 0] * len(solid)).long().clamp(max=len(solid) - 1)]
        offset = nn.functional.normalize(draws[:, 1:4] - 0.5, dim=1) * reach * draws[:, 4:].sqrt()
        self.means[dead] = self.means[parents] + offset
        self.scales[dead] = torch.log(self.scales.new_tensor(reach / 4))
        self.opacities[dead] = torch.logit(self.scales.new_tensor(SPROUT))
        self.sh0[dead], self.shN[dead] = self.sh0[parents], self.shN[parents]

    @torch.no_grad()
    def wither(self) -> None:
        """Let what has sprouted and not grown since die."""
        reserve = self.opacities[self.own :]
        faint = reserve.sigmoid() < 2 * SPROUT
        reserve[faint] = torch.logit(self.opacities.new_tensor(DEAD / 2))

    @torch.no_grad()
    def shake(self, amount: float, generator: torch.Generator) -> None:
        """Move faint splats at random within their own ellipsoids (Kheradmand et al., Eq. 8)."""
        quats, scales = nn.functional.normalize(self.quats, dim=1), self.scales.exp()
        noise = torch.randn(self.means.shape, generator=generator, device=generator.device).to(self.means)
        free = torch.sigmoid(100 * (0.005 - self.opacities.sigmoid()))
        local = rotated(quats * quats.new_tensor([1, -1, -1, -1]), noise) * scales.square()
        self.means.add_(rotated(quats, local) * free[:, None], alpha=amount)

    def with_reserve(self, part: float) -> "Splats":
        """Return these splats and behind them dead ones, so many as a part of them."""
        more = torch.arange(round(part * len(self)), device=self.means.device) % max(len(self), 1)
        values = {name: torch.cat([x.detach(), x.detach()[more]]) for name, x in self.named_parameters()}
        values["opacities"][len(self) :] = torch.logit(torch.tensor(DEAD / 2))
        splats = Splats(**values, to_file=self.to_file)
        splats.own = len(self)
        return splats

    def alive(self) -> "Splats":
        """Return a copy without the dead."""
        kept = self.opacities.detach().sigmoid() > DEAD
        return Splats(**{name: x.detach()[kept] for name, x in self.named_parameters()}, to_file=self.to_file)


def shared(
    opacity: Float[Tensor, "n"], copies: Int[Tensor, "n"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Return the opacity of each of so many splats in one place that look like one, and the factor of their
    scale (Kheradmand et al., Eq. 9).
    """
    new = 1 - (1 - opacity) ** (1 / copies)
    total = torch.zeros_like(opacity)
    for i in range(1, int(copies.max()) + 1):
        terms = [comb(i - 1, k) * (-1) ** k / sqrt(k + 1) * new ** (k + 1) for k in range(i)]
        total += torch.where(copies >= i, torch.stack(terms).sum(0), 0)
    return new, opacity / total


def rotated(quats: Float[Tensor, "n 4"], vectors: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Return vectors turned by unit quaternions, wxyz."""
    w, axis = quats[:, :1], quats[:, 1:]
    twice = 2 * torch.linalg.cross(axis, vectors)
    turned: Tensor = vectors + w * twice + torch.linalg.cross(axis, twice)
    return turned
