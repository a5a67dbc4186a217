"""The panel of the page, one for each browser: what is shown, what is asked for, what became of it."""

import re
from collections.abc import Callable

import viser

from piva.view.looks import BOTH, CURTAIN, EDIT, ORIGINAL
from piva.view.origin import Wish
from piva.view.session import Session

STEPS = 100_000  # at most, of an edit


class Panel:
    """The controls of one browser; `sessions` are by name, in the order of the list to choose from."""

    def __init__(
        self,
        gui: viser.GuiApi,
        sessions: dict[str, Session],
        wish: Wish,
        both: bool,
        changed: Callable[[], None],
    ) -> None:
        """Build them: they begin with `wish`; with `both` there are originals. `changed` is called when
        another picture is to be shown.
        """
        self._sessions, names = sessions, list(sessions)
        self._choice = gui.add_dropdown("of the run", names, visible=len(names) > 1)
        modes = [BOTH, CURTAIN, ORIGINAL, EDIT] if both else [EDIT]
        self._mode = gui.add_dropdown("show", modes)
        self._curtain = gui.add_slider(
            "curtain", min=0.0, max=1.0, step=0.01, initial_value=0.5, visible=False
        )
        self._shown = gui.add_markdown("")
        editable = self.session.origin.overrides is not None
        with gui.add_folder("edit", visible=editable):
            self._source = gui.add_text("it shows", wish.source)
            self._target = gui.add_text("make it", wish.target)
            self._lam = gui.add_number("lambda", wish.lam or 0.0, min=0.0, visible=wish.lam is not None)
            self._steps = gui.add_number("steps", wish.steps, min=1, max=STEPS, step=1)
            self._edit, self._stop, self._undo = (gui.add_button(name) for name in ("edit", "stop", "undo"))
        scene = self.session.origin.scene is not None
        self._exports = [gui.add_button(f"export {name}", visible=scene) for name in ("GLB", "film")]
        self._said = gui.add_markdown("")

        self._choice.on_update(lambda _: self._ask())
        for handle in (self._choice, self._mode, self._curtain):
            handle.on_update(lambda _: changed())
        self._edit.on_click(lambda _: self.session.edit(self._wish()))
        self._stop.on_click(lambda _: self.session.stop())
        self._undo.on_click(lambda _: self.session.undo())
        for button, what in zip(self._exports, ("mesh", "film"), strict=True):
            button.on_click(lambda _, what=what: self.session.export(what))

    @property
    def session(self) -> Session:
        """Return the one that is chosen."""
        return self._sessions[self._choice.value]

    @property
    def mode(self) -> str:
        """Return what is to be shown: one of the modes of `looks.picture`."""
        return str(self._mode.value)

    @property
    def curtain(self) -> float:
        """Return where the curtain hangs, as a share of the width."""
        return float(self._curtain.value)

    def refresh(self) -> None:
        """Say what is to be said now, and offer what can be done."""
        session, (source, target) = self.session, self.session.prompts
        self._shown.content = f"*{plain(source)}* → *{plain(target)}*" if source else ""
        self._said.content = plain(session.said)
        self._curtain.visible = self.mode == CURTAIN
        enabled = [
            (self._edit, not session.working),
            (self._stop, session.working),
            (self._undo, session.undoable),
            *((button, session.exportable) for button in self._exports),
        ]
        for button, can in enabled:
            button.disabled = not can

    def _ask(self) -> None:
        self._source.value, self._target.value = self.session.prompts

    def _wish(self) -> Wish:
        lam = float(self._lam.value) if self._lam.visible else None
        source, target = self._source.value, self._target.value
        return Wish(source=source, target=target, lam=lam, steps=int(self._steps.value))


def plain(text: str) -> str:
    """Return Markdown that shows a text as it is: prompts may be somebody else's, and hold HTML."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
