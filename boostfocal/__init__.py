"""Focal loss for gradient boosting with XGBoost and LightGBM."""

from importlib.metadata import version

from .losses import FocalLoss
from .metrics import AveragePrecision, Brier, CardPrecision, LogLoss, PrecisionAtK, RecallAtPrecision

__version__ = version("boostfocal")

__all__ = [
    "AveragePrecision",
    "Brier",
    "CardPrecision",
    "FocalLoss",
    "LogLoss",
    "PrecisionAtK",
    "RecallAtPrecision",
]
