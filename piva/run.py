"""The command line: `python -m piva.run task=nerf dataset=noe score=piva lambda=0.4`. Imports no torch before it must.

From Python: `from piva import compose, run`, then `run(compose("task=image", "steps=100"))`.
"""

import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from piva import config
from piva.command import answer
from piva.errors import InputError

if TYPE_CHECKING:
    from piva.results import Result


def run(cfg: DictConfig) -> "Result":
    """Check `cfg`, run it, and return what it left behind; `cfg` is what `compose` or the command line made.

    Raises `InputError` for anything the user can mend.
    """
    settings = config.check(cfg)
    from piva.experiment import run_experiment

    folder = cfg.hydra.run.dir if "hydra" in cfg else HydraConfig.get().runtime.output_dir
    return run_experiment(settings, Path(folder))


@hydra.main(config_path=str(config.CONF), config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> float | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        return run(cfg).objective
    except InputError:
        if {path.name for path in folder.iterdir()} <= {".hydra", "piva.log"}:  # nothing was begun: leave no trace
            shutil.rmtree(folder)
        raise


def main() -> None:
    """Run the command line; bad input ends with one line on stderr and exit code 2, Ctrl-C with 130."""
    answer(job)


class _RunModule(ModuleType):
    """`piva.run` is this module and, as `from piva import run` promises, also the function of that name."""

    def __call__(self, cfg: DictConfig) -> "Result":
        return run(cfg)


sys.modules[__name__].__class__ = _RunModule

if __name__ == "__main__":
    main()
