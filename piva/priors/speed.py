"""Switches that make a loaded prior faster, or smaller, and leave its numbers as they are up to rounding."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from piva.priors.prior import Prior


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The node `speed`."""

    channels_last: bool  # convolutions in the order that tensor cores want
    tf32: bool  # on CUDA: float32 products with 10 bits of mantissa
    # regions: the U-Net's transformer blocks, in seconds; full: all of it, in minutes
    compile: Literal["none", "regions", "full"]
    checkpointing: bool  # the U-Net's activations are computed again in backward passes instead of kept

    def apply(self, prior: "Prior") -> None:
        """Change the prior's networks in place."""
        import torch

        if prior.device.type == "cuda":
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = self.tf32
        if self.channels_last:
            prior.unet.to(memory_format=torch.channels_last)
            prior.vae.to(memory_format=torch.channels_last)
        if self.checkpointing:
            prior.unet.enable_gradient_checkpointing()
        if self.compile != "none":
            # five widths of blocks, each with and without gradients: more than dynamo's limit of eight
            torch._dynamo.config.recompile_limit = 64
        # a graph for each number of rows is faster than one for any
        if self.compile == "regions":
            prior.unet.compile_repeated_blocks(fullgraph=True, dynamic=False)
        elif self.compile == "full":
            prior.unet.compile(fullgraph=True, dynamic=False)
