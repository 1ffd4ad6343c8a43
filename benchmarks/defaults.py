"""Whether the classifiers' default gamma and alpha hold on tables that took no part in choosing or judging them.

Every setting of the grid from which they were chosen, on tables with 0.8 to 20 % positives, beside the default.
"""

import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from _measure import Report, parser, shown
from _tables import RARE, WITH_COSTS, Loader, Table
from classifiers import DEFAULT, ENGINES, FOLDS, GRID, run

from boostfocal.intervals import of_mean

ROWS = 10_000  # of a table at most
SETTINGS: dict[str, dict[str, Any] | None] = {"the engine's own class": None} | {
    f"gamma {gamma:g}, alpha {alpha}": {"focal_gamma": gamma, "focal_alpha": alpha} for gamma, alpha in GRID
}
OURS = list(SETTINGS.values()).index(DEFAULT | {"focal_alpha": 0.5})


def sampled(load: Loader) -> Table:
    return load().sample(ROWS)


def judge(report: Report, loads: Iterable[Loader], folds: int) -> None:
    found = run([partial(sampled, load) for load in loads], list(SETTINGS.values()), folds)
    rows, better = [], []
    for i, name in enumerate(SETTINGS):
        row, gains = [name], []
        for engine in ENGINES:
            of_tables = [by_fold for (_, e), by_fold in found.items() if e == engine]
            (losses, own), (precisions, our) = (
                [np.array([np.mean([fold[s][figure] for fold in t]) for t in of_tables]) for s in (i, OURS)]
                for figure in ("log_loss", "ap")
            )
            for more, digits, sign in ((100 * (losses / own - 1), 2, -1), (precisions - our, 4, 1)):
                middle, half = of_mean(more, 0.0)
                row.append(shown(middle, half, digits))
                gains.append(half is not None and sign * middle > half)
        rows.append(row)
        if all(gains):
            better.append(name)
    columns = ["setting", *(f"{e}: {what}" for e in ENGINES for what in ("log loss, percent more", "AP, more"))]
    sizes = {name: (by_fold[0][0]["rows"], float(by_fold[0][0]["rate"])) for (name, _), by_fold in found.items()}
    report.table("Beside the default, mean over tables with its 95 % interval", columns, rows)
    report.table("Tables", ("table", "rows", "positive"), [(name, *size) for name, size in sizes.items()], 4)
    report.note(f"better in both on both engines, beyond the interval: {', '.join(better) or 'none'}")
    report.target(
        "settings better in log loss and average precision on both engines", len(better), high=0, timing=False
    )


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("defaults", options)
    loads = WITH_COSTS[:1] if options.quick else (*WITH_COSTS, *RARE)
    judge(report, loads, 1 if options.quick else FOLDS)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
