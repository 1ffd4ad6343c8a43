"""How rows are shared among threads: few helpers, taken from a pool, and none for small inputs."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from joblib import cpu_count

PER_THREAD = 100_000  # elements; below, handing rows to another thread costs more than it saves

# An engine's own workers spin for some milliseconds after each of their tasks: a helper that wants their
# CPU is slower than none. See benchmarks/training.py.
PER_THREAD_IN_ENGINE = 4_000_000

Work = Callable[[slice], bool]


def count(n_elements: int, in_engine: bool = False) -> int:
    """Threads for a call: the CPUs this process may use, at most OMP_NUM_THREADS, one if it is small."""
    wanted = max(1, n_elements // (PER_THREAD_IN_ENGINE if in_engine else PER_THREAD))
    if wanted == 1:
        return 1
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(wanted, cpus(), int(limit) if limit.isdigit() and int(limit) > 0 else wanted)


@lru_cache(maxsize=1)
def cpus() -> int:
    return int(cpu_count())  # affinity and container quota; reading them costs as much as 100k rows


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """The helping threads of this process: a forked child has another id, and starts its own."""
    return ThreadPoolExecutor(max(1, cpus() - 1), thread_name_prefix="boostfocal")


def run(new_worker: Callable[[], Work], n_rows: int, step: int, threads: int) -> bool:
    """Call workers, one a thread, on pieces of `step` rows as they get done. True if any call returned True."""
    starts: Iterator[int] = iter(range(0, n_rows, step))  # shared: taking the next start is atomic

    def work() -> bool:
        worker = new_worker()
        found = False
        for start in starts:
            found |= worker(slice(start, min(start + step, n_rows)))
        return found

    if threads == 1:
        return work()
    helping = [_pool(os.getpid()).submit(work) for _ in range(threads - 1)]
    found = work()
    for future in helping:
        if not future.cancel():  # one that has not begun, as other callers keep the pool busy, has nothing left to do
            found |= future.result()
    return found


def piece(n_rows: int, threads: int) -> int:
    """Rows in few large pieces: two a thread, so that one that is held up takes fewer."""
    return -(-n_rows // (2 * threads if threads > 1 else 1))
