"""The pictures of a page: small copies inside it, links to the originals beside it."""

import base64
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from PIL import Image

QUALITY = 80


def thumbnails(paths: Iterable[Path], size: int) -> dict[Path, str]:
    """Data URIs of WebP copies whose longer side is at most `size` pixels; what is no picture is left out."""
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(
        os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    ) as pool:
        small = pool.map(lambda path: _thumbnail(path, size), wanted)  # Pillow works outside Python's lock
    return {path: uri for path, uri in zip(wanted, small, strict=True) if uri}


def _thumbnail(path: Path, size: int) -> str | None:
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2)
            data = io.BytesIO()
            small.save(data, "WEBP", quality=QUALITY, method=1)
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for a torn file
        return None
    return data_uri(data.getvalue(), "image/webp")


def films(paths: Iterable[Path], page: Path, limit_mb: float) -> dict[Path, str]:
    """Of each film a data URI, if all together are no larger than `limit_mb`; else a link relative to the page."""
    found = [path for path in dict.fromkeys(paths) if path.is_file()]
    if sum(path.stat().st_size for path in found) <= limit_mb * 1e6:
        return {path: data_uri(path.read_bytes(), "video/mp4") for path in found}
    return {path: link(path, page) for path in found}


def link(path: Path, page: Path) -> str:
    """A relative URL from the page to a file."""
    return quote(Path(os.path.relpath(path.resolve(), page.resolve().parent)).as_posix())


def data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
