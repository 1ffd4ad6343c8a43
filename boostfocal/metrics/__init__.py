"""Metrics for both engines, early stopping included, that are correct under a custom objective.

Each is a callable for ``custom_metric`` and ``eval_metric`` of XGBoost and ``feval`` and ``eval_metric``
of LightGBM, and has ``score(y, margin, sample_weight)`` for use without an engine. XGBoost maximizes
a metric only if its name begins with auc, pre, map or ndcg. The names here are chosen so that early
stopping goes the right way on both engines.

The engines' own ``logloss`` and ``binary_logloss`` take the raw margin for a probability under a
custom objective. Use `LogLoss` and `Brier`, which take the loss that the model is trained with.
"""

from .base import Brier, ExpectedSavings, FocalMetric, LogLoss, MacroAveragePrecision, MeanMetric, Metric
from .ranking import (
    AveragePrecision,
    CardPrecision,
    PartialAUC,
    PrecisionAtK,
    RankingMetric,
    RecallAtFalsePositiveRate,
    RecallAtPrecision,
)
from .registry import by_name

__all__ = [
    "AveragePrecision", "Brier", "CardPrecision", "ExpectedSavings", "FocalMetric", "LogLoss",
    "MacroAveragePrecision", "MeanMetric", "Metric", "PartialAUC", "PrecisionAtK", "RankingMetric",
    "RecallAtFalsePositiveRate", "RecallAtPrecision", "by_name",
]  # fmt: skip
