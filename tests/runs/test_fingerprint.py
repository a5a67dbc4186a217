"""Which settings make a run another run."""

import pytest

from piva.config import check, compose
from piva.runs.fingerprint import fingerprint


def of(*overrides: str) -> dict[str, object]:
    return fingerprint(check(compose("task=image", *overrides)))


@pytest.mark.parametrize("override", ["lambda=0.1", "model.rank=8", "tracker=wandb", "checkpoint_every=7"])
def test_what_a_run_does_not_read_makes_no_other_run(override: str) -> None:
    assert of("score=dds", override) == of("score=dds")


@pytest.mark.parametrize("override", ["lambda=0.1", "model.rank=8", "seed=1", "steps=7"])
def test_what_a_run_reads_does(override: str) -> None:
    assert of("score=piva", override) != of("score=piva")
