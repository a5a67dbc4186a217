"""Train the toys' metric networks: `python -m piva.toys.training.metric_networks`.

Settings: conf/train_metric_networks.yaml. Trains a CLIP on the prior's corpus and an attribute reader on one
of all sorts of toys, and tries both on fresh pictures. Each writes a checkpoint, from which an interrupted
run goes on; what is not in `networks` is kept as it is.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from omegaconf import DictConfig, OmegaConf
from open_clip import CLIP
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from piva.files import CONF
from piva.metrics import reader, toys, toys_clip
from piva.metrics.reader import Reader
from piva.toys.training import architectures, corpus
from piva.toys.training.attributes import (
    UNSEEN,
    WORDS,
    Trial,
    altered,
    fresh,
    labels,
    try_clip,
    try_reader,
    without_colour,
)
from piva.toys.training.loop import Recipe, train
from piva.toys.world import Toy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """Hold the corpus in memory; `solid` is where a picture is not background."""

    pictures: Tensor  # uint8 (n, 3, h, w)
    solid: Tensor  # bool (n, 1, h, w)
    captions: list[str]  # some shortened
    toys: list[Toy]

    def augmented(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return augment(self.pictures[rows], self.solid[rows], generator).contiguous(
            memory_format=torch.channels_last
        )


@hydra.main(config_path=str(CONF), config_name="train_metric_networks", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Train the `networks` and write them with a model card to `cfg.out`."""
    torch.manual_seed(cfg.seed)  # initial weights only; every draw below has a generator of its own
    work, out = Path(cfg.work), Path(cfg.out)
    tokenizer = architectures.tokenizer(work / "tokenizer")
    if "clip" in cfg.networks:
        network = train_clip(cfg.clip, _data(cfg, work), tokenizer, cfg.held_out, work / "clip.pt", cfg.seed)
        toys.write_network(out, "clip", _architecture(cfg.clip, tokenizer), network.state_dict())
        tokenizer.save_pretrained(out / "tokenizer")
    if "reader" in cfg.networks:
        shape = {"width": cfg.reader.width, "size": cfg.size, "hidden": cfg.reader.hidden, "words": WORDS}
        data = _data(cfg, work, held_out=True)
        attributes = train_reader(
            cfg.reader, Reader(**shape), data, cfg.held_out, work / "reader.pt", cfg.seed + 1
        )
        toys.write_network(out, "reader", shape, attributes.state_dict())
    trial = fresh(cfg.fresh, cfg.size, cfg.seed)
    figures = try_clip(toys_clip.load(out), trial) | try_reader(reader.load(out), trial)
    (out / "README.md").write_text(_card(cfg, figures))
    log.info("wrote %s", out)


def _data(cfg: DictConfig, work: Path, *, held_out: bool = False) -> Data:
    raw = corpus.draw(cfg.images, cfg.size, cfg.seed, work, cfg.workers, held_out=held_out)
    pictures = torch.from_numpy(raw.images).permute(0, 3, 1, 2).to(cfg.device)
    solid = torch.from_numpy(raw.depth > 0)[:, None].to(cfg.device)
    return Data(pictures, solid, raw.captions, raw.toys)


def train_clip(
    cfg: DictConfig,
    data: Data,
    tokenizer: PreTrainedTokenizerBase,
    held_out: int,
    checkpoint: Path,
    seed: int,
) -> CLIP:
    """Train a CLIP by the symmetric contrastive loss and return its average.

    Besides the batch's other captions, each picture has its own caption with one word changed as a negative
    (Yuksekgonul et al. 2023): else the towers need not bind colours to things.
    """
    device = data.pictures.device
    model = toys_clip.build(_architecture(cfg, tokenizer)).to(device, memory_format=torch.channels_last)

    def loss_of(model: CLIP, step: int, generator: torch.Generator) -> Tensor:
        on_cpu = torch.Generator().manual_seed(seed * 1_000_003 + step)  # of words
        rows = torch.randint(held_out, len(data.toys), (cfg.batch,), generator=on_cpu)
        toys = [data.toys[i] for i in rows.tolist()]
        full = torch.rand(cfg.batch, generator=on_cpu) < 0.5
        own = [toys[k].caption if full[k] else data.captions[i] for k, i in enumerate(rows.tolist())]
        captions = own + [altered(toy, on_cpu).caption for toy in toys]
        texts = model.encode_text(toys_clip.tokenize(tokenizer, captions).to(device), normalize=True)
        pictures = toys_clip.encode(model, data.augmented(rows.to(device), generator))
        return contrastive(model.logit_scale.exp().clamp(max=100) * pictures @ texts.T, captions)

    trial = _validation(data, held_out)

    def check(average: CLIP) -> dict[str, float]:
        _copy_statistics(average, model)
        figures = try_clip(toys_clip.ToysClip(average, tokenizer), trial)
        return figures | {"error": 1 - figures["top1"]}

    return train("clip", model, loss_of, check, Recipe(**cfg.recipe), checkpoint, seed)


def train_reader(
    cfg: DictConfig, model: Reader, data: Data, held_out: int, checkpoint: Path, seed: int
) -> Reader:
    """Train `model` by the cross entropy of each word that a picture shows; return its average."""
    device = data.pictures.device
    model = model.to(device).to(memory_format=torch.channels_last)
    truth = labels(data.toys, WORDS).to(device)
    shapes = without_colour(truth)

    def loss_of(model: Reader, _: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(held_out, len(truth), (cfg.batch,), generator=generator, device=device)
        pictures, changed = recoloured(data.augmented(rows, generator), cfg.recoloured, generator)
        wanted = torch.where(changed[:, None], shapes[rows], truth[rows])
        pairs = zip(model(pictures).values(), wanted.T, strict=True)
        return sum(
            (F.cross_entropy(logit, column, ignore_index=UNSEEN) for logit, column in pairs),
            start=torch.zeros((), device=device),
        )

    trial = _validation(data, held_out)

    def check(average: Reader) -> dict[str, float]:
        _copy_statistics(average, model)
        figures = try_reader(average, trial)
        return figures | {"error": 1 - sum(figures.values()) / len(figures)}

    return train("reader", model, loss_of, check, Recipe(**cfg.recipe), checkpoint, seed)


def contrastive(logits: Tensor, captions: Sequence[str]) -> Tensor:
    """Return the mean of the cross entropies picture -> caption, over m captions, and caption -> picture.

    Args:
        logits: (n, m), m >= n; the caption of picture i is caption i.
        captions: m, of which caption -> picture uses the first n; equal ones are not each other's negatives.
    """
    n, index = len(logits), {text: k for k, text in enumerate(captions)}
    which = torch.tensor([index[text] for text in captions], device=logits.device)
    equal = which[:n, None] == which[None]  # (n, m)
    own = torch.arange(n, device=logits.device)
    equal[own, own] = False
    logits = logits.masked_fill(equal, -torch.inf)
    return 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits[:, :n].T, own))


def _card(cfg: DictConfig, figures: Mapping[str, float]) -> str:
    """Return the model card: data, settings and accuracies."""
    rows = "".join(f"| {name} | {100 * value:.1f} |\n" for name, value in figures.items())
    return f"""# The toys' metric networks

A small CLIP (open_clip's `CLIP`: `clip.safetensors`, `clip.json`, `tokenizer/`) and an attribute reader
(`reader.safetensors`, `reader.json`) for pictures of toys at {cfg.size}x{cfg.size}. They know the toys' world
and nothing else: their numbers are not those of the literature's CLIP and LPIPS, and results name them
`toys-clip-...` and `toys-lpips-...` after the weights' checksum.

- Data: captioned renders of random toys (piva/toys/training/corpus.py, seed {cfg.seed}); the CLIP's hold none
  of a held-out combination, the reader's, which is to judge, hold all.
- CLIP: {cfg.clip.recipe.steps} steps of {cfg.clip.batch} pictures. Reader: {cfg.reader.recipe.steps} steps of
  {cfg.reader.batch}.
- Made by `python -m piva.toys.training.metric_networks`, settings in conf/train_metric_networks.yaml;
  weights in half precision.

Right answers in percent on {cfg.fresh} fresh pictures of all sorts of toys. `top1`: the right caption fits
best of 100 distinct ones. `pair_x`: it beats the same caption with another x. The rest: the reader's words,
over the pictures that show them. `_held_out`: over toys in the combinations of a kind with a colour or a
surface that the prior's and the CLIP's training leave out.

| | % |
| --- | --- |
{rows}"""


def _architecture(cfg: DictConfig, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    text = plain["text"] | {"vocab_size": len(tokenizer)}
    return {"embed_dim": plain["embed_dim"], "vision": plain["vision"], "text": text}


def _validation(data: Data, held_out: int) -> Trial:
    return Trial(data.pictures[:held_out].float() / 255, data.toys[:held_out])


@torch.no_grad()
def _copy_statistics(average: nn.Module, model: nn.Module) -> None:
    """Copy batch norm's running statistics, which are averages already."""
    for ours, theirs in zip(average.buffers(), model.buffers(), strict=True):
        ours.copy_(theirs)


def augment(
    pictures: UInt8[Tensor, "b 3 h w"], solid: Bool[Tensor, "b 1 h w"], generator: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    """Return augmented pictures in about [0, 1] that keep what captions tell; `solid` is not background."""

    def draw(low: float, high: float, *shape: int) -> Tensor:
        shape = len(pictures), *shape
        return low + (high - low) * torch.rand(shape, generator=generator, device=pictures.device)

    x = pictures.float() / 255
    tint = torch.where(draw(0, 1, 1, 1, 1) < 0.3, draw(0.5, 1, 3, 1, 1), 1.0)
    x = torch.where(solid, x, x * tint)
    x = _moved(x, draw(0.85, 1.2), draw(-0.15, 0.15, 2), draw(0, 1) < 0.5)
    side = int(torch.randint(22, 57, (1,), generator=generator, device=x.device))
    x = torch.where(draw(0, 1, 1, 1, 1) < 0.4, _blurred(x, side), x)
    x = torch.lerp(x, x.mean(dim=1, keepdim=True), draw(0, 0.25, 1, 1, 1)) * draw(0.9, 1.05, 1, 1, 1)
    return x + draw(0, 0.05, 1, 1, 1) * torch.randn(x.shape, generator=generator, device=x.device)


def recoloured(
    pictures: Float[Tensor, "b 3 h w"], share: float, generator: torch.Generator
) -> tuple[Float[Tensor, "b 3 h w"], Bool[Tensor, "b"]]:
    """Exchange the colour channels of about a `share` of the pictures; return all, and which are changed."""
    draw: dict[str, Any] = {"generator": generator, "device": pictures.device}
    changed = torch.rand(len(pictures), **draw) < share
    order = torch.rand(len(pictures), 3, **draw).argsort(dim=1)
    order = torch.where(changed[:, None], order, torch.arange(3, device=pictures.device))
    return pictures.gather(1, order[:, :, None, None].expand_as(pictures)), changed


def _moved(x: Tensor, scale: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """Return `x` zoomed by 1/scale, shifted in half pictures and mirrored; the border fills what comes in."""
    matrix = torch.zeros(len(x), 2, 3, device=x.device)
    matrix[:, 0, 0] = torch.where(mirror, -scale, scale)
    matrix[:, 1, 1] = scale
    matrix[:, :, 2] = shift
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _blurred(x: Tensor, size: int) -> Tensor:
    """Return `x` scaled down to `size` pixels a side and back."""
    small = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    return F.interpolate(small, size=x.shape[-2:], mode="bilinear")


if __name__ == "__main__":
    main()
