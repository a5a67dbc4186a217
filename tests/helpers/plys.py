"""Splats as another program would write them, by struct, without the code under test."""

import struct

import numpy as np

BASE = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
SHAPE = ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def names(degree):
    return [*BASE, *(f"f_rest_{i}" for i in range(3 * (degree + 1) ** 2 - 3)), *SHAPE]


def ball_of_splats(n=300, degree=0, middle=(5.0, -3.0, 100.0), size=2.0):
    """Return a dictionary of columns: an opaque ball, red above (z) and blue below."""
    g = np.random.default_rng(0)
    d = g.normal(size=(n, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    columns = {name: np.zeros(n) for name in names(degree)}
    for axis, name in enumerate("xyz"):
        columns[name] = d[:, axis] * size + middle[axis]
    up = d[:, 2] > 0
    for i, colour in enumerate(([0.9, 0.1], [0.1, 0.2], [0.1, 0.8])):
        columns[f"f_dc_{i}"] = (np.where(up, *colour) - 0.5) / 0.28209479177387814
    for i in range(3):
        columns[f"scale_{i}"] = np.full(n, np.log(0.15 * size)) + 0.1 * g.normal(size=n)
    for i in range(4):
        columns[f"rot_{i}"] = g.normal(size=n)
    for i in range(3 * (degree + 1) ** 2 - 3):
        columns[f"f_rest_{i}"] = 0.05 * g.normal(size=n)
    columns["opacity"] = np.full(n, 3.0)
    return {name: column.astype(np.float32) for name, column in columns.items()}


def write_ply(path, columns, order=None, form="binary_little_endian", kinds=None, extra=""):
    """Write columns in this order of names and format; `kinds` names types other than float."""
    order, kinds = list(order or columns), kinds or {}
    n = len(next(iter(columns.values())))
    lines = ["ply", f"format {form} 1.0", "comment another program", f"element vertex {n}"]
    lines += [f"property {kinds.get(name, 'float')} {name}" for name in order]
    if extra:
        lines.append(extra)
    body = "\n".join([*lines, "end_header\n"]).encode()
    code = "".join({"float": "f", "double": "d", "uchar": "B"}[kinds.get(name, "float")] for name in order)
    pack = struct.Struct(("<" if "little" in form else ">") + code)
    for i in range(n):
        row = [columns[name][i] for name in order]
        body += (" ".join(f"{v:.9g}" for v in row) + "\n").encode() if form == "ascii" else pack.pack(*row)
    path.write_bytes(body)
    return path


def read_ply(path):
    """Read a little-endian file of floats back: a dictionary of columns."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    order = [line.split()[2] for line in head.decode().splitlines() if line.startswith("property float")]
    rows = list(struct.iter_unpack("<" + "f" * len(order), body))
    return dict(zip(order, np.array(rows, np.float32).T, strict=True))
