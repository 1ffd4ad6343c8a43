"""Shared settings: property tests draw the same examples in every run and write nothing to disk."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Kernels that the tests compile are kept for the next run, beside what pytest keeps. (Their key holds their text.)
os.environ.setdefault("BOOSTFOCAL_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "kernels"))
# Several test processes share the CPUs: each keeps to one thread. (LightGBM's scikit-learn classes ask joblib for the
# number, as `compare` does for that of its processes; `n_threads` is for tests of our own threads.) Threads that a test
# asks for do not wait spinning, which a busy neighbour makes ten times as slow. (All before the engines are imported.)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Without a CUDA device Numba simulates one. (Before Numba is imported.)
if not Path("/proc/driver/nvidia/version").exists():
    os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

import pytest
from hypothesis import settings

from boostfocal.kernels import threads

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-compiler", action="store_true", help="Run kernels on NumPy, as where llvmlite is missing."
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--without-compiler"):
        sys.modules["llvmlite"] = None  # type: ignore[assignment]  # Python's way to say that it cannot be imported
        config.addinivalue_line("filterwarnings", "ignore:boostfocal computes on NumPy:RuntimeWarning")


@pytest.fixture(params=[1, 4], ids=["one thread", "four threads"])
def n_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run large arrays in this many threads, whatever the machine has."""
    monkeypatch.setattr(threads, "cpus", lambda: request.param)
    threads._pool.cache_clear()  # helping threads start once, as many as there were CPUs then
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return int(request.param)


@pytest.fixture(autouse=True)
def no_figure_left() -> Iterator[None]:
    """Close what a test drew: pyplot keeps figures for the tests that follow in the same process."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


SLOW = (
    "test_without_compiler", "test_docs", "test_compare_output", "test_cuda", "test_softmax", "test_backends",
    "test_model_files", "test_kernel_cache", "test_shutdown", "test_dask", "test_compare", "test_classes_in_engines",
    "test_softmax_posterior", "test_multilabel", "test_life_cycle_random", "test_examples",
)  # fmt: skip
"""Files that take long: they train much, start processes, or compile what no other test needs. The longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker("slow")
    # a long file that begins last would leave the other cores without work
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))
