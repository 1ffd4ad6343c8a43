"""Fresh processes of `_fresh.py`, timed by turns."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

OWN, FIRST, KEPT, NUMPY = "the engine's own", "first time ever", "kernels kept", "without llvmlite"


class Processes:
    """Fresh processes, one after the other. Kernels are kept in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, what: str, *arguments: Any, way: str = KEPT) -> Any:
        with TemporaryDirectory(dir=self._folder) as empty:
            kept = empty if way == FIRST else self._folder / "kept"
            asked = json.dumps([what, arguments, way != NUMPY])
            done = subprocess.run(
                [sys.executable, Path(__file__).parent / "_fresh.py", asked],
                env=os.environ | {"BOOSTFOCAL_CACHE_DIR": str(kept)}, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
        return json.loads(done.stdout)


def in_turns(repeats: int, processes: dict[Any, Callable[[], Any]]) -> dict[Any, list[Any]]:
    """What each returned in each repeat; they take turns. Of several repeats the first is not counted."""
    if repeats > 1:
        for call in processes.values():
            call()
    found: dict[Any, list[Any]] = {name: [] for name in processes}
    for _ in range(repeats):
        for name, call in processes.items():
            found[name].append(call())
    return found


def median(values: Any) -> float:
    return float(np.median(list(values)))
