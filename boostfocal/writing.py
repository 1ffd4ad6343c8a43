"""Files that appear whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole, or leave what is there: it is written beside, flushed, and renamed.

    Raises
    ------
    OSError
        If it cannot be written; the error has the path.
    """
    target = _target(path)
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666
    unfinished = _beside(target)
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    except BaseException:
        with suppress(OSError):
            os.remove(unfinished)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a file that `write` could not write, and leave everything as it is.

    Raises
    ------
    OSError
    """
    unfinished = _beside(_target(path))
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.remove(unfinished)


def _target(path: str | os.PathLike[str]) -> Path:
    target = Path(os.path.realpath(path))  # a link stays one
    if target.exists() and not target.is_file():
        raise OSError(f"{path} is a folder, a device or something else that is no file")
    return target


def _beside(target: Path) -> Path:
    """A name in the same folder that nobody has."""
    return target.with_name(f".{target.name[:40]}.{uuid4().hex}")
