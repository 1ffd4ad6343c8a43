"""The loss in threads, forks, spawned processes, and where nothing can be written."""

import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from boostfocal import FocalLoss

TIMEOUT = 60
LOSS = FocalLoss(2.0, 0.25)


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 2, n), rng.normal(scale=3, size=n)


def digest(loss: FocalLoss, n: int) -> bytes:
    labels, margins = rows(n)
    gradient, hessian = loss.gradient_hessian(labels, margins)
    return gradient.tobytes() + hessian.tobytes() + np.float64(loss.mean(labels, margins)).tobytes()


def test_one_loss_in_8_threads_at_once_gives_the_same_results(n_threads: int) -> None:
    loss = FocalLoss((3.5, 6.5 - n_threads / 2), 0.25)  # not yet compiled: the threads meet in the compiler, too
    sizes = [50_000, 250_000, 450_000, 1_000] * 2  # so that they ask for different numbers of helpers
    together = Barrier(len(sizes))

    def work(n: int) -> list[bytes]:
        together.wait(TIMEOUT)
        return [digest(loss, n) for _ in range(3)]

    with ThreadPoolExecutor(len(sizes)) as pool:
        results = list(pool.map(work, sizes, timeout=TIMEOUT))
    for n, repeated in zip(sizes, results, strict=True):
        assert repeated == [digest(loss, n)] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # from Python 3.12 on, for a process with threads
@pytest.mark.parametrize("n", [1_000, 450_000])
def test_fork_of_a_process_that_used_threads_works(n: int, n_threads: int) -> None:
    expected = digest(LOSS, 450_000), digest(LOSS, n)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        answers = [pool.apply_async(digest, (LOSS, n)) for _ in range(4)]
        assert [answer.get(TIMEOUT) for answer in answers] == [expected[1]] * 4
    assert digest(LOSS, 450_000) == expected[0]


def test_spawned_process_takes_a_pickled_loss() -> None:
    labels, margins = rows(1000)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        gradient, hessian = pool.apply_async(LOSS.gradient_hessian, (labels, margins)).get(TIMEOUT)
        metric = pool.apply_async(LOSS.metric.score, (labels, margins)).get(TIMEOUT)
    expected = LOSS.gradient_hessian(labels, margins)
    assert (gradient.tobytes(), hessian.tobytes()) == (expected[0].tobytes(), expected[1].tobytes())
    assert metric == LOSS.metric.score(labels, margins)


def run(code: str, directory: Path, **environment: str | None) -> str:
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=directory,
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("home", [None, "/dev/null/nowhere"])
def test_nothing_needs_to_be_written(home: str | None, tmp_path: Path) -> None:
    code = f"""
import pickle
import numpy as np
from boostfocal import FocalLoss
loss = pickle.loads({pickle.dumps(LOSS)!r})
margins = np.linspace(-5, 5, 300_000)
labels = np.arange(margins.size) % 2
gradient, hessian = loss.gradient_hessian(labels, margins)
print(gradient.sum(dtype=float), hessian.sum(dtype=float), loss.metric.score(labels, margins))
"""
    tmp_path.chmod(0o555)
    places = ("TMPDIR", "TEMP", "TMP", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "BOOSTFOCAL_CACHE_DIR")
    nowhere = dict.fromkeys(places, "/dev/null/nowhere")
    output = run(code, tmp_path, HOME=home, **nowhere)
    assert not list(tmp_path.iterdir())

    margins = np.linspace(-5, 5, 300_000)
    labels = np.arange(margins.size) % 2
    gradient, hessian = LOSS.gradient_hessian(labels, margins)
    expected = gradient.sum(dtype=float), hessian.sum(dtype=float), LOSS.metric.score(labels, margins)
    assert [float(number) for number in output.split()] == pytest.approx(expected, rel=1e-12)


def test_scoring_imports_no_compiler_and_no_engine(tmp_path: Path) -> None:
    code = """
import sys
from boostfocal import FocalLoss
loss = FocalLoss(2.0, 0.25)
loss.predict_proba([0.0, 1.0]), loss.margin(0.3), loss.value([0, 1], [0.0, 1.0]), loss.optimal_margin([0, 1, 1])
FocalLoss.balanced([0, 1, 1])
loss.metric
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    imported = set(run(code, tmp_path).split())
    assert {"boostfocal", "numpy"} <= imported
    assert not imported & {"numba", "llvmlite", "joblib", "xgboost", "lightgbm", "sklearn", "pandas", "matplotlib"}
