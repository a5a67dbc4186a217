"""Contrastive denoising score (Nam et al., CVPR 2024): a loss on the features that the predictions have."""

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt

from piva.errors import InputError
from piva.priors.stable_diffusion import Speed
from piva.scores.terms import EDIT, ORIGINAL, SOURCE, TARGET, Network, Prediction

if TYPE_CHECKING:
    import torch
    from diffusers import UNet2DConditionModel
    from torch import Tensor

    from piva.models.denoiser import Denoiser, Query

OF_ORIGINAL = Prediction(Network.FROZEN, ORIGINAL, SOURCE)
OF_EDIT = Prediction(Network.FROZEN, EDIT, TARGET)
# The authors' loss of the direction is its mean over the pixels of the latents times the latter, and this.
OF_DIRECTION = 2000.0


@dataclass(frozen=True, kw_only=True)
class CDS:
    """The loss 2000 mean(x direction) + weight PatchNCE, by which the direction gets weight h w / 2000 times
    the gradient of PatchNCE, for latents x of h w pixels.

    PatchNCE (Park et al. 2020): each of some patches of the edit's features should be most like the same
    patch of the original's, among these patches; a sum over layers and sizes of patches. Features are the
    outputs of the self-attention layers on the U-Net's way up, of the noised edit with the target prompt and
    of the noised original with the source prompt: those of the direction's own conditional predictions.
    """

    weight: Annotated[float, Ge(0)]
    patch_sizes: list[Annotated[int, Ge(1)]]
    patches: Annotated[int, Ge(2)]
    temperature: Annotated[float, Gt(0)]

    def check(self, task: Any, speed: Speed) -> None:
        """Raise `InputError` where the layers are compiled, by which no feature can be seen."""
        if speed.compile != "none":
            raise InputError("speed.compile", speed.compile, "none, for regulariser=cds to see features")

    @property
    def kept(self) -> list[Prediction]:
        return [OF_EDIT] if self.weight else []

    def passes(self, asked: Set[Prediction]) -> float:
        return 1 + len({OF_EDIT, OF_ORIGINAL} - asked) if self.weight else 0

    def slopes(
        self,
        denoiser: "Denoiser",
        queries: "Sequence[Query]",
        generators: "Sequence[torch.Generator]",
    ) -> "list[tuple[dict[Prediction, Tensor], Tensor | None]]":
        """Return each edit's two conditional predictions, and the gradient by its latents.

        What an edit gets does not depend on the others: its patches are drawn by its own generator.
        """
        if not self.weight:
            return [({}, None) for _ in queries]
        found: dict[int, tuple[dict[Prediction, Tensor], Tensor | None]] = {}

        def size(i: int) -> tuple[int, ...]:
            return tuple(queries[i].noisy[EDIT].shape[2:])

        for of_it, group in groupby(sorted(range(len(queries)), key=size), size):
            members = list(group)
            own = [queries[i] for i in members], [generators[i] for i in members]
            found |= zip(members, self._slopes(denoiser, *own, of_it), strict=True)
        return [found[i] for i in range(len(queries))]

    def _slopes(
        self,
        denoiser: "Denoiser",
        queries: "Sequence[Query]",
        generators: "Sequence[torch.Generator]",
        size: tuple[int, ...],
    ) -> "list[tuple[dict[Prediction, Tensor], Tensor | None]]":
        """Return what `slopes` does, for latents of one size."""
        import torch

        unet, schedule = denoiser.prior.unet, denoiser.prior.schedule
        noisy = [query.noisy[EDIT].detach().requires_grad_(True) for query in queries]
        with torch.no_grad(), self_attention(unet) as wanted:
            originals = denoiser.predict([replace(query, predictions=[OF_ORIGINAL]) for query in queries])
        with torch.enable_grad(), self_attention(unet) as features:
            edits = denoiser.predict([
                replace(query, predictions=[OF_EDIT], noisy={EDIT: x})
                for query, x in zip(queries, noisy, strict=True)
            ])  # fmt: skip
            rows = [(generator, len(x)) for generator, x in zip(generators, noisy, strict=True)]
            loss = sum(self.loss(a, b, size, rows) for a, b in zip(wanted, features, strict=True))
            if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
                wanted_sizes = f"some that fit into a layer, for latents of {size[0]}x{size[1]}"
                raise InputError("regulariser.patch_sizes", str(self.patch_sizes), wanted_sizes)
            slopes = torch.autograd.grad(loss, noisy)
        scale = self.weight * size[0] * size[1] / OF_DIRECTION
        results: list[tuple[dict[Prediction, Tensor], Tensor | None]] = []
        for query, original, edit, slope in zip(queries, originals, edits, slopes, strict=True):
            query.edit.evaluations.backward += len(slope)
            known = original | {OF_EDIT: edit[OF_EDIT].detach()}
            results.append((known, scale * schedule.alpha(query.t) * slope))
        return results

    def loss(
        self,
        wanted: "Tensor",
        features: "Tensor",
        size: tuple[int, ...],
        rows: "Sequence[tuple[torch.Generator, int]]",
    ) -> "Tensor":
        """Return the sum over all rows of a layer's PatchNCE, for features (b, pixels, d) of the original and
        the edit.

        `size` is that of the latents; a generator draws the patches of so many `rows`.
        """
        import torch
        import torch.nn.functional as F

        height, width = _layer_size(wanted.shape[1], size)
        total = torch.zeros((), device=wanted.device)
        for side in self.patch_sizes:
            if side > min(height, width):
                continue
            a, b = (
                F.normalize(F.avg_pool2d(x.float().mT.unflatten(2, (height, width)), side), dim=1)
                .flatten(2)
                .mT
                for x in (wanted, features)
            )  # (b, patches, d)
            drawn = [torch.rand((n, a.shape[1]), generator=draw, device=a.device) for draw, n in rows]
            chosen = torch.cat(drawn).argsort(1)[:, : self.patches, None].expand(-1, -1, a.shape[2])
            alike = a.gather(1, chosen) @ b.gather(1, chosen).mT / self.temperature
            own = torch.arange(alike.shape[1], device=a.device).expand(len(alike), -1)
            total = total + F.cross_entropy(alike.mT, own, reduction="none").mean(1).sum()
        return total


@contextmanager
def self_attention(unet: "UNet2DConditionModel") -> "Iterator[list[Tensor]]":
    """Collect the outputs (b, pixels, d) of the self-attention layers on a U-Net's way up, in their order,
    within the block.
    """
    outputs: list[Tensor] = []
    layers = [layer for name, layer in unet.up_blocks.named_modules() if name.endswith(".attn1")]
    hooks = [layer.register_forward_hook(lambda *call: outputs.append(call[-1])) for layer in layers]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _layer_size(pixels: int, size: tuple[int, ...]) -> tuple[int, int]:
    """Return the (height, width) of a layer with so many pixels: the U-Net halves its sides, rounding up."""
    height, width = size
    while height * width > pixels:
        height, width = -(-height // 2), -(-width // 2)
    assert height * width == pixels
    return height, width
