"""The scikit-learn classifiers of both engines with focal loss inside, and their files."""

import os
from pathlib import Path
from typing import Any

from .files import ModelFileError

__all__ = ["ModelFileError", "load"]


def load(path: str | os.PathLike[str]) -> Any:
    """A classifier from a model file of either engine.

    Parameters
    ----------
    path : path
        Written by ``save_model`` of `FocalXGBClassifier` (or of its booster) or of `FocalLGBMClassifier`.

    Returns
    -------
    FocalXGBClassifier or FocalLGBMClassifier

    Raises
    ------
    FileNotFoundError
    ModelFileError
        A ValueError, for a file that is damaged, or of another program. Nothing in a file is executed.
    """
    with open(path, "rb") as file:
        start = file.read(5)
    if start.startswith(b"tree"):
        from .lightgbm import FocalLGBMClassifier

        return FocalLGBMClassifier().load_model(path)
    if start.startswith(b"{"):
        from .xgboost import FocalXGBClassifier

        return FocalXGBClassifier().load_model(path)
    raise ModelFileError(f"{Path(path)} is no model file of XGBoost (JSON or UBJSON) or LightGBM (text)")
