"""Calls that come when the interpreter already ends, and imports that fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def run(code: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, *options, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )


def test_large_calls_at_the_end_of_the_interpreter_compute_in_their_own_thread() -> None:
    for registered in (True, False):
        done = run(ATEXIT.replace("{registered}", str(registered)))
        assert done.stdout.strip() == "all", done.stderr


@pytest.mark.parametrize(
    ("broken", "name", "other"),
    [
        ("lightgbm", "FocalLGBMClassifier", "FocalXGBClassifier"),
        ("xgboost", "FocalXGBClassifier", "FocalLGBMClassifier"),
    ],
)
def test_an_engine_that_fails_to_import_says_why(broken: str, name: str, other: str, tmp_path: Path) -> None:
    """As LightGBM does under -OO, which takes its docstrings away, and either where its library is damaged."""
    (tmp_path / broken).mkdir()
    (tmp_path / broken / "__init__.py").write_text("raise AttributeError('no docstring here')\n")
    front = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    done = run(f"{front}from boostfocal import {name}")
    assert done.returncode
    assert "no docstring here" in done.stderr.strip().splitlines()[-1]
    done = run(f"{front}from boostfocal import {other}, FocalLoss; FocalLoss(2.0).mean([0, 1], [0, 0])")
    assert not done.returncode, done.stderr


def test_lightgbm_without_its_docstrings_says_why(tmp_path: Path) -> None:
    """LightGBM does under -OO, which takes its docstrings away."""
    # no package is installed with byte code for -OO: what the first process compiles is there for the next
    kept = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    done = run("import lightgbm", "-OO", **kept)
    if not done.returncode:
        return
    reason = done.stderr.strip().splitlines()[-1].partition(": ")[2]
    done = run("from boostfocal import FocalLGBMClassifier", "-OO", **kept)
    assert reason in done.stderr.strip().splitlines()[-1]
    fails_too = run("import xgboost", "-OO", **kept).returncode  # XGBoost 3.2 does
    name = "FocalLoss" if fails_too else "FocalXGBClassifier, FocalLoss"
    done = run(f"from boostfocal import {name}; FocalLoss(2.0).mean([0, 1], [0, 0])", "-OO", **kept)
    assert not done.returncode, done.stderr
