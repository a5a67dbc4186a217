"""Which kernel encodes: they share one signature and one vector of parameters, so that a field can change it at any time."""

from collections.abc import Callable
from functools import cache
from importlib import import_module

from torch import Tensor

from piva.errors import InputError
from piva.nerf.kernels.layout import Layout

Encode = Callable[[Tensor, Tensor, Layout], Tensor]

BEST_FIRST = {True: ("tinycudann", "triton", "torch"), False: ("numba", "torch")}  # on CUDA, elsewhere


@cache
def kernel(name: str, cuda: bool) -> Encode:
    """`encode` of grid_<name>.py for tensors of CUDA or of another device; `auto` is the first that this machine has.

    Raises:
        InputError: a kernel for another kind of device, or one whose library does not load here.
    """
    able = BEST_FIRST[cuda]
    if name == "auto":
        return next(encode for encode in map(_load, able) if isinstance(encode, Callable))
    device = "a GPU" if cuda else "the CPU"
    if name not in able:
        raise InputError("field.kernel", f"{name} for a field on {device}", f"one of auto, {', '.join(able)}")
    found = _load(name)
    if isinstance(found, Exception):
        raise InputError("field.kernel", f"{name}, which does not load here ({found})", "one that does", "use field.kernel=auto")
    return found


def _load(name: str) -> Encode | Exception:
    try:
        return import_module(f"piva.nerf.kernels.grid_{name}").encode
    except (ImportError, OSError) as error:  # tinycudann without a visible GPU raises OSError
        return error
