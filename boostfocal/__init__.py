"""Focal loss for gradient boosting with XGBoost and LightGBM."""

from importlib.metadata import version

from .decisions import cost_threshold, daily_alerts
from .focal import FocalLoss
from .metrics import (
    AveragePrecision,
    Brier,
    CardPrecision,
    LogLoss,
    MacroAveragePrecision,
    PrecisionAtK,
    RecallAtPrecision,
)
from .softmax import SoftmaxFocalLoss

__version__ = version("boostfocal")

__all__ = [
    "AveragePrecision",
    "Brier",
    "CardPrecision",
    "FocalLoss",
    "LogLoss",
    "MacroAveragePrecision",
    "PrecisionAtK",
    "RecallAtPrecision",
    "SoftmaxFocalLoss",
    "cost_threshold",
    "daily_alerts",
]
