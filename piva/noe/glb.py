"""Read binary glTF 2.0: the container, its JSON and its arrays.

Every count is held against the bytes that are there before anything of its size is made.
"""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.errors import InputError, one_line

Array = NDArray[Any]

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
SHAPES = {"SCALAR": ()} | {f"VEC{n}": (n,) for n in (2, 3, 4)} | {f"MAT{n}": (n, n) for n in (2, 3, 4)}
DRACO = "KHR_draco_mesh_compression"
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
# what a file may require: its effect is drawn, or is one of highlights, which have none here
READABLE = {
    *("EXT_mesh_gpu_instancing", "EXT_texture_webp", "KHR_mesh_quantization", "KHR_texture_transform"),
    *("KHR_materials_unlit", "KHR_materials_emissive_strength", "KHR_materials_pbrSpecularGlossiness"),
    *(
        "KHR_materials_anisotropy",
        "KHR_materials_clearcoat",
        "KHR_materials_ior",
        "KHR_materials_iridescence",
    ),
    *("KHR_materials_sheen", "KHR_materials_specular", "KHR_lights_punctual"),
    *("KHR_materials_variants", "KHR_xmp_json_ld"),
}
MALFORMED = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError),
    *(struct.error, RecursionError, MemoryError),
)


@dataclass(frozen=True)
class Document:
    """A GLB's JSON and its binary chunk."""

    where: str
    json: dict[str, Any]
    binary: bytes
    _decoded: dict[int, Array] = field(default_factory=dict)

    def item(self, kind: str, index: Any) -> dict[str, Any]:
        """Return one of the file's `kind`, such as "meshes". Raises `ValueError` if negative."""
        found: dict[str, Any] = self.json[kind][_whole(index, "a reference")]
        return found

    def view(self, index: int) -> bytes:
        """Return the bytes of a buffer view. Raises `InputError` if the file does not hold them."""
        view = self.item("bufferViews", index)
        if "uri" in self.item("buffers", view["buffer"]) or view["buffer"] != 0:
            for extension in view.get("extensions", {}):
                raise unreadable(self.where, extension)
            wanted = "a GLB that holds all its data"
            raise InputError(self.where, "a buffer outside the file", wanted, "export it as one .glb")
        start = _whole(view.get("byteOffset", 0), "a byteOffset")
        end = start + _whole(view["byteLength"], "a byteLength")
        if end > len(self.binary):
            raise _cut_short(self.where, "an end before its data's end")
        return self.binary[start:end]

    def accessor(self, index: int) -> Array:
        """Return an array (count, ...) of numbers; normalised integers as floats in [0, 1] or [-1, 1]."""
        if index not in self._decoded:
            self._decoded[index] = self._decode(self.item("accessors", index))
        return self._decoded[index]

    def _decode(self, about: dict[str, Any]) -> Array:
        shape = (self._count(about), *SHAPES[about["type"]])
        kind = np.dtype(COMPONENTS[about["componentType"]])
        values = self._numbers(about, shape, kind) if "bufferView" in about else np.zeros(shape, kind)
        if sparse := about.get("sparse"):
            count, indices = self._count(sparse), sparse["indices"]
            at = self._numbers(indices, (count,), np.dtype(COMPONENTS[indices["componentType"]]))
            values = values.copy()
            values[at] = self._numbers(sparse["values"], (count, *shape[1:]), kind)
        if about.get("normalized") and kind.kind in "iu":
            return np.maximum(values / np.float32(np.iinfo(kind).max), -1).astype(np.float32)
        return values

    def _count(self, about: dict[str, Any]) -> int:
        """Return an array's length: at most the file's bytes, also of zeros that no byte stands for."""
        count = _whole(about["count"], "a count")
        if count > len(self.binary):
            raise _cut_short(self.where, f"an array of {count} with {len(self.binary)} bytes of data")
        return count

    def _numbers(self, about: dict[str, Any], shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
        data, offset = self.view(about["bufferView"]), _whole(about.get("byteOffset", 0), "a byteOffset")
        size = int(np.prod(shape[1:], dtype=int)) * kind.itemsize
        stride = self.item("bufferViews", about["bufferView"]).get("byteStride", 0) or size
        if _whole(stride, "a byteStride") < size:
            raise ValueError(f"a byteStride of {stride} for numbers of {size} bytes")
        if not shape[0]:
            return np.empty(shape, kind)
        if offset + stride * (shape[0] - 1) + size > len(data):
            raise _cut_short(self.where, "an array longer than its data")
        rows = np.ndarray((shape[0], size), np.uint8, data, offset, (stride, 1))
        return np.ascontiguousarray(rows).view(kind).reshape(shape)


def _whole(number: Any, what: str) -> int:
    """Return what JSON gave for a count, an offset or a reference. Raises `ValueError`."""
    if type(number) is not int or number < 0:
        raise ValueError(f"{what} of {str(number)[:40]}")
    return number


def unreadable(where: str, extension: str) -> InputError:
    """Return the error of a file that cannot be drawn without an extension."""
    found, wanted = f"the extension {extension[:80]}", "a GLB that does without"
    return InputError(where, found, wanted, "export it without compression and extensions")


def _cut_short(where: str, found: str) -> InputError:
    return InputError(where, found, "a whole GLB", "download or export it again")


@contextmanager
def as_input_error(where: str) -> Iterator[None]:
    """Raise an `InputError` naming `where` for what goes wrong in the block because the file is malformed."""
    try:
        yield
    except InputError:
        raise
    except MALFORMED as error:
        raise InputError(where, f"a malformed file ({one_line(error)})", "binary glTF 2.0 (.glb)") from None


def read_glb(content: bytes, where: str) -> Document:
    """Return the document in a .glb file's bytes. Raises `InputError`."""
    with as_input_error(where):
        magic, version, length = struct.unpack_from("<4sII", content)
        if magic != b"glTF" or version != 2:
            raise InputError(where, "another format", "binary glTF 2.0 (.glb)", "export it as .glb")
        if length > len(content):
            raise _cut_short(where, f"{len(content)} bytes of {length}")
        at, chunks = 12, dict[bytes, bytes]()
        while at + 8 <= length:
            size, kind = struct.unpack_from("<I4s", content, at)
            chunks.setdefault(kind, content[at + 8 : at + 8 + size])
            at += 8 + size
        data = json.loads(chunks[b"JSON"])
        if missing := sorted(set(data.get("extensionsRequired", [])) - READABLE):
            raise unreadable(where, missing[0])
        return Document(where, data, chunks.get(b"BIN\0", b""))
