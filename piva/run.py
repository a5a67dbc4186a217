"""The command line: `python -m piva.run task=nerf dataset=noe score=piva lambda=0.4`. Imports no torch before it must.

From Python: `from piva import compose, run`, then `run(compose("task=image", "steps=100"))`.
"""

import logging
import sys
from pathlib import Path
from types import ModuleType

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from piva import config
from piva.cli import answer
from piva.errors import EditsFailed
from piva.objective import Objective
from piva.runs import sweep as sweeps
from piva.runs.fingerprint import expand_resume, fingerprint, finished, locked, overrides_of
from piva.runs.run import Run

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> Run:
    """Check `cfg`, run it, and return what it left behind; `cfg` is what `compose` or the command line made.

    Edits that failed are named in the summary. Raises `InputError` for anything the user can mend.
    """
    if cfg.resume is not None:  # from Python; the command line has put the run's own overrides in its place
        cfg = config.compose(*overrides_of(Path(cfg.resume)))
    folder = Path(cfg.hydra.run.dir if "hydra" in cfg else HydraConfig.get().runtime.output_dir)
    result = _run(config.check(cfg), folder)
    assert result
    return result


def _run(settings: config.Settings, folder: Path, sweep: Path | None = None) -> Run | None:
    """The result in `folder`, or in that of another job of `sweep` with the same settings; None while that one is at work."""
    if result := finished(settings, folder):
        log.info("finished already: results in %s", folder)
        return result
    with locked(settings, folder):
        sweeps.begin(folder)
        if sweep and (other := sweeps.duplicate_of(fingerprint(settings), folder, sweep)):
            return finished(settings, other)
        from piva.experiment import run_experiment

        return run_experiment(settings, folder)


@hydra.main(config_path=str(config.CONF), config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> float | None:
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return _answer(cfg, run(cfg))
    folder, sweep = Path(hydra.runtime.output_dir).resolve(), Path(hydra.sweep.dir).resolve()
    return sweeps.guarded(lambda: _answer(cfg, _run(config.check(cfg), folder, sweep)), folder)


def _answer(cfg: DictConfig, result: Run | None) -> float | None:
    """What a sweeper gets. Raises `EditsFailed`."""
    if result is None:
        return None
    if failures := result.summary["failures"]:
        reasons = "; ".join(f"{failure['id']}: {failure['reason']}" for failure in failures)
        raise EditsFailed(f"{len(failures)} of {len(failures) + len(result.rows)} edits failed: {reasons}")
    objective: Objective = config.build(Objective, cfg.objective, "objective")
    return objective.of(result.summary["mean"])


def main() -> None:
    """Run the command line. Exit code 2 with one line for bad input, 1 if edits or jobs failed, 130 for Ctrl-C."""

    def start() -> None:
        sys.argv[1:] = expand_resume(sys.argv[1:])
        job()

    answer(start)


class _RunModule(ModuleType):
    """`piva.run` is this module and, as `from piva import run` promises, also the function of that name."""

    def __call__(self, cfg: DictConfig) -> Run:
        return run(cfg)


sys.modules[__name__].__class__ = _RunModule

if __name__ == "__main__":
    main()
