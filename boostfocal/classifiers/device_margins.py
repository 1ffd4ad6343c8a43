"""Training with margins that stay on the CUDA device."""

from typing import Any

import xgboost as xgb

from .. import devices
from ..posterior import Loss


class MarginsOnDevice(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Takes the place of `Booster.update` in one training, whose margins then need not pass through the host.

    XGBoost gives a custom objective the margins in host memory, whatever the device. Here they are kept beside the
    rows. Each round adds the leaves of its own trees to them, as XGBoost's prediction cache does.

    Parameters
    ----------
    loss : FocalLoss or SoftmaxFocalLoss
    X : array of shape (n, n_features)
        The rows of `xgboost.train`, as they were given to its DMatrix; on the device, if margins are to stay there.
    labels : array of shape (n,)
    sample_weight : array of shape (n,), or None
    missing : float
        The value that stands for a missing one in `X`.
    """

    def __init__(self, loss: Loss, X: Any, labels: Any, sample_weight: Any, missing: float) -> None:
        super().__init__()
        self._loss, self._X, self._missing = loss, X, missing
        self._labels, self._sample_weight = labels, sample_weight
        self._margins: Any = None

    def before_training(self, model: Any) -> Any:
        def update(dtrain: xgb.DMatrix, iteration: int, fobj: Any = None) -> None:
            if self._margins is None:  # of the starting margin and the trees of a model that is continued
                margins = model.predict(dtrain, output_margin=True, training=True)
                self._margins = devices.beside(margins, self._X)
            gradient, hessian = self._loss.gradient_hessian(self._labels, self._margins, self._sample_weight)
            model.boost(dtrain, iteration=iteration, grad=gradient, hess=hessian)
            rounds = model.num_boosted_rounds()
            self._margins = model.inplace_predict(
                self._X, iteration_range=(rounds - 1, rounds), predict_type="margin", missing=self._missing,
                validate_features=False, base_margin=self._margins,
            )  # fmt: skip

        model.update = update
        return model

    def after_training(self, model: Any) -> Any:
        del model.update
        return model
