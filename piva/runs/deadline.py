"""A limit on what other programs' servers may take, however they take it."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises; `TimeoutError` if that takes longer.

    A request's own limit begins anew with each byte, so that a slow server could hold it for hours. The
    work's thread is left to itself then, and ends with the process at the latest; Ctrl-C is heard meanwhile.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # whatever it is, it is the caller's
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise
        raise TimeoutError(f"timed out after {seconds:g} s") from None
