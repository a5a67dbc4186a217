"""The frozen text-to-image model: any folder or hub id in diffusers' Stable Diffusion layout, the toys' own
included, or a single file of such a model.

`StableDiffusion` is the settings, checkable without torch; `Prior` is the loaded model. Images are (b, 3, h,
w) in [0, 1], latents (b, 4, h/f, w/f) multiplied by the autoencoder's scaling factor, contexts (b, tokens,
width).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from piva.errors import InputError
from piva.files import user_path
from piva.priors.layout import (
    CONFIGS,
    NETWORKS,
    check_folder,
    check_single_file,
    check_taesd,
    halvings,
    read_config,
)
from piva.priors.words import check_words
from piva.weights import HubFolder, Weights

if TYPE_CHECKING:
    from piva.priors.prior import Prior

WEIGHTS = tuple(f"{part}/{pattern}" for part in NETWORKS for pattern in ("*.json", "*.safetensors"))
TEXT_AND_NOISE = ("tokenizer/*", "scheduler/*.json")
FILES = (*WEIGHTS, *TEXT_AND_NOISE)
FILES_BESIDE_ONE = ("model_index.json", *CONFIGS.values(), *TEXT_AND_NOISE)  # no weights: those are in it
FILES_OF_TAESD = ("config.json", "diffusion_pytorch_model.safetensors")
SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")  # of single files; all but the first are pickles


@dataclass(frozen=True, kw_only=True)
class StableDiffusion:
    """Where the prior lies and in which precision it runs."""

    path: str  # `toys` is the small prior shipped with the package
    dtype: Literal["float32", "bfloat16", "float16"]
    # the depth ControlNet that goes with it; None: its own folder `controlnet`, if there is one
    controlnet: str | None = None
    config: str | None = None  # folder or hub id with tokenizer and configurations, where `path` is one file
    taesd: str | None = None  # folder or hub id of a tiny autoencoder that encodes renders
    instructed: bool = False  # whether it is an InstructPix2Pix: for method=dataset_update
    force: bool | None = None  # edit also what the toys' prior does not know

    @property
    def only_toys(self) -> bool:
        """Return whether pictures and prompts must be of toys: the shipped prior knows nothing else."""
        return self.path == "toys" and not self.force

    def check_prompts(self, prompts: Iterable[str]) -> None:
        """Raise `InputError` for a prompt that the prior does not know."""
        if not self.only_toys or self.folder is None:
            return
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer/tokenizer.json"))
        tokenizer.no_padding()
        for prompt in dict.fromkeys(prompts):
            check_words(prompt, lambda word: tokenizer.encode(word, add_special_tokens=False).tokens)

    def check(self) -> None:
        """Raise `InputError` if `path` is no model, lacks a part, has damaged weights or does not fit."""
        where, file = f"prior.path={self.path}", self._file
        if file is not None:
            self._check_name(file, where)
        folder = self.folder
        if folder is None:  # a hub id that is not in the cache: `requires` says so
            _check_id(*self._source)
        else:
            source = "{}={}".format(*self._source)
            check_folder(folder, source, with_weights=file is None, instructed=self.instructed)
            if file is not None:
                check_single_file(file, folder, where)
        if self.taesd is None:
            return
        if (tiny := self._tiny.find()) and folder:
            check_taesd(tiny, folder, f"prior.taesd={self.taesd}")
        elif self._tiny.local is None:
            _check_id("prior.taesd", self.taesd)
        elif not tiny:
            found = f"prior.taesd={self.taesd}", "a folder without " + " or ".join(FILES_OF_TAESD)
            raise InputError(*found, "an AutoencoderTiny in diffusers' layout, as madebyollin/taesd")

    def _check_name(self, file: Path, where: str) -> None:
        """Raise `InputError` if a single file is missing, is a pickle, or stands alone."""
        if file.suffix != ".safetensors":
            remedy = "the same model is mostly published as .safetensors too"
            raise InputError(where, "a pickle, which can run code", "a .safetensors file", remedy)
        if not file.is_file():
            raise InputError(where, "no such file", "a .safetensors file, or a folder in diffusers' layout")
        if self.config is None:
            wanted = "prior.config=FOLDER or a hub id for those of its family"
            remedy = f"take prior=sd15, sd21 or sd21v with {where}: they name theirs"
            raise InputError(where, "a file without tokenizer and configurations", wanted, remedy)

    @property
    def factor(self) -> int | None:
        """Return `Prior.factor`; None where the folder is not there yet."""
        folder = self.folder
        return None if folder is None else int(2 ** halvings(read_config(folder, CONFIGS["vae"])))

    def requires(self) -> list[Weights]:
        """Return what must be downloaded before a run: nothing for local folders."""
        needs = [self._hub] if self._local is None else []
        return [*needs, self._tiny] if self.taesd and self._tiny.local is None else [*needs]

    @property
    def folder(self) -> Path | None:
        """Return the local folder, or that of the hub's cache; None where that has nothing, or not all.

        That of a single file has its configurations.
        """
        return self._local or self._hub.find()

    @property
    def _file(self) -> Path | None:
        path = user_path(self.path, "prior.path")
        return path if path.suffix in SUFFIXES and not path.is_dir() else None

    @property
    def _source(self) -> tuple[str, str]:
        """Return the key that names the folder, and its value."""
        return ("prior.config", self.config or "") if self._file else ("prior.path", self.path)

    @property
    def _local(self) -> Path | None:
        name = self._source[1]
        shipped = Path(str(resources.files("piva.toys") / "prior"))
        path = shipped if name == "toys" else user_path(name, self._source[0])
        return path if name and path.is_dir() else None

    @property
    def _hub(self) -> HubFolder:
        key, repo = self._source
        return HubFolder(key=key, repo=repo, files=FILES_BESIDE_ONE if self._file else FILES)

    @property
    def _tiny(self) -> HubFolder:
        return HubFolder(key="prior.taesd", repo=self.taesd or "", files=FILES_OF_TAESD)

    def load(self, device: str) -> "Prior":
        from piva.priors.prior import load

        taesd = str(self._tiny.find() or self.taesd) if self.taesd else None
        folder = str(self.folder or self._source[1])
        files: dict[str, Any] = {"file": self._file, "taesd": taesd}
        return load(folder, device, self.dtype, **files, instructed=self.instructed)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A prior that is loaded already, where settings of one are wanted."""

    prior: "Prior"
    only_toys: ClassVar[bool] = False
    instructed: ClassVar[bool] = False
    taesd: ClassVar[None] = None

    @property
    def dtype(self) -> str:
        return str(self.prior.dtype).removeprefix("torch.")

    @property
    def folder(self) -> Path | None:
        return Path(self.prior.path) if Path(self.prior.path, "unet").is_dir() else None

    @property
    def factor(self) -> int:
        return self.prior.factor

    def check(self) -> None:
        """Accept what has been checked when it was loaded."""

    def check_prompts(self, prompts: Iterable[str]) -> None:
        """Accept any prompt."""

    def load(self, device: str) -> "Prior":
        return self.prior


def _check_id(key: str, name: str) -> None:
    """Raise `InputError` if `name`, which is no folder, can be no hub id either."""
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise InputError(key, f"no folder {name!r}", "a folder in diffusers' layout or a hub id owner/name")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The node `speed`: switches that make a loaded prior faster or smaller; numbers change by rounding."""

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
