"""Prompt-to-prompt (Hertz et al. 2022): some rows of a batch attend where others of it do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Pair:
    """Two rows of a batch: the source's, and the edit's, which gets its attention maps."""

    source: int
    target: int
    alignment: Float[Tensor, "n n"]  # `align`


def align(source: Sequence[int], target: Sequence[int], words: str) -> Float[Tensor, "n n"]:
    """Return which of the source prompt's maps the target's n tokens take over, as weights (from, to).

    With "refine" these are equal tokens in equal order; with "replace" also those that stand in others'
    place, each of which gets an equal part of their maps. A column of zeros: that token keeps its own.
    """
    weights = torch.zeros(len(source), len(target))
    for kind, i, i_end, j, j_end in SequenceMatcher(None, source, target, autojunk=False).get_opcodes():
        if kind == "equal":
            weights[i:i_end, j:j_end] = torch.eye(i_end - i)
        elif kind == "replace" and words == "replace":
            same = i_end - i == j_end - j
            weights[i:i_end, j:j_end] = torch.eye(i_end - i) if same else 1 / (j_end - j)
    return weights


@contextmanager
def attending_alike(
    unet: UNet2DConditionModel, pairs: Sequence[Pair], cross: bool, self_size: int
) -> Iterator[None]:
    """Let the target of each pair attend as its source does within the block.

    `cross` is for maps of the prompt's tokens, which are aligned; maps between pixels are taken over where
    these are at most self_size^2.
    """
    plain = unet.attn_processors
    if pairs:
        unet.set_attn_processor({name: _Alike(each, pairs, cross, self_size) for name, each in plain.items()})
    try:
        yield
    finally:
        if pairs:
            unet.set_attn_processor(plain)


@dataclass(frozen=True)
class _Alike:
    """An attention processor of diffusers, in place of `plain` where maps are shared."""

    plain: Any
    pairs: Sequence[Pair]
    cross: bool
    self_size: int

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **others: Any,
    ) -> Tensor:
        """Return the layer's output (b, pixels, d)."""
        words = encoder_hidden_states is not None
        if not (self.cross if words else hidden_states.shape[1] <= self.self_size**2):
            out: Tensor = self.plain(attn, hidden_states, encoder_hidden_states, **others)
            return out
        seen = encoder_hidden_states if encoder_hidden_states is not None else hidden_states
        query, key, value = (
            attn.head_to_batch_dim(project(x))  # (b * heads, pixels or tokens, d)
            for project, x in ((attn.to_q, hidden_states), (attn.to_k, seen), (attn.to_v, seen))
        )
        maps = attn.get_attention_scores(query, key).unflatten(0, (-1, attn.heads)).clone()
        for pair in self.pairs:
            maps[pair.target] = _shared(maps, pair) if words else maps[pair.source]
        out = attn.batch_to_head_dim(torch.bmm(maps.flatten(0, 1), value))
        for layer in attn.to_out:  # the projection, and a dropout that does nothing
            out = layer(out)
        return out


def _shared(maps: Tensor, pair: Pair) -> Tensor:
    """Return the target's maps (heads, pixels, tokens) with those of the source where tokens are aligned."""
    own = (pair.alignment.sum(0) == 0).to(maps.dtype)
    return maps[pair.source] @ pair.alignment.to(maps.dtype) + own * maps[pair.target]
