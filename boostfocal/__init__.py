"""Focal loss for gradient boosting with XGBoost and LightGBM."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .classifiers import ModelFileError, load
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

if TYPE_CHECKING:
    from .classifiers.lightgbm import FocalLGBMClassifier
    from .classifiers.xgboost import FocalXGBClassifier

__version__ = version("boostfocal")

__all__ = [
    "AveragePrecision",
    "Brier",
    "CardPrecision",
    "FocalLGBMClassifier",
    "FocalLoss",
    "FocalXGBClassifier",
    "LogLoss",
    "MacroAveragePrecision",
    "ModelFileError",
    "PrecisionAtK",
    "RecallAtPrecision",
    "SoftmaxFocalLoss",
    "cost_threshold",
    "daily_alerts",
    "load",
]

_BY_ENGINE = {"FocalLGBMClassifier": "lightgbm", "FocalXGBClassifier": "xgboost"}


def __getattr__(name: str) -> Any:
    """The classifiers, each when it is asked for: it needs its engine, which need not be installed."""
    if name in _BY_ENGINE:
        return getattr(import_module(f".classifiers.{_BY_ENGINE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
