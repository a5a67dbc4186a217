"""Which settings make a run another run."""

import json
from pathlib import Path

import pytest
from PIL import Image

from piva.config import check, compose
from piva.errors import InputError
from piva.runs.fingerprint import fingerprint, overrides_of


def of(*overrides: str) -> dict[str, object]:
    """The fingerprint of a run on one photo."""
    Image.new("RGB", (64, 64), "red").save("photo.png")
    photo = ["dataset=single", "dataset.path=photo.png", "dataset.source=a", "dataset.target=b"]
    return fingerprint(check(compose("task=image", *photo, *overrides)))


@pytest.mark.parametrize("override", ["lambda=0.1", "model.rank=8", "tracker=wandb", "checkpoint_every=7"])
def test_what_a_run_does_not_read_makes_no_other_run(override: str) -> None:
    assert of("score=dds", override) == of("score=dds")


@pytest.mark.parametrize(
    ("words", "override"),
    [
        ("score=ssd", "guidance_start=5"),  # it has no guidance
        ("guidance_scale=7.5", "guidance_start=2"),  # guidance falls or stays
        ("relevance.noises=0", "relevance.low=0.1"),
        ("method=ddim_inversion", "guidance_start=5"),
        ("method=ddim_inversion", "score=csd"),
    ],
)
def test_nor_does_what_has_no_effect(words: str, override: str) -> None:
    assert of("task=image", words, override) == of("task=image", words)


@pytest.mark.parametrize("override", ["guidance_start=5", "relevance.low=0.1", "relevance.noises=0"])
def test_where_an_edit_acts_and_how_its_guidance_falls_makes_another(override: str) -> None:
    assert of("task=image", "score=dds", override) != of("task=image", "score=dds")


@pytest.mark.parametrize("override", ["lambda=0.1", "model.rank=8", "seed=1", "steps=7"])
def test_what_a_run_reads_does(override: str) -> None:
    assert of("score=piva", override) != of("score=piva")


@pytest.mark.parametrize(
    "override",
    [
        "+hydra.callbacks.x._target_=sympy.sympify",
        "hydra.searchpath=[file:///elsewhere]",
        "score._target_=os.system",
        "~lambda",
        "seed=${oc.env:SECRET}",
        5,
    ],
)
def test_a_stored_override_that_could_run_code_is_refused(override: object, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"overrides": ["task=image", override], "fingerprint": {}}))
    with pytest.raises(InputError, match=r"run.json: found .* wanted overrides of piva's own keys"):
        overrides_of(tmp_path)


def test_a_sweep_resumes_with_its_launchers_plain_values_alone(tmp_path: Path) -> None:
    def stored(*hydra: str) -> Path:
        given = {"hydra": {"overrides": {"hydra": list(hydra), "task": ["lambda=0.1,0.4", "score=dds"]}}}
        (tmp_path / "multirun.yaml").write_text(json.dumps(given))
        return tmp_path

    plain = [
        "hydra.mode=MULTIRUN",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "hydra.sweep.subdir=${lambda}",
    ]
    assert overrides_of(stored(*plain))[:6] == [*plain, "lambda=0.1,0.4", "score=dds"]
    for bad in (
        "hydra.launcher.setup=['touch x']",
        "hydra.launcher.python=./x",
        "+hydra.callbacks.x=1",
        "hydra.sweep.subdir=../x",
    ):
        with pytest.raises(InputError, match=r"multirun.yaml: found .* wanted overrides of piva's own keys"):
            overrides_of(stored(bad))


def test_paths_that_a_run_was_given_are_taken_up_again(tmp_path: Path) -> None:
    stored = ["dataset.root=../noe", "prior.path=/models/sd", 'dataset.source="a cat, sitting"', "lambda=0.4"]
    (tmp_path / "run.json").write_text(json.dumps({"overrides": stored, "fingerprint": {}}))
    assert overrides_of(tmp_path)[:-1] == stored
