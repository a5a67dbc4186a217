"""A run's tensor operations, watched on a CPU for what would matter on another device."""

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Where the host waits for a GPU: a number is read (float, bool, item), a shape depends on numbers, or a
# tensor is made of Python's numbers on the host and copied.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "lift_fresh"}


class Operations(TorchDispatchMode):
    """While it is entered: `waits` counts what the host would wait for, by name; `dtypes` are those of all
    results; `largest` is the number of values of the largest one; `peak` the most bytes of results alive.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.dtypes: set[torch.dtype] = set()
        self.largest = self.peak = self._alive = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            x.dtype == torch.bool for x in tree_leaves(args[1]) if isinstance(x, Tensor)
        )
        # torch.where takes a Python number as a tensor on the host, and copies it to its other arguments.
        by_number = name == "where" and any(x.dim() == 0 for x in args[1:] if isinstance(x, Tensor))
        if name in WAITING or by_mask or by_number:
            self.waits[name] += 1
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._see(tensor, given)
        return result

    def _see(self, tensor: Tensor, given: set[int]) -> None:
        self.dtypes.add(tensor.dtype)
        self.largest = max(self.largest, tensor.numel())
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages | given:  # a view of what was there takes nothing
            self._storages.add(key)
            self._alive += size
            self.peak = max(self.peak, self._alive)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self._alive -= size
