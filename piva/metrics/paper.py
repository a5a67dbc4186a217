"""The networks of the papers' metrics, the option `paper` of the group `metrics`; checked without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge
from safetensors import SafetensorError, safe_open

from piva.errors import InputError, one_line
from piva.weights import HubFolder, TorchFile, Weights

if TYPE_CHECKING:
    from piva.metrics.perceptual import MetricNetworks

CLIP_FILE, DINO_FILE = "open_clip_model.safetensors", "model.safetensors"
BACKBONES = {  # of LPIPS, as torchvision has them; the linear heads come with lpips
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
}


@dataclass(frozen=True, kw_only=True)
class Paper:
    """CLIP, LPIPS and DINO; conf/metrics/paper.yaml explains the settings."""

    clip: str
    clip_weights: str
    lpips: Literal["alex", "squeeze", "vgg"]
    pie_lpips: Literal["alex", "squeeze", "vgg"]
    dino: str
    dino_weights: str
    batch: Annotated[int, Ge(1)]

    def requires(self) -> list[Weights]:
        nets = dict.fromkeys((self.lpips, self.pie_lpips))
        return [self._clip, self._dino, *(TorchFile(key=f"LPIPS {net}", url=BACKBONES[net]) for net in nets)]

    def check(self) -> None:
        """Raise `InputError` for a damaged file; `requires` asks for missing ones."""
        for need in (self._clip, self._dino):
            if folder := need.find():
                _check_readable(folder / need.files[0], need)

    def load(self, device: str) -> "MetricNetworks | None":
        from piva.metrics import networks

        clip_folder, dino_folder = _found(self._clip), _found(self._dino)
        nets = {net: networks.lpips(net, device) for net in dict.fromkeys((self.lpips, self.pie_lpips))}
        names = {
            "clip": f"{self.clip} from {self.clip_weights}@{clip_folder.name[:8]}, stretched to its size",
            "lpips": self.lpips,
            "pie_clip": f"{self.clip} from {self.clip_weights}@{clip_folder.name[:8]}, cropped to its size",
            "pie_lpips": self.pie_lpips,
            "pie_structure": f"{self.dino} from {self.dino_weights}@{dino_folder.name[:8]}",
        }
        clip = networks.load_clip(self.clip, clip_folder / CLIP_FILE, device)
        dino = networks.load_dino(self.dino, dino_folder / DINO_FILE, device)
        return networks.assemble(clip, dino, nets[self.lpips], nets[self.pie_lpips], self.batch, names)

    @property
    def _clip(self) -> HubFolder:
        return HubFolder(key="metrics.clip_weights", repo=self.clip_weights, files=(CLIP_FILE,))

    @property
    def _dino(self) -> HubFolder:
        return HubFolder(key="metrics.dino_weights", repo=self.dino_weights, files=(DINO_FILE,))


def _found(need: HubFolder) -> Path:
    folder = need.find()
    if folder is None:  # it was there when the run was checked
        raise InputError(
            need.name,
            f"nothing in {need.place}",
            "its weights",
            "piva fetch metrics=paper gets them",
        )
    return folder


def _check_readable(path: Path, need: HubFolder) -> None:
    """Reads the header only, which says how long the file must be."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        found = f"a damaged file ({one_line(error)})"
        raise InputError(path, found, f"the weights of {need.name}", "download them again") from None
