"""The files of experiments/: each composes with every value of its sweep, has the paper's numbers, and a toys
version that runs.
"""

import csv
import dataclasses
import json
from pathlib import Path

import pytest
from helpers.command import call
from hydra.utils import get_class
from omegaconf import OmegaConf

from piva.cli import main
from piva.config import CONF, PARTS, RunSettings, build, compose

NAMES = [path.stem for path in sorted((CONF / "experiment").glob("*.yaml"))]
OF_THE_PAPER = ("table1", "table2", "in2n_table3", "figure1", "figure7", "figure89", "figure10")


def sweep_words(name: str) -> list[str]:
    """One word for every value of every key that the experiment sweeps over in a list."""
    params = compose(f"experiment={name}").hydra.sweeper.params or {}
    lists = {key: str(values) for key, values in params.items() if not str(values).startswith("interval")}
    return [f"{key}={value}" for key, values in lists.items() for value in values.split(",")]


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_composes_and_its_settings_build(name: str) -> None:
    keys = [field.name for field in dataclasses.fields(RunSettings)]
    options = [word for word in sweep_words(name) if word.partition("=")[0] in PARTS]
    for words in ([], *([word] for word in options)):
        cfg = compose(f"experiment={name}", *words)
        for group in PARTS:
            build(get_class(cfg[group]["_target_"]), cfg[group], group)
        build(RunSettings, OmegaConf.masked_copy(cfg, keys))


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_the_papers_experiments_have_its_numbers_and_a_version_that_varies_the_same(name: str) -> None:
    cfg = compose(f"experiment={name}")
    lam = 0.2 if name == "in2n_table3" else 0.4
    assert (cfg["lambda"], cfg.guidance_scale, cfg.reference, cfg.prior.dtype) == (
        lam,
        7.5,
        "edit",
        "float16",
    )
    assert cfg.hydra.runtime.choices["profile"] == "gpu"
    version = "toys_" + name.removeprefix("in2n_").replace("figure", "fig")
    assert sweep_words(version) == sweep_words(name)
    toys = compose(f"experiment={version}")
    assert (toys.guidance_scale, toys.reference, toys.prior.path) == (7.5, "edit", "toys")
    assert toys["lambda"] == lam


@pytest.mark.slow
def test_one_command_runs_all_rows_of_a_version() -> None:
    words = [
        "experiment=toys_table1",
        "steps=2",
        "edits=2",
        "hydra.sweep.dir=rows",
        "hydra.sweep.subdir=${hydra:runtime.choices.score}",
    ]
    done = call(main, "piva.run", "-m", *words)
    assert done.returncode == 0, done.stderr
    tables = {}
    for score in ("dds", "piva"):
        assert json.loads(Path(f"rows/{score}/summary.json").read_text())["choices"]["score"] == score
        with Path(f"rows/{score}/metrics.csv").open(newline="") as file:
            tables[score] = list(csv.DictReader(file))
    for row in (*tables["dds"], *tables["piva"]):
        assert {"pie/psnr", "pie/clip_edited", "truth/psnr", "eval/clip"} <= {key for key in row if row[key]}
    assert [row["id"] for row in tables["dds"]] == [row["id"] for row in tables["piva"]]
    assert len({row["type"] for row in tables["dds"]}) == len(tables["dds"]) == 2
