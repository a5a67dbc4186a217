"""Learning rates against torch's own schedulers."""

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LRScheduler

from piva.schedules.learning_rate import rate, scheduled

STEPS = 20


def optimiser() -> torch.optim.SGD:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.02)]
    return torch.optim.SGD(groups)


def followed(scheduler: LRScheduler, steps: int = STEPS) -> list[list[float]]:
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def test_each_groups_rate_is_as_torch_has_it() -> None:
    cosine, exponential, constant = (followed(scheduled(optimiser(), kind, 0.01, 0.0, STEPS)) for kind in
                                     ("cosine", "exponential", "constant"))  # fmt: skip
    assert cosine == [pytest.approx(rates) for rates in followed(CosineAnnealingLR(optimiser(), STEPS))]
    assert exponential == [
        pytest.approx(rates) for rates in followed(ExponentialLR(optimiser(), 0.01 ** (1 / STEPS)))
    ]
    assert constant == [[0.1, 0.02]] * STEPS


def test_a_step_after_the_last_would_arrive_at_the_end() -> None:
    ends = [rate(STEPS, STEPS, kind, 0.01, 0.5) for kind in ("constant", "cosine", "exponential")]
    assert ends == pytest.approx([1, 0, 0.01])


@pytest.mark.parametrize("kind", ["constant", "cosine", "exponential"])
def test_a_warm_up_rises_in_a_line_and_then_leaves_the_schedule_alone(kind: str) -> None:
    plain, warmed = (
        [rate(step, STEPS, kind, 0.01, warmup) for step in range(STEPS)] for warmup in (0.0, 0.25)
    )
    assert [a / b for a, b in zip(warmed, plain, strict=True)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8] + [1] * 16
    )
