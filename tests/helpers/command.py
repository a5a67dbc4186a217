"""Command lines in this process: a process of their own would import torch first."""

import io
import logging
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch


@dataclass(frozen=True)
class Done:
    """What a command left: as `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def call(main: Callable[[], None], module: str, *argv: str, **environment: str) -> Done:
    """Run `python -m module argv...`, whose function is `main`; restore argv, environment and logging."""
    out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
    handlers, level, code = list(root.handlers), root.level, 0
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.dict(os.environ, environment),
        patch.object(sys, "argv", [module, *argv]),
    ):
        os.environ.pop("HYDRA_FULL_ERROR", None) if "HYDRA_FULL_ERROR" not in environment else None
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            root.handlers[:], root.level = handlers, level
    return Done(code, out.getvalue(), err.getvalue())
