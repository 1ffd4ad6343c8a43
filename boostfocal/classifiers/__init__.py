"""The scikit-learn classifiers of both engines with focal loss inside, and their files."""

import os
from pathlib import Path
from typing import Any

from .files import ModelFileError

__all__ = ["TRUSTED_TYPES", "ModelFileError", "load"]

TRUSTED_TYPES = (
    "boostfocal.classifiers.lightgbm.FocalLGBMClassifier",
    "boostfocal.classifiers.state.FittedState",
    "boostfocal.classifiers.xgboost.FocalXGBClassifier",
    "boostfocal.focal.FocalLoss",
    "boostfocal.posterior.Posterior",
    "boostfocal.softmax.SoftmaxFocalLoss",
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "xgboost.core.Booster",
)
"""The types in a fitted classifier, for skops, and for MLflow, which saves with it: they load what is named to them."""


def load(path: str | os.PathLike[str]) -> Any:
    """Load a classifier from a model file of either engine.

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
        A ValueError, if the file is damaged or comes from another program. Nothing in a file is executed.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from boostfocal import FocalXGBClassifier, load
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> model = FocalXGBClassifier(n_estimators=5).fit(X, X[:, 0] > 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save_model(os.path.join(folder, "model.ubj"))
    ...     loaded = load(os.path.join(folder, "model.ubj"))
    >>> bool((loaded.predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    with open(path, "rb") as file:
        start = file.read(5)
    if start.startswith(b"tree"):
        from .lightgbm import FocalLGBMClassifier

        return FocalLGBMClassifier().load_model(path)
    if start.startswith(b"{"):
        from .xgboost import FocalXGBClassifier

        return FocalXGBClassifier().load_model(path)
    raise ModelFileError(f"{Path(path)} is not a model file of XGBoost (JSON or UBJSON) or LightGBM (text)")
