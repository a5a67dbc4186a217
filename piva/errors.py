"""The one error for bad input: it becomes one line on the terminal and exit code 2, without a traceback."""


class InputError(ValueError):
    """Something the user gave is wrong: the key or file, what was found, what was wanted, and the remedy."""

    def __init__(self, where: object, found: str, wanted: str, remedy: str = "") -> None:
        super().__init__(f"{where}: found {found}, wanted {wanted}" + (f"; {remedy}" if remedy else ""))


class WriteError(InputError):
    """Results cannot be written (a full disk, a read-only folder): nothing that follows could be kept."""


class EditsFailed(RuntimeError):
    """Some edits of a run, or objects of a benchmark, failed; the others are finished."""


def one_line(error: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())
