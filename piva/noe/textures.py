"""Sample glTF's textures: wrap modes, filters, transforms of texture coordinates, and mipmaps."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piva.errors import InputError, one_line
from piva.noe.gltf import Document

CLAMP, MIRROR = 33071, 33648  # of glTF's wrap modes; what is neither repeats
NEAREST = 9728  # of its filters; what is not blends four texels


@dataclass(frozen=True, kw_only=True)
class Texture:
    """A picture, its mipmaps and its sampler."""

    levels: list[NDArray[np.uint8]]  # (h, w, 4) sRGB, straight alpha; level k is 2^k times smaller
    channel: int  # which set of texture coordinates
    matrix: NDArray[np.float64]  # (2, 3), transforms them first
    wrap: tuple[int, int]  # along u and v
    nearest: bool

    def sample(self, uv: NDArray[Any], level: NDArray[Any]) -> NDArray[np.float32]:
        """Return RGBA (n, 4) in [0, 1] at `uv` (n, 2), v from the top down, of the mipmap `level` (n,)."""
        uv = uv @ self.matrix[:, :2].T + self.matrix[:, 2]
        chosen = np.clip(np.rint(level), 0, len(self.levels) - 1).astype(int)
        out = np.empty((len(uv), 4), np.float32)
        for index in np.unique(chosen):
            mine = np.flatnonzero(chosen == index)
            out[mine] = self._read(self.levels[index], uv[mine])
        return out

    def _read(self, picture: NDArray[np.uint8], uv: NDArray[np.float64]) -> NDArray[np.float32]:
        size = np.array(picture.shape[1::-1])
        place = uv * size
        if self.nearest:
            column, row = (self._wrapped(np.floor(place[:, i]), int(size[i]), i) for i in (0, 1))
            return np.asarray(picture[row, column] / np.float32(255), np.float32)
        place = place - 0.5  # texels' values belong to their centres
        low = np.floor(place)
        part = (place - low).astype(np.float32)
        (left, right), rows = (
            [self._wrapped(low[:, i] + step, int(size[i]), i) for step in (0, 1)] for i in (0, 1)
        )
        u, v = part[:, :1], part[:, 1:]
        upper, lower = (picture[row, left] * (1 - u) + picture[row, right] * u for row in rows)
        return np.asarray((upper * (1 - v) + lower * v) / np.float32(255), np.float32)

    def _wrapped(self, texel: NDArray[np.float64], size: int, axis: int) -> NDArray[np.int64]:
        index = texel.astype(np.int64)
        if self.wrap[axis] == CLAMP:
            return np.clip(index, 0, size - 1)
        if self.wrap[axis] == MIRROR:
            index = index % (2 * size)
            return np.minimum(index, 2 * size - 1 - index)
        return index % size


def read_texture(
    document: Document, info: dict[str, Any] | None, pictures: dict[int, list[NDArray[np.uint8]]]
) -> Texture | None:
    """Return the texture that a material's `info` names, if any; `pictures` caches what was decoded.

    Raises `InputError` for pictures that are missing, unreadable or outside the file.
    """
    if info is None:
        return None
    texture = document.json["textures"][info["index"]]
    webp = texture.get("extensions", {}).get("EXT_texture_webp", texture)
    source = webp.get("source", texture.get("source"))
    if source is None:
        found, wanted = "a texture without a picture", "PNG, JPEG or WebP textures"
        raise InputError(document.where, found, wanted, "export it with those")
    if source not in pictures:
        pictures[source] = _levels(_picture(document, document.json["images"][source]))
    sampler = document.json["samplers"][texture["sampler"]] if "sampler" in texture else {}
    placed = info.get("extensions", {}).get("KHR_texture_transform", {})
    return Texture(
        levels=pictures[source],
        channel=placed.get("texCoord", info.get("texCoord", 0)),
        matrix=_matrix(placed),
        wrap=(sampler.get("wrapS", 0), sampler.get("wrapT", 0)),
        nearest=sampler.get("magFilter") == NEAREST,
    )


def _matrix(placed: dict[str, Any]) -> NDArray[np.float64]:
    """Return KHR_texture_transform's matrix: scale, then turn, then move.

    It turns counter-clockwise as seen with v down (github.com/KhronosGroup/glTF/issues/1563).
    """
    angle, (x, y) = placed.get("rotation", 0.0), placed.get("offset", (0, 0))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn @ np.diag(placed.get("scale", (1, 1))), (x, y)])


def _picture(document: Document, about: dict[str, Any]) -> Image.Image:
    where, uri = document.where, about.get("uri", "")
    if "bufferView" in about:
        content = document.view(about["bufferView"])
    elif uri.startswith("data:"):
        content = base64.b64decode(uri.split(",", 1)[-1])
    else:
        found = f"the picture {uri!r} outside the file"
        raise InputError(where, found, "a GLB that holds its pictures", "export it as one .glb")
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGBA")  # palettes too have their colours then
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        found = f"an unreadable picture ({one_line(error)})"
        raise InputError(where, found, "PNG, JPEG or WebP", "export it again") from None


def _levels(picture: Image.Image) -> list[NDArray[np.uint8]]:
    """Return the picture and its mipmaps down to one texel."""
    levels = [np.asarray(picture)]
    while max(levels[-1].shape[:2]) > 1:
        picture = picture.reduce((min(2, picture.width), min(2, picture.height)))
        levels.append(np.asarray(picture))
    return levels
