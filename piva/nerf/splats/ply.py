"""Splats in the .ply files of other programs: Kerbl et al.'s layout, which nerfstudio, gsplat, Postshot and
the phones write.

Scales are logarithms, opacities logits, quaternions wxyz; f_dc is the constant harmonic, f_rest the others,
all of red, then green, then blue. The header is read without numpy. (plyfile, the library for this, is under
the GPL, and gsply reads no text files.)
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from piva.errors import InputError
from piva.files import atomic, regular
from piva.nerf.splats.settings import MOST

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from piva.nerf.splats.splats import Splats

WANTED = "Gaussian splats in the usual .ply layout"
REMEDY = "export it from the program that made it as an uncompressed .ply"
LONGEST = 1 << 16  # bytes of a header
TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
ORDER = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
MEANS, NORMALS, COLOUR = ("x", "y", "z"), ("nx", "ny", "nz"), ("f_dc_0", "f_dc_1", "f_dc_2")
SCALES, QUATS = ("scale_0", "scale_1", "scale_2"), ("rot_0", "rot_1", "rot_2", "rot_3")
NEEDED = (*MEANS, *COLOUR, "opacity", *SCALES, *QUATS)
AXES = {"x": (0, 1), "y": (1, 1), "z": (2, 1), "-x": (0, -1), "-y": (1, -1), "-z": (2, -1)}
EDGE = 0.02  # of the splats on either side of an axis may lie outside the object's box
ENOUGH = 1_000_000  # splats to find that box with
FARTHEST = 1e18  # units of a file: squares are still numbers in single precision
SOLID = 0.1  # opacity from which on a splat says where the object is


class Header(NamedTuple):
    """What a file says of its splats."""

    order: str  # of bytes, as numpy has it; "" for text
    splats: int
    properties: list[tuple[str, str]]  # names and numpy's types, in the file's order
    degree: int  # of the spherical harmonics
    size: int  # bytes

    @property
    def num_parameters(self) -> int:
        return self.splats * (11 + 3 * (self.degree + 1) ** 2)


def read_header(path: Path) -> Header:
    """Return a file's header. Raises `InputError` for what holds no splats, or none that can be read."""
    with regular(path).open("rb") as file:
        head = file.read(LONGEST)
    begin, found, _ = head.partition(b"end_header\n")
    if not found:
        begin, found, _ = head.partition(b"end_header\r\n")
    if not head.startswith(b"ply") or not found:
        raise InputError(path, "no header of a .ply", WANTED, REMEDY)
    order, elements = _parsed(path, begin.decode("ascii", "replace").splitlines())
    names = {name: [own for own, _ in properties] for name, _, properties in elements}
    if "chunk" in names or any(name.startswith("packed_") for name in names.get("vertex", [])):
        raise InputError(path, "SuperSplat's compressed .ply", WANTED, REMEDY)
    if not elements or elements[0][0] != "vertex":
        raise InputError(path, f"elements {', '.join(names) or 'none'}", f"{WANTED}: vertex first", REMEDY)
    _, count, properties = elements[0]
    there = [name for name, _ in properties]
    if missing := [name for name in NEEDED if name not in there]:
        found_ = f"no {', '.join(missing)} among its properties"
        raise InputError(path, found_, WANTED, "a point cloud or a mesh is no splats")
    if twice := [name for name in dict.fromkeys(there) if there.count(name) > 1]:
        raise InputError(path, f"the property {twice[0]} twice", WANTED, REMEDY)
    rest = sum(name.startswith("f_rest_") for name in there)
    degree = {0: 0, 9: 1, 24: 2, 45: 3}.get(rest)
    if degree is None or (unknown := {f"f_rest_{i}" for i in range(rest)} - set(there)):
        found_ = f"{rest} properties f_rest_*" if degree is None else f"no {min(unknown)}"
        raise InputError(path, found_, "0, 9, 24 or 45 of them, numbered: harmonics of degree 0 to 3", REMEDY)
    if not 1 <= count <= MOST:
        remedy = "prune it, in SuperSplat for example" if count else REMEDY
        raise InputError(path, f"{count:,} splats", f"1 to {MOST:,}", remedy)
    return Header(order, count, properties, degree, len(begin) + len(found))


def _parsed(path: Path, lines: list[str]) -> tuple[str, list[tuple[str, int, list[tuple[str, str]]]]]:
    """Return the order of bytes and the elements: name, count, properties."""
    order, elements = None, list[tuple[str, int, list[tuple[str, str]]]]()
    for line in lines[1:]:
        match line.split():
            case ["format", name, _] if name in ORDER:
                order = ORDER[name]
            case ["element", name, count] if count.isdigit():
                elements.append((name, int(count), []))
            case ["property", kind, name] if kind in TYPES and elements:
                elements[-1][2].append((name, TYPES[kind]))
            case ["property", "list", *_] if elements and elements[-1][0] != "vertex":
                pass
            case ["comment" | "obj_info", *_] | []:
                pass
            case _:
                raise InputError(path, f"a header with the line {line[:80]!r}", WANTED, REMEDY)
    if order is None:
        raise InputError(path, "a header without a format", WANTED, REMEDY)
    return order, elements


def read_splats(path: Path, up: str, device: "torch.device") -> "Splats":
    """Return a file's splats, moved and scaled so that what is solid fills [-1, 1]^3 and `up` is z.

    Raises `InputError` for a file that is too short, or values that are not finite.
    """
    import numpy as np
    import torch

    from piva.nerf.splats.splats import DEAD, Splats

    header = read_header(path)
    table = _table(path, header)

    def columns(*names: str) -> "Tensor":
        return torch.from_numpy(np.stack([table[name].astype(np.float32) for name in names], axis=1))

    parts = [columns(*names) for names in (MEANS, SCALES, QUATS, ("opacity",), COLOUR)]
    rest = [f"f_rest_{i}" for i in range(3 * (header.degree + 1) ** 2 - 3)]
    parts.append(columns(*rest) if rest else torch.zeros(header.splats, 0))
    odd = ~torch.cat(parts, dim=1).isfinite().all(dim=1)
    if bool(odd.any()):
        found = f"{int(odd.sum())} of {header.splats} splats with values that are not finite"
        raise InputError(path, found, "finite numbers", "prune them, in SuperSplat for example")
    means, scales, quats, opacities, sh0, others = parts
    if not bool((opacities.sigmoid() > DEAD).any()):
        found = f"{header.splats} splats, all of opacity 0"
        raise InputError(path, found, f"some above {DEAD}", "check it in the program that made it")
    to_file = _placement(means.double(), opacities[:, 0].sigmoid() >= SOLID, up)
    if not float(to_file.abs().max()) < FARTHEST:
        found = f"splats {float(to_file.abs().max()):.1g} units away"
        raise InputError(path, found, f"less than {FARTHEST:g}", "prune them, in SuperSplat for example")
    scale = torch.linalg.det(to_file[:3, :3]) ** (1 / 3)
    return Splats(
        ((means.double() - to_file[:3, 3]) / scale).float(),
        scales - scale.log().float(),
        quats,
        opacities[:, 0].contiguous(),
        sh0[:, None],
        others.view(header.splats, 3, len(rest) // 3).transpose(1, 2).contiguous(),
        to_file.float(),
    ).to(device)


def _table(path: Path, header: Header) -> Any:
    """Return the splats as a structured array."""
    import numpy as np

    kinds = np.dtype([(name, header.order + kind) for name, kind in header.properties])
    try:
        with path.open("rb") as file:
            file.seek(header.size)
            if header.order:
                return np.frombuffer(file.read(header.splats * kinds.itemsize), kinds, header.splats)
            rows = np.loadtxt(file, max_rows=header.splats, ndmin=2)
    except ValueError:
        rows = np.empty((0, 0))
    if rows.shape != (header.splats, len(header.properties)):
        found = f"less, or else, than the {header.splats} splats of its header"
        raise InputError(path, found, "a whole file", "export or copy it again")
    return {name: column for (name, _), column in zip(header.properties, rows.T, strict=True)}


def _placement(means: "Tensor", solid: "Tensor", up: str) -> "Tensor":
    """Return `Splats.to_file` (4, 4), float64: z of the scene is `up` of the file."""
    import torch

    where = means[solid] if bool(solid.any()) else means
    where = where[:: max(1, len(where) // ENOUGH)]
    low, high = where.quantile(EDGE, dim=0), where.quantile(1 - EDGE, dim=0)
    axis, sign = AXES[up]
    turn = torch.zeros(3, 3, dtype=torch.float64)
    turn[axis, 2], turn[(axis + 1) % 3, 0], turn[(axis + 2) % 3, 1] = sign, 1, sign
    to_file = torch.eye(4, dtype=torch.float64)
    to_file[:3, :3], to_file[:3, 3] = turn * ((high - low).max() / 2).clamp(min=1e-6), (low + high) / 2
    return to_file


def write_splats(splats: "Splats", path: Path) -> None:
    """Write splats, those that can be seen, in the world of their file, if they came from one."""
    import numpy as np
    import torch

    alive = splats.alive()
    scale, centre = alive.to_file[:3, :3].double().det() ** (1 / 3), alive.to_file[:3, 3].double()
    means = alive.means.detach().double() * scale + centre
    parts = {
        MEANS: means,
        NORMALS: torch.zeros_like(means),
        COLOUR: alive.sh0[:, 0],
        tuple(f"f_rest_{i}" for i in range(3 * alive.shN.shape[1])): alive.shN.transpose(1, 2).flatten(1),
        ("opacity",): alive.opacities[:, None],
        SCALES: alive.scales + scale.log(),
        QUATS: alive.quats,
    }
    values = torch.cat([part.detach().float().cpu() for part in parts.values()], dim=1).numpy()
    names = [f"property float {name}" for part in parts for name in part]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(alive)}", *names, "end_header\n"]
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(head).encode())
        file.write(values.astype(np.dtype("<f4")).tobytes())
