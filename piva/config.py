"""From YAML to checked, frozen settings: values are compared with dataclasses before heavy work."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass, replace
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any, cast, get_type_hints

from annotated_types import Ge, Interval
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from piva import weights
from piva.datasets.edit import Edit
from piva.errors import InputError, one_line
from piva.files import CONF
from piva.models.needs import ANY, needs, steps_within
from piva.models.relevance import Relevance
from piva.objective import Objective
from piva.priors.stable_diffusion import Speed
from piva.ranges import Device, kind, plain, wanted
from piva.scores.terms import guided_from

LONGEST = 200  # bytes of a folder's name; file systems allow 255
ROOMS = {  # the groups of a run, and where piva has their classes
    **{
        part: f"{part}s"
        for part in ["task", "method", "score", "regulariser", "schedule", "model", "dataset", "prior"]
    },
    "metrics": "metrics",
    "tracker": "runs",
}
PARTS = tuple(ROOMS)


@dataclass(frozen=True, kw_only=True)
class SamplesSettings:
    """The node `samples`: what the models would paint, and when."""

    at: list[Annotated[int, Ge(1)]]
    count: Annotated[int, Interval(ge=1, le=1024)]
    steps: Annotated[int, Interval(ge=1, le=1000)]
    guidance: Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The keys at the top of the configuration that the run itself reads."""

    seed: Annotated[int, Ge(0)]
    steps: Annotated[int, Interval(ge=1, le=100_000_000)]
    device: Device
    resolution: Annotated[int, Interval(ge=1, le=8192)] | None
    noises: Annotated[int, Interval(ge=1, le=4096)]
    guidance_start: Annotated[float, Ge(0)] | None
    coarse: list[int]
    coarse_until: list[float]
    measure_at: list[int]
    checkpoint_every: Annotated[int, Interval(ge=1, le=1_000_000_000)]
    batch: Annotated[int, Interval(ge=1, le=100_000)]
    passes: Annotated[int, Interval(ge=1, le=1_000_000_000)] | None
    relevance: Relevance
    samples: SamplesSettings
    speed: Speed

    def __post_init__(self) -> None:
        last = f"({self.steps}), counted from 1"
        if not all(0 < step < self.steps for step in self.measure_at):
            raise InputError("measure_at", str(self.measure_at), f"steps before the last {last}")
        if not all(step <= self.steps for step in self.samples.at):
            raise InputError("samples.at", str(self.samples.at), f"steps up to the last {last}")
        parts = str(self.coarse_until)
        if len(self.coarse) != len(self.coarse_until):
            raise InputError("coarse_until", parts, f"a part of the steps for each of coarse={self.coarse}")
        if not all(a < b for a, b in pairwise([0.0, *self.coarse_until, 1.0])):
            raise InputError("coarse_until", parts, "parts of the steps that rise between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A whole run, checked. `choices` names each group's option, `config` is the resolved configuration."""

    run: RunSettings
    task: Any
    method: Any
    score: Any
    regulariser: Any
    schedule: Any
    model: Any
    dataset: Any
    prior: Any
    metrics: Any
    tracker: Any
    objective: Objective
    edits: list[Edit]
    choices: dict[str, str]
    overrides: list[str]
    config: dict[str, Any]

    @property
    def unread(self) -> frozenset[str]:
        """Return the groups and keys that no number of the run depends on for its method and score."""
        method: frozenset[str] = self.method.unread
        reads = {
            "model": "score" not in method and bool(needs(self.score).learned),
            "guidance_start": "score" not in method
            and guided_from(self.score, self.run.guidance_start, 0.0) is not self.score,
            "relevance": "score" not in method and self.run.relevance.noises > 0,
        }
        return method | {key for key, read in reads.items() if not read}


def folder_name(overrides: str) -> str:
    """Return a name for one folder: no `/`, and at most 200 bytes, of which the last tell long ones apart."""
    name = overrides.replace("/", "-")
    if len(name.encode()) <= LONGEST:
        return name
    short = name.encode()[: LONGEST - 9].decode(errors="ignore")
    return f"{short}-{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"


OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)


def compose(*overrides: str, name: str = "config") -> DictConfig:
    """Compose the configuration that these overrides make on the command line: `compose("task=image",
    "steps=9")`.

    `name` is a file of conf/: that of piva.run, or another command's. Raises `InputError` for a flag.
    """
    if flag := next((word for word in overrides if word.startswith("-")), None):
        raise InputError(flag, "a flag", "KEY=VALUE", "--help says which keys there are")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose(name, overrides=list(overrides), return_hydra_config=True)


def quoted(text: str) -> str:
    """Return a text as Hydra reads it back, whatever characters are in it."""
    no_interpolation = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return str(QuotedString(text=no_interpolation, quote=Quote.double).with_quotes())


def check(cfg: DictConfig, prior: Any = None) -> Settings:
    """Build every settings object and look at every input file. Raises `InputError`; imports no torch.

    `prior`, a `Loaded` one, takes the place of that of `cfg`.
    """
    hydra = hydra_of(cfg)
    choices = {
        str(group): str(option)
        for group, option in hydra.runtime.choices.items()
        if not str(group).startswith("hydra/")
    }
    classes = {name: settings_class(cfg.get(name), name) for name in PARTS}
    _check_task_fits(classes["task"], classes["dataset"], classes["model"], choices)
    run_keys = [f.name for f in dataclasses.fields(RunSettings)]
    run = build(RunSettings, OmegaConf.masked_copy(cfg, run_keys))
    parts = {name: build(classes[name], cfg[name], name) for name in PARTS}
    parts["prior"] = prior or parts["prior"]
    run = _within_budget(run, parts)
    parts["method"].check(parts, run)
    _check_steps(parts, run)
    _check_prior_fits(parts["method"], parts["prior"], choices)
    if parts["task"].renders and run.device == "mps":
        found, wanted = "a device without float64, which sums along rays need", "cpu or cuda"
        raise InputError(f"task={choices['task']} device=mps", found, wanted, "use device=cpu")
    parts["prior"].check()
    parts["model"].check(parts["prior"])
    if parts["task"].renders:
        _check_sizes(run, parts["prior"].factor or 1)
    elif run.coarse:
        raise InputError(
            "coarse", str(run.coarse), "[] for a picture, whose latents have one size", "use task=nerf"
        )
    parts["metrics"].check()
    weights.check(parts.values(), hydra.overrides.task)
    edits = list(parts["dataset"].read())
    parts["prior"].check_prompts([prompt for edit in edits for prompt in edit.prompts])
    for edit in edits:
        parts["task"].check(edit)
    given = [str(key) for key in cfg if key != "hydra" and not OmegaConf.is_missing(cfg, key)]
    return Settings(
        run=run,
        **parts,
        objective=build(Objective, cfg.get("objective"), "objective"),
        edits=edits,
        choices=choices,
        overrides=as_typed(hydra.overrides.task),
        config=cast(dict[str, Any], OmegaConf.to_container(OmegaConf.masked_copy(cfg, given), resolve=True))
        | {"steps": run.steps},
    )


def hydra_of(cfg: DictConfig) -> Any:
    """Return Hydra's own configuration: from `compose` it lies in `cfg`, within a job it is global."""
    return cfg.hydra if "hydra" in cfg else HydraConfig.get()


def as_typed(overrides: Any) -> list[str]:
    """Return a node of overrides as they were typed, interpolations and all."""
    return cast(list[str], OmegaConf.to_container(overrides, resolve=False))


def settings_class(node: Any, key: str) -> type:
    """Return the dataclass that a group's node names by `_target_`; one of piva's must be of that group.

    Raises `InputError` that names `key`.
    """
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    if not isinstance(target, str):
        raise InputError(key, "nothing" if node is None else repr(node), f"one of its options, {key}=NAME")
    where, room = f"{key}._target_", ROOMS.get(key)
    try:
        module, _, name = target.rpartition(".")
        cls: type = getattr(import_module(module), name)
    except Exception as error:  # whatever an import may raise
        raise InputError(where, repr(target), "the full name of a class", one_line(error)) from None
    other = room and target.startswith("piva.") and not target.startswith(f"piva.{room}.")
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)) or other:
        raise InputError(where, repr(target), f"a dataclass of settings of a {key}")
    return cls


def build(cls: type, node: DictConfig | None, prefix: str = "") -> Any:
    """Make the frozen dataclass `cls` of `node`'s values; its annotations (ranges.py) are the schema.

    Errors name a key as the user types it: what came by an interpolation is named where it was set, so that a
    bad `score.lam: ${lambda}` reads "lambda". Raises `InputError`.
    """
    if not isinstance(node, DictConfig):
        raise InputError(prefix, repr(node), "a group of settings", f"leave {prefix} as it is")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = {name: hint for name, hint in get_type_hints(cls, include_extras=True).items() if name in fields}
    raw = cast(dict[str, Any], OmegaConf.to_container(node, resolve=False))

    def typed(name: str) -> str:
        origin = re.fullmatch(r"\$\{(\w+)\}", str(raw.get(name)))
        return origin[1] if origin else f"{prefix}.{name}".strip(".")

    given = [key for key in raw if key not in ("_target_", "hydra")]  # in the order of the YAML
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    values: dict[str, Any] = {}
    for name in dict.fromkeys([*given, *required]):
        if name not in fields:
            raise InputError(f"{prefix}.{name}", "no such key", "one of " + ", ".join(sorted(fields)))
        try:
            value = node[name]
        except (MissingMandatoryValue, InterpolationToMissingValueError, ConfigKeyError):
            key = f"{prefix}.{name}".strip(".")
            raise InputError(key, "no value", "one on the command line", f"add {key}=...") from None
        except OmegaConfBaseException:
            found, key = f"no value by {raw.get(name)!r}", typed(name) if prefix else name
            wanted_ = "a value, or the name of another key"
            raise InputError(key, found, wanted_, f"add {key}=...") from None
        values[name] = _typed_value(hints[name], value, typed(name))
    for name, value in values.items():
        if missed := wanted(hints[name], value):
            raise InputError(typed(name), repr(value), missed)
    return cls(**values)


def _typed_value(hint: Any, value: Any, key: str) -> Any:
    """Return `value` as its annotation's type; nodes become settings. Raises an `InputError` of `key`."""
    if isinstance(value, DictConfig) and "_target_" in value:  # settings of another group, as task.field
        return build(settings_class(value, key), value, key)
    if dataclasses.is_dataclass(hint):  # a node of settings, as samples
        if isinstance(value, DictConfig):
            return build(cast(type, hint), value, key)
        keys = ", ".join(f"{key}.{field.name}" for field in dataclasses.fields(hint))
        raise InputError(key, repr(value), f"values of its keys: {keys}")
    schema = OmegaConf.structured(make_dataclass("Schema", [("value", plain(hint))]))
    try:
        merged = OmegaConf.to_container(OmegaConf.merge(schema, {"value": value}))
    except OmegaConfBaseException:
        raise InputError(key, repr(value), f"a value of type {kind(hint)}") from None
    return cast(dict[str, Any], merged)["value"]


def _within_budget(run: RunSettings, parts: Mapping[str, Any]) -> RunSettings:
    """Return the run with as many steps as its passes allow, if those are given. Raises `InputError`."""
    if run.passes is None:
        return run
    steps = steps_within(run.passes, parts, run.noises, run.guidance_start, run.relevance.noises)
    return replace(run, steps=steps)


def _check_task_fits(task: Any, dataset: Any, model: Any, choices: dict[str, str]) -> None:
    """Raise `InputError` unless the dataset has what the task edits and its views what the model sees."""
    if task.needs not in dataset.gives:
        where = f"task={choices['task']} dataset={choices['dataset']}"
        have = " and ".join(f"{kind}s" for kind in dataset.gives)
        raise InputError(
            where,
            f"a dataset of {have}",
            f"one with a {task.needs} for each edit",
            "choose another task or dataset",
        )
    if model.needs_depth and not task.renders:
        where = f"task={choices['task']} model={choices['model']}"
        raise InputError(
            where, "pictures without depth", "renders of a scene", "use task=nerf, or model=lora"
        )


def _check_steps(parts: Mapping[str, Any], run: RunSettings) -> None:
    """Raise `InputError` for a regulariser, or a number of views, that a score's steps cannot have."""
    if "score" in parts["method"].unread:
        return
    parts["regulariser"].check(parts["task"], run.speed)
    task, moved = parts["task"], parts["score"].weight != "own" and parts["schedule"].length(0, 2, ANY)
    if moved and task.views > 1 and task.views % 2 and (carve := getattr(task, "carve", 0)):
        found = f"{task.views} with task.carve={carve:g}"
        raise InputError("task.views", found, "an even number: pairs are carved", "or add task.carve=0")


def _check_prior_fits(method: Any, prior: Any, choices: dict[str, str]) -> None:
    """Raise `InputError` if a method of instructions has another prior, or that prior another method."""
    if method.instructed == prior.instructed:
        return
    where = f"method={choices['method']} prior={choices['prior']}"
    found, wanted = "a prior that reads prompts", "an InstructPix2Pix, of which none is shipped"
    remedy = "use prior=instruct_pix2pix, with prior.path=FOLDER for one of your own"
    if prior.instructed:
        found, wanted = "an InstructPix2Pix", "a prior that reads prompts"
        remedy = "use method=dataset_update, or another prior"
    raise InputError(where, found, wanted, remedy)


def _check_sizes(run: RunSettings, multiple: int) -> None:
    """Renders must suit the prior, whose autoencoder halves them so often."""
    sizes = {"resolution": [] if run.resolution is None else [run.resolution], "coarse": run.coarse}
    for key, values in sizes.items():
        if any(size < 1 or size % multiple for size in values):
            wanted = f"multiples of {multiple} pixels, as this prior needs"
            raise InputError(key, str(getattr(run, key)), wanted)
