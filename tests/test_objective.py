"""What a search maximises: a mean of the summary, lowered where another passes its limit."""

import pytest

from piva.config import build, compose
from piva.errors import InputError
from piva.objective import Objective

MEAN = {"eval/clip": 0.7, "eval/lpips": 0.5, "truth/psnr": None}


def objective(*words: str) -> Objective:
    made = build(Objective, compose(*words).objective, "objective")
    assert isinstance(made, Objective)
    return made


def test_without_a_metric_there_is_no_answer() -> None:
    assert objective().of(MEAN) is None


def test_under_the_limit_it_is_the_metric_and_over_it_less_in_proportion() -> None:
    words = ["objective.metric=eval/clip", "objective.limited=eval/lpips"]
    assert objective(words[0]).of(MEAN) == 0.7
    assert objective(*words, "objective.limit=0.5").of(MEAN) == 0.7
    near, far = (
        objective(*words, f"objective.limit={limit}", "objective.penalty=10").of(MEAN) for limit in (0.4, 0.3)
    )
    assert (near, far) == (pytest.approx(0.7 - 1), pytest.approx(0.7 - 2))


def test_the_better_of_two_runs_over_the_limit_is_the_one_nearer_to_it() -> None:
    asked = objective("objective.metric=eval/clip", "objective.limited=eval/lpips", "objective.limit=0.3")
    obedient, faithful = (
        {"eval/clip": clip, "eval/lpips": lpips} for clip, lpips in ((1.0, 0.5), (0.6, 0.31))
    )
    assert asked.of(obedient) < asked.of(faithful) < asked.of({"eval/clip": 0.5, "eval/lpips": 0.3})  # type: ignore[operator]


@pytest.mark.parametrize("name", ["eval/clp", "truth/psnr"])
def test_a_metric_that_was_not_measured_is_named_with_those_that_were(name: str) -> None:
    with pytest.raises(InputError, match=r"objective\.metric.*" + name + ".*eval/clip"):
        objective(f"objective.metric={name}").of(MEAN)


@pytest.mark.parametrize(
    "words",
    [
        ["objective.metric=eval/clip", "objective.limit=1"],
        ["objective.limited=eval/lpips", "objective.limit=1"],
    ],
)
def test_half_a_limit_is_refused(words: list[str]) -> None:
    with pytest.raises(InputError, match=r"objective: found metric="):
        objective(*words)
