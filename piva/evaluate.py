"""Score edited pictures, whatever made them: `piva.evaluate dataset=pie dataset.root=PIE-Bench edits=FOLDER`.

conf/evaluate.yaml explains the keys. Imports no torch before every picture was found and looked at.
"""

import shutil
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from piva import config
from piva.cli import answer
from piva.errors import InputError
from piva.evaluation.settings import Evaluation, check


def evaluate(evaluation: Evaluation, path: Path) -> str:
    """Measure, leave config.yaml, metrics.csv and summary.json in `path`, and return the table to print."""
    from piva.evaluation.score import score
    from piva.metrics.table import means, table
    from piva.runs.folder import RunFolder, json_safe
    from piva.runs.provenance import check_device, provenance

    check_device(evaluation.device)
    judges = evaluation.metrics.load(evaluation.device)
    rows = score(evaluation.pairs, judges, evaluation.device)
    networks = dict(judges.names) if judges else {}
    folder = RunFolder(path)
    folder.write_config(evaluation.config)
    folder.write_rows("metrics.csv", rows)
    summary = {
        "mean": json_safe(means(rows)),
        "edits": [json_safe(row) for row in rows],
        "missing": evaluation.missing,
        "metric_networks": networks,
        "choices": evaluation.choices,
        "provenance": provenance(evaluation.device),
    }
    folder.write_json("summary.json", summary)
    return table(rows, networks, evaluation.missing)


@hydra.main(config_path=str(config.CONF), config_name="evaluate", version_base="1.3")
def job(cfg: DictConfig) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        sys.stdout.write(evaluate(check(cfg), folder))
    except InputError:
        if {path.name for path in folder.iterdir()} <= {".hydra", "piva.log"}:  # nothing was begun: no trace
            shutil.rmtree(folder)
        raise
    sys.stdout.write(f"results in {folder}\n")


if __name__ == "__main__":
    answer(job, "evaluate")
