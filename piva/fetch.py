"""Download the weights of others that a run needs: `python -m piva.fetch profile=gpu [to=FOLDER] [dry=true]`.

The overrides are those of piva.run; dry=true only says what is there and what is missing. With to=FOLDER
everything is downloaded into a folder that can be carried to a machine without network.
"""

import shlex
import sys
from pathlib import Path

from piva.cli import run_cli
from piva.config import build, compose, settings_class
from piva.errors import InputError
from piva.files import user_path
from piva.weights import Weights, required

ROLES = ("prior", "model", "metrics")  # the parts that can name weights


def fetch(*words: str) -> None:
    """Download what a run of these overrides needs and this machine, or `to`, lacks. Raises `InputError`."""
    cfg = compose(*words, name="fetch")
    if not isinstance(cfg.dry, bool):
        raise InputError("dry", repr(cfg.dry), "true or false")
    to = None if cfg.to is None else user_path(cfg.to, "to").resolve()
    settings = {name: build(settings_class(cfg.get(name), name), cfg[name], name) for name in ROLES}
    needs = required(settings.values())
    for need in needs:
        _get(need, to, cfg.dry)
    if not needs:
        _say("nothing to download: all weights of these settings come with the package or lie in own folders")
    elif to:
        where = shlex.join(
            [f"HF_HOME={to / 'huggingface'}", f"TORCH_HOME={to / 'torch'}", "HF_HUB_OFFLINE=1"]
        )
        _say(f"on the other machine, with that folder's place there: export {where}")


def _get(need: Weights, to: Path | None, dry: bool) -> None:
    if to is None and (found := need.find()):
        _say(f"there:   {need.name}: {found}")
        return
    size = need.size()
    megabytes = (
        "size unknown without its server" if size is None else f"{size / 1e6:,.{0 if size > 1e6 else 3}f} MB"
    )
    if dry:
        _say(f"missing: {need.name}: not in {to or need.place}; {megabytes}")
    else:
        _say(f"getting: {need.name}; {megabytes}")
        need.fetch(to)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    run_cli(lambda: fetch(*sys.argv[1:]), "fetch")


if __name__ == "__main__":
    main()
