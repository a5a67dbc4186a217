"""Which kernel encodes: they share one signature and one vector of parameters, so that a field can change it at any time."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import cast

from torch import Tensor

from piva.errors import InputError
from piva.nerf.kernels.layout import Layout

Encode = Callable[[Tensor, Tensor, Layout], Tensor]

BEST_FIRST = {True: ("tinycudann", "triton", "torch"), False: ("numba", "torch")}  # on CUDA, elsewhere


@cache
def encoder(name: str, cuda: bool) -> Encode:
    """`encode` of grid_<name>.py for tensors of CUDA or of another device; `auto` is the first that this machine has.

    Raises:
        InputError: a kernel for another kind of device, or one whose library does not load here.
    """
    able = BEST_FIRST[cuda]
    if name not in ("auto", *able):
        device = "a GPU" if cuda else "the CPU"
        raise InputError("field.kernel", f"{name} for a field on {device}", f"one of auto, {', '.join(able)}")
    for each in able if name == "auto" else (name,):
        try:
            return cast(Encode, import_module(f"piva.nerf.kernels.grid_{each}").encode)
        except (ImportError, OSError) as error:  # OSError: tinycudann without a visible GPU
            reason = error
    raise InputError(
        "field.kernel",
        f"{name}, which does not load here ({reason})",
        "one that does",
        "use field.kernel=auto",
    )
