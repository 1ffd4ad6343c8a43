"""Calls that come when the interpreter already ends, and imports that fail."""

import subprocess
import sys

ATEXIT = """
import atexit, threading
import numpy as np
from boostfocal import FocalLoss
from boostfocal.kernels import threads

threads.cpus = lambda: 4
loss, n = FocalLoss(2.0), 1_000_000
y, z = np.zeros(n, np.float32), np.zeros(n, np.float32)
expected = loss.gradient_hessian(y[:1], z[:1])[0][0]

def late():
    gradient, _ = loss.gradient_hessian(y, z)
    print("all" if (gradient == expected).all() else "wrong")

threading._register_atexit(late) if {registered} else atexit.register(late)
"""


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=120)


def test_large_calls_at_the_end_of_the_interpreter_compute_in_their_own_thread() -> None:
    for registered in (True, False):
        done = run(ATEXIT.replace("{registered}", str(registered)))
        assert done.stdout.strip() == "all", done.stderr


def test_an_engine_that_fails_to_import_says_why() -> None:
    """LightGBM does under -OO, which takes its docstrings away."""
    done = run("import lightgbm", "-OO")
    if not done.returncode:
        return
    reason = done.stderr.strip().splitlines()[-1].partition(": ")[2]
    done = run("from boostfocal import FocalLGBMClassifier", "-OO")
    assert reason in done.stderr.strip().splitlines()[-1]
    assert not run(
        "from boostfocal import FocalXGBClassifier, FocalLoss; FocalLoss(2.0).mean([0, 1], [0, 0])", "-OO"
    ).returncode
