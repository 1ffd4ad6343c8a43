"""Printing that cannot fail: results that took hours must not depend on who reads the terminal."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Literal, TextIO

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def escaped(text: str) -> str:
    """The text with its control characters written out, because a terminal may do anything with them."""
    return CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


class Tolerant:
    """`sys.stdout` or `sys.stderr`, which falls silent when it is closed or full, and replaces what its encoding lacks.

    Silent means that it writes to the null device from then on, since others, such as workers, flush it, too.
    """

    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        if getattr(sys, name) is None:  # its number may be free: the next file to be opened would get it
            descriptor, number = os.open(os.devnull, os.O_WRONLY), {"stdout": 1, "stderr": 2}[name]
            try:
                os.fstat(number)
            except OSError:
                os.dup2(descriptor, number)
                descriptor = number
            os.set_inheritable(descriptor, True)  # workers need one
            setattr(sys, name, open(descriptor, "w", encoding="utf-8"))  # noqa: SIM115 (until the process ends)
        self._stream: TextIO = getattr(sys, name)

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        self._try("write", text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def _try(self, method: str, *arguments: str) -> None:
        try:
            getattr(self._stream, method)(*arguments)
        except (OSError, ValueError):  # a closed file raises a ValueError
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does, so that it ends the workers, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
