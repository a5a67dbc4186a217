"""Pictures per second of each metric: `python -m benchmarks.metrics [COUNT] [SIZE] [DEVICE]`.

By default 4 pairs at 512x512 on the CPU. The networks have the papers' architectures and random weights,
which cost the same: nothing is downloaded.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import open_clip
import timm
import torch
import torchvision

from piva.metrics import networks
from piva.metrics.paper import BACKBONES
from piva.metrics.pie import preservation, prompt_alignment
from piva.metrics.pixels import psnr, ssim

BATCH = 16


def random_lpips(net: str, device: str) -> torch.nn.Module:
    """Return LPIPS on a random backbone, put where torchvision looks for the trained one."""
    make = {"alex": torchvision.models.alexnet, "squeeze": torchvision.models.squeezenet1_1}[net]
    place = Path(torch.hub.get_dir()) / "checkpoints"
    place.mkdir(parents=True, exist_ok=True)
    torch.save(make(weights=None).state_dict(), place / Path(BACKBONES[net]).name)
    return networks.lpips(net, device)


def seconds(work: Callable[[], object], device: str) -> float:
    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    work()  # the first call allocates
    wait()
    begin = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - begin


def main(count: int = 4, size: int = 512, device: str = "cpu") -> None:
    with tempfile.TemporaryDirectory() as home:
        torch.hub.set_dir(f"{home}/hub")
        alex, squeeze = (random_lpips(net, device) for net in ("alex", "squeeze"))
    clip = open_clip.create_model("ViT-L-14-quickgelu", pretrained=None).to(device).eval()
    dino = timm.create_model("vit_base_patch8_224.dino", pretrained=False, num_classes=0).to(device).eval()
    assembled = networks.assemble(clip, dino, alex, squeeze, BATCH, {})
    a, b = torch.rand(2, count, 3, size, size, device=device)
    mask = torch.zeros(count, 1, size, size, device=device)
    mask[..., : size // 2] = 1
    prompts = ["a photo of a cat"] * count
    target = assembled.clip.texts(prompts)
    assert assembled.pie.structure
    metrics = {
        "psnr": lambda: psnr(a, b),
        "ssim": lambda: ssim(a, b),
        "lpips alex": lambda: assembled.lpips(a, b),
        "lpips squeeze": lambda: assembled.pie.lpips(a, b),
        "clip picture, stretched": lambda: assembled.clip.images(a),
        "clip picture, cropped": lambda: assembled.pie.clip.images(a),
        "clip prompt": lambda: assembled.clip.texts(prompts),
        "structure distance": lambda: assembled.pie.structure and assembled.pie.structure(a, b),
        "all of PIE-Bench": lambda: (
            preservation(a, b, mask, assembled.pie),
            prompt_alignment(b, mask, target, assembled.pie.clip),
        ),
    }
    machine = f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{count} pairs of {size}x{size}, {machine}\n")
    print("| metric | pictures (or pairs) a second |\n|---|---|")
    for name, work in metrics.items():
        print(f"| {name} | {count / seconds(work, device):.3g} |", flush=True)


if __name__ == "__main__":
    count, size, device = (*sys.argv[1:], *("4", "512", "cpu")[len(sys.argv) - 1 :])
    main(int(count), int(size), device)
