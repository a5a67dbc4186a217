"""The page of piva.view: fields are rendered here at the camera of each viewer, and shown by viser."""

import io
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import lru_cache

import numpy as np
import torch
import viser
from numpy.typing import NDArray
from viser.transforms import SO3

from piva.cameras.lens import pinhole
from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.export.edits import EditedScene
from piva.export.stored import Stored, read_edit
from piva.images import to_uint8

BOTH, CURTAIN, ORIGINAL, EDIT = "side by side", "curtain", "original", "edit"
STILL_S = 0.25  # a camera without a move for so long is still
OPENGL = np.diag([1.0, -1.0, -1.0])  # from viser's axes, which are OpenCV's
LOADED = 2  # edits kept in memory


class Viewer:
    """A server of one page; every client has a camera, a choice of edit and a thread of its own. Raises
    `InputError`.
    """

    def __init__(
        self, edits: Sequence[EditedScene], device: str, host: str, port: int, moving: int, still: int
    ) -> None:
        self._edits = {edit.id: edit for edit in edits}
        self._sizes = (moving, still)
        self._read = lru_cache(LOADED)(lambda name: read_edit(self._edits[name], device))
        self._reading = threading.Lock()
        self.load(edits[0].id)  # to raise what is wrong with it before the page opens
        with redirect_stdout(io.StringIO()):  # its banner
            self._server = viser.ViserServer(host=host, port=port, label="piva", verbose=False)
        if self._server.get_port() != port:
            self._server.stop()
            found = f"{port}, which another program took meanwhile"
            raise InputError("port", found, "a free port", "try another")
        self._server.scene.set_up_direction("+z")
        start = orbit(-90, 15, 1.0 if edits[0].captured else 4.0)
        self._server.initial_camera.position = tuple(start[:3, 3].tolist())
        self._server.initial_camera.look_at = (0.0, 0.0, 0.0)
        self._server.initial_camera.fov = float(np.radians(40))
        self._server.on_client_connect(self._serve)

    def load(self, name: str) -> tuple[Stored, Stored | None]:
        """Return an edit and its original."""
        with self._reading:
            return self._read(name)

    def wait(self) -> None:
        """Block until Ctrl-C."""
        try:
            threading.Event().wait()
        finally:
            self._server.stop()

    def _serve(self, client: viser.ClientHandle) -> None:
        changed, gone = threading.Event(), threading.Event()
        client.camera.on_update(lambda _: changed.set())
        self._server.on_client_disconnect(
            lambda other: gone.set() if other.client_id == client.client_id else None
        )
        names = list(self._edits)
        choice = client.gui.add_dropdown("edit", names, initial_value=names[0])
        prompts = client.gui.add_markdown(_prompts(self._edits[names[0]]))
        both = all(edit.original for edit in self._edits.values())
        modes = [BOTH, CURTAIN, ORIGINAL, EDIT] if both else [EDIT]
        mode = client.gui.add_dropdown("show", modes, initial_value=modes[0])
        curtain = client.gui.add_slider("curtain", min=0.0, max=1.0, step=0.01, initial_value=0.5)
        for handle in (choice, mode, curtain):
            handle.on_update(lambda _: changed.set())

        def show(longest: int) -> None:
            prompts.content = _prompts(self._edits[choice.value])
            try:
                pair = self.load(choice.value)
            except InputError as error:
                client.add_notification("unreadable", str(error), color="red")
                return
            camera = client.camera
            c2w = np.eye(4, dtype=np.float32)
            c2w[:3, :3], c2w[:3, 3] = SO3(camera.wxyz).as_matrix() @ OPENGL, camera.position
            image = picture(pair, mode.value, curtain.value, c2w, camera.fov, camera.aspect, longest)
            if not gone.is_set():
                client.scene.set_background_image(image, format="jpeg", jpeg_quality=90)

        def loop() -> None:
            moving, still = self._sizes
            changed.set()
            while not gone.is_set():
                if changed.wait(1.0):
                    changed.clear()
                    show(moving)
                    if not changed.wait(STILL_S):
                        show(still)

        threading.Thread(target=loop, daemon=True).start()


def picture(
    pair: tuple[Stored, Stored | None],
    mode: str,
    curtain: float,
    c2w: NDArray[np.float32],
    fov: float,
    aspect: float,
    longest: int,
) -> NDArray[np.uint8]:
    """Return the image (h, w, 3) of a camera, at most `longest` pixels a side; `fov` is vertical, in radians,
    `aspect` w / h.

    "side by side": original and edit, each in half the width; "curtain": the original left of that share of
    the width.
    """
    edit, original = pair
    width, height = (max(2, round(side * longest / max(aspect, 1) / 2) * 2) for side in (aspect, 1.0))

    def seen(stored: Stored, across: int) -> NDArray[np.uint8]:
        lens = pinhole(float(np.degrees(fov)), height, across)
        return to_uint8(stored.view(torch.from_numpy(c2w), lens).rgb.movedim(-1, -3))

    if original is None or mode == EDIT:
        return seen(edit, width)
    if mode == ORIGINAL:
        return seen(original, width)
    if mode == BOTH:
        return np.concatenate([seen(original, width // 2), seen(edit, width // 2)], axis=1)
    left = round(curtain * width)
    return np.concatenate([seen(original, width)[:, :left], seen(edit, width)[:, left:]], axis=1)


def _prompts(edit: EditedScene) -> str:
    source, target = edit.prompts
    return f"*{source}* → *{target}*" if source else ""
