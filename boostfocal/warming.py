"""Compile before the first job what a container's image or a cluster's node will need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .focal import FocalLoss
from .kernels import cache, forget
from .softmax import SoftmaxFocalLoss

Engine = Literal["xgboost", "lightgbm"]
ENGINES: tuple[Engine, ...] = ("xgboost", "lightgbm")


def warm_up(*losses: FocalLoss | SoftmaxFocalLoss, engines: Iterable[Engine] = ENGINES) -> Path:
    """Compile what training with such losses needs, and keep it in the folder of compiled kernels.

    A process that finds its kernels there loads each in a millisecond instead of a tenth of a second. They are kept
    for the user who calls this, this CPU and these versions: call it in the image, as the user that will train.

    Parameters
    ----------
    *losses : FocalLoss or SoftmaxFocalLoss
        By default `FocalLoss()`. Only gamma, `hessian` and the kind of loss matter.
    engines : iterable of {"xgboost", "lightgbm"}, default both
        They differ in the type and the order of margins.

    Returns
    -------
    Path
        The folder: the user's cache, or the one that the environment variable ``BOOSTFOCAL_CACHE_DIR`` names.

    Raises
    ------
    OSError
        If there is no folder that this user, and nobody else, can write.
    ImportError
        If there is no compiler.
    ValueError
        For another engine.

    Examples
    --------
    >>> from boostfocal import FocalLoss, SoftmaxFocalLoss, warm_up
    >>> warm_up(FocalLoss(2.0, 0.25), SoftmaxFocalLoss(4), engines=["xgboost"]).is_dir()
    True
    """
    cache.require_compiler()
    folder = cache.writable_folder()
    forget()  # kernels that this process has loaded may not be kept, or be kept elsewhere
    for engine in engines:
        if engine not in ENGINES:
            raise ValueError(f"engines must be among {', '.join(ENGINES)}, got {engine!r}")
        dtype, order = ("f4", "C") if engine == "xgboost" else ("f8", "F")
        for loss in losses or (FocalLoss(),):
            labels, margins = _rows(loss)
            given: Any = np.array(margins, dtype, order=order)  # type: ignore[call-overload]
            for weights in (None, np.ones(len(labels), np.float32)):
                loss.gradient_hessian(labels, given, weights)
                loss.mean(labels, given, weights)
    return folder


def _rows(loss: FocalLoss | SoftmaxFocalLoss) -> tuple[Any, Any]:
    """Labels and margins of a few rows."""
    labels = np.array([0, 1, 0, 1, 1], np.float32)
    several = loss._columns if isinstance(loss, FocalLoss) else ()
    return np.zeros((5, *several), np.float32) + labels.reshape(5, *[1] * len(several)), np.zeros((5, *loss._columns))
