"""Command lines that nobody should type: each is one line that names the key, exit code 2, and no folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.command import Done, call

from piva import cli, evaluate, fetch
from piva.dashboard.__main__ import main as dashboard
from piva.export.__main__ import main as export
from piva.noe.__main__ import main as noe
from piva.report.__main__ import main as report
from piva.view.__main__ import main as view

LONG, DIGITS = "x" * 300, "1" * 5000
GUARD = "hydra.run.dir=/dev/null"  # looked at last: a row that is let through starts no run
PICTURE = "dataset=single dataset.path=x.png dataset.source=a dataset.target=b"

RUN = [  # words, what the line must name
    # classes and groups
    ("score._target_=os.system", "score._target_"),
    ("score._target_=nowhere.at.All", "score._target_"),
    ("score._target_=piva.scores.dds", "score._target_"),
    ("score._target_=3", "score"),
    ("score._target_=null", "score"),
    ("task._target_=piva.scores.dds.DDS", "task._target_"),
    ("metrics._target_=piva.runs.tracking.Files", "metrics._target_"),
    ("score=null", "score"),
    ("score=[]", "score"),
    ("tracker=[]", "tracker"),
    ("objective=null", "objective"),
    ("samples=null", "samples"),
    ("samples=3", "samples"),
    ("speed=[]", "speed"),
    # keys that are gone, values that lead nowhere
    ("~lambda", "lambda"),
    ("~steps", "steps"),
    ("~seed", "seed"),
    ("~score", "score"),
    ("~metrics", "metrics"),
    ("~objective", "objective"),
    ("~samples", "samples"),
    ("~samples.at", "samples.at"),
    ("~task.lr", "task.lr"),
    ("~dataset.root", "dataset.root"),
    ("lambda=${nope}", "lambda"),
    ("lambda=${oc.env:NOT_SET_ANYWHERE}", "lambda"),
    ("lambda=${lambda}", "lambda"),
    ("lambda=${nope:1}", "lambda"),
    ("steps=${nope}", "steps"),
    ("root=${nope}", "root"),
    ("score.lam=${oc.env:NOT_SET_ANYWHERE}", "score.lam"),
    # texts that Hydra's grammar refuses
    ("lambda=0.1,0.2", "add -m"),
    ("dataset.root=a(b", "dataset.root"),
    ("dataset.root=a=b", "dataset.root"),
    ("dataset.root=[a", "dataset.root"),
    ("dataset.root={a", "dataset.root"),
    (f"{PICTURE} dataset.source=the_cat's", "dataset.source"),
    (f"{PICTURE} dataset.source=cat(left)", "quote twice"),
    (f"{PICTURE} dataset.source=a=b", "quote twice"),
    (f"{PICTURE} dataset.source=a,b", "add -m, or quote twice"),
    # numbers
    (f"dataset.shard={DIGITS}/2", "dataset.shard"),
    (f"seed={DIGITS}", "seed"),
    ("seed=" + "1" * 400, "seed"),
    ("seed=-1", "seed"),
    ("steps=" + "9" * 30, "steps"),
    ("lambda=inf", "lambda"),
    ("lambda=.inf", "lambda"),
    ("lambda=nan", "lambda"),
    ("lambda=1e400", "lambda"),
    ("lora_lr=inf", "lora_lr"),
    ("guidance_scale=inf", "guidance_scale"),
    ("task.lr=inf", "task.lr"),
    ("task.lr_end=nan", "task.lr_end"),
    ("objective.penalty=inf", "objective.penalty"),
    ("objective.metric=x objective.limited=y objective.limit=nan", "objective.limit"),
    ("schedule.t_min=0.9799 schedule.t_max=0.98", "schedule.t_min"),
    ("schedule=annealed schedule.t_min=0.0201 schedule.t_max_late=0.0202", "schedule.t_min"),
    ("schedule=decreasing schedule.t_min=0.5001 schedule.t_max=0.5002 schedule.width=0", "schedule.t_min"),
    ("schedule=descending schedule.t_min=0.5001 schedule.t_max=0.5002", "schedule.t_min"),
    ("task=nerf coarse=[16] coarse_until=[.nan]", "coarse_until"),
    ("task=nerf task.elevation_deg=[1,2,3]", "task.elevation_deg"),
    ("task=nerf task.elevation_deg=[]", "task.elevation_deg"),
    ("task=nerf task.elevation_deg=[30,-10]", "task.elevation_deg"),
    ("task=nerf task.elevation_deg=[-200,10]", "task.elevation_deg"),
    ("task=nerf task.fov_deg=[0,40]", "task.fov_deg"),
    ("task=nerf task.fov_deg=[40,180]", "task.fov_deg"),
    ("task=nerf task.fov_deg=50", "task.fov_deg"),
    ("task=nerf task.distance=[-1,2]", "task.distance"),
    ("task=nerf task.distance=[1,.inf]", "task.distance"),
    ("task=nerf task.turntable_size=65", "task.turntable_size"),
    ("task=nerf task.turntable_size=1000000", "task.turntable_size"),
    ("task=nerf field.resolutions=[] field.steps=[]", "steps"),
    ("task=nerf field.resolutions=[0] field.steps=[9]", "field.resolutions"),
    ("task=nerf field.resolutions=[100000] field.steps=[9]", "field.resolutions"),
    ("task=nerf field.radius=inf", "field.radius"),
    ("task=nerf field=hash field.log2_rows=60", "field.log2_rows"),
    # paths
    (f"dataset.root={LONG}", "dataset.root"),
    ("dataset.root=~nobodyatall/x", "dataset.root"),
    ("dataset.root=/dev/null", "dataset.root"),
    ("dataset=pie dataset.root=~nobodyatall/x", "dataset.root"),
    ("dataset=in2n dataset.root=~nobodyatall/x", "dataset.root"),
    (f"{PICTURE} dataset.path={LONG}", "dataset.path"),
    (f"{PICTURE} dataset.path=/dev/zero", "/dev/zero: found a pipe, socket or device"),
    (f"{PICTURE} dataset.path=~nobodyatall/x", "dataset.path"),
    ("dataset=single dataset.path=x dataset.prompts=/dev/zero", "/dev/zero: found a pipe, socket or device"),
    (f"prior.path={LONG}", "prior.path"),
    ("prior.path=~nobodyatall/x", "prior.path"),
    (f"metrics.path={LONG}", "metrics.path"),
    (f"model=controlnet task=nerf model.path={LONG}", "model.path"),
    (f"resume={LONG}", "resume"),
    ("resume=~nobodyatall/x", "resume"),
    ("resume=nowhere", "resume"),
    ("resume=half\udcff", "resume"),
    ("hydra.run.dir=/dev/null", "hydra.run.dir"),
    ("hydra.run.dir=/dev/null/x", "hydra.run.dir"),
    ("hydra.run.dir=/proc/foo", "/proc/foo"),
    (f"hydra.run.dir={LONG}", "hydra.run.dir"),
    ("hydra.run.dir=~nobodyatall/x", "hydra.run.dir"),
    # edits
    ("dataset.edits=-1", "dataset.edits"),
    ("dataset.edits=0", "dataset.edits"),
    ("dataset.edits=9-2", "dataset.edits"),
    ("dataset.edits=[]", "dataset.edits"),
    ("dataset.edits={a:1}", "dataset.edits"),
    ("dataset.edits=true", "dataset.edits"),
    (f"dataset.edits={DIGITS}-{DIGITS}", "dataset.edits"),
    ("dataset.shard=0/2", "dataset.shard"),
    ("dataset.shard=3/2", "dataset.shard"),
    ("dataset.shard=1/" + "9" * 400, "dataset.shard"),
    # what is no override
    ("word", "word"),
    ("=3", "=3"),
    ("experiment=nope", "experiment"),
    ("profile=nope", "profile"),
    ("--config-dir=/nope", "/nope"),
    ("--config-name=nope", "nope"),
]

Main = Callable[[], None]
OTHERS = [  # command, words, what the line must name
    (evaluate.main, f"edits={LONG}", "edits"),
    (evaluate.main, "edits=~nobodyatall/x", "edits"),
    (evaluate.main, "edits=/dev/null", "edits"),
    (evaluate.main, f"before={LONG} after=.", "before"),
    (evaluate.main, "before=. after=~nobodyatall/x", "after"),
    (evaluate.main, "edits=. metrics=[]", "metrics"),
    (evaluate.main, "edits=. metrics._target_=os.system", "metrics._target_"),
    (evaluate.main, "edits=. dataset=pie dataset._target_=os.system", "dataset._target_"),
    (evaluate.main, "edits=. device=cuda:x", "device"),
    (evaluate.main, "~edits", "edits"),
    (view, "", "PATH"),
    (view, LONG, "PATH"),
    (view, "~nobodyatall/x", "PATH"),
    (view, "/dev/null", "PATH"),
    (view, ". port=0", "port"),
    (view, ". moving=" + "9" * 20, "moving"),
    (export, LONG, "PATH"),
    (export, "~nobodyatall/x", "PATH"),
    (export, ". size=inf", "size"),
    (export, ". what=[nothing]", "what"),
    (export, ". ring.distance=inf", "ring.distance"),
    (report, "", "OUTPUTS"),
    (report, LONG, "a folder"),
    (report, "~nobodyatall/x", "a folder"),
    (report, "/dev/null", "/dev/null"),
    (report, f". out={LONG}.html", "out"),
    (report, ". out=~nobodyatall/x.html", "out"),
    (report, ". films_mb=inf", "films_mb"),
    (report, ". thumbnail=" + "9" * 20, "thumbnail"),
    (dashboard, f"sync {LONG}", "a folder"),
    (dashboard, "sync ~nobodyatall/x", "a folder"),
    (dashboard, "tracker=files", "tracker"),
    (dashboard, "tracker.start_timeout=inf", "tracker.start_timeout"),
    (fetch.main, "prior=nope", "prior"),
    (fetch.main, f"to={LONG} dry=true", "to"),
    (fetch.main, "dry=7", "dry"),
    (fetch.main, "prior._target_=os.system", "prior._target_"),
    (noe, f"source={LONG} prompts=paper", "source"),
    (noe, "source=~nobodyatall/x prompts=paper", "source"),
    (noe, f"source=. prompts={LONG}", "prompts"),
    (noe, "source=. prompts=/dev/zero", "/dev/zero"),
    (noe, "source=. prompts=paper timeout_s=inf", "timeout_s"),
]


def name(case: object) -> str:
    return case[:60].encode("ascii", "backslashreplace").decode() if isinstance(case, str) else "main"


def check_refused(done: Done, expected: str) -> None:
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("drawing the toys")]
    assert done.returncode == 2, done.stderr[-500:]
    assert len(lines) == 1, done.stderr[-500:]
    assert lines[0].startswith("piva: ")
    assert expected in lines[0]
    assert len(lines[0]) < 2000
    assert not os.listdir()  # noqa: PTH208 - of the test's own empty folder


@pytest.mark.parametrize(("words", "expected"), RUN, ids=name)
def test_a_run_refuses(words: str, expected: str) -> None:
    given = words.split()
    guard = [] if any(word.startswith(("hydra.run.dir=", "--")) for word in given) else [GUARD]
    task = [] if "task=nerf" in given else ["task=image"]
    check_refused(call(cli.main, "piva.run", *task, *guard, *given), expected)


@pytest.mark.parametrize(("main", "words", "expected"), OTHERS, ids=name)
def test_another_command_refuses(main: Main, words: str, expected: str) -> None:
    check_refused(call(main, main.__module__, *words.split()), expected)


def test_a_deleted_working_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = call(cli.main, "piva.run", "task=image")
    assert done.returncode == 2
    assert done.stderr.startswith("piva: the working folder: found a deleted one")
