"""The command line as a user types it, on a tiny random model in Stable Diffusion's layout; in this process
where that will do.
"""

import csv
import json
import math
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.command import Done, call
from PIL import Image
from safetensors.torch import load_file

from piva import compose
from piva.cli import main

Run = Callable[..., Done]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that is neither square nor small."""
    path = tmp_path_factory.mktemp("photo") / "cat.png"
    y, x = np.mgrid[:60, :90]
    Image.fromarray(np.stack([x * 2, y * 4, 255 - x], axis=-1).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def piva(prior_folder: Path) -> Run:
    """Run `python -m piva.run` with these arguments in this process, by default on the tiny prior."""

    def run(*argv: str, **environment: str) -> Done:
        return call(main, "piva.run", f"prior.path={prior_folder}", *argv, **environment)

    return run


def process(prior: Path, *argv: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "piva.run", f"prior.path={prior}", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)  # type: ignore[call-overload, no-any-return]


def image_edit(photo: Path, *words: str) -> list[str]:
    return [
        "task=image",
        "dataset=single",
        f"dataset.path={photo}",
        "dataset.source=a cat",
        "dataset.target=a dog",
        "steps=2",
        *words,
    ]


BAD = [  # words, what the line must contain
    (["lambda=-1"], ["lambda", "-1", "at least 0"]),
    (["lambda=abc"], ["lambda", "abc", "float"]),
    (["steps=5", "measure_at=[5]"], ["measure_at", "[5]", "before the last (5)"]),
    (["lamda=1"], ["lamda", "no such key", "did you mean lambda"]),
    (["score=dss"], ["score=dss", "csd, dds, dreamcatalyst"]),
    (["score.reference=none"], ["score.reference", "none", "edit, original"]),
    (["score.reference=3"], ["score.reference", "3", "edit, original"]),
    (["guidance_start=-1"], ["guidance_start", "-1", "at least 0"]),
    (["relevance.low=0.5"], ["relevance.low", "0.5", "less than relevance.high (0.5)"]),
    (["lambda_end=-1"], ["lambda_end", "-1", "at least 0"]),
    (["steps=5", "samples.at=[6]"], ["samples.at", "[6]", "up to the last (5)"]),
    (["samples.count=0"], ["samples.count", "from 1 to"]),
    (["samples=2"], ["samples", "samples.at, samples.count"]),
    (["samples_at=[6]"], ["samples_at", "did you mean samples.at?"]),
    (["t_max=0.5"], ["t_max", "did you mean schedule.t_max?"]),
    (["coarse=[16,24]", "coarse_until=[0.5,0.2]"], ["coarse_until", "rise between 0 and 1"]),
    (["coarse=[16]", "coarse_until=[1]"], ["coarse_until", "rise between 0 and 1"]),
    (["coarse=[16]"], ["coarse_until", "[]", "for each of coarse=[16]"]),
    (["coarse=[16.5]"], ["coarse", "16.5"]),
    (["coarse=[0]", "coarse_until=[0.5]"], ["coarse", "[0]", "multiples of 4"]),
    (["coarse=[14]", "coarse_until=[0.5]"], ["coarse", "14", "multiples of 4"]),
    (["resolution=30"], ["resolution", "30", "multiples of 4"]),
    (["task=image", "coarse=[16]", "coarse_until=[0.5]"], ["coarse", "[] for a picture"]),
    (["task.lr_schedule=linear"], ["task.lr_schedule", "constant, cosine, exponential"]),
    (["task.lr_end=0"], ["task.lr_end", "above 0"]),
    (["task.lr_warmup=2"], ["task.lr_warmup", "from 0 to 1"]),
    (["steps=0"], ["steps", "0", "from 1 to"]),
    (["steps=1.5"], ["steps", "1.5", "int"]),
    (["seed=x"], ["seed", "'x'", "int"]),
    (["resolution=0"], ["resolution", "from 1 to"]),
    (["device=gpu"], ["device", "gpu", "cuda"]),
    (["task=nerf", "device=mps"], ["task=nerf device=mps", "float64", "use device=cpu"]),
    (["schedule.t_min=0.99"], ["schedule.t_min", "less than t_max"]),
    (["schedule=annealed", "schedule.t_max_late=0.01"], ["schedule.t_min", "less than t_max_late"]),
    (["schedule=decreasing", "schedule.width=1"], ["schedule.width", "at most t_max - t_min"]),
    (["noises=0"], ["noises", "from 1 to"]),
    (["score=dds", "score.guidance_source=-1"], ["score.guidance_source", "at least 0"]),
    (["model.rank=0"], ["model.rank", "from 1 to"]),
    (
        ["model=controlnet"],
        ["model=controlnet", "no ControlNet in", "prior=toys has one", "model.path=FOLDER"],
    ),
    (["model=controlnet", "model.path=./nowhere"], ["model.path", "./nowhere"]),
    (["model=controlnet", "model.source_sees=both"], ["model.source_sees", "edit, original"]),
    (
        ["model=controlnet", "task=image"],
        ["task=image model=controlnet", "depth", "use task=nerf, or model=lora"],
    ),
    (["task=nerf", "dataset=pie"], ["task=nerf dataset=pie", "scene"]),
    (["task=image", "dataset=pie", "profile=gpu"], ["dataset.root", "no value"]),
    (["task=image", "dataset=pie", "dataset.root=nowhere"], ["dataset.root", "mapping_file.json", "nowhere"]),
    (["dataset.root=nowhere"], ["dataset.root", "nowhere", "toys"]),
    (["dataset=in2n", "profile=gpu"], ["dataset.root", "no value"]),
    (
        ["dataset=in2n", "dataset.root=nowhere"],
        ["dataset.root", "nowhere", "docs/in2n.md", "dataset.root=toys"],
    ),
    (["dataset=in2n", "dataset.root=x", "dataset.downscale=0"], ["dataset.downscale", "0", "from 1 to"]),
    (["dataset=in2n", "dataset.root=x", "dataset.centre=focus"], ["dataset.centre", "focus", "poses, none"]),
    (["prior.path=./nowhere"], ["prior.path", "./nowhere"]),
    (
        ["task=image", "dataset=single", "dataset.path=nowhere.png", "dataset.source=a", "dataset.target=b"],
        ["nowhere.png"],
    ),
    (
        ["task=image", "dataset=single", "dataset.path=x.png", "dataset.source=a cat, sitting"],
        ["dataset.source", "quote"],
    ),
    (
        ["task=image", "dataset=single", "dataset.path=x.png", "dataset.source=the cat's hat"],
        ["dataset.source", "quote"],
    ),
]


@pytest.mark.parametrize(("words", "expected"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(
    piva: Run, words: Sequence[str], expected: Sequence[str]
) -> None:
    done = piva(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    for word in expected:
        assert word in done.stderr
    assert not Path("outputs").exists()


@pytest.mark.parametrize("damage", ["truncated", "1x1", "text"])
def test_an_unreadable_picture_is_named(piva: Run, photo: Path, tmp_path: Path, damage: str) -> None:
    bad = tmp_path / "bad.png"
    match damage:
        case "truncated":
            bad.write_bytes(photo.read_bytes()[:-200])
        case "1x1":
            Image.new("RGB", (1, 1)).save(bad)
        case "text":
            bad.write_text("not a picture")
    done = piva(*image_edit(bad))
    assert done.returncode == 2
    assert "bad.png" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("outputs").exists()


def test_an_empty_prompt_is_refused(piva: Run, photo: Path) -> None:
    done = piva(*image_edit(photo), "dataset.target=")
    assert done.returncode == 2
    assert "dataset.target" in done.stderr


def test_hydra_full_error_shows_the_traceback(piva: Run) -> None:
    done = piva("lambda=-1", HYDRA_FULL_ERROR="1")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_help_and_bad_input_import_no_torch() -> None:
    commands = [
        ["--help"],
        ["--cfg", "job"],
        ["lambda=abc"],
        ["dataset.root=nowhere"],
        ["dataset=in2n", "dataset.root=nowhere"],
        ["model=controlnet", "task=image"],
        ["model=controlnet", "prior.path=nowhere/nowhere"],
        ["model=controlnet", "model.path=./nowhere"],
    ]
    code = f"""
import sys
from piva.cli import main
for i, argv in enumerate({commands}):
    sys.argv = ["piva", *argv]
    try:
        main()
    except SystemExit:
        pass
    assert "torch" not in sys.modules, argv
    assert i or "numpy" not in sys.modules, argv
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_image_edit_leaves_a_whole_folder(prior_folder: Path, photo: Path) -> None:
    done = process(prior_folder, *image_edit(photo), "score=piva", "lambda=0.4", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    names = {
        str(p.relative_to("out")) for p in Path("out").rglob("*") if p.is_file() and ".hydra" not in p.parts
    }
    assert names == {
        *(
            ".lock",
            "run.json",
            "config.yaml",
            "metrics.csv",
            "metrics.jsonl",
            "summary.json",
            "timing.json",
            "piva.log",
        ),
        *(
            f"edits/cat/{name}"
            for name in ("before.png", "after.png", "comparison.png", "state.safetensors", "result.json")
        ),
        *(
            f"edits/cat/adapters/{m}/{f}"
            for m in ("source", "target")
            for f in ("adapter_config.json", "adapter_model.safetensors")
        ),
    }
    assert Image.open("out/edits/cat/after.png").size == (90, 60)  # the photo's own size
    assert load_file("out/edits/cat/state.safetensors")["latents"].shape[1] == 4
    steps = [json.loads(line) for line in Path("out/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == [0, 1]
    with Path("out/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    cost = json.loads(Path("out/timing.json").read_text())
    assert cost["peak_gb"] > 0
    assert cost["peak_gpu_gb"] is None
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["provenance"]["gpu"] is None
    assert float(rows[0]["eval/psnr"]) == summary["mean"]["eval/psnr"]
    assert math.isfinite(summary["mean"]["eval/psnr"])
    assert summary["choices"]["score"] == "piva"
    assert "comparison.png" in done.stdout


@pytest.mark.parametrize(
    ("words", "forward", "backward", "calls"),
    [
        (["score=dds", "score.reference=edit"], 2, 0, 1),
        (["score=dds", "score.reference=original"], 4, 0, 1),
        (["score=piva", "score.reference=edit"], 5, 2, 2),
        (["score=piva", "score.reference=edit", "lambda=0"], 2, 0, 1),
        (["score=vsd"], 3, 1, 2),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else str(v),
)
def test_summary_counts_network_evaluations(
    piva: Run, photo: Path, words: list[str], forward: int, backward: int, calls: int
) -> None:
    settings = ["guidance_source=null", "schedule=uniform", "task.lr_steps=null", "relevance.noises=0"]
    settings.append("hydra.run.dir=out")
    assert piva(*image_edit(photo), *words, *settings).returncode == 0
    unet = json.loads(Path("out/summary.json").read_text())["unet"]
    assert unet == {"forward_per_step": forward, "backward_per_step": backward, "calls_per_step": calls}


def test_measuring_on_the_way_changes_nothing(piva: Run, photo: Path) -> None:
    assert piva(*image_edit(photo, "steps=3", "metrics=pixels", "hydra.run.dir=plain")).returncode == 0
    assert (
        piva(
            *image_edit(photo, "steps=3", "metrics=pixels", "measure_at=[1,2]", "hydra.run.dir=watched")
        ).returncode
        == 0
    )
    rows = list(csv.DictReader(Path("watched/snapshots.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert rows[0]["eval/psnr"] != rows[1]["eval/psnr"]
    assert Path("watched/metrics.csv").read_bytes() == Path("plain/metrics.csv").read_bytes()
    assert not Path("plain/snapshots.csv").exists()


def test_asking_for_samples_changes_nothing(piva: Run, photo: Path) -> None:
    same = [*image_edit(photo, "steps=3"), "metrics=pixels", "lambda_end=0.8"]
    assert piva(*same, "hydra.run.dir=plain").returncode == 0
    asked = ["samples.at=[1,3]", "samples.count=2", "samples.steps=2"]
    assert piva(*same, *asked, "hydra.run.dir=watched").returncode == 0
    pictures = {path.name for path in Path("watched/edits/cat").glob("samples-*.png")}
    assert pictures == {"samples-1.png", "samples-3.png"}
    grids = [np.asarray(Image.open(f"watched/edits/cat/samples-{step}.png")) for step in (1, 3)]
    frozen = slice(
        0, grids[0].shape[0] // 3
    )  # the first of three rows: it learns nothing, so one noise, one row
    assert (grids[0][frozen] == grids[1][frozen]).all()
    assert (grids[0] != grids[1]).any()
    for name in (
        "metrics.csv",
        "metrics.jsonl",
        "summary.json",
        "edits/cat/state.safetensors",
        "edits/cat/after.png",
    ):
        assert Path("watched", name).read_bytes() == Path("plain", name).read_bytes()


def test_two_runs_with_one_seed_have_equal_summaries(piva: Run, photo: Path) -> None:
    for name in ("a", "b"):
        assert piva(*image_edit(photo), f"hydra.run.dir={name}").returncode == 0
    assert Path("a/summary.json").read_text() == Path("b/summary.json").read_text()
    assert Path("a/metrics.jsonl").read_text() == Path("b/metrics.jsonl").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ['dataset.source="a cat, sitting"'],
        ['dataset.source="the cat\'s hat"'],
        ['dataset.source="the cat\'s hat, red"'],
    ],
)
def test_quoted_prompts_arrive_as_typed(piva: Run, photo: Path, words: list[str]) -> None:
    assert piva(*image_edit(photo), *words, "hydra.run.dir=out").returncode == 0
    with Path("out/metrics.csv").open() as file:
        assert next(csv.DictReader(file))["source_prompt"] == words[0].split("=", 1)[1].strip('"')


def test_equal_prompts_are_a_warning(piva: Run, photo: Path) -> None:
    done = piva(*image_edit(photo), "dataset.target=a cat")
    assert done.returncode == 0
    assert "WARNING" in done.stdout + done.stderr


def test_a_v_prediction_prior_runs(piva: Run, photo: Path, v_prior_folder: Path) -> None:
    assert (
        piva(
            *image_edit(photo), f"prior.path={v_prior_folder}", "prior=sd21", "prior.dtype=float32"
        ).returncode
        == 0
    )


def test_a_sweep_makes_one_folder_a_job(piva: Run, photo: Path) -> None:
    done = piva(
        *image_edit(photo), "lambda=0.1,0.4", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=${lambda}", "-m"
    )
    assert done.returncode == 0, done.stderr
    means = [json.loads(Path(f"sweep/{v}/summary.json").read_text())["mean"]["eval/psnr"] for v in (0.1, 0.4)]
    assert means[0] != means[1]


def test_wandb_mirrors_offline(piva: Run, photo: Path) -> None:
    done = piva(*image_edit(photo), "tracker=wandb", "hydra.run.dir=out", WANDB_SILENT="true")
    assert done.returncode == 0, done.stderr
    assert list(Path("out/wandb").glob("offline-run-*/run-*.wandb"))


def test_a_full_disk_is_one_line_and_keeps_what_was_finished(prior_folder: Path, photo: Path) -> None:
    """A limit on the size of a file stands in for a full disk: writing fails in the same place and way."""
    assert process(prior_folder, *image_edit(photo), "hydra.run.dir=out").returncode == 0
    shutil.rmtree("out/edits/cat")
    Path("out/edits/before").mkdir()
    Path("out/edits/before/after.png").write_text("kept")
    summary = Path("out/summary.json").read_text()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

    done = process(prior_folder, *image_edit(photo), "hydra.run.dir=out", preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "what was finished before is kept" in done.stderr
    assert Path("out/summary.json").read_text() == summary
    assert Path("out/edits/before/after.png").read_text() == "kept"
    assert not Path("out/edits/cat").exists()
    assert not [p for p in Path("out").rglob("*") if p.name.endswith(".tmp")]


def test_ctrl_c_exits_with_130_and_keeps_what_was_finished(prior_folder: Path, photo: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "piva.run",
        f"prior.path={prior_folder}",
        *image_edit(photo),
        "steps=100000",
        "hydra.run.dir=out",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not Path("out/metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()  # one that does not stop must not go on for its 100,000 steps
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert Path("out/config.yaml").exists()
    assert not Path("out/edits/cat").exists()


def test_from_python() -> None:
    """`piva.run` is a command; the function comes from the package, without torch and without that module."""
    code = "import sys; from piva import compose, run; assert callable(run) and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert compose("task=image", "lambda=0.2")["lambda"] == 0.2


def test_the_benchmark_builder_answers_to_its_first_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "piva.datasets.build_noe"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "source: found no value" in done.stderr
