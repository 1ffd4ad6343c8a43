"""How rows are shared among threads: few helpers, taken from a pool, and none for small inputs.

All threads of a call take pieces of its rows from one counter until none is left. They do so inside compiled code, so
that none waits for Python's lock. A helper that wakes up late takes fewer pieces.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from time import perf_counter, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

PER_THREAD = 100_000  # elements; below, waking another thread costs more than it saves

# An engine's own workers spin for some milliseconds after each of their tasks: a helper that wants their
# CPU is slower than none. See benchmarks/training.py.
PER_THREAD_IN_ENGINE = 4_000_000

PATIENCE = 0.0002  # seconds of looking at the counter: sleeping and waking up takes as long

Progress = NDArray[np.int64]
"""What the threads of a call share: the next row to take, the rows that are done, and whether a bad value was met."""

NEXT, DONE, INVALID = 0, 8, 16  # each in a cache line of its own

Work = Callable[[Progress], Any]


def count(n_elements: int, in_engine: bool = False) -> int:
    """Threads for a call: the CPUs this process may use, at most OMP_NUM_THREADS, one if it is small."""
    wanted = max(1, n_elements // (PER_THREAD_IN_ENGINE if in_engine else PER_THREAD))
    if wanted == 1:
        return 1
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(wanted, cpus(), int(limit) if limit.isdecimal() and int(limit) > 0 else wanted)


@lru_cache(maxsize=1)
def cpus() -> int:
    from joblib import cpu_count  # not at import, which takes longer than loading a kernel

    return int(cpu_count())  # affinity and container quota; reading them costs as much as 100k rows


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """The helping threads of this process: a forked child has another id, and starts its own."""
    return ThreadPoolExecutor(max(1, cpus() - 1), thread_name_prefix="boostfocal")


def run(work: Work, n_rows: int, threads: int) -> bool:
    """Call `work` in each thread, which takes rows until all are taken. True if a bad value was met."""
    progress = begin()
    if threads == 1:
        work(progress)
        return bool(progress[INVALID])
    helping = []
    with suppress(RuntimeError):  # after the interpreter began to end, no thread may start: this one computes all
        helping = [_pool(os.getpid()).submit(work, progress) for _ in range(threads - 1)]
    work(progress)
    if not _all_done(progress, n_rows):
        for future in helping:
            if not future.cancel():
                future.result()
    for future in helping:  # one that has not begun, as other callers keep the pool busy, has nothing left to do
        future.cancel()
    return bool(progress[INVALID])


def _all_done(progress: Progress, n_rows: int) -> bool:
    """Wait briefly, and tell whether all rows are done."""
    until = perf_counter() + PATIENCE
    while progress[DONE] < n_rows:
        if perf_counter() > until:
            return False
        sleep(0)  # lets go of Python's lock
    return True


def in_pieces(new_worker: Callable[[], Callable[[slice], bool]], n_rows: int, step: int) -> Work:
    """Work for `run` that hands out pieces of rows in Python; each thread has a worker of its own."""
    lock = Lock()

    def work(progress: Progress) -> None:
        worker = new_worker()
        while True:
            with lock:
                start = int(progress[NEXT])
                progress[NEXT] += step
            if start >= n_rows:
                return
            stop = min(start + step, n_rows)
            has_invalid = worker(slice(start, stop))
            with lock:
                progress[INVALID] |= has_invalid
                progress[DONE] += stop - start

    return work


def begin() -> Progress:
    return np.zeros(INVALID + 1, np.int64)
