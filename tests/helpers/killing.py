"""A process that forks runs and kills them with SIGKILL at random: `killing.py FOLDER KILLS OVERRIDES...`.

Forked, as importing torch takes longer than the run. FOLDER gets `unbroken`, `killed-0`, `killed-1`, ... :
each killed run starts again until it has finished or the kills are used up; the last is as its last kill left
it. After each kill every file is read. Prints how many kills met a begun run, and how many a checkpoint.
"""

import csv
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from PIL import Image
from safetensors.torch import load_file
from torch import load

import piva.experiment.run  # noqa: F401 - here, before the forks
from piva import compose, run


def fork(folder: Path, overrides: list[str]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            run(compose(*overrides, f"hydra.run.dir={folder}"))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def read_all(folder: Path) -> None:
    """Raise if a file that has its own name is torn. Of metrics.jsonl alone the end may be."""
    for path in folder.rglob("*"):
        match path.suffix if ".tmp" not in str(path) else "":
            case ".json":
                json.loads(path.read_text())
            case ".png":
                Image.open(path).load()
            case ".safetensors":
                load_file(path)
            case ".pt":
                load(path, weights_only=True)
            case ".csv":
                assert len({len(row) for row in csv.reader(path.read_text().splitlines())}) == 1


def main(root: Path, kills: int, overrides: list[str]) -> None:
    begun = time.monotonic()
    assert os.waitpid(fork(root / "unbroken", overrides), 0)[1] == 0
    longest = time.monotonic() - begun
    chance, at_work, with_checkpoint, number = random.Random(0), 0, 0, 0
    while kills:
        folder = root / f"killed-{number}"
        pid = fork(folder, overrides)
        time.sleep(chance.uniform(0.3, 1) * longest)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            assert status == 0
            number += 1
            continue
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills -= 1
        at_work += (folder / "config.yaml").exists()
        with_checkpoint += bool(list(folder.glob("checkpoints/**/*-*.pt")))
        read_all(folder)
    sys.stdout.write(json.dumps({"at_work": at_work, "with_checkpoint": with_checkpoint}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
