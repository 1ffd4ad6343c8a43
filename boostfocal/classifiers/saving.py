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
    """Make a method leave the classifier as it was if it fails. It must replace the booster, not change it."""

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
    """The part of a classifier that saves, loads and exports it."""

    state_: FittedState
    n_features_in_: int

    @abstractmethod
    def _check_fitted(self) -> None:
        """Raise an error before fit."""

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
        """Write the whole model to one file in the engine's own format, which the plain engine loads, too.

        XGBoost's format is UBJSON, or JSON if the name ends in .json; LightGBM's is text, up to the best iteration.
        `boostfocal.load` returns a classifier from it. The file appears whole, or an existing one stays.

        Parameters
        ----------
        path : path

        Raises
        ------
        TypeError
            For labels that are not numbers, bools or text.
        OSError
            If the file cannot be written.
        """
        self._check_fitted()
        write(path, files.with_digest(self._content(os.fspath(path))))

    @all_or_nothing
    def load_model(self, path: str | os.PathLike[str]) -> Self:
        """Load the model in a file with its loss and labels; the loss becomes this classifier's parameters.

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
        """Make a classifier from a booster that was trained elsewhere: by ``lightgbm.train``, on Dask, on Ray.

        Parameters
        ----------
        booster : xgboost.Booster or lightgbm.Booster
            It is copied, LightGBM's up to the best iteration. XGBoost's holds the start as `base_score`.
        loss : FocalLoss or SoftmaxFocalLoss
            The objective that it was trained with.
        classes : array_like of shape (K,), optional
            What the labels 0, ..., K - 1 stand for, in ascending order.
        start : float, or array_like of shape (K,), optional
            For LightGBM, which does not save it: the `init_score` from which every row was trained, 0 if none. It is
            added to the first trees.
        training_params : mapping, optional
            For XGBoost, which does not save them: the learning rate and penalties that `refit_leaves` needs.

        Returns
        -------
        self
            Its probabilities are the loss's posterior; with class weights, `recalibrate` corrects their level.

        Raises
        ------
        TypeError, ValueError
            For another loss, classes out of order, a booster or start with another number of classes,
            and an argument for the other engine.
        """
        labels = range(getattr(loss, "n_classes", 2)) if classes is None else classes
        return cls()._take(booster, untrained(loss, as_labels(labels)), start, training_params)

    def to_onnx(self, input_type: str | None = None) -> onnx.ModelProto:
        """An ONNX model that gives the same probabilities without this package (`pip install 'boostfocal[onnx]'`).

        Its input is "X", of shape (n, n_features). Missing values are NaN. Categories are given by their codes,
        the positions in the training column's categories. Its outputs are "label", "probabilities" (float32, of
        shape (n, K)) and "margin". Trees up to the best iteration are exported.

        Parameters
        ----------
        input_type : {"float32", "float64"}, optional
            By default the precision in which the engine compares values with thresholds: float32 for XGBoost,
            float64 for LightGBM. No row changes sides: a float32 row is compared in the same way as LightGBM
            compares that row's values.

        Returns
        -------
        onnx.ModelProto
            For ``onnx.save(model, path)``, or ``InferenceSession(model.SerializeToString())``.

        Raises
        ------
        ValueError
            For models that do not consist of plain trees (gblinear, linear_tree, zero_as_missing), and for
            models that were trained from a start for each row.
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
