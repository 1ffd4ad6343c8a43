"""Bytes that a focal objective moves, and what share of a boosting round that is: on paper, not measured.

A round is the time to build one tree, limited by the memory that it reads: in each of its levels the bins of the
rows, their gradients and their positions, at the share of a device's bandwidth that histograms reach. The objective's
own time is that of its bytes at the bandwidth they move at. Bandwidths are the makers' figures; change them for
yours. What a round takes on a GPU is measured instead, by `benchmarks/gpu.py`.

    python benchmarks/traffic.py [--features 30] [--depth 6]
"""

import sys
from dataclasses import dataclass

from _measure import Report, parser

REACHED = 0.25  # share of the bandwidth that building histograms reaches
KERNEL = 1.2  # ns a row and thread of `benchmarks/kernels.py`
ONE_THREAD = 8_000_000  # rows below which a call by an engine stays on one thread


@dataclass(frozen=True)
class Machine:
    name: str
    threads: int
    memory: float  # GB/s
    network: float  # GB/s between machines


CPU = Machine("32 threads", 32, 300, 3)


@dataclass(frozen=True)
class Path:
    """Bytes of a row in a round. The engine's own copies of gradients are in it."""

    name: str
    memory: int
    exchanges: bool = True  # between workers; LightGBM's metrics are those of one


# margin 4 and label 4 are read, gradient and Hessian 8 written; XGBoost copies them (8 + 8)
XGBOOST = Path("XGBoost", 16 + 16)
# float64 margins 8, label 4, results 8; LightGBM copies them (8 + 8)
LIGHTGBM = Path("LightGBM", 20 + 16, exchanges=False)

PATHS = ((CPU, XGBOOST), (CPU, LIGHTGBM))
# bytes of each exchange of a worker in a round: whether any has failed, 8; of a metric two float64 besides
EXCHANGED = {"the objective": (8,), "a metric that is a mean": (8, 16)}
FLEET = ((1_000_000, 1), (100_000_000, 1), (10_000_000_000, 100))  # rows, machines


def tree_seconds(rows: float, machine: Machine, features: int, depth: int) -> float:
    """Reading bins of one byte, gradients of eight and positions of four in every level."""
    return rows * depth * (features + 12) / (machine.memory * 1e9 * REACHED)


def objective_seconds(rows: float, machine: Machine, path: Path) -> dict[str, float]:
    threads = machine.threads if rows >= ONE_THREAD else 1
    return {
        "memory": rows * path.memory / (machine.memory * 1e9),
        "arithmetic": rows * KERNEL * 1e-9 / threads,
    }


def network_seconds(machines: int, machine: Machine, features: int, depth: int) -> tuple[float, float]:
    """Of the objective's and a metric's few bytes, and of the histograms of a tree, which any objective has."""
    if machines == 1:
        return 0.0, 0.0
    latency = 50e-6 * machines.bit_length()
    nodes = 2 ** (depth - 1)  # of the largest level; the smaller sibling is subtracted
    histograms = 2 * 2 * nodes * features * 256 * 16 / (machine.network * 1e9)  # a ring moves them twice
    return latency * sum(map(len, EXCHANGED.values())), histograms + depth * latency


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--features", type=int, default=30)
    arguments.add_argument("--depth", type=int, default=6)
    options = arguments.parse_args()
    report = Report("traffic", options)
    lines, shares = [], []
    for machine, path in PATHS:
        shared: list[float] = []
        for rows, machines in FLEET:
            own = rows / machines
            parts = objective_seconds(own, machine, path)
            exchanges, histograms = network_seconds(machines, machine, options.features, options.depth)
            exchanges = exchanges if path.exchanges else 0.0
            tree = tree_seconds(own, machine, options.features, options.depth) + histograms
            objective = sum(parts.values())
            shared.append((objective + exchanges) / (objective + exchanges + tree))
            where = (f"{machines} x " if machines > 1 else "") + machine.name
            limit = max(parts, key=lambda name: parts[name])
            lines.append((path.name, where, rows, objective * 1e3, tree * 1e3, exchanges * 1e3, shared[-1], limit))
        shares.append((path.name, machine.name, *shared))
    bytes_moved = [(path.name, path.memory) for _, path in PATHS]
    columns: tuple[str, ...] = ("path", "memory")
    report.table("Bytes a row and round", columns, bytes_moved)
    columns = ("path", "machine", "rows", "objective, ms", "tree, ms", "exchanges, ms", "share", "limited by")
    report.table("A round", columns, lines, text="{:.3g}")
    sizes = [f"{rows:,} rows" + f" on {machines} machines" * (machines > 1) for rows, machines in FLEET]
    report.table("The objective's share of a round", ("path", "machine", *sizes), shares, text="{:.0%}")
    for name, parts in EXCHANGED.items():
        report.value(f"bytes a worker exchanges for {name}", sum(parts), "{:.0f}")
    report.note(f"{options.features} features, depth {options.depth}; on paper, nothing is measured")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
