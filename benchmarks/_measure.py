"""What the benchmarks share: options, interleaved timing, tables, targets, and the figures as JSON."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "boostfocal", "numpy", "numba", "scikit-learn", "xgboost", "xgboost-cpu", "lightgbm",
    "imbalance-xgboost", "imlightgbm", "gbdtCBL", "bokbokbok", "empulse",
)  # fmt: skip
Seconds = NDArray[np.float64]


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--quick", action="store_true", help="a small size, in seconds; timing targets are not judged")
    result.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    result.add_argument("--record", action="store_true", help="write them to benchmarks/results, for README and site")
    result.add_argument(
        "--patience", type=float, default=300, metavar="SECONDS", help="to wait for other processes to be done, in all"
    )
    return result


def shown(mean: float, half: float | None, digits: int = 4) -> str:
    """A difference with half its interval, if there is one."""
    return f"{mean:+.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


def ratio(ours: Seconds, rival: Seconds) -> float:
    """Median over repeats of ours / rival, each pair timed one after the other."""
    return float(np.median(ours / rival))


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def other_load() -> float:
    """CPU seconds since the machine started that were not this process's: other processes', or stolen. Linux only."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, interrupts, soft_interrupts, stolen, *_ = map(int, stat.read_text().split()[1:11])
    ticks = user + nice + system + interrupts + soft_interrupts + stolen
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


class Report:
    """Times calls, prints tables as they come, remembers them for JSON, and counts the targets that were missed."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self._options = options
        self._console = Console(width=130, highlight=False)
        self._missed = 0
        self._patience = 0.0 if options.quick else options.patience  # seconds
        machine = {"cpu": cpu_model(), "cores": int(cpu_count()), "system": platform.platform(terse=True)}
        versions = {"python": platform.python_version()} | {p: v for p in PACKAGES if (v := _version(p))}
        self.figures: dict[str, Any] = {
            "benchmark": name, "quick": options.quick, "machine": machine, "versions": versions,
            "tables": {}, "formats": {}, "values": {}, "targets": [], "notes": [],
        }  # fmt: skip
        self._console.print(f"[bold]{name}[/bold]: {machine['cpu']}, {machine['cores']} cores, {machine['system']}")
        self._console.print(", ".join(f"{package} {number}" for package, number in versions.items()))

    def alternate(
        self, calls: Mapping[str, Callable[[], object]], repeats: int, *, calm: bool = False
    ) -> dict[str, Seconds]:
        """Seconds of every call in each repeat, after one call of each that is not counted.

        The calls take turns, A B A B, so that a slow spell of the machine meets them all. With `calm`,
        for calls of several threads, repeats in which other processes took a tenth of a CPU are done
        again as long as patience lasts: a thread that loses its CPU stalls all that wait for it.
        """
        for call in calls.values():
            call()
        kept: list[list[float]] = []
        disturbed = 0
        while len(kept) < repeats:
            began = time.perf_counter()
            while calm and self._patience > time.perf_counter() - began and _others_work():
                pass
            batch: list[list[float]] = []
            load, begin = other_load(), time.perf_counter()
            while len(kept) + len(batch) < repeats and time.perf_counter() - begin < 1:
                batch.append([_seconds(call) for call in calls.values()])
            busy = calm and other_load() - load > 0.05 + 0.1 * (time.perf_counter() - begin)
            again = calm and busy and self._patience > 0
            self._patience -= (time.perf_counter() if again else begin) - began
            if not again:
                kept += batch
                disturbed += busy * len(batch)
        if disturbed:
            self.note(f"other processes were at work in {disturbed} of {repeats} repeats of: {', '.join(calls)}")
        return dict(zip(calls, np.array(kept).T, strict=True))

    def note(self, text: str) -> None:
        self._console.print(text, markup=False)
        self.figures["notes"].append(text)

    def value(self, name: str, value: float, text: str = "{:.3g}") -> None:
        """A single figure, under a name by which pages can ask for it."""
        self._console.print(f"{name}: {text.format(value)}", markup=False)
        self.figures["values"][name] = value

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], digits: int = 3, *, text: str = ""
    ) -> None:
        """Print rows and keep them; `text` formats the numbers that are not whole, instead of `digits`."""
        text = text or f"{{:.{digits}f}}"
        self._console.print(f"\n[bold]{title}[/bold]")
        shown = Table()
        for index, column in enumerate(columns):
            shown.add_column(column, justify="right" if index else "left")
        for row in rows:
            shown.add_row(*(text.format(cell) if isinstance(cell, float) else str(cell) for cell in row))
        self._console.print(shown)
        kept = [[None if cell != cell else cell for cell in row] for row in rows]  # JSON has no NaN
        self.figures["formats"][title] = text
        self.figures["tables"][title] = [dict(zip(columns, row, strict=True)) for row in kept]

    def target(
        self, name: str, value: float, *, low: float = -np.inf, high: float = np.inf, timing: bool = True
    ) -> None:
        """Whether a figure lies in its bounds. Timings of a quick run are shown but not judged."""
        met = bool(low <= value <= high)
        judged = not (timing and self._options.quick)
        self._missed += judged and not met
        bound = f"at least {low:g}" if low > -np.inf else f"at most {high:g}"
        verdict = ("met" if met else "MISSED") if judged else "not judged"
        self._console.print(f"{verdict}: {name}: {value:.3g} ({bound})", markup=False)
        self.figures["targets"].append({"name": name, "value": value, "bound": bound, "met": met, "judged": judged})

    def finish(self) -> int:
        """Write the figures if that was asked for. Returns the exit status: 1 if a target was missed."""
        record = [RESULTS / f"{self.figures['benchmark']}.json"] if self._options.record else []
        for file in filter(None, [self._options.json, *record]):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_as_json(self.figures))
        return int(self._missed > 0)


def _as_json(figures: dict[str, Any]) -> str:
    """Indented, but with a table's row on one line, so that a change of the record can be read."""
    tables = {title: [json.dumps(row, ensure_ascii=False) for row in rows] for title, rows in figures["tables"].items()}
    text = json.dumps(figures | {"tables": tables}, indent=1, ensure_ascii=False)
    for row in {row for rows in tables.values() for row in rows}:
        text = text.replace(json.dumps(row, ensure_ascii=False), row)
    return text + "\n"


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _others_work() -> bool:
    load = other_load()
    time.sleep(0.5)
    return other_load() - load > 0.05


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
