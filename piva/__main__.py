"""The command `piva NAME ...`, or `python -m piva NAME ...`; the named command imports what is heavy."""

import sys
from difflib import get_close_matches
from importlib import import_module

from piva import __version__
from piva.commands.help import HELP, explain, purpose

COMMANDS = {  # name: its module, whose `main` reads sys.argv, and its configuration in conf/
    "edit": ("piva.commands.edit", "edit"),
    "run": ("piva.cli", "config"),
    "view": ("piva.view.__main__", "view"),
    "report": ("piva.report.__main__", "report"),
    "export": ("piva.export.__main__", "export"),
    "evaluate": ("piva.evaluate", "evaluate"),
    "fetch": ("piva.fetch", "fetch"),
    "toys": ("piva.commands.toys", "toys"),
    "noe": ("piva.noe.__main__", "build_noe"),
    "dashboard": ("piva.dashboard.__main__", "dashboard"),
}


def main() -> None:
    """Run the command that the first word names; without one, or for help, say what there is."""
    name, *argv = sys.argv[1:] or ["--help"]
    if name in HELP:
        sys.stdout.write(overview())
    elif name == "--version":
        sys.stdout.write(f"piva {__version__}\n")
    elif name not in COMMANDS:
        near = " or ".join(f"piva {each}" for each in get_close_matches(name, COMMANDS))
        remedy = f"did you mean {near}?" if near else "piva --help explains them"
        sys.stderr.write(f"piva: found {name!r}, wanted one of {', '.join(COMMANDS)}; {remedy}\n")
        sys.exit(2)
    elif HELP & {*argv}:
        sys.stdout.write(explain(COMMANDS[name][1], argv))
    else:
        sys.argv = [f"piva {name}", *argv]
        import_module(COMMANDS[name][0]).main()


def overview() -> str:
    """Return what `piva --help` prints."""
    lines = [f"  piva {name:11}{purpose(conf)}" for name, (_, conf) in COMMANDS.items()]
    first = "Edit images and NeRFs with text by score distillation. From Python: piva.edit(...)"
    return "\n".join([first, "", *lines, "", "piva NAME --help explains its keys, with an example."]) + "\n"


if __name__ == "__main__":
    main()
