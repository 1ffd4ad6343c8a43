"""How classifiers are kept: files, ONNX models, and boosters that were trained elsewhere."""

from __future__ import annotations

import os
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from ..posterior import Loss
from ..writing import write
from . import files
from .labels import as_labels
from .state import FittedState, check_labels_can_be_saved, untrained

if TYPE_CHECKING:
    import onnx

    from .trees import Ensemble

Method = TypeVar("Method", bound=Callable[..., Any])


def all_or_nothing(method: Method) -> Method:
    """A method that leaves the classifier as it was if it fails: it must not change its booster, but take another."""

    @wraps(method)
    def guarded(self: Any, *arguments: Any, **options: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *arguments, **options)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast(Method, guarded)


class Saved(metaclass=ABCMeta):  # ABC as a base would change the objects' layout, which the engines copy
    """The part of a classifier that is about keeping it."""

    state_: FittedState
    n_features_in_: int

    @abstractmethod
    def _check_fitted(self) -> None:
        """Refuse to go on before fit."""

    @abstractmethod
    def _content(self, path: str) -> bytes:
        """The content of a file of that name, with room for the digest."""

    @abstractmethod
    def _read(self, content: bytes, path: Any) -> Self:
        """Adopt the model in a file's content, which is whole."""

    @abstractmethod
    def _take(self, booster: Any, state: FittedState, start: Any, training_params: Any) -> Self:
        """Adopt a copy of a booster that was trained elsewhere, with the loss and classes of a state."""

    @abstractmethod
    def _ensemble(self) -> Ensemble:
        """The trees, for export."""

    def save_model(self, path: str | os.PathLike[str]) -> None:
        """Write one file that is the whole model, in the engine's own format, which the plain engine loads, too.

        XGBoost's is UBJSON, or JSON if the name ends in .json; LightGBM's is text, up to the best iteration.
        `boostfocal.load` gives back a classifier. The file appears whole, or the one that was there stays.

        Parameters
        ----------
        path : path

        Raises
        ------
        TypeError
            For labels that are no numbers, bools or text.
        OSError
            If the file cannot be written.
        """
        self._check_fitted()
        write(path, files.with_digest(self._content(os.fspath(path))))

    @all_or_nothing
    def load_model(self, path: str | os.PathLike[str]) -> Self:
        """Take the model in a file, its loss and labels; the loss becomes this classifier's parameters.

        Parameters
        ----------
        path : path
            Written by `save_model`, or by XGBoost from a booster of ours: a checkpoint, ``get_booster().save_model``.

        Returns
        -------
        self

        Raises
        ------
        ModelFileError
            For a file that is damaged, or was not written by a focal classifier.
        """
        content = Path(path).read_bytes()
        if content.startswith(b"tree"):  # text, which may have been through Windows
            content = content.replace(b"\r\n", b"\n")
        files.check_digest(content, path)
        return self._read(content, path)

    @classmethod
    def from_booster(
        cls,
        booster: Any,
        loss: Loss,
        classes: ArrayLike | None = None,
        *,
        start: float | ArrayLike | None = None,
        training_params: Mapping[str, Any] | None = None,
    ) -> Self:
        """A classifier from a booster that was trained otherwise: by ``lightgbm.train``, on Dask, on Ray.

        Parameters
        ----------
        booster : xgboost.Booster or lightgbm.Booster
            It is copied, LightGBM's up to the best iteration. XGBoost's has the start inside, as `base_score`.
        loss : FocalLoss or SoftmaxFocalLoss
            The objective that it was trained with.
        classes : array_like of shape (K,), optional
            What the labels 0, ..., K - 1 stand for, in ascending order.
        start : float, or array_like of shape (K,), optional
            For LightGBM, which does not save it: the `init_score` that every row was trained from, 0 if none. It goes
            into the first trees.
        training_params : mapping, optional
            For XGBoost, which keeps them in no file: the learning rate and penalties that `refit_leaves` needs.

        Returns
        -------
        self
            Its probabilities are the loss's posterior; with weights by class, `recalibrate` levels them.

        Raises
        ------
        TypeError, ValueError
            For another loss, classes out of order, a booster or start of another number of classes,
            and what is of the other engine.
        """
        labels = range(getattr(loss, "n_classes", 2)) if classes is None else classes
        return cls()._take(booster, untrained(loss, as_labels(labels)), start, training_params)

    def to_onnx(self, input_type: str | None = None) -> onnx.ModelProto:
        """An ONNX model that gives the same probabilities without this package (`pip install 'boostfocal[onnx]'`).

        Its input is "X", of shape (n, n_features), with NaN for missing values, and for categories their codes:
        the position in the training column's categories. Its outputs are "label", "probabilities" (float32, of
        shape (n, K)) and "margin". Trees up to the best iteration are exported.

        Parameters
        ----------
        input_type : {"float32", "float64"}, optional
            By default the precision in which the engine compares values with thresholds: float32 for XGBoost,
            float64 for LightGBM. No row changes sides: a float32 row is compared as LightGBM does it with
            that row's values.

        Returns
        -------
        onnx.ModelProto
            For ``onnx.save(model, path)``, or ``InferenceSession(model.SerializeToString())``.

        Raises
        ------
        ValueError
            For models that are not of plain trees (gblinear, linear_tree, zero_as_missing), and those that
            were trained from a start for each row.
        """
        from .onnx import model

        self._check_fitted()
        state = self.state_
        check_labels_can_be_saved(state.classes)
        if state.start_by_row:
            raise ValueError("a model that was trained from a margin for each row cannot be exported")
        ensemble = self._ensemble()
        if not ensemble.trees:
            raise ValueError("a model without trees cannot be exported: n_estimators must be 1 or more")
        return model(
            ensemble, state.posterior, state.classes, self.n_features_in_, state.costs,
            getattr(self, "missing", np.nan), input_type or np.dtype(ensemble.precision).name,
        )  # fmt: skip
