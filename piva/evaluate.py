"""Score edited pictures, whatever made them: `piva.evaluate dataset=pie dataset.root=PIE-Bench edits=FOLDER`.

conf/evaluate.yaml explains the keys. Imports no torch before every picture was found and looked at.
"""

import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from piva.cli import run_cli, run_hydra
from piva.errors import InputError
from piva.evaluation.settings import Evaluation, check
from piva.runs.devices import check_device
from piva.runs.run import RECORD


def evaluate(evaluation: Evaluation, path: Path) -> str:
    """Measure, leave config.yaml, metrics.csv and summary.json in `path`, and return the table to print.

    Raises `InputError` for the folder of a run.
    """
    check_device(evaluation.device)
    if (path / RECORD).exists():
        raise InputError(path, "the folder of a run", "another to write into", "leave hydra.run.dir out")
    from piva.evaluation.score import score
    from piva.metrics.table import means, table
    from piva.runs.folder import RunFolder, json_safe
    from piva.runs.provenance import provenance

    networks = evaluation.metrics.load(evaluation.device)
    rows = score(evaluation.pairs, networks, evaluation.device)
    names = dict(networks.names) if networks else {}
    folder = RunFolder(path)
    folder.write_config(evaluation.config)
    folder.write_rows("metrics.csv", rows)
    summary = {
        "mean": json_safe(means(rows)),
        "edits": [json_safe(row) for row in rows],
        "missing": evaluation.missing,
        "metric_networks": names,
        "choices": evaluation.choices,
        "provenance": provenance(evaluation.device),
    }
    folder.write_json("summary.json", summary)
    return table(rows, names, evaluation.missing)


def job(cfg: DictConfig, evaluation: Evaluation | None) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    sys.stdout.write(evaluate(evaluation or check(cfg), folder))
    sys.stdout.write(f"results in {folder}\n")


def main() -> None:
    run_cli(lambda: run_hydra("evaluate", check, job), "evaluate")


if __name__ == "__main__":
    main()
