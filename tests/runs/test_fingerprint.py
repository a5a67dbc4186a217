"""Which settings make a run another run."""

import pytest

from piva.config import check, compose
from piva.runs.fingerprint import identity


def of(*words: str) -> dict[str, object]:
    return identity(check(compose("task=image", *words)))


@pytest.mark.parametrize(
    "word", ["lambda=0.1", "model=lora model.rank=8", "tracker=wandb", "checkpoint_every=7"]
)
def test_what_a_run_does_not_read_makes_no_other_run(word: str) -> None:
    assert of("score=dds", *word.split()) == of("score=dds")


@pytest.mark.parametrize("word", ["lambda=0.1", "model.rank=8", "seed=1", "steps=7"])
def test_what_a_run_reads_does(word: str) -> None:
    assert of("score=piva", word) != of("score=piva")
