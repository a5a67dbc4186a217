"""Where objects come from: a folder of .glb files, a .zip of them, or a local Objaverse cache; and what is known of them.

An Objaverse cache is what the package `objaverse` leaves below ~/.objaverse/hf-objaverse-v1: object-paths.json.gz,
metadata/000-123.json.gz and glbs/000-123/<uid>.glb. Nothing is downloaded here.
"""

import gzip
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from piva.errors import InputError, one_line
from piva.files import as_kind, inside
from piva.ranges import select

PATHS = "object-paths.json.gz"
REMEDY = "give a folder of .glb files, a .zip of them, or the folder with object-paths.json.gz"
# zipfile's own, zlib's for damaged data, NotImplementedError for a compression it lacks, RuntimeError for a password
BAD_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Source:
    """One object: `where` names it in errors, `read` gives its .glb's bytes, `annotation` what Objaverse says of it."""

    uid: str
    where: str
    read: Callable[[], bytes]
    annotation: Callable[[], dict[str, Any]]


def list_sources(place: Path, choice: Any) -> list[Source]:
    """The chosen objects: "all", the first n, or uids. Raises `InputError`."""
    for root in (place, place / "hf-objaverse-v1"):
        if (root / PATHS).is_file():
            return _objaverse(root, choice)
    if place.is_dir():
        paths = sorted(place.rglob("*.glb"))
        found = [Source(path.stem, str(path), partial(_read_file, path), dict) for path in paths]
    elif zipfile.is_zipfile(place) or place.suffix == ".zip":
        found = _zipped(place)
    elif place.suffix == ".glb":
        found = [Source(place.stem, str(place), partial(_read_file, place), dict)]
    else:
        raise InputError("source", f"nothing to read at {place}", "objects", REMEDY)
    if not found:
        raise InputError("source", f"no .glb in {place}", "objects", REMEDY)
    return _chosen(found, choice)


def _chosen(found: Sequence[Source], choice: Any) -> list[Source]:
    for source in found:
        if not source.uid.strip("."):
            raise InputError(
                source.where, f"the name {source.uid!r}", "a name with a letter or digit", "rename the file"
            )
    return [found[i] for i in select([source.uid for source in found], choice, "objects")]


def _objaverse(root: Path, choice: Any) -> list[Source]:
    if isinstance(choice, str) and choice != "all":
        choice = [choice]
    if isinstance(choice, list):
        listed = _unpacked(root / PATHS)
        missing = [uid for uid in map(str, choice) if uid not in listed]
        if missing:
            raise InputError("objects", repr(missing[0]), f"a uid that {root / PATHS} lists")
        paths = [
            inside(root, as_kind(listed[uid], str, f"{root / PATHS}: {uid}"), f"{root / PATHS}: {uid}")
            for uid in map(str, choice)
        ]
        for path in paths:
            if not path.is_file():
                remedy = "download it first, for example by objaverse.load_objects"
                raise InputError("objects", f"no file {path}", "the object's GLB in the cache", remedy)
    else:
        paths = sorted(root.glob("glbs/*/*.glb"))
        if not paths:
            raise InputError(
                "source",
                f"no glbs/*/*.glb in {root}",
                "downloaded objects",
                "download some, e.g. by objaverse.load_objects",
            )
    unpacked = cache(_unpacked)  # a table holds the annotations of thousands
    found = [
        Source(path.stem, str(path), partial(_read_file, path), partial(_annotation, root, path, unpacked))
        for path in paths
    ]
    return found if isinstance(choice, list) else _chosen(found, choice)


def _annotation(root: Path, path: Path, unpacked: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    table = root / "metadata" / f"{path.parent.name}.json.gz"
    return (
        as_kind(unpacked(table).get(path.stem, {}), dict, f"{table}: {path.stem}") if table.is_file() else {}
    )


def _unpacked(path: Path) -> dict[str, Any]:
    try:
        return as_kind(json.loads(gzip.decompress(path.read_bytes())), dict, path)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            path, f"an unreadable file ({one_line(error)})", "whole gzipped JSON", "download it again"
        ) from None


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error), "a readable .glb") from None


def _zipped(place: Path) -> list[Source]:
    try:
        with zipfile.ZipFile(place) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".glb"))
    except BAD_ZIP as error:
        raise _bad_zip(place, error) from None
    return [
        Source(PurePosixPath(name).stem, f"{place}: {name}", partial(_read_zipped, place, name), dict)
        for name in names
    ]


def _read_zipped(place: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(place) as archive:
            return archive.read(name)  # checks the checksum
    except BAD_ZIP as error:
        raise _bad_zip(place, error) from None


def _bad_zip(place: Path, error: Exception) -> InputError:
    return InputError(
        place, f"an unreadable archive ({one_line(error)})", "a whole .zip", "download it again"
    )


def about(annotation: dict[str, Any], asset: dict[str, Any]) -> dict[str, str]:
    """Name, licence, author and origin: by Objaverse's annotation, or else by what the GLB says of itself; "" if unknown.

    Sketchfab, where Objaverse is from, writes title, author, license and source into the asset's extras.
    """
    extras, user = (
        found if isinstance(found, dict) else {} for found in (asset.get("extras"), annotation.get("user"))
    )
    said = {
        "name": (annotation.get("name"), extras.get("title")),
        "licence": (annotation.get("license"), extras.get("license"), asset.get("copyright")),
        "author": (user.get("username"), extras.get("author")),
        "origin": (annotation.get("viewerUrl"), extras.get("source")),
    }
    return {key: next((str(value) for value in values if value), "") for key, values in said.items()}


def noncommercial(licence: str) -> bool:
    """Whether a licence such as by-nc-sa or CC-BY-NC-4.0 forbids commercial use."""
    words = re.split(r"[^a-z]+", licence.lower())
    return "nc" in words or "noncommercial" in words
