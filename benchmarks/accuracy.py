"""Are the derivatives right? Ours and the packages' beside references of more than 50 digits.

A reference differentiates the loss numerically at 120 digits (`tests/reference.py`). An error is relative to the
value; of the exact Hessian to the sum of its terms, since they cancel where it changes its sign; values below
1e-30 are taken for 1e-30. Each package gets the margins that its engine hands out: float32 from XGBoost,
float64 from LightGBM. Rows alternate between the labels.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Report, parser
from _peers import formula_in_numpy, installed, missing, numerical_differentiation, of_classes
from numpy.typing import NDArray

from boostfocal import FocalLoss, SoftmaxFocalLoss

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import reference

Array = NDArray[Any]
Rows = Callable[[Array, Array], tuple[Array, Array]]
SMALLEST = 1e-30
REACHES = (30, 700)  # of margins
GAMMAS = (0.5, 1.0, 2.0, 3.0)
TYPES = {"xgboost": np.float32, "lightgbm": np.float64}


def methods(gamma: float) -> list[tuple[str, str, Rows, str]]:
    """Name, dtype of margins, derivatives, and which Hessian they claim to be."""
    found: list[tuple[str, str, Rows, str]] = []
    for dtype in ("float32", "float64"):
        for kind in ("expected", "exact"):
            ours = FocalLoss(gamma, hessian=kind, max_step=np.inf)
            found.append((f"boostfocal, {kind} Hessian", dtype, ours.gradient_hessian, kind))
    for name, package in installed().items():
        rows = partial(package.rows, gamma=gamma)
        found += [(name, np.dtype(TYPES[engine]).name, rows, "exact") for engine in package.engines]
    found.append(("the formula in NumPy", "float64", partial(formula_in_numpy, gamma=gamma), "exact"))
    found.append(("numerical differentiation", "float64", partial(numerical_differentiation, gamma=gamma), "exact"))
    return found


def relative(found: Array, true: Array, scale: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.abs(found - true) / np.maximum(np.abs(scale), SMALLEST)


def summary(gradient: list[Array], hessian: list[Array], results: list[tuple[Array, Array]]) -> list[Any]:
    """Count of values that are not finite, then median and worst errors of the finite ones."""
    values = np.concatenate([np.ravel(part) for pair in results for part in pair])
    line: list[Any] = [int((~np.isfinite(values)).sum()), values.size]
    for errors in (np.concatenate(gradient), np.concatenate(hessian)):
        finite = errors[np.isfinite(errors)]
        line += [float(np.median(finite)), float(finite.max())]
    return line


def binary(report: Report, n: int, gammas: tuple[float, ...]) -> None:
    lines = []
    for reach in REACHES:
        found: dict[tuple[str, str], tuple[list[Array], list[Array], list[tuple[Array, Array]]]] = {}
        for gamma in gammas:
            margins = np.random.default_rng(0).uniform(-reach, reach, n).astype(np.float32)
            y = np.arange(n) % 2
            truth = {what: np.where(y == 1, *(reference.column(margins, gamma, None, what, label) for label in (1, 0)))
                     for what in ("gradient", "exact", "terms")}  # fmt: skip
            truth["expected"] = reference.column(margins, gamma, None, "expected")
            for name, dtype, rows, kind in methods(gamma):
                with np.errstate(all="ignore"):
                    g, h = (np.asarray(part, np.float64) for part in rows(y.astype(np.float32), margins.astype(dtype)))
                scale = truth["terms"] if kind == "exact" else truth["expected"]
                gradient, hessian, results = found.setdefault((name, dtype), ([], [], []))
                gradient.append(relative(g, truth["gradient"], truth["gradient"]))
                hessian.append(relative(h, truth[kind], scale))
                results.append((g, h))
        lines += [(reach, name, dtype, *summary(*parts)) for (name, dtype), parts in found.items()]
        worst = max(max(line[6], line[8]) for line in lines if line[0] == reach and line[1].startswith("boostfocal"))
        report.target(f"ours, margins to {reach}: worst error", worst, high=1e-5, timing=False)
        lost = sum(line[3] for line in lines if line[0] == reach and line[1].startswith("boostfocal"))
        report.target(f"ours, margins to {reach}: values that are not finite", lost, high=0, timing=False)
    columns = (
        "margins up to", "code", "margins", "not finite", "of values", "gradient: median error", "worst",
        "Hessian: median error", "worst Hessian error",
    )  # fmt: skip
    report.table("Binary focal loss", columns, lines, text="{:.1e}")


def several(report: Report, n: int, gamma: float = 2.0, n_classes: int = 4) -> None:
    report.note(f"softmax: {n_classes} classes, gamma {gamma:g}")
    lines = []
    y = np.arange(n) % n_classes
    for spread in (2, 10):
        margins = np.random.default_rng(0).normal(0, spread, (n, n_classes)).astype(np.float32)
        rows = [reference.class_row(tuple(map(float, z)), gamma, (1.0,) * n_classes) for z in margins]
        gradients = np.array([[float(v) for v in row.gradient[k]] for row, k in zip(rows, y, strict=True)])
        exact = np.array([[float(v) for v in row.exact[k]] for row, k in zip(rows, y, strict=True)])
        expected = np.array([[float(v) for v in row.expected] for row in rows])
        terms = np.maximum(np.abs(exact), np.array([[float(r.terms[k])] for r, k in zip(rows, y, strict=True)]))
        calls: list[tuple[str, Rows, Array, Array]] = [
            ("boostfocal, expected Hessian", SoftmaxFocalLoss(n_classes, gamma, max_step=np.inf).gradient_hessian,
             expected, expected),
            ("boostfocal, exact Hessian", SoftmaxFocalLoss(n_classes, gamma, hessian="exact").gradient_hessian,
             exact, terms),
        ]  # fmt: skip
        calls += [(name, call, exact, terms) for name, call in of_classes(n_classes, gamma).items()]
        for name, call, hessian, scale in calls:
            with np.errstate(all="ignore"):
                g, h = (np.asarray(part, np.float64) for part in call(y.astype(np.float32), margins))
            order = "F" if g.ndim == 1 else "C"
            g, h = (part.reshape((n, n_classes), order=order) for part in (g, h))
            errors = [relative(g, gradients, gradients).ravel()], [relative(h, hessian, scale).ravel()]
            lines.append((spread, name, *summary(*errors, [(g, h)])))
    columns = (
        "deviation of margins", "code", "not finite", "of values", "gradient: median error", "worst",
        "Hessian: median error", "worst Hessian error",
    )  # fmt: skip
    report.table("Softmax focal loss", columns, lines, text="{:.1e}")


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report("accuracy", options)
    if missing():
        report.note(f"not installed, left out: {', '.join(missing())}")
    gammas = (2.0,) if options.quick else GAMMAS
    report.note(f"gammas of the binary loss: {', '.join(map(str, gammas))}")
    binary(report, 40 if options.quick else 1000, gammas)
    several(report, 8 if options.quick else 200)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
