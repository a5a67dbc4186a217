"""The page of piva.view: what is edited is rendered here at the camera of each browser, shown by viser."""

import io
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import viser
from viser.transforms import SO3

from piva.cameras.poses import orbit
from piva.errors import InputError
from piva.view.looks import Camera, Look, labelled, picture
from piva.view.origin import Origin, Wish
from piva.view.panel import Panel, plain
from piva.view.session import Desk, Session

STILL_S = 0.25  # a camera without a move for so long is still
STOP_S = 10.0  # that an edit at work gets to end its step
OPENGL = np.diag([1.0, -1.0, -1.0])  # from viser's axes, which are OpenCV's


class Viewer:
    """A server of one page; every browser has a camera, a panel and a thread of its own. Raises
    `InputError`.
    """

    def __init__(
        self,
        origins: Sequence[Origin],
        device: str,
        address: tuple[str, int],
        sizes: tuple[int, int],
        export: Callable[..., Sequence[Path]],
    ) -> None:
        """Serve at `address`, host and port. `sizes`: pixels on the longer side, moving and still."""
        desk = Desk(device=device, root=Path("outputs/view"), export=export, tell=self._tell)
        self._sessions = {origin.id: Session(origin, desk) for origin in origins}
        self._sizes, self._wish = sizes, origins[0].first_wish()
        self._browsers: dict[int, Browser] = {}
        first = origins[0]
        self._sessions[first.id].look()  # to raise what is wrong with it before the page opens
        self._both = all(origin.scene is None or origin.scene.original for origin in origins)
        host, port = address
        with redirect_stdout(io.StringIO()):  # its banner
            self._server = viser.ViserServer(host=host, port=port, label="piva", verbose=False)
        if self._server.get_port() != port:
            self._server.stop()
            found = f"{port}, which another program took meanwhile"
            raise InputError("port", found, "a free port", "try another")
        self._server.gui.configure_theme(control_layout="fixed")  # beside the picture, not upon the edit
        self._server.scene.set_up_direction("+z")
        start = orbit(-90, 15, 1.0 if first.scene and first.scene.captured else 4.0)
        self._server.initial_camera.position = tuple(start[:3, 3].tolist())
        self._server.initial_camera.look_at = (0.0, 0.0, 0.0)
        self._server.initial_camera.fov = float(np.radians(40))
        self._server.on_client_disconnect(lambda client: self._browsers.pop(client.client_id, None))
        self._server.on_client_connect(self._serve)

    def wait(self) -> None:
        """Block until Ctrl-C."""
        try:
            threading.Event().wait()
        finally:
            for session in self._sessions.values():
                session.stop()
            for session in self._sessions.values():
                session.wait(STOP_S)
            self._server.stop()

    def _tell(self) -> None:
        for browser in list(self._browsers.values()):
            browser.changed.set()

    def _serve(self, client: viser.ClientHandle) -> None:
        browser = Browser(client, self._sessions, self._wish, self._both, self._sizes)
        self._browsers[client.client_id] = browser

        def loop() -> None:
            while client.client_id in self._browsers:
                browser.follow()

        threading.Thread(target=loop, daemon=True).start()


class Browser:
    """One browser: its panel, and pictures at its camera whenever there is another to see."""

    def __init__(
        self,
        client: viser.ClientHandle,
        sessions: dict[str, Session],
        wish: Wish,
        both: bool,
        sizes: tuple[int, int],
    ) -> None:
        """Build the panel, which begins with `wish`; the others are as `Viewer` has them."""
        self._client, self._sizes = client, sizes
        self.changed, self._moved = threading.Event(), threading.Event()  # the first with the second always
        self._seen: Look | None = None  # at rest
        self._panel = Panel(client.gui, sessions, wish, both, self._move)
        client.camera.on_update(lambda _: self._move())
        self._move()

    def follow(self) -> None:
        """Wait a second for a change, and show what it changed."""
        if not self.changed.wait(1.0):
            return
        self.changed.clear()
        self._panel.refresh()
        try:
            look = self._panel.session.look()
        except InputError as error:
            self._client.add_notification("unreadable", plain(str(error)), color="red")
            return
        moved, (moving, still) = self._moved.is_set(), self._sizes
        self._moved.clear()
        if moved and self._panel.session.origin.scene:
            self._seen = None
            self._show(look, moving)
            self.changed.wait(STILL_S)
            if self._moved.is_set():
                return
        if moved or look is not self._seen:
            self._show(look, still)
            self._seen = look

    def _show(self, look: Look, longest: int) -> None:
        camera, mode = self._client.camera, self._panel.mode
        c2w = np.eye(4, dtype=np.float32)
        c2w[:3, :3], c2w[:3, 3] = SO3(camera.wxyz).as_matrix() @ OPENGL, camera.position
        seen = picture(look, mode, self._panel.curtain, Camera(c2w, camera.fov, camera.aspect), longest)
        self._client.scene.set_background_image(labelled(seen, mode), format="jpeg", jpeg_quality=90)

    def _move(self) -> None:
        self._moved.set()
        self.changed.set()
