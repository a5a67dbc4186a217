import pytest
import torch

from piva.errors import InputError
from piva.nerf.memory import check_fits, estimate

CPU = torch.device("cpu")
KEYS = {
    "the field": "field.a",
    "its occupancy grid": "field.b",
    "the scene's pictures": "dataset",
    "a step's pictures": "task",
}


def test_what_cannot_fit_is_refused_with_the_estimate_and_what_there_is():
    parts = estimate(num_parameters=10**13, cells=64**3, pictures=10**6, pixels=128**2)
    with pytest.raises(
        InputError,
        match=r"field.a: found about 2400\d\d.\d GB needed, .* for the field, wanted at most \d+.\d GB",
    ):
        check_fits(parts, KEYS, CPU)
    parts = estimate(num_parameters=10**6, cells=64**3, pictures=10**6, pixels=10**7 * 10**7)
    with pytest.raises(InputError, match="task: "):
        check_fits(parts, KEYS, CPU)


def test_ordinary_scenes_pass():
    check_fits(
        estimate(num_parameters=4 * 96**3, cells=64**3, pictures=112 * 128**2, pixels=512**2), KEYS, CPU
    )
