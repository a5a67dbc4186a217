"""The one error for bad input: it becomes one line on the terminal and exit code 2, without a traceback."""

LONGEST = 1600  # characters of a message


class InputError(ValueError):
    """Something the user gave is wrong: the key or file, what was found, what was wanted, and the remedy."""

    def __init__(self, where: object, found: str, wanted: str, remedy: str = "") -> None:
        super().__init__(f"{where}: found {found}, wanted {wanted}" + (f"; {remedy}" if remedy else ""))


class WriteError(InputError):
    """Results cannot be written (a full disk, a read-only folder): nothing that follows could be kept."""


class EditsFailed(RuntimeError):
    """Some edits of a run, or objects of a benchmark, failed; the others are finished."""


def out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: Python and CUDA say so by a class, torch on a CPU by its words."""
    words = "not enough memory", "can't allocate memory", "out of memory"
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def one_line(error: object) -> str:
    """Return an error's message as one line of printable characters, long ones without their middle.

    What a terminal would obey or could not write (escapes, half characters of a file's name) is spelled out.
    """
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
