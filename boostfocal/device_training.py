"""XGBoost's rounds on a CUDA device, whose gradients never pass through the host."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import ArrayLike

from . import devices
from .posterior import Loss


class TrainingOnDevice(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Computes the gradients of one training where its booster is, and keeps the margins there if the rows are there.

    XGBoost gives a custom objective its margins in host memory, and copies host gradients to the device more slowly
    than it grows a tree. This callback takes the place of ``Booster.update``. With rows on the device each round
    adds the leaves of its own trees to the margins, as XGBoost's prediction cache does: the model is the same.

    Parameters
    ----------
    loss : FocalLoss or SoftmaxFocalLoss
        The objective; ``obj`` of ``xgboost.train`` may be left out.
    X : array of shape (n, n_features), or None
        The training rows as they were given to the DMatrix: a CuPy array or another one on the device. With None, or
        rows on the host, margins pass through the host. They do so for dart, too: its rounds change earlier trees.
    y : array_like of shape (n,)
        Labels, as the loss takes them.
    sample_weight : array_like of shape (n,), optional
    missing : float, default NaN
        The value that stands for a missing one in `X`.

    Examples
    --------
    >>> import cupy, xgboost as xgb  # doctest: +SKIP
    >>> X, y = cupy.asarray(X), cupy.asarray(y)  # doctest: +SKIP
    >>> parameters = {"device": "cuda", "base_score": loss.optimal_margin(y)}  # doctest: +SKIP
    >>> xgb.train(parameters, xgb.QuantileDMatrix(X, y), 100,
    ...           callbacks=[TrainingOnDevice(loss, X, y)])  # doctest: +SKIP
    """

    def __init__(
        self, loss: Loss, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, missing: float = np.nan
    ) -> None:
        super().__init__()
        self._loss, self._X, self._missing = loss, X, missing
        self._labels, self._sample_weight = y, sample_weight

    def before_training(self, model: xgb.Booster) -> xgb.Booster:
        learner = json.loads(model.save_config())["learner"]
        on_device = learner["generic_param"]["device"].startswith("cuda")
        labels, sample_weight = self._labels, self._sample_weight
        if on_device:
            labels = devices.to_device(labels)
            sample_weight = None if sample_weight is None else devices.to_device(sample_weight)
        kept = self._X is not None and devices.on_device(self._X) == on_device and _only_adds(learner)
        rows = self._X if kept else None
        margins: Any = None
        gradients: Any = None

        def update(dtrain: xgb.DMatrix, iteration: int, fobj: Any = None) -> None:
            nonlocal margins, gradients
            if margins is None or rows is None:
                margins = model.predict(dtrain, output_margin=True, training=True)
                margins = devices.to_device(margins) if on_device else margins
            gradients = self._loss._gradient_hessian(
                self._loss._batch(labels, margins, sample_weight), in_engine=True, out=gradients
            )
            model.boost(dtrain, iteration=iteration, grad=gradients[0], hess=gradients[1])
            if rows is not None:
                end = model.num_boosted_rounds()
                margins = model.inplace_predict(
                    rows, iteration_range=(end - 1, end), predict_type="margin", missing=self._missing,
                    validate_features=False, base_margin=margins,
                )  # fmt: skip

        model.update = update
        return model

    def after_training(self, model: xgb.Booster) -> xgb.Booster:
        del model.update  # the class's own remains
        return model


def _only_adds(learner: dict[str, Any]) -> bool:
    """Whether a round leaves the trees before it as they are."""
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree" or booster["gbtree_train_param"]["process_type"] != "default":
        return False
    dropout = booster.get("dart_train_param", {})  # from XGBoost 3.4 on, which has no booster of its own for it
    return all(float(dropout.get(name, 0)) == 0 for name in ("rate_drop", "one_drop"))
