"""Read glTF's materials: base colour, opacity and emission; metal, roughness and normal maps have no effect.

Factors and vertex colours are linear, textures are sRGB, and so is what comes out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.noe.gltf import Document, Primitive
from piva.noe.textures import Texture, read_texture

Array = NDArray[np.float32]
SPECULAR_GLOSSINESS = "KHR_materials_pbrSpecularGlossiness"


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
        factor=np.array(factor or (1, 1, 1, 1), float),
        texture=texture if texture and texture.channel < len(primitive.uv) else None,
        glow=strength * np.array(about.get("emissiveFactor", (0, 0, 0)), float),
        glow_texture=glow_texture if glow_texture and glow_texture.channel < len(primitive.uv) else None,
        alpha=about.get("alphaMode", "OPAQUE"),
        cutoff=about.get("alphaCutoff", 0.5),
        unlit="KHR_materials_unlit" in extensions,
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
