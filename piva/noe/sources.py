"""List objects of a folder of .glb files, a .zip of them, or a local Objaverse cache, and their licences.

An Objaverse cache is what the package `objaverse` leaves below ~/.objaverse/hf-objaverse-v1:
object-paths.json.gz, metadata/000-123.json.gz and glbs/000-123/<uid>.glb. Nothing is downloaded here.
"""

import gzip
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from piva.errors import InputError, one_line
from piva.files import as_kind, inside, regular
from piva.ranges import select

PATHS = "object-paths.json.gz"
REMEDY = "give a folder of .glb files, a .zip of them, or the folder with object-paths.json.gz"
LARGEST = 2**31  # bytes of a .glb, also of one in a .zip, which may claim any
LARGEST_TABLE = 2**30  # bytes of a gzipped table, unpacked: Objaverse's paths have 60 MB
# NotImplementedError: a compression that zipfile lacks; RuntimeError: a password
BAD_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Source:
    """An object's .glb."""

    uid: str
    where: str  # its name in errors
    read: Callable[[], bytes]
    annotation: Callable[[], dict[str, Any]] = dict  # Objaverse's


def list_sources(place: Path, choice: Any) -> list[Source]:
    """Return the chosen objects: "all", the first n, or uids. Raises `InputError`."""
    for root in (place, place / "hf-objaverse-v1"):
        if (root / PATHS).is_file():
            return _objaverse(root, choice)
    if place.is_dir():
        found = [_local(path) for path in sorted(place.rglob("*")) if _is_glb(path)]
    elif zipfile.is_zipfile(place) or place.suffix.lower() == ".zip":
        found = _zipped(place)
    elif _is_glb(place):
        found = [_local(place)]
    else:
        raise InputError("source", f"nothing to read at {place}", "objects", REMEDY)
    if not found:
        raise InputError("source", f"no .glb in {place}", "objects", REMEDY)
    return _chosen(found, choice)


def _is_glb(path: PurePath) -> bool:
    return path.suffix.lower() == ".glb"


def _chosen(found: Sequence[Source], choice: Any) -> list[Source]:
    for source in found:
        if not source.uid.strip("."):
            wanted = "a name with a letter or digit"
            raise InputError(source.where, f"the name {source.uid!r}", wanted, "rename the file")
    return [found[i] for i in select([source.uid for source in found], choice, "objects")]


def _objaverse(root: Path, choice: Any) -> list[Source]:
    if isinstance(choice, str) and choice != "all":
        choice = [choice]
    if isinstance(choice, list):
        listed, uids = _unpacked(root / PATHS), [str(uid) for uid in choice]
        if missing := [uid for uid in uids if uid not in listed]:
            raise InputError("objects", repr(missing[0]), f"a uid that {root / PATHS} lists")
        paths = []
        for uid in uids:
            where = f"{root / PATHS}: {uid}"
            paths.append(path := inside(root, as_kind(listed[uid], str, where), where))
            if not path.is_file():
                remedy = "download it first, for example by objaverse.load_objects"
                raise InputError("objects", f"no file {path}", "the object's GLB in the cache", remedy)
    else:
        paths = sorted(root.glob("glbs/*/*.glb"))
        if not paths:
            remedy = "download some, e.g. by objaverse.load_objects"
            raise InputError("source", f"no glbs/*/*.glb in {root}", "downloaded objects", remedy)
    unpacked = cache(_unpacked)  # a table holds the annotations of thousands
    found = [_local(path, partial(_annotation, root, path, unpacked)) for path in paths]
    return found if isinstance(choice, list) else _chosen(found, choice)


def _annotation(root: Path, path: Path, unpacked: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    table = root / "metadata" / f"{path.parent.name}.json.gz"
    if not table.is_file():
        return {}
    return as_kind(unpacked(table).get(path.stem, {}), dict, f"{table}: {path.stem}")


def _unpacked(path: Path) -> dict[str, Any]:
    try:
        with gzip.open(regular(path, "gzipped JSON", LARGEST)) as file:
            text = file.read(LARGEST_TABLE + 1)  # a kilobyte can stand for a megabyte
        if len(text) > LARGEST_TABLE:
            raise InputError(path, "a larger text", f"gzipped JSON of at most {LARGEST_TABLE:,} bytes")
        data = json.loads(text)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        found = f"an unreadable file ({one_line(error)})"
        raise InputError(path, found, "whole gzipped JSON", "download it again") from None
    return as_kind(data, dict, path)


def _local(path: Path, annotation: Callable[[], dict[str, Any]] = dict) -> Source:
    return Source(path.stem, str(path), partial(_read_file, path), annotation)


def _read_file(path: Path) -> bytes:
    try:
        return regular(path, "a .glb", LARGEST).read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error), "a readable .glb") from None


def _zipped(place: Path) -> list[Source]:
    try:
        with zipfile.ZipFile(place) as archive:
            names = sorted(name for name in archive.namelist() if _is_glb(PurePosixPath(name)))
    except BAD_ZIP as error:
        raise _bad_zip(place, error) from None
    return [
        Source(PurePosixPath(name).stem, f"{place}: {name}", partial(_read_zipped, place, name))
        for name in names
    ]


def _read_zipped(place: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(place) as archive:
            if (size := archive.getinfo(name).file_size) > LARGEST:
                wanted = f"at most {LARGEST} of them"
                raise InputError(f"{place}: {name}", f"{size} bytes", wanted, "leave it out")
            return archive.read(name)  # checks the checksum, and gives no more than that size
    except BAD_ZIP as error:
        raise _bad_zip(place, error) from None


def _bad_zip(place: Path, error: Exception) -> InputError:
    found = f"an unreadable archive ({one_line(error)})"
    return InputError(place, found, "a whole .zip", "download it again")


def about(annotation: dict[str, Any], asset: dict[str, Any]) -> dict[str, str]:
    """Return name, licence, author and origin by Objaverse's annotation, else the GLB's own; "" if unknown.

    Sketchfab, where Objaverse is from, writes title, author, license and source into the asset's extras.
    """
    nested = (asset.get("extras"), annotation.get("user"))
    extras, user = (found if isinstance(found, dict) else {} for found in nested)
    said = {
        "name": (annotation.get("name"), extras.get("title")),
        "licence": (annotation.get("license"), extras.get("license"), asset.get("copyright")),
        "author": (user.get("username"), extras.get("author")),
        "origin": (annotation.get("viewerUrl"), extras.get("source")),
    }
    return {key: next((str(value) for value in values if value), "") for key, values in said.items()}


def noncommercial(licence: str) -> bool:
    """Return whether a licence such as by-nc-sa or CC-BY-NC-4.0 forbids commercial use."""
    words = re.split(r"[^a-z]+", licence.lower())
    return "nc" in words or "noncommercial" in words
