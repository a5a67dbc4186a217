"""Read glTF's materials and sample their textures: base colour, opacity and emission.

Metal, roughness and normal maps have no effect. Factors and vertex colours are linear; textures are sRGB, and
so are the results.
"""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piva.errors import InputError, one_line
from piva.noe.glb import Document
from piva.noe.gltf import Primitive

Array = NDArray[np.float32]
SPECULAR_GLOSSINESS = "KHR_materials_pbrSpecularGlossiness"
CLAMP, MIRROR = 33071, 33648  # of glTF's wrap modes; what is neither repeats
MOST_TEXELS = 2**27  # of all pictures, as one of 8192 x 16384: half a gigabyte
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
        held = sum(levels[0].shape[0] * levels[0].shape[1] for levels in pictures.values())
        pictures[source] = _levels(_picture(document, document.json["images"][source], MOST_TEXELS - held))
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
    angle = float(_finite(placed.get("rotation", 0.0), ()))
    x, y = _finite(placed.get("offset", (0, 0)), (2,))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn @ np.diag(_finite(placed.get("scale", (1, 1)), (2,))), (x, y)])


def _finite(values: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return numbers of this shape. Raises `ValueError` for others: 1e999 is infinite in JSON."""
    numbers = np.array(values, float)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"a material's {str(values)[:60]} where {shape} finite numbers belong")
    return numbers


def _picture(document: Document, about: dict[str, Any], room: int) -> Image.Image:
    """Return a picture of at most `room` texels. Raises `InputError`."""
    where, uri = document.where, about.get("uri", "")
    if "bufferView" in about:
        content = document.view(about["bufferView"])
    elif uri.startswith("data:"):
        content = base64.b64decode(uri.split(",", 1)[-1])
    else:
        found = f"the picture {uri!r} outside the file"
        raise InputError(where, found, "a GLB that holds its pictures", "export it as one .glb")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > room:
                found = f"a picture of {image.width} x {image.height}"
                raise InputError(where, found, f"at most {MOST_TEXELS} texels in all", "make it smaller")
            return _rgba(image)
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        found = f"an unreadable picture ({one_line(error)})"
        raise InputError(where, found, "PNG, JPEG or WebP", "export it again") from None


def _rgba(image: Image.Image) -> Image.Image:
    """Return 8 bits a channel; of 16 the upper 8, as PIL has them except for grey, which it would clip."""
    if not image.mode.startswith("I"):
        return image.convert("RGBA")  # palettes too have their colours then
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGBA")


def _levels(picture: Image.Image) -> list[NDArray[np.uint8]]:
    """Return the picture and its mipmaps down to one texel."""
    levels = [np.asarray(picture)]
    while max(levels[-1].shape[:2]) > 1:
        picture = picture.reduce((min(2, picture.width), min(2, picture.height)))
        levels.append(np.asarray(picture))
    return levels


@dataclass(frozen=True, kw_only=True)
class Material:
    """A material's factors and textures."""

    factor: NDArray[np.float64]  # (4,) linear
    texture: Texture | None
    glow: NDArray[np.float64]  # (3,) linear
    glow_texture: Texture | None
    alpha: str  # OPAQUE, MASK or BLEND
    cutoff: float
    unlit: bool
    double_sided: bool  # else it is not seen from behind

    def opacity(self, alpha: Array) -> Array:
        """Return the opacity that an alpha means in this material's mode."""
        if self.alpha == "MASK":
            return (alpha >= self.cutoff).astype(np.float32)
        return alpha if self.alpha == "BLEND" else np.ones_like(alpha)


def read_material(
    document: Document, primitive: Primitive, pictures: dict[int, list[NDArray[np.uint8]]]
) -> Material:
    """Return the primitive's material; specular-glossiness as its diffuse colour. Raises `InputError`."""
    about = primitive.material
    extensions = about.get("extensions", {})
    if SPECULAR_GLOSSINESS in extensions:
        base = extensions[SPECULAR_GLOSSINESS]
        factor, info = base.get("diffuseFactor"), base.get("diffuseTexture")
    else:
        base = about.get("pbrMetallicRoughness", {})
        factor, info = base.get("baseColorFactor"), base.get("baseColorTexture")
    strength = extensions.get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1.0)
    texture = read_texture(document, info, pictures)
    glow_texture = read_texture(document, about.get("emissiveTexture"), pictures)
    return Material(
        factor=_finite((1, 1, 1, 1) if factor is None else factor, (4,)),
        texture=texture if texture and texture.channel < len(primitive.uv) else None,
        glow=_finite(strength, ()) * _finite(about.get("emissiveFactor", (0, 0, 0)), (3,)),
        glow_texture=glow_texture if glow_texture and glow_texture.channel < len(primitive.uv) else None,
        alpha=about.get("alphaMode", "OPAQUE"),
        cutoff=float(_finite(about.get("alphaCutoff", 0.5), ())),
        unlit="KHR_materials_unlit" in extensions,
        double_sided=about.get("doubleSided", False),
    )


def tinted(rgba: Array, factor: NDArray[Any]) -> Array:
    """Return colours (n, 4) in sRGB times linear factors (4,) or (n, 4)."""
    if (factor == 1).all():
        return rgba
    rgb = to_srgb(to_linear(rgba[:, :3]) * factor[..., :3])
    return np.concatenate([rgb, rgba[:, 3:] * factor[..., 3:]], axis=1, dtype=np.float32)


def to_linear(srgb: NDArray[Any]) -> NDArray[Any]:
    """Return linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: NDArray[Any]) -> NDArray[Any]:
    """Return sRGB values of linear light (IEC 61966-2-1); light above 1 is white."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
