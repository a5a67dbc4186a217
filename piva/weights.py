"""Published weights: whether a file is on this machine, where it is looked for, how to get it. Imports no
torch.

A run never downloads anything: `check` lists what is missing before anything is computed; `piva.fetch` gets
it.
"""

import os
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlparse

from piva.errors import InputError, one_line
from piva.files import user_path

UNWANTED = "*non_ema*"  # states of training beside the weights that are loaded
HALF = "*.fp16*.safetensors"  # weights in half precision, beside full ones or alone
DECIDING = ("profile", "experiment", "prior", "model", "metrics")  # the groups whose options need weights


@runtime_checkable
class Weights(Protocol):
    """One thing to have before a run."""

    @property
    def name(self) -> str:
        """What it is, and the key that asks for it."""

    @property
    def place(self) -> Path:
        """Where it is looked for."""

    def find(self) -> Path | None:
        """The file or folder, if it is whole."""

    def size(self) -> int | None:
        """The bytes of its download, as its server says; None where that cannot be asked."""

    def fetch(self, to: Path | None) -> None:
        """Download it to where it is looked for, or below the folder `to`. Raises `InputError`."""


@runtime_checkable
class Requiring(Protocol):
    """Settings that name weights of others."""

    def requires(self) -> Sequence[Weights]:
        """All of them, there or not."""


@dataclass(frozen=True, kw_only=True)
class HubFolder:
    """A local folder, or the snapshot of a Hugging Face repository in the hub's cache (HF_HOME,
    HF_HUB_CACHE).
    """

    key: str  # the setting that names it
    repo: str  # a path or owner/name
    files: tuple[str, ...]  # patterns of the files it must have

    @property
    def name(self) -> str:
        return f"{self.repo} ({self.key})"

    @property
    def local(self) -> Path | None:
        """The folder, where `repo` is one."""
        path = user_path(self.repo, self.key)
        return path if path.is_dir() else None

    @property
    def place(self) -> Path:
        from huggingface_hub import constants

        return self.local or Path(constants.HF_HUB_CACHE)

    def find(self) -> Path | None:
        folder = self.local or self._snapshot()
        return folder if folder and all(any(folder.glob(pattern)) for pattern in self.files) else None

    def _snapshot(self) -> Path | None:
        """Return the snapshot with full weights, or with the half-precision ones alone."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        half = [pattern.replace("*.safetensors", HALF) for pattern in self.files]
        for wanted, unwanted in ((list(self.files), [UNWANTED, HALF]), (half, [UNWANTED])):
            try:
                folder = snapshot_download(
                    self.repo, local_files_only=True, allow_patterns=wanted, ignore_patterns=unwanted
                )
            except LocalEntryNotFoundError:
                continue
            except HFValidationError:
                return None
            return Path(folder)
        return None

    def size(self) -> int | None:
        with suppress(Exception):  # whatever a network comes up with; `fetch` says it
            sizes = self._listed(timeout=5)
            chosen = {name for pattern in self.files for name in preferred(sizes, pattern)}
            return sum(sizes[name] or 0 for name in chosen)
        return None

    def _listed(self, timeout: float | None = None) -> dict[str, int | None]:
        """Return the files of the repository and their sizes in bytes."""
        from huggingface_hub import HfApi

        files = HfApi().model_info(self.repo, files_metadata=True, timeout=timeout).siblings or ()
        return {file.rfilename: file.size for file in files}

    def fetch(self, to: Path | None) -> None:
        from huggingface_hub import snapshot_download

        if self.local:
            raise InputError(
                f"{self.key}={self.repo}", "a local folder without " + ", ".join(self.files), "them in it"
            )
        cache = to / "huggingface/hub" if to else None
        try:
            names = self._listed()
            chosen = {pattern: preferred(names, pattern) for pattern in self.files}
            if all(chosen.values()):
                wanted = [name for fits in chosen.values() for name in fits]
                snapshot_download(self.repo, cache_dir=cache, allow_patterns=wanted)
        except Exception as error:  # whatever a network, a proxy or a full disk comes up with
            remedy = (
                "check the name and the network; HF_TOKEN for what needs a login, HF_ENDPOINT for a mirror"
            )
            raise InputError(self.name, one_line(error), "a download from the hub", remedy) from error
        if absent := [pattern for pattern, fits in chosen.items() if not fits]:
            files = ", ".join(self.files)
            raise InputError(self.name, f"no {absent[0]} in it", f"a repository with {files}")


def preferred(names: Iterable[str], pattern: str) -> list[str]:
    """Return the names that fit `pattern`; weights in half precision only where there are no others."""
    fits = [name for name in names if fnmatchcase(name, pattern) and not fnmatchcase(name, UNWANTED)]
    return [name for name in fits if not fnmatchcase(name, HALF)] or fits


@dataclass(frozen=True, kw_only=True)
class TorchFile:
    """A file that torchvision loads: in hub/checkpoints of TORCH_HOME."""

    key: str
    url: str  # its name ends in the first eight digits of its sha256

    @property
    def file(self) -> str:
        return Path(urlparse(self.url).path).name

    @property
    def name(self) -> str:
        return f"{self.file} ({self.key})"

    @property
    def place(self) -> Path:
        return torch_home() / "hub/checkpoints"

    def find(self) -> Path | None:
        path = self.place / self.file
        return path if path.is_file() and path.stat().st_size else None

    def size(self) -> int | None:
        import requests

        with suppress(requests.RequestException, KeyError, ValueError):
            return int(requests.head(self.url, allow_redirects=True, timeout=5).headers["Content-Length"])
        return None

    def fetch(self, to: Path | None) -> None:
        from torch.hub import download_url_to_file

        folder = to / "torch/hub/checkpoints" if to else self.place
        digits = self.file.rsplit("-", 1)[-1].split(".")[0]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            download_url_to_file(
                self.url, str(folder / self.file), digits
            )  # under another name until it is whole
        except Exception as error:
            raise InputError(
                self.name, one_line(error), f"a download of {self.url}", "check the network"
            ) from error


def torch_home() -> Path:
    """Where torch.hub keeps its files, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()


def required(parts: Iterable[object]) -> list[Weights]:
    """What the parts of a run need of others."""
    return [need for part in parts if isinstance(part, Requiring) for need in part.requires()]


def check(parts: Iterable[object], words: Sequence[str]) -> None:
    """Raise one `InputError` for all that is missing, with the command that gets it.

    Args:
        parts: settings, of which some need weights.
        words: the overrides of the command line; those that decide on weights go into the command.
    """
    absent = [need for need in required(parts) if need.find() is None]
    if absent:
        places = {
            need.place: [other.name for other in absent if other.place == need.place] for need in absent
        }
        found = " and ".join(f"no {', '.join(names)} in {place}" for place, names in places.items())
        chosen = shlex.join(
            word for word in words if word.lstrip("+").split("=")[0].split(".")[0] in DECIDING
        )
        command = f"piva fetch {chosen}".strip()
        remedy = f"{command} gets them; with to=FOLDER it fills a folder for a machine without network"
        raise InputError("weights", found, "these on this machine before the run", remedy)
