"""The layout against numbers that others use, and against a hash written out in 32 bits."""

import numpy as np
import pytest
import torch

from piva.nerf.kernels.grid_torch import encode, row_of
from piva.nerf.kernels.layout import Layout


@pytest.mark.parametrize(("growth", "total"), [(1.447269237440378, 12_599_920), (1.381913, 12_196_240)])
def test_sizes_are_those_of_the_checkpoints_in_use(growth: float, total: int) -> None:
    layout = Layout(levels=16, features=2, log2_rows=19, base=16, growth=growth)
    assert layout.size == total
    assert layout.width == 32


def test_levels_lie_one_behind_the_other() -> None:
    """By hand: scales 3, 7, 15, 31 -> 4, 8, 16, 32 nodes a side; 4^3 = 64, 8^3 = 512, then at most 2^10."""
    table = Layout(levels=4, features=2, log2_rows=10, base=4, growth=2.0).table
    assert [tuple(level) for level in table] == [
        (3.0, 4, 64, 0, False), (7.0, 8, 512, 64, False), (15.0, 16, 1024, 576, True),
        (31.0, 32, 1024, 1600, True)
    ]  # fmt: skip
    odd = Layout(levels=1, features=1, log2_rows=10, base=3, growth=2.0).table[0]
    assert (odd.resolution, odd.rows) == (3, 32)  # 27 rounded up to a multiple of 8


def test_the_hash_is_that_of_32_bit_words() -> None:
    level = Layout(levels=1, features=2, log2_rows=14, base=128, growth=2.0).table[0]
    nodes = [(0, 0, 0), (1, 0, 0), (5, 7, 11), (127, 128, 90)]
    expected = []
    for x, y, z in nodes:
        with np.errstate(over="ignore"):
            word = (
                np.uint32(x) ^ (np.uint32(y) * np.uint32(2654435761)) ^ (np.uint32(z) * np.uint32(805459861))
            )
        expected.append(int(word % np.uint32(2**14)))
    assert row_of(*torch.tensor(nodes).T, level).tolist() == expected


def test_a_point_on_a_node_has_that_nodes_features() -> None:
    """Node i of a level lies at x * scale + 0.5 = i: the half is tiny-cuda-nn's; others leave it out."""
    layout = Layout(
        levels=1, features=2, log2_rows=10, base=5, growth=2.0
    )  # scale 4, 5 nodes a side, no hash
    params = torch.arange(layout.size).double()
    node = torch.tensor([[1, 2, 3], [4, 1, 2]])
    rows = node[:, 0] + 5 * node[:, 1] + 25 * node[:, 2]
    at = encode(params, (node.double() - 0.5) / 4, layout)
    torch.testing.assert_close(at, torch.stack([2 * rows, 2 * rows + 1], dim=1).double())
    between = encode(params, (node.double() - 0.5 + torch.tensor([0.25, 0, 0])) / 4, layout)
    torch.testing.assert_close(between - at, torch.full((2, 2), 0.25 * 2).double())


def test_a_node_beyond_the_last_is_taken_modulo_the_level() -> None:
    layout = Layout(levels=2, features=1, log2_rows=10, base=2, growth=2.0)  # 2^3 = 8 rows, then 4^3 = 64
    params = torch.zeros(layout.size, dtype=torch.float64)
    params[8:] = 100  # of the next level: must not leak into this one
    params[0] = 1
    corner = torch.ones((1, 3), dtype=torch.float64)  # at 1.5: halfway from node 1 to node 2, the one beyond
    rows = [x + 2 * y + 4 * z for x in (1, 2) for y in (1, 2) for z in (1, 2)]
    assert max(rows) == 14
    expected = sum(1 for row in rows if row % 8 == 0) / 8
    assert encode(params, corner, layout)[0, 0] == expected > 0
