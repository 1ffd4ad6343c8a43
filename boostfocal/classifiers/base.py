"""What the classifiers of both engines share: labels, the choice of the loss, probabilities, recalibration, files."""

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .. import devices, validation
from ..base import Float64s
from ..focal import FocalLoss
from ..posterior import Loss, Posterior, center_on_base_rate
from ..softmax import SoftmaxFocalLoss
from . import files

if TYPE_CHECKING:
    import onnx

    from .trees import Ensemble

PARAMETERS = ("focal_gamma", "focal_alpha", "focal_hessian", "focal_max_step", "sampling_rates")
"""Ours, among the parent's parameters."""

ALPHA = (
    'None, "balanced", one positive number for each class, or a number in (0, 1): the weight of the second of two '
    "classes, and of more 0.5, which weighs all alike"
)

Setting = float | str | ArrayLike | Mapping[Any, float] | None


Method = TypeVar("Method", bound=Callable[..., Any])


def all_or_nothing(method: Method) -> Method:
    """A method that leaves the classifier as it was if it fails."""

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


class FocalClassifier:
    """The part of a classifier that is not the engine's.

    Subclasses are classifiers of an engine with the parameters `PARAMETERS`.
    """

    focal_gamma: Any
    focal_alpha: Setting
    focal_hessian: Any
    focal_max_step: float
    sampling_rates: Setting

    _WEIGHTS: ClassVar[tuple[str, ...]] = ()
    """The engine's own parameters that weigh classes."""

    posterior_: Posterior
    feature_importances_: NDArray[Any]
    start_: float | Float64s
    n_features_in_: int
    _labels: NDArray[Any]
    _shift: Float64s
    """By how much training's margins were moved afterwards."""
    _scale: float
    """By how much rows weigh more than alpha says."""
    _by_row: bool
    """Whether training started from a margin for each row, which predictions then want, too."""
    _costs: bool
    """Whether the engine's class weights were given, which are then the costs of `predict`."""
    _trained: dict[str, Any]
    """`_parameters` that the model was trained with, whatever is set afterwards."""

    # --- fitted ----------------------------------------------------------------------------------

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels of the classes, in the order of the columns of `predict_proba`."""
        if not hasattr(self, "_labels"):
            raise AttributeError(f"{type(self).__name__} has no classes before fit")
        return self._labels

    @property
    def loss_(self) -> Loss:
        """The loss that the model was trained with."""
        return self.posterior_.loss

    def _check_fitted(self) -> None:
        if not hasattr(self, "posterior_"):
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet: call fit or load_model first")

    @classmethod
    def _of_loss(cls, loss: Loss, classes: ArrayLike | None) -> Self:
        """A classifier that has all but its booster."""
        one_label = isinstance(loss, FocalLoss) and not loss._n_labels
        if not (one_label or (isinstance(loss, SoftmaxFocalLoss) and loss.n_classes > 2)):
            raise TypeError(
                "loss must be a FocalLoss of one label a row, or a SoftmaxFocalLoss of three classes or more, "
                f"got {loss!r}"
            )
        model = cls()
        model.posterior_ = Posterior(loss)
        n_classes = model.posterior_.n_classes
        labels = _labels(range(n_classes) if classes is None else classes)
        if labels.size != n_classes or not np.array_equal(np.unique(labels), labels):
            raise ValueError(f"classes must be {n_classes} labels in ascending order, as of the loss, got {classes!r}")
        model._labels = labels
        model._scale, model._by_row, model._costs = 1.0, False, False
        model._shift = np.zeros(n_classes if n_classes > 2 else 1)
        ours = {"gamma": loss.gamma, "alpha": loss.alpha, "hessian": loss.hessian, "max_step": loss.max_step}
        model.set_params(**{f"focal_{name}": value for name, value in ours.items()})  # type: ignore[attr-defined]
        model._trained = model._parameters()
        return model

    # --- before the engine -----------------------------------------------------------------------

    def _start_fit(
        self, X: Any, y: Any, sample_weight: Any, previous: "FocalClassifier | None"
    ) -> tuple[NDArray[np.intp], NDArray[Any] | None]:
        """Take the labels, choose the loss and the starting margin; the classes as numbers from 0, and the weights."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        labels = _labels(y)
        check_rows("X", X, labels.size)
        if sample_weight is not None:
            sample_weight = np.asarray(column_or_1d(devices.to_host("sample_weight", sample_weight)))
            if sample_weight.dtype.kind not in "biuf":
                sample_weight = sample_weight.astype(np.float64)
        check_classification_targets(labels)
        if previous is not None:
            self._labels = previous._labels
            codes = self._encode("y", labels)
            self._check_kept(previous)
            loss, start, self._scale = self._continued(previous, codes, sample_weight), previous.start_, previous._scale
        else:
            self._labels, codes = np.unique(labels, return_inverse=True)
            if self._labels.size < 2:
                raise ValueError(f"y must have two classes or more, got one class: {self._labels.tolist()[0]!r}")
            loss, self._scale = self._loss(codes, sample_weight)
            start = loss.optimal_margin(codes, sample_weight)
            if not np.isfinite(start).all():
                raise ValueError("sample_weight must be above 0 for a row of every class of y")
        self._costs = any(value is not None for value in self._class_weights().values())
        self.posterior_, self.start_ = Posterior.from_sampling_rates(loss, self._kept(self.sampling_rates)), start
        self._trained = self._parameters()
        return codes, sample_weight

    def _weights(self, sample_weight: Any, n_rows: int) -> Any:
        """Sample weights for the engine."""
        if self._scale == 1.0:
            return sample_weight
        return np.full(n_rows, self._scale) if sample_weight is None else self._scale * np.asarray(sample_weight)

    def _encode(self, name: str, labels: Any) -> NDArray[np.intp]:
        """Labels as numbers from 0; those that training did not see are refused."""
        values = _labels(labels)
        try:
            codes = np.searchsorted(self._labels, values)
            known = self._labels[np.minimum(codes, self._labels.size - 1)] == values
        except TypeError:
            known = np.zeros(values.size, bool)
        if not np.all(known):
            strange = np.asarray(values)[np.argmin(known)].tolist() if len(values) else values
            raise ValueError(f"{name} must be labels of the classes {self._labels.tolist()}, got {strange!r}")
        return np.asarray(codes)

    def _loss(self, codes: NDArray[np.intp], sample_weight: Any) -> tuple[Loss, float]:
        """The loss, and by how much the rows must weigh more for the classes to have the weights that were asked for.

        Alpha of two classes sums to 1. Weights by class are taken as they are, since penalties and
        min_child_weight are measured against them.
        """
        n_classes, alpha, gamma = self._labels.size, self._alpha(), self.focal_gamma
        newton: Any = {"hessian": self.focal_hessian, "max_step": self.focal_max_step}
        if isinstance(gamma, np.ndarray) and gamma.ndim:
            gamma = tuple(gamma.tolist())  # of FocalLoss itself an array has one for each label of a row
        if isinstance(alpha, str):
            alpha = np.array(SoftmaxFocalLoss.balanced(codes, 0.0, sample_weight=sample_weight).alpha)
        if n_classes > 2:
            if isinstance(alpha, float) and alpha == 0.5:
                alpha = np.full(n_classes, 0.5)
            if isinstance(alpha, float):
                raise ValueError(f"focal_alpha must be {ALPHA}; got {alpha!r} for {n_classes} classes")
            return SoftmaxFocalLoss(n_classes, gamma, alpha, **newton), 1.0
        scale = 1.0
        if isinstance(alpha, np.ndarray):
            scale = float(alpha.sum())
            alpha = float(alpha[1] / scale)
        return FocalLoss(gamma, alpha, **newton), scale

    def _alpha(self) -> float | str | Float64s | None:
        """focal_alpha, or the engine's own class weights, which are the same under another name."""
        weights = {name: value for name, value in self._class_weights().items() if value is not None}
        alike = self.focal_alpha is None or (np.isscalar(self.focal_alpha) and self.focal_alpha == 0.5)
        if len(weights) + (not alike) > 1:
            given = [*([] if alike else ["focal_alpha"]), *weights]
            raise ValueError(f"only one of {', '.join(given)} may be given: they all weigh the classes")
        for name, value in weights.items():
            return self._by_class(name, value, missing=1.0)
        alpha = self.focal_alpha
        if np.isscalar(alpha) and not isinstance(alpha, str):
            return validation.number("focal_alpha", alpha, validation.Interval(0, 1, ""), ALPHA)
        return None if alpha is None else self._by_class("focal_alpha", alpha, missing=None)

    def _class_weights(self) -> dict[str, Any]:
        """The parent's parameters that weigh classes, as one weight per class, a mapping, or "balanced"."""
        raise NotImplementedError

    def _by_class(self, name: str, value: Any, missing: float | None) -> Float64s | str:
        """A setting with one number for each class, in their order."""
        if isinstance(value, str):
            if value != "balanced":
                raise ValueError(f'{name} must be "balanced" or one positive number for each class, got {value!r}')
            return value
        if isinstance(value, Mapping):
            unknown = [key for key in value if key not in self._labels.tolist()]
            absent = [label for label in self._labels.tolist() if label not in value]
            if unknown or (absent and missing is None):
                raise ValueError(f"{name} must have the classes {self._labels.tolist()} as keys, got {list(value)}")
            value = [value.get(label, missing) for label in self._labels.tolist()]
        numbers = validation.array(name, value).astype(np.float64)
        if numbers.shape != self._labels.shape or not (np.isfinite(numbers) & (numbers > 0)).all():
            raise ValueError(f"{name} must be one positive number for each of {self._labels.tolist()}, got {value!r}")
        return numbers

    def _kept(self, kept: Setting) -> Float64s | None:
        if kept is None:
            return None
        of_first = bool(np.isscalar(kept))
        if of_first and self._labels.size > 2:
            raise ValueError(f"sampling_rates must be one number for each of {self._labels.tolist()}, got {kept!r}")
        rates = self._by_class("sampling_rates", [kept, 1.0] if of_first else kept, missing=1.0)
        if isinstance(rates, str):
            raise ValueError(f"sampling_rates must be positive numbers, got {kept!r}")
        return rates

    def _continued(self, previous: "FocalClassifier", codes: NDArray[np.intp], sample_weight: Any) -> Loss:
        """The loss of the model that is continued, which must be the one that is set."""
        loss = previous.loss_
        if any(isinstance(value, str) for value in (self.focal_alpha, *self._class_weights().values())):
            return loss  # of the frequencies that it was first trained on
        asked, _ = self._loss(codes, sample_weight)
        if asked != loss:
            raise ValueError(f"the model to continue was trained with {loss!r}, but this classifier has {asked!r}")
        return loss

    def _check_kept(self, previous: "FocalClassifier") -> None:
        kept, before = self._kept(self.sampling_rates), self._kept(previous._trained["sampling_rates"])
        if (kept is None) != (before is None) or (kept is not None and not np.array_equal(kept, before)):
            raise ValueError(
                f"sampling_rates must be that of the model to continue, {previous._trained['sampling_rates']!r}, "
                f"got {self.sampling_rates!r}"
            )

    # --- after the engine ------------------------------------------------------------------------

    def _finish_fit(self, X: Any, codes: NDArray[np.intp], sample_weight: Any) -> None:
        """If the loss weighs the classes differently, move the margins so that the mean probability is the rate."""
        self._shift = np.zeros(np.size(self.start_))
        self._level(X, codes, sample_weight, 0.0)
        self._note()
        if not np.any(self.feature_importances_):
            warnings.warn(
                f"no tree of this {type(self).__name__} has a split, so its probabilities are constant: the classes' "
                "weights may be too small for min_child_weight and the penalties, or the rows too few",
                UserWarning,
                stacklevel=4,
            )

    def _level(self, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> None:
        if not (self._by_row or weights_classes_equally(self.loss_)):
            more = (1 - decay) * center_on_base_rate(self.loss_, self._margin(X), codes, sample_weight)
            self._shift = self._shift + self._move(more)

    def _move(self, by: Float64s) -> Float64s:
        """Add a constant of shape (1,) or (K,) to the margins; what of it is in the booster, beside `start_`."""
        raise NotImplementedError

    # --- predictions -----------------------------------------------------------------------------

    def _margin(self, X: Any, **options: Any) -> NDArray[Any]:
        """Raw scores of the engine, the start included."""
        raise NotImplementedError

    def _decide(self, proba: Float64s) -> NDArray[Any]:
        """The most probable class, or with the engine's class weights as costs, that of least expected cost."""
        costs = self._cost_weights()
        return np.asarray(self._labels[np.argmax(proba if costs is None else proba * costs, axis=1)])

    def _cost_weights(self) -> Float64s | None:
        """What an error on a row of each class costs, if the engine's class weights are set."""
        alpha: Any = self.loss_.alpha
        if not self._costs:
            return None
        return np.array([1 - alpha, alpha] if isinstance(alpha, float) else alpha)

    def _ensemble(self) -> "Ensemble":
        """The trees, for export."""
        raise NotImplementedError

    # --- staying right ---------------------------------------------------------------------------

    @all_or_nothing
    def recalibrate(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        slope: bool = True,
    ) -> Self:
        """Fit the posterior's slope and bias to recent labels; the trees stay as they are.

        The log odds of `predict_proba` are scaled and shifted so that the labels are most likely: the mean
        probability becomes the share of each class in `y`, and overconfidence is taken back. Margins, and the
        order of the rows of a binary model, do not change. It may be repeated, and is saved with the model.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Rows that the model was not trained on, sampled as they come where it is used.
        y : array_like of shape (n,)
            Their labels; every class must be among them.
        sample_weight : array_like of shape (n,), optional
        slope : bool, default True
            False fits only the shift: for few labels, or a change of nothing but the classes' frequencies.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For labels of no class or of fewer classes, and scores that separate the classes without error or
            rank them worse than chance.
        """
        self._check_fitted()
        self.posterior_ = self.posterior_.recalibrated(
            self._encode("y", y), self._margin(X), sample_weight, slope=slope
        )
        self._note()
        return self

    @all_or_nothing
    def refit_leaves(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        decay: float = 0.9,
    ) -> Self:
        """Fit the leaves' values to recent labels; the splits stay as they are, and no tree is added.

        Tree by tree, a leaf moves from its value to the one that the given rows would give it, under the loss,
        learning rate and penalties of training. LightGBM's own ``refit`` refuses a custom objective. Slope and
        bias of `recalibrate` are reset.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        y : array_like of shape (n,)
            Labels of classes that the model knows.
        sample_weight : array_like of shape (n,), optional
        decay : float, default 0.9
            In [0, 1]: the share of its value that a leaf keeps. Leaves that no row reaches keep theirs.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For labels of no class, and models whose trees depend on more than their rows: dart, linear trees,
            several trees a round, and those trained from a margin for each row.
        """
        self._check_fitted()
        if self._by_row:
            raise ValueError("a model that was trained from a margin for each row cannot be refitted")
        decay = validation.number("decay", decay, validation.Interval(0, 1))
        codes = self._encode("y", y)
        check_rows("X", X, codes.size)
        self._refit_leaves(X, codes, self._weights(sample_weight, codes.size), decay)
        if np.unique(codes).size == self._labels.size:
            self._level(X, codes, sample_weight, decay)
        self.posterior_ = Posterior.from_sampling_rates(self.loss_, self._kept(self._trained["sampling_rates"]))
        self._note()
        return self

    def _refit_leaves(self, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> None:
        raise NotImplementedError

    # --- files -----------------------------------------------------------------------------------

    def to_onnx(self, input_type: str | None = None) -> "onnx.ModelProto":
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
        files.labels_to_json(self._labels)  # refuses kinds that a file does not have
        if self._by_row:
            raise ValueError("a model that was trained from a margin for each row cannot be exported")
        ensemble = self._ensemble()
        if not ensemble.trees:
            raise ValueError("a model without trees cannot be exported: n_estimators must be 1 or more")
        return model(
            ensemble, self.posterior_, self._labels, self.n_features_in_, self._cost_weights(),
            getattr(self, "missing", np.nan), input_type or np.dtype(ensemble.precision).name,
        )  # fmt: skip

    def _note(self) -> None:
        """Write the state into the booster, if the engine keeps such notes."""

    def _state(self) -> dict[str, Any]:
        """What the engine's own file does not hold, as JSON values."""
        return {
            "format": files.FORMAT,
            "classes": files.labels_to_json(self._labels),
            "start": np.asarray(self.start_).tolist(),
            "shift": self._shift.tolist(),
            "by_row": self._by_row,
            "costs": self._costs,
            "scale": self._scale,
            "parameters": self._trained,
            **self.posterior_.to_dict(),
        }

    def _parameters(self) -> dict[str, Any]:
        """Our parameters and the engine's class weights, as JSON values."""
        given = self.get_params(deep=False)  # type: ignore[attr-defined]
        found = {name: given.get(name) for name in (*PARAMETERS, *self._WEIGHTS)}
        for name in ("focal_alpha", "class_weight", "sampling_rates"):
            value = found.get(name)
            if value is not None and not np.isscalar(value):
                found[name] = np.asarray(self._by_class(name, value, missing=1.0)).tolist()
        found = {name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}
        found["focal_gamma"] = self.loss_.gamma
        found["focal_max_step"] = str(self.loss_.max_step)
        return found

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Take the labels, the loss and the parameters from a file's state."""
        self._labels = files.labels_from_json(state["classes"])
        self.posterior_ = Posterior.from_dict({k: v for k, v in state.items() if k in files.POSTERIOR_KEYS})
        n_margins = self._labels.size if self._labels.size > 2 else 1
        start, self._shift = (np.array(state[key], np.float64) for key in ("start", "shift"))
        self._scale, self._by_row, self._costs = float(state["scale"]), bool(state["by_row"]), bool(state["costs"])
        if self._labels.size != self.posterior_.n_classes or not np.array_equal(np.unique(self._labels), self._labels):
            raise ValueError(f"the classes {self._labels.tolist()} are not those of {self.loss_!r}")
        numbers = np.hstack([start, self._shift, self._scale])
        if np.size(start) != n_margins or self._shift.shape != (n_margins,) or not np.isfinite(numbers).all():
            raise ValueError(f"start and shift must be {n_margins} finite numbers, got {start} and {self._shift}")
        self.start_ = start if n_margins > 1 else float(start)
        parameters = dict(state["parameters"])
        parameters["focal_max_step"] = float(parameters["focal_max_step"])
        if isinstance(parameters["focal_gamma"], list):
            parameters["focal_gamma"] = tuple(parameters["focal_gamma"])
        if isinstance(parameters.get("class_weight"), list):
            parameters["class_weight"] = dict(zip(self._labels.tolist(), parameters["class_weight"], strict=True))
        self._trained = dict(state["parameters"])
        current = self.get_params(deep=False)  # type: ignore[attr-defined]
        known = {name: parameters[name] for name in (*PARAMETERS, *self._WEIGHTS)}
        self.set_params(**{k: v for k, v in known.items() if v is not None or k in current})  # type: ignore[attr-defined]


def weights_classes_equally(loss: Loss) -> bool:
    """Whether the loss treats the classes alike."""
    if isinstance(loss, SoftmaxFocalLoss):
        return loss.alpha is None or len(set(np.atleast_1d(loss.alpha).tolist())) == 1
    return loss.alpha in (None, 0.5) and not isinstance(loss.gamma, tuple)


def _labels(y: Any) -> NDArray[Any]:
    """Labels as an array of one kind.

    Raises
    ------
    ValueError
        For other shapes, none, missing ones, and values of kinds that cannot be ordered.
    """
    y = devices.to_host("y", y)
    if all(hasattr(y, name) for name in ("isna", "tolist")):
        if y.isna().any():
            raise ValueError("y must be classes, but the input y contains NaN")
        y = np.asarray(y.tolist())  # pandas' own types of integers, bools, text and categories
    labels = column_or_1d(y, warn=True)
    if labels.size == 0:
        raise ValueError("y must have at least one row, got none")
    if labels.dtype == object and not all(isinstance(value, str) for value in labels):
        mixed = any(isinstance(value, str) for value in labels)
        labels = np.asarray(labels.tolist())
        if mixed or labels.dtype == object or labels.ndim != 1:
            raise ValueError(
                "y must be classes of one kind, numbers, bools or text, but it contains NaN, None or a mix"
            )
    if labels.dtype.kind in "fc" and not np.isfinite(labels).all():
        raise ValueError("y must be classes, but the input y contains NaN or infinity")
    return np.asarray(labels)


def check_rows(name: str, rows: Any, n: int) -> None:
    shape = getattr(rows, "shape", None)
    found = shape[0] if shape else len(rows) if hasattr(rows, "__len__") else n
    if found != n:
        raise ValueError(f"{name} must have a row for each label of y, {n}, got {found}")
