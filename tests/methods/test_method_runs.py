"""Runs whose edits are made without a score: their folders, what they are told apart by, what they refuse."""

import json
from pathlib import Path

import pytest
from helpers.finished_runs import write_run
from helpers.two_edits import two_edits
from hydra.utils import get_class
from omegaconf import OmegaConf

from piva import compose, run
from piva.config import CONF, build, check
from piva.errors import InputError
from piva.methods.base import EditingMethod
from piva.methods.denoising import Inversion
from piva.report.sections import sections
from piva.runs.fingerprint import fingerprint
from piva.runs.run import Run


@pytest.fixture(scope="module")
def words(prior_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two edits by direct inversion in ten steps."""
    unread = ("measure_at", "task.optimiser", "task.lr_steps")
    data = [word for word in two_edits(tmp_path_factory.mktemp("data")) if not word.startswith(unread)]
    return [f"prior.path={prior_folder}", *data, "method=direct_inversion", "steps=10"]


@pytest.mark.parametrize("option", [path.stem for path in sorted((CONF / "method").glob("*.yaml"))])
def test_every_method_keeps_the_contract(option: str) -> None:
    node = compose("task=image", f"method={option}").method
    assert isinstance(build(get_class(node["_target_"]), node, "method"), EditingMethod)


def test_a_run_without_a_score_leaves_the_same_files_and_counts_its_passes(
    words: list[str], tmp_path: Path
) -> None:
    done = run(compose(*words, f"hydra.run.dir={tmp_path / 'run'}"))
    assert done.summary["failures"] == []
    assert done.summary["choices"]["method"] == "direct_inversion"
    # there one row a step; back two of the edit, and the source's for the first 0.6 of the steps
    assert done.summary["unet"] == {"forward_per_step": 3.6, "backward_per_step": 0, "calls_per_step": 2}
    assert {len(rows) for rows in done.steps.values()} == {10}
    for row in done.rows:
        files = {path.name for path in done.edit(row["id"]).iterdir()}
        assert files == {"before.png", "after.png", "comparison.png", "state.safetensors", "result.json"}


def test_a_stopped_inversion_begins_its_edit_anew(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every second step a score's run would have left a checkpoint."""

    class Stop(Exception):
        """Raised where a process might be killed."""

    unbroken = run(compose(*words, f"hydra.run.dir={tmp_path / 'unbroken'}"))
    denoise, steps = Inversion._denoise, iter(range(10 + 7))

    def stopping(self: Inversion, *args: object) -> object:
        if next(steps, None) is None:
            raise Stop
        return denoise(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(Inversion, "_denoise", stopping)
        run(compose(*words, f"hydra.run.dir={tmp_path / 'stopped'}"))
    assert len(list(tmp_path.glob("stopped/edits/*/*/after.png"))) == 1
    assert not list(tmp_path.glob("stopped/checkpoints/**/*.pt"))
    run(compose(f"resume={tmp_path / 'stopped'}"))
    summary = json.loads((tmp_path / "stopped/summary.json").read_text())
    assert summary["unet"] == unbroken.summary["unet"]
    for name in ("metrics.csv", "metrics.jsonl"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


@pytest.mark.parametrize(
    ("override", "same"),
    [("score=vsd", True), ("lambda=0.1", True), ("model.rank=8", True), ("schedule=annealed", True)]
    + [("method.attention.self_until=0.5", False), ("steps=9", False), ("guidance_scale=3", False)],
)
def test_what_an_inversion_does_not_read_makes_no_other_run(
    words: list[str], override: str, same: bool
) -> None:
    of_both = [fingerprint(check(compose(*each))) for each in (words, [*words, override])]
    assert (of_both[0] == of_both[1]) == same


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["task=nerf"], "^method: found an inversion of renders"),
        (["steps=501"], "^steps: found 501"),
        (["noises=4"], "^noises: found 4"),
        (["measure_at=[3]"], "^measure_at: found"),
        (["samples.at=[3]"], "^samples.at: found"),
        (
            ["method.attention.cross_until=0", "method.attention.self_until=0"],
            "^method.corrected: .*method=ddim_inversion",
        ),
        (["method.attention.cross_until=2"], "^method.attention.cross_until: found 2"),
    ],
    ids=str,
)
def test_what_an_inversion_cannot_do_is_refused(words: list[str], more: list[str], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        check(compose(*words, *more))


def test_a_report_names_the_method_where_there_is_no_score(tmp_path: Path) -> None:
    values = {"chair": {"eval/clip": 0.5}}
    for name in ("dds", "inverted"):
        write_run(tmp_path / name, values)
    path = tmp_path / "inverted/config.yaml"
    method = {"_target_": "piva.methods.inversion.DirectInversion", "corrected": "source"}
    OmegaConf.save({**OmegaConf.load(path), "method": method}, path)
    (section,) = sections([Run.read(tmp_path / name) for name in ("dds", "inverted")])
    assert [setting.score for setting in section.settings] == ["DDS", "DirectInversion"]
    assert "DDS" not in section.settings[1].label
