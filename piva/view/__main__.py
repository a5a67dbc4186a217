"""Look at pictures and scenes in a browser, and edit them: `python -m piva.view PATH [port=8080]`.

PATH is a picture, a .ply of splats, or the folder of a finished run or of one of its edits; conf/view.yaml
explains the keys. Other keys, those of piva.run, are for what is edited there. The page is served to this
machine alone. It needs viser: pip install 'piva[view]'. Torch is imported late.
"""

import socket
import sys
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Annotated

from annotated_types import Interval
from omegaconf import OmegaConf

from piva.cli import run_cli
from piva.config import build, compose
from piva.errors import InputError
from piva.export.__main__ import export
from piva.export.edits import given
from piva.ranges import RenderDevice
from piva.runs.devices import check_device
from piva.view.origin import WANTED, origins

HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """The keys of conf/view.yaml, explained there."""

    port: Annotated[int, Interval(ge=1, le=65535)]
    device: RenderDevice
    moving: Annotated[int, Interval(ge=16, le=4096)]
    still: Annotated[int, Interval(ge=16, le=4096)]


def view(*argv: str) -> None:
    """Serve the page until Ctrl-C. Raises `InputError`."""
    path, words = given(argv, WANTED)
    keys = [f.name for f in fields(ViewSettings)]
    own = [word for word in words if word.partition("=")[0] in keys]
    cfg = compose(*own, name="view")
    settings: ViewSettings = build(ViewSettings, OmegaConf.masked_copy(cfg, keys))
    found = origins(path, [word for word in words if word not in own], settings.device)
    if find_spec("viser") is None:
        wanted = "the package that shows them in a browser"
        raise InputError("piva.view", "no viser", wanted, "pip install 'piva[view]'")
    check_port(settings.port)
    check_device(settings.device)
    from piva.view.viewer import Viewer

    sizes = settings.moving, settings.still
    viewer = Viewer(found, settings.device, (HOST, settings.port), sizes, export)
    alone = "1 edit" if path.is_dir() else "1 scene" if found[0].scene else "1 picture"
    shown = f"{len(found)} edits" if len(found) > 1 else alone
    sys.stdout.write(f"http://{HOST}:{settings.port} shows {shown}; Ctrl-C ends it\n")
    sys.stdout.flush()
    viewer.wait()


def check_port(port: int) -> None:
    """Raise `InputError` for a port that is taken: viser would quietly take another."""
    with socket.socket() as test:
        test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            test.bind((HOST, port))
        except OSError as error:
            found = f"{port}, which cannot be had ({error.strerror})"
            raise InputError("port", found, "a free port", "try port=8081") from None


def main() -> None:
    run_cli(lambda: view(*sys.argv[1:]), "view")


if __name__ == "__main__":
    main()
