"""Running a numba kernel on as many threads as torch uses."""

import threading
from typing import Any

import numba
import torch

LOCK = threading.Lock()  # numba's simplest pool of threads ends the process when two threads enter it


def run(kernel: Any, *arguments: Any) -> Any:
    """Return what a compiled kernel does, one at a time."""
    threads = torch.get_num_threads()
    with LOCK:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        result = kernel(*arguments)
    # Where numba and torch share one OpenMP, numba's start sets the number of threads of both to that of all
    # cores.
    torch.set_num_threads(threads)
    return result
