"""Focal loss for gradient boosting with XGBoost and LightGBM."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .classifiers import TRUSTED_TYPES, ModelFileError, load
from .decisions import (
    Threshold,
    constrained_threshold,
    cost_matrix,
    cost_threshold,
    daily_alerts,
    decide,
    expected_savings,
    mean_cost,
    savings,
)
from .focal import FocalLoss
from .metrics import (
    AveragePrecision,
    Brier,
    CardPrecision,
    ExpectedSavings,
    LogLoss,
    MacroAveragePrecision,
    PartialAUC,
    PrecisionAtK,
    RecallAtFalsePositiveRate,
    RecallAtPrecision,
)
from .softmax import SoftmaxFocalLoss
from .warming import warm_up

if TYPE_CHECKING:
    from .classifiers.lightgbm import FocalLGBMClassifier
    from .classifiers.xgboost import FocalXGBClassifier
    from .device_training import TrainingOnDevice

    __version__: str

__all__ = [
    "TRUSTED_TYPES",
    "AveragePrecision",
    "Brier",
    "CardPrecision",
    "ExpectedSavings",
    "FocalLGBMClassifier",
    "FocalLoss",
    "FocalXGBClassifier",
    "LogLoss",
    "MacroAveragePrecision",
    "ModelFileError",
    "PartialAUC",
    "PrecisionAtK",
    "RecallAtFalsePositiveRate",
    "RecallAtPrecision",
    "SoftmaxFocalLoss",
    "Threshold",
    "TrainingOnDevice",
    "constrained_threshold",
    "cost_matrix",
    "cost_threshold",
    "daily_alerts",
    "decide",
    "expected_savings",
    "load",
    "mean_cost",
    "savings",
    "warm_up",
]

_BY_ENGINE = {
    "FocalLGBMClassifier": "classifiers.lightgbm",
    "FocalXGBClassifier": "classifiers.xgboost",
    "TrainingOnDevice": "device_training",
}


def __getattr__(name: str) -> Any:
    """Import what takes long only when it is asked for; an engine need not be installed."""
    if name == "__version__":
        from importlib.metadata import version

        return version("boostfocal")
    if name in _BY_ENGINE:
        try:
            module = import_module(f".{_BY_ENGINE[name]}", __name__)
        except AttributeError as error:  # from LightGBM under -OO; Python would hide it behind one of ours
            raise ImportError(f"{name} cannot be imported, as its engine fails: {error}") from error
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
