"""Which edits of a dataset to run: the one meaning of `dataset.edits` for all readers."""

import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from piva.errors import InputError

WHERE = "dataset.edits"
WANTED = "all, a number, a range such as 10-19, an id or a list of ids"


def select(ids: Sequence[str], choice: Any, where: str = WHERE, *, shard: str | None = None) -> list[int]:
    """Indices into `ids` of what `choice` names: "all", the first n, "10-19" (the tenth to the nineteenth), one id, or a list of
    ids in the order given. `where` is the key that errors name. Of them, `shard` "3/16" (dataset.shard) keeps the third, the
    nineteenth and so on: sixteen shards are disjoint, together they are all, and their sizes differ by one at most.

    Raises `InputError` for anything else, for an id that is not there, and for a dataset that is empty or has an id twice.
    """
    chosen = _choose(ids, choice, where)
    if shard is None:
        return chosen
    if not (ends := re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", shard)) or int(ends[1]) > int(ends[2]):
        raise InputError("dataset.shard", shard, "i/n with i from 1 to n, such as 3/16")
    part, parts = int(ends[1]), int(ends[2])
    if parts > len(chosen):
        raise InputError("dataset.shard", shard, f"at most as many shards as there are edits, {len(chosen)}")
    return chosen[part - 1 :: parts]


def _choose(ids: Sequence[str], choice: Any, where: str) -> list[int]:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice or not ids:
        raise InputError(
            where, f"the id {twice[0]!r} twice" if twice else "no edits", "a choice among different ids"
        )
    if choice == "all":
        return list(range(len(ids)))
    if (
        isinstance(choice, int) and not isinstance(choice, bool) and str(choice) not in ids
    ):  # PIE's ids look like numbers
        if not 1 <= choice <= len(ids):
            raise InputError(where, str(choice), f"a number from 1 to {len(ids)}, the size of this dataset")
        return list(range(choice))
    if isinstance(choice, str) and choice not in ids and (ends := re.fullmatch(r"(\d+)-(\d+)", choice)):
        first, last = int(ends[1]), int(ends[2])
        if not 1 <= first <= last <= len(ids):
            raise InputError(where, choice, f"a range within 1-{len(ids)}, the size of this dataset")
        return list(range(first - 1, last))
    names = choice if isinstance(choice, list | tuple) else [choice]
    if not names or any(isinstance(name, bool) or not isinstance(name, str | int) for name in names):
        raise InputError(where, repr(choice), WANTED)
    found = [_find(ids, str(name), where) for name in names]
    if len(set(found)) < len(found):
        raise InputError(where, f"an id twice in {choice}", WANTED)
    return found


def _find(ids: Sequence[str], name: str, where: str) -> int:
    if name not in ids:
        near = get_close_matches(name, ids, n=3, cutoff=0.5) or list(ids[:5])
        raise InputError(
            where, repr(name), WANTED, f"ids are {', '.join(near)}{', ...' if len(near) < len(ids) else ''}"
        )
    return ids.index(name)
