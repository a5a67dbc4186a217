"""Dataset update: pictures as InstructPix2Pix edits them, the field that follows, costs and refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionInstructPix2PixPipeline
from helpers.ball import FIELD, write_ball
from helpers.recorder import Recorder
from helpers.scenes import nerfstudio
from helpers.tiny_prior import contexts, write_prior
from helpers.two_edits import assert_equal_runs
from torch import Tensor

from piva import compose, run
from piva.config import build, check
from piva.datasets.edit import Edit
from piva.datasets.scene import read_views
from piva.errors import InputError
from piva.methods.dataset_update import DatasetUpdate
from piva.methods.updating import Update, guided
from piva.metrics.toys import Toys
from piva.models.denoiser import Conditioning
from piva.optimise import Work
from piva.priors.prior import Prior, load
from piva.runs.fingerprint import fingerprint
from piva.scores.dds import DDS
from piva.scores.terms import NULL, TARGET
from piva.tasks.base import Randomness
from piva.tasks.nerf import NerfTask
from piva.tasks.photos import Photos

UNREAD = DDS(guidance_scale=1.0, reference="edit", weight="uniform")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prior(tmp_path_factory.mktemp("prior") / "instructed", "epsilon", in_channels=8)


@pytest.fixture
def instructed(folder: Path) -> Prior:
    return load(str(folder), "cpu", "float32", instructed=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball in closed form with two edits, of which one has an instruction."""
    root = tmp_path_factory.mktemp("data")
    write_ball(root / "ball")
    words = {"path": "ball", "source_prompt": "ball"}
    records = [
        {"id": "ball/red", "target_prompt": "red ball", **words},
        {"id": "ball/blue", "target_prompt": "blue ball", "instruction": "paint it blue", **words},
    ]
    (root / "benchmark.json").write_text(json.dumps({"records": records}))
    return root


@pytest.fixture
def words(folder: Path, root: Path) -> list[str]:
    return [
        *("task=nerf", "dataset=noe", f"dataset.root={root}", "edits=all", "resolution=24"),
        *("prior=instruct_pix2pix", f"prior.path={folder}", "method=dataset_update", "metrics=pixels"),
        *("method.lpips=0", "method.every=2", "method.ddim_steps=3", "method.patches=2", "steps=6"),
        *("measure_at=[3]", "checkpoint_every=1", "task.turntable=2", "task.turntable_size=16"),
        *(f"field.{words}" for words in FIELD),
    ]


def settings(**changes: Any) -> DatasetUpdate:
    made: DatasetUpdate = build(DatasetUpdate, compose("method=dataset_update").method, "method")
    return replace(made, **changes)


def work(prior: Prior) -> Work:
    state = Recorder(torch.zeros(1, 4, 8, 8))
    draws = Randomness(torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
    return Work(state, UNREAD, Conditioning(contexts(prior)), draws)


def pictures() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    original, render = torch.rand(2, 1, 3, 32, 32, generator=draw)
    return original, render


def test_the_guidance_is_that_of_instruct_pix2pix() -> None:
    """Eq. 3 of the paper, where the instruction's and the picture's parts are apart."""
    text, picture, neither = torch.randn(
        3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    of_picture, of_text = 1.5 * (picture - neither), 7.5 * (text - picture)
    torch.testing.assert_close(guided(text, picture, neither, 7.5, 1.5), neither + of_picture + of_text)
    torch.testing.assert_close(guided(text, picture, neither, 1, 1), text)


def test_an_edited_picture_is_that_of_the_pipeline_of_diffusers(folder: Path, instructed: Prior) -> None:
    """Which begins at the last timestep, from any latents."""
    (original, render), s = pictures(), settings(t_min=1.0, t_max=1.0, ddim_steps=5)
    own = work(instructed)
    found, t = Update(s, instructed, None).edited(own, original, render)
    parts = {name: getattr(instructed, name) for name in ("vae", "text_encoder", "tokenizer", "unet")}
    scheduler = DDIMScheduler.from_config(instructed.scheduler.config, timestep_spacing="leading")
    none = dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"))
    pipe = StableDiffusionInstructPix2PixPipeline(
        **parts, **none, scheduler=scheduler, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    expected = pipe(
        prompt="a cat",
        image=original,
        num_inference_steps=5,
        guidance_scale=7.5,
        image_guidance_scale=1.5,
        latents=instructed.schedule.noised(instructed.encode(render), noise, t),
        output_type="pt",
    ).images
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (own.edit.evaluations.forward, own.edit.evaluations.calls) == (15, 5)


def test_its_steps_are_those_of_ddim_in_float64(instructed: Prior) -> None:
    """x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s) eps, from t = 19 of 20 parts of a drawn timestep."""
    (original, render), s = pictures(), settings(ddim_steps=4)
    found, first = Update(s, instructed, None).edited(work(instructed), original, render)
    until = int(torch.randint(20, 981, (), generator=torch.Generator().manual_seed(1)))
    times = [i * (until // 4) for i in (3, 2, 1, 0)]
    assert first == times[0]
    own, unet = contexts(instructed), instructed.unet.double()
    vae, scale = instructed.vae, instructed.vae.config.scaling_factor
    with torch.no_grad():
        clean, seen = (vae.encode(2 * x - 1).latent_dist.mean.double() for x in (render, original))
        noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2)).double()
        abar = [instructed.schedule.alphas_cumprod[t] for t in times]
        after = [*abar[1:], instructed.schedule.alphas_cumprod[0]]
        if instructed.scheduler.config.set_alpha_to_one:
            after[-1] = 1.0
        x = abar[0] ** 0.5 * scale * clean + (1 - abar[0]) ** 0.5 * noise
        for t, now, later in zip(times, abar, after, strict=True):
            text, picture, neither = (
                unet(torch.cat([x, image], 1), t, own[prompt].double()).sample
                for prompt, image in ((TARGET, seen), (NULL, seen), (NULL, 0 * seen))
            )
            eps = neither + 7.5 * (text - picture) + 1.5 * (picture - neither)
            x = later**0.5 * (x - (1 - now) ** 0.5 * eps) / now**0.5 + (1 - later) ** 0.5 * eps
        expected = (vae.decode((x / scale).float()).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_a_picture_is_edited_beside_its_original(instructed: Prior) -> None:
    """Not beside the render, of which only noise may be left."""
    original, render = pictures()
    update = Update(settings(ddim_steps=2), instructed, None)
    one, other = (update.edited(work(instructed), x, render)[0] for x in (original, 1 - original))
    assert (one - other).abs().max() > 1e-4
    assert (update.edited(work(instructed), original, render)[0] == one).all()


def test_the_timesteps_are_drawn_between_the_bounds(instructed: Prior) -> None:
    (original, render), own = pictures(), work(instructed)
    update = Update(settings(ddim_steps=1, t_min=0.3, t_max=0.4), instructed, None)
    for _ in range(3):
        _, t = update.edited(own, original, render)
        assert t == 0  # one step of DDIM from the noisiest would be leading from 0
    spread = Update(settings(ddim_steps=20, t_min=0.02, t_max=0.02), instructed, None)
    assert spread.edited(own, original, render)[1] == 19


def test_the_loss_is_l1_and_lpips_of_the_patches(instructed: Prior) -> None:
    rgb, wanted = torch.rand(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rgb = (2 * rgb - 0.5).requires_grad_(True)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        assert a.min() >= 0 and a.max() <= 1  # noqa: PT018 - one statement
        return (a - b).square().mean((1, 2, 3))

    update = Update(settings(lpips=0.5), instructed, distance)
    loss = update.loss(rgb, wanted)
    expected = (rgb - wanted).abs().mean() + 0.5 * (rgb.clamp(0, 1) - wanted).square().mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert rgb.grad is not None


def test_the_field_follows_the_pictures_that_are_edited(root: Path, instructed: Prior) -> None:
    """Here red and blue are exchanged in all of them; LPIPS is by the toys' network."""
    small = ["task.turntable=2", "task.turntable_size=16", *(f"field.{words}" for words in FIELD)]
    task: NerfTask = build(NerfTask, compose("task=nerf", *small).task, "task")
    scene = Edit(id="ball", source_prompt="a", target_prompt="b", scene=root / "ball")
    own = work(instructed)
    own.state = state = task.open(scene, instructed, 24, 60, own.randomness)
    photos, own.step = state.photos(), 1  # between two edits of pictures
    for i in range(len(photos)):
        photos.change(i, photos.original(i)[0].flip(0))

    def distance(i: int) -> float:
        return (state.render_photo(i) - photos.original(i).flip(1)).abs().mean().item()

    before = distance(3)
    networks = build(Toys, compose("metrics=toys").metrics, "metrics").load("cpu")
    assert networks is not None
    update = Update(settings(every=1000, lpips=0.02, patches=2), instructed, networks.lpips)
    steps = [step for _, step in update.edit([own], 60)]
    assert [step.t for step in steps] == 59 * [None]
    assert distance(3) < 0.7 * before
    assert own.edit.evaluations.forward == 0


class Canvas(Recorder):
    """Theta is the colours of all rays themselves."""

    def __init__(self, photos: Photos) -> None:
        super().__init__(torch.full((64, 3), 0.5))
        self._photos = photos

    def photos(self) -> Photos:
        return self._photos

    def render_photo(self, index: int) -> Tensor:
        raise AssertionError

    def render_rays(self, rays_o: Tensor, rays_d: Tensor) -> Tensor:
        return self.theta


def test_what_the_dataset_masks_is_not_followed(instructed: Prior, tmp_path: Path) -> None:
    views = read_views(nerfstudio(tmp_path / "scene"))
    keep = np.ones(views.images.shape[:3], np.bool_)
    keep[:, :, :4] = False
    photos = Photos(replace(views, keep=keep), 8, 4, torch.ones(3))
    own, canvas = work(instructed), Canvas(photos)
    own.state, own.step = canvas, 1
    list(Update(settings(lpips=0, patches=1), instructed, None).edit([own], 2))
    assert (canvas.gradients[0].view(8, 8, 3).abs().sum((0, 2)) > 0).tolist() == 2 * [False] + 6 * [True]


def test_a_run_counts_three_rows_a_step_of_ddim(words: list[str], tmp_path: Path) -> None:
    done = run(compose(*words, f"hydra.run.dir={tmp_path / 'run'}"))
    assert done.status == "finished"
    assert done.summary["choices"]["method"] == "dataset_update"
    # 3 steps of 3 rows at every second step
    assert done.summary["unet"] == {"forward_per_step": 4.5, "backward_per_step": 0, "calls_per_step": 1.5}
    assert [["t" in row for row in rows] for rows in done.steps.values()] == 2 * [3 * [True, False]]


def test_a_callback_sees_the_scene_as_a_training_camera_does(words: list[str], tmp_path: Path) -> None:
    """A step sees single rays alone."""
    shown = []
    cfg = compose(*words, "edits=[ball/red]", "measure_at=[]", f"hydra.run.dir={tmp_path}/r")
    run(cfg, callback=lambda progress: shown.append(progress.picture()))
    assert [tuple(picture.shape) for picture in shown] == 6 * [(3, 24, 24)]
    assert not torch.equal(shown[0], shown[-1])


def test_a_stopped_run_goes_on_with_its_edited_pictures(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the second edit's third step of six, when its second picture has just been edited."""

    class Stop(Exception):
        """Raised where a process might be killed."""

    run(compose(*words, f"hydra.run.dir={tmp_path / 'unbroken'}"))
    take, left = Update._step, iter(range(6 + 3))

    def stopping(self: Update, own: Work) -> Any:
        if next(left, None) is None:
            raise Stop
        return take(self, own)

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(Update, "_step", stopping)
        run(compose(*words, f"hydra.run.dir={tmp_path / 'stopped'}"))
    saved = torch.load(max(tmp_path.glob("stopped/checkpoints/**/*.pt")), weights_only=True)
    assert set(saved["state"]["photos"]) == {0, 1}
    run(compose(f"resume={tmp_path / 'stopped'}"))
    assert_equal_runs(tmp_path / "stopped", tmp_path / "unbroken")


def test_edits_do_not_depend_on_others_beside_them(words: list[str], tmp_path: Path) -> None:
    for name, more in (("alone", "batch=1"), ("together", "batch=2")):
        run(compose(*words, more, f"hydra.run.dir={tmp_path / name}"))
    rows = [(tmp_path / name / "metrics.csv").read_text() for name in ("alone", "together")]
    assert rows[0] == rows[1]


def test_the_instruction_is_the_datasets_or_made_of_the_target_prompt(words: list[str]) -> None:
    red, blue = check(compose(*words)).edits
    s = settings()
    assert (s.instruct(red), s.instruct(blue)) == ("make it red ball", "paint it blue")
    turned = settings(instruction="turn the {source} into a {target}")
    assert turned.instruct(red) == "turn the ball into a red ball"


def test_another_instruction_is_another_run(words: list[str], root: Path) -> None:
    before = check(compose(*words))
    edits = [replace(each, instruction=f"{each.instruction}!") for each in before.edits]
    assert fingerprint(replace(before, edits=edits)) != fingerprint(before)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["noises=2"], "^noises: found 2"),
        (["coarse=[16]", "coarse_until=[0.5]"], r"^coarse: found \[16\]"),
        (["samples.at=[1]"], r"^samples.at: found \[1\]"),
        (["method.lpips=1"], "^method.lpips metrics=pixels: found no network"),
        (["method.t_min=0.5", "method.t_max=0.4"], "^method.t_min: found 0.5"),
        (["method.instruction='make it {goal}'"], "^method.instruction: found 'make it {goal}'"),
        (
            ["prior=toys", "prior.path=toys"],
            "^method=dataset_update prior=toys: .*use prior=instruct_pix2pix",
        ),
        (["method=optimise"], "^method=optimise prior=instruct_pix2pix: .*use method=dataset_update"),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused_in_one_line(words: list[str], more: list[str], expected: str) -> None:
    kept = [each for each in words if not (more[0].startswith("method=op") and each.startswith("method"))]
    with pytest.raises(InputError, match=expected) as error:
        check(compose(*kept, *more))
    assert "\n" not in str(error.value)


def test_a_prior_of_prompts_is_no_instructed_one(prior_folder: Path, words: list[str]) -> None:
    with pytest.raises(InputError, match="4 input channels for latents of 4, wanted InstructPix2Pix"):
        check(compose(*words, f"prior.path={prior_folder}"))


def test_a_picture_is_refused_in_one_line(folder: Path, root: Path) -> None:
    words = ["task=image", "dataset=noe", f"dataset.root={root}", "prior=instruct_pix2pix"]
    with pytest.raises(InputError, match="^method: found the dataset update of a picture.*use task=nerf"):
        check(compose(*words, f"prior.path={folder}", "method=dataset_update", "measure_at=[]"))
