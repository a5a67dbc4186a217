"""Which pictures are compared: a dataset's originals with edits, or two folders of views. No torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from piva.datasets.edit import Edit
from piva.errors import InputError
from piva.files import inside
from piva.images import check_image, shown_size

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An edit's pictures, view by view: readable, and of `size` or strips whose last square counts."""

    edit: Edit
    before: list[Path]
    after: list[Path]
    size: tuple[int, int]  # (width, height)


def edited(folders: Sequence[Path], edits: Sequence[Edit], skip: bool) -> tuple[list[Pair], list[str]]:
    """Return one pair an edit, and the ids of those without a picture.

    Args:
        folders: the first that has an edit counts. Each has <path> or annotation_images/<path>, where <path>
            is that of the original in PIE-Bench's annotation_images, or <id>.png; or it is a run of piva.run.
        edits: those to look for.
        skip: go on without those that are missing.

    Raises:
        InputError: pictures are missing, unreadable, or not of their original's size.
    """
    found = {edit.id: _find(folders, edit) for edit in edits}
    missing = [name for name, path in found.items() if path is None]
    if len(missing) == len(edits) or (missing and not skip):
        where = f"edits={','.join(map(str, folders))}"
        remedy = "missing=skip scores the others, dataset.edits=... names those to look for"
        raise InputError(where, _count(missing, len(edits)), "a picture for every edit", remedy)
    pairs = [_pair(edit, [edit.image], [path]) for edit in edits if edit.image and (path := found[edit.id])]
    return pairs, missing


def views(edit: Edit, before: Path, after: Path) -> Pair:
    """Return all pictures of two folders, paired by their names. Raises `InputError`."""
    sides = {"before": before, "after": after}
    names = {key: _pictures(key, folder) for key, folder in sides.items()}
    for key, other in (("before", "after"), ("after", "before")):
        if missing := sorted(set(names[other]) - set(names[key])):
            found = _count(missing, len(names[other]))
            raise InputError(f"{key}={sides[key]}", found, f"the names in {sides[other]}")
    stems = sorted(names["before"])
    return _pair(edit, [names["before"][stem] for stem in stems], [names["after"][stem] for stem in stems])


def _find(folders: Sequence[Path], edit: Edit) -> Path | None:
    candidates = (path for folder in folders for path in _candidates(folder, edit))
    return next((path for path in candidates if path.is_file()), None)


def _candidates(folder: Path, edit: Edit) -> Iterator[Path]:
    """Yield where an edit's picture may lie, the most definite first; in any format."""
    assert edit.image is not None
    parts, names = edit.image.parts, []
    if "annotation_images" in parts:
        below = Path(*parts[parts.index("annotation_images") + 1 :])
        names = [f"annotation_images/{below}", str(below)]
    for name in [*names, edit.id + edit.image.suffix]:
        base = inside(folder, name, f"edits={folder}")
        yield from (base, *(base.with_suffix(suffix) for suffix in SUFFIXES))
    yield inside(folder, f"edits/{edit.id}/after.png", f"edits={folder}")


def _pictures(key: str, folder: Path) -> dict[str, Path]:
    """Return the pictures of a folder by their names without suffix."""
    if not folder.is_dir():
        raise InputError(key, f"no folder {str(folder)!r}", "a folder of pictures", "check the path")
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    if not files:
        raise InputError(key, f"no pictures in {folder}", "files ending in " + ", ".join(SUFFIXES))
    return files


def _pair(edit: Edit, before: list[Path], after: list[Path]) -> Pair:
    size = _checked_size(before[0])
    for path in (*before[1:], *after):
        found = _checked_size(path)
        strip = found[0] != found[1] and found[0] >= size[0] and found[1] >= size[1] and path in after
        if found != size and not strip:
            wanted = f"{size[0]}x{size[1]} like {before[0].name}"
            remedy = "edits are measured at their original's size"
            raise InputError(path, f"{found[0]}x{found[1]} pixels", wanted, remedy)
    return Pair(edit=edit, before=before, after=after, size=size)


def _checked_size(path: Path) -> tuple[int, int]:
    check_image(path)
    return shown_size(path)


def _count(missing: Sequence[str], of: int) -> str:
    return f"{len(missing)} of {of} missing: {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
