"""Which timesteps a step may draw."""

import pytest
import torch

from piva.errors import InputError
from piva.schedules.annealed import Annealed
from piva.schedules.decreasing import Decreasing
from piva.schedules.descending import Descending
from piva.schedules.uniform import Uniform


def test_uniform_covers_its_range_and_no_more() -> None:
    schedule, generator = Uniform(t_min=0.02, t_max=0.98), torch.Generator().manual_seed(0)
    drawn = [schedule.draw(step, 100, 1000, generator) for step in range(100) for _ in range(200)]
    assert (min(drawn), max(drawn)) == (20, 979)
    counts = torch.tensor(drawn).float().histc(4, 20, 980) / len(drawn)
    assert counts.sub(0.25).abs().max() < 0.02


def test_annealed_is_uniform_first_and_lower_from_its_step_on() -> None:
    schedule, uniform = (
        Annealed(t_min=0.02, t_max=0.98, t_max_late=0.5, late_from=0.2),
        Uniform(t_min=0.02, t_max=0.98),
    )
    one, other = (torch.Generator().manual_seed(1) for _ in range(2))
    assert [schedule.draw(s, 1000, 1000, one) for s in range(200)] == [
        uniform.draw(s, 1000, 1000, other) for s in range(200)
    ]
    late = [schedule.draw(step, 1000, 1000, one) for step in range(200, 1000)]
    assert (min(late) >= 20, max(late) < 500, max(late) > 480) == (True, True, True)


@pytest.mark.parametrize("bounds", [(0.5, 0.5, 0.9), (0.5, 0.9, 0.4)])
def test_a_range_that_is_none_is_refused(bounds: tuple[float, float, float]) -> None:
    low, high, late = bounds
    with pytest.raises(InputError, match=r"schedule.t_min: found 0.5, wanted less than t_max"):
        Annealed(t_min=low, t_max=high, t_max_late=late, late_from=0.2)


def test_decreasing_slides_a_window_from_the_top_to_the_bottom() -> None:
    schedule, generator = Decreasing(t_min=0.2, t_max=0.9, width=0.1), torch.Generator().manual_seed(0)
    for step, (low, high) in {0: (800, 900), 50: (500, 600), 100: (200, 300)}.items():
        drawn = [schedule.draw(step, 101, 1000, generator) for _ in range(500)]
        assert low <= min(drawn) < low + 5
        assert high - 5 <= max(drawn) < high


def test_without_a_width_decreasing_leaves_nothing_to_chance() -> None:
    schedule = Decreasing(t_min=0.0, t_max=1.0, width=0.0)
    assert [schedule.draw(step, 5, 1000, torch.Generator()) for step in range(5)] == [999, 750, 500, 250, 0]
    assert schedule.draw(0, 1, 1000, torch.Generator()) == 999


def test_a_window_that_is_wider_than_its_range_is_refused() -> None:
    Decreasing(t_min=0.02, t_max=0.98, width=0.96)
    with pytest.raises(
        InputError, match=r"schedule.width: found 0.97, wanted at most t_max - t_min \(0.96\)"
    ):
        Decreasing(t_min=0.02, t_max=0.98, width=0.97)


@pytest.mark.parametrize("steps", [1, 2, 20, 300])
def test_descending_goes_evenly_from_the_top_to_the_bottom(steps: int) -> None:
    schedule = Descending(t_min=0.02, t_max=0.9, step="flow")
    drawn = [schedule.draw(step, steps, 1000, torch.Generator()) for step in range(steps)]
    assert drawn == torch.linspace(900, 20, steps).round().int().tolist()
