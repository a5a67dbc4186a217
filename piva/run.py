"""The command line: `python -m piva.run task=nerf dataset=noe score=piva lambda=0.4`. Imports no torch before it must.

From Python: `from piva import compose, run`, then `run(compose("task=image", "steps=100"))`.
"""

import logging
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from piva import config, identity
from piva.command import answer
from piva.errors import EditsFailed, InputError
from piva.objective import Objective

if TYPE_CHECKING:
    from piva.results import Result

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> "Result":
    """Check `cfg`, run it, and return what it left behind; `cfg` is what `compose` or the command line made.

    Raises `InputError` for anything the user can mend.
    """
    if cfg.resume is not None:  # from Python; the command line has put the run's own words in its place
        cfg = config.compose(*identity.words_of(Path(cfg.resume)))
    settings = config.check(cfg)
    folder = Path(cfg.hydra.run.dir if "hydra" in cfg else HydraConfig.get().runtime.output_dir)
    if result := identity.finished(settings, folder):
        log.info("finished already: results in %s", folder)
        return result
    from piva.experiment import run_experiment

    return run_experiment(settings, folder)


@hydra.main(config_path=str(config.CONF), config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> float | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        result = run(cfg)
    except InputError:
        if {path.name for path in folder.iterdir()} <= {".hydra", "piva.log"}:  # nothing was begun: leave no trace
            shutil.rmtree(folder)
        raise
    if failures := result.summary["failures"]:
        reasons = "; ".join(f"{failure['id']}: {failure['reason']}" for failure in failures)
        raise EditsFailed(f"{len(failures)} of {len(failures) + len(result.rows)} edits failed: {reasons}")
    objective: Objective = config.build(Objective, cfg.objective, "objective")
    return objective.of(result.summary["mean"])


def main() -> None:
    """Run the command line; bad input ends with one line on stderr and exit code 2, failed edits with 1, Ctrl-C with 130."""

    def start() -> None:
        sys.argv[1:] = identity.expand(sys.argv[1:])
        job()

    answer(start)


class _RunModule(ModuleType):
    """`piva.run` is this module and, as `from piva import run` promises, also the function of that name."""

    def __call__(self, cfg: DictConfig) -> "Result":
        return run(cfg)


sys.modules[__name__].__class__ = _RunModule

if __name__ == "__main__":
    main()
