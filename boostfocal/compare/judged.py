"""The metrics that judge probabilities on held-out rows, and those of them that may choose among trials.

Multiclass average precision, AUC and calibration are means over the classes, each against the rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boostfocal.decisions import decide, savings
from boostfocal.metrics import PrecisionAtK, RecallAtFalsePositiveRate
from boostfocal.metrics.scores import average_precision, brier, expected_calibration_error, log_loss, roc_auc

from .costs import Costs


@dataclass(frozen=True)
class Metric:
    """A metric of a contender on one split; `short` heads a narrow column."""

    key: str
    title: str
    short: str
    greater_is_better: bool
    score: Callable[[NDArray[Any], NDArray[np.float64]], float]


def metrics_of(
    k: int,
    n_classes: int = 2,
    fpr: float | None = None,
    costs: Costs | None = None,
    amounts: NDArray[np.float64] | None = None,
) -> tuple[Metric, ...]:
    """The metrics of a comparison, in the order of its tables; some are for a binary target only.

    Savings by amount need the amounts of the rows that are judged.
    """
    at_k = Metric("precision_at_k", f"precision@{k}", f"P@{k}", True, PrecisionAtK(k).score)
    asked = []
    if costs is not None:

        def saved(labels: NDArray[Any], proba: NDArray[np.float64]) -> float:
            matrices = costs.matrices(amounts)
            return savings(labels, decide(proba, matrices), matrices)

        asked.append(Metric("savings", "savings", "saved", True, saved))
    if fpr is not None:
        score = RecallAtFalsePositiveRate(fpr).score
        asked.append(Metric("recall_at_fpr", f"recall at FPR {fpr:g}", f"R@{fpr:g}", True, score))
    return (
        SELECTION_METRICS["average_precision"],
        *asked,
        Metric("roc_auc", "ROC AUC", "AUC", True, roc_auc),
        *([at_k] if n_classes == 2 else []),
        SELECTION_METRICS["log_loss"],
        Metric("brier", "Brier score", "Brier", False, brier),
        Metric("calibration_error", "calibration error", "ECE", False, expected_calibration_error),
    )


SelectionMetric = Literal["average_precision", "log_loss"]

SELECTION_METRICS: Mapping[SelectionMetric, Metric] = {
    "average_precision": Metric("average_precision", "average precision", "AP", True, average_precision),
    "log_loss": Metric("log_loss", "log loss", "log loss", False, log_loss),
}
"""The metrics that may choose among trials."""
