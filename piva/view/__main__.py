"""Look at finished edits of scenes in a browser: `python -m piva.view PATH [port=8080] [device=cuda]`.

PATH is the folder of a finished run of task=nerf, or of one of its edits; conf/view.yaml explains the keys.
The page is served to this machine alone. It needs viser: pip install 'piva[view]'. Torch is imported late.
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
from piva.export.edits import find, given
from piva.ranges import RenderDevice

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
    path, overrides = given(argv)
    cfg = compose(*overrides, name="view")
    settings: ViewSettings = build(
        ViewSettings, OmegaConf.masked_copy(cfg, [f.name for f in fields(ViewSettings)])
    )
    found = find(path)
    if find_spec("viser") is None:
        wanted = "the package that shows scenes in a browser"
        raise InputError("piva.view", "no viser", wanted, "pip install 'piva[view]'")
    check_port(settings.port)
    from piva.runs.provenance import check_device
    from piva.view.viewer import Viewer

    check_device(settings.device)
    viewer = Viewer(found, settings.device, HOST, settings.port, settings.moving, settings.still)
    edits = "1 edit" if len(found) == 1 else f"{len(found)} edits"
    sys.stdout.write(f"http://{HOST}:{settings.port} shows {edits}; Ctrl-C ends it\n")
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
