"""What the classifiers of both engines share: the order of fit, probabilities, recalibration, what is saved."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .. import devices, validation
from ..base import Float64s
from ..posterior import Loss, Posterior
from ..recalibration import Method, center_on_base_rate, recalibrated, weights_classes_equally
from .categories import categories_of, with_categories
from .labels import as_labels, check_rows, encode, labelled
from .parameters import PARAMETERS, as_json, from_json
from .saving import Saved, all_or_nothing
from .state import FittedState
from .weighting import Setting, Weighting, rates_by_class

if TYPE_CHECKING:
    from .checking import Check


class FocalClassifier(Saved):
    """The part of a classifier that is not the engine's.

    Subclasses are classifiers of an engine with the parameters `PARAMETERS`. All that a fitted one knows beside its
    booster is in `state_`. There is one way to become fitted, `_adopt`: of `fit`, `load_model` and `from_booster`.
    """

    focal_gamma: Any
    focal_alpha: Setting
    focal_hessian: Any
    focal_max_step: float
    sampling_rates: Setting

    CLASS_WEIGHTS: ClassVar[tuple[str, ...]]
    """The engine's own parameters that weigh classes."""

    START: ClassVar[str]
    """The argument of `fit` and of predictions that is a margin for each row."""

    SILENT: ClassVar[int]
    """The verbosity at which the engine prints nothing."""

    state_: FittedState
    feature_importances_: NDArray[Any]
    n_features_in_: int

    # --- what an engine has to say ---------------------------------------------------------------

    @abstractmethod
    def _check_params(self) -> None:
        """Refuse parameters that would be ignored, or that we set."""

    @abstractmethod
    def _class_weights(self, n_classes: int) -> dict[str, Any]:
        """The engine's parameters that weigh classes, if set: one weight per class, a mapping, or "balanced"."""

    @abstractmethod
    def _resolve_init_model(self, model: Any) -> Self | None:
        """The fitted classifier that training continues, from whatever `fit` takes for one."""

    @abstractmethod
    def _train_booster(
        self, X: Any, codes: NDArray[np.intp], sample_weight: Any, state: FittedState, previous: Self | None,
        options: Mapping[str, Any],
    ) -> tuple[Any, FittedState, Any]:  # fmt: skip
        """A booster trained on classes from 0 and the engine's weights, with the state's loss and start.

        Returns it, the state with what the engine adds, and its record of training. Changes nothing of the classifier.
        """

    @abstractmethod
    def _set_booster(self, booster: Any, history: Any) -> None:
        """Make the engine's class fitted with a booster of ours; `history` is a training's record, or None."""

    @abstractmethod
    def _store_state(self) -> None:
        """Write the state into the booster, if the engine keeps such notes."""

    @abstractmethod
    def _add_to_margins(self, by: Float64s) -> FittedState:
        """Add a constant of shape (1,) or (K,) to the margins, in the booster if they are there; the new state."""

    @abstractmethod
    def _margin(self, X: Any, **options: Any) -> NDArray[Any]:
        """Margins of rows, the start included."""

    @abstractmethod
    def _refit(self, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> Any:
        """A copy of the booster whose leaves are fitted to the rows."""

    # --- becoming fitted -------------------------------------------------------------------------

    @all_or_nothing
    def _fit(self, X: Any, y: Any, sample_weight: Any, init_model: Any, options: Mapping[str, Any]) -> Self:
        """What `fit` does, in its order: check, prepare, train, adopt, center."""
        self._check_params()
        previous = self._resolve_init_model(init_model)
        state, codes, sample_weight = self._prepare(X, y, sample_weight, previous)
        weights = _scaled(sample_weight, state.weight_scale, codes.size)
        self._adopt(*self._train_booster(X, codes, weights, state, previous, options))
        self._center(X, codes, sample_weight, 0.0)
        if not np.any(self.feature_importances_):
            warnings.warn(
                f"no tree of this {type(self).__name__} has a split, so its probabilities are constant: the classes' "
                "weights may be too small for min_child_weight and the penalties, or the rows too few",
                UserWarning,
                stacklevel=5,
            )
        return self

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, previous: FocalClassifier | None
    ) -> tuple[FittedState, NDArray[np.intp], Any]:
        """The loss and the start for these rows, the classes as numbers from 0, and the weights."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        labels = as_labels(y)
        check_rows("X", X, labels.size)
        if sample_weight is not None:
            sample_weight = np.asarray(column_or_1d(devices.to_host("sample_weight", sample_weight)))
            if sample_weight.dtype.kind not in "biuf":
                sample_weight = sample_weight.astype(np.float64)
            check_rows("sample_weight", sample_weight, labels.size)
            if not np.any(sample_weight):
                raise ValueError(f"sample_weight must be above 0 for some row, got {sample_weight.size} zeros")
        check_classification_targets(labels)
        classes = np.unique(labels) if previous is None else previous.state_.classes
        if classes.size < 2:
            raise ValueError(f"y must have two classes or more, got one class: {classes.tolist()[0]!r}")
        codes = encode("y", labels, classes)
        weighting = self._weighting(classes)
        rates = rates_by_class(self.sampling_rates, classes)
        if previous is not None:
            before = previous.state_
            known = rates_by_class(before.parameters["sampling_rates"], classes)
            if (rates is None) != (known is None) or (rates is not None and not np.array_equal(rates, known)):
                raise ValueError(
                    f"sampling_rates must be those of the model to continue, {before.parameters['sampling_rates']!r}, "
                    f"got {self.sampling_rates!r}"
                )
            loss, scale = weighting.continued(before.loss, codes, sample_weight), before.weight_scale
            start = before.start
        else:
            loss, scale = weighting.loss(codes, sample_weight)
            start = np.atleast_1d(loss.optimal_margin(codes, sample_weight))
            if not np.isfinite(start).all():
                raise ValueError("sample_weight must be above 0 for a row of every class of y")
        given = self.get_params(deep=False)  # type: ignore[attr-defined]
        state = FittedState(
            classes,
            Posterior.from_sampling_rates(loss, rates),
            start,
            np.zeros_like(start),
            scale,
            weights_are_costs=bool(weighting.class_weights),
            parameters=as_json(given, (*PARAMETERS, *self.CLASS_WEIGHTS), loss, classes),
            categories=categories_of(X),
        )
        return state, codes, sample_weight

    def _adopt(self, booster: Any, state: FittedState, history: Any = None) -> Self:
        """Become the fitted classifier of a booster. The only way to be one."""
        self.state_ = state
        self._set_booster(booster, history)
        self._store_state()
        return self

    def _center(self, X: Any, codes: NDArray[np.intp], sample_weight: Any, decay: float) -> None:
        """If the loss weighs the classes differently, move the margins so that the mean probability is the rate."""
        if self.state_.start_by_row or weights_classes_equally(self.loss_):
            return
        by = (1 - decay) * center_on_base_rate(self.loss_, self._margin(X), codes, sample_weight)
        self.state_ = self._add_to_margins(by)
        self._store_state()

    def _weighting(self, classes: NDArray[Any]) -> Weighting:
        weights = {name: value for name, value in self._class_weights(classes.size).items() if value is not None}
        return Weighting(classes, self.focal_gamma, self.focal_alpha, self.focal_hessian, self.focal_max_step, weights)

    def _set_trained_parameters(self, state: FittedState) -> None:
        """Set our parameters to those that a model was trained with."""
        stored = from_json(state.parameters, state.classes)
        current = self.get_params(deep=False)  # type: ignore[attr-defined]
        known = {name: stored.get(name) for name in (*PARAMETERS, *self.CLASS_WEIGHTS)}
        self.set_params(**{k: v for k, v in known.items() if v is not None or k in current})  # type: ignore[attr-defined]

    # --- fitted ----------------------------------------------------------------------------------

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels of the classes, in the order of the columns of `predict_proba`."""
        return self._fitted().classes

    @property
    def categories_(self) -> dict[str, list[Any]]:
        """Categories of each column of training's table that has some; a loaded model knows them, too."""
        return {name: list(values) for name, values in self._fitted().categories.items()}

    @property
    def posterior_(self) -> Posterior:
        """What turns margins into probabilities."""
        return self._fitted().posterior

    @property
    def loss_(self) -> Loss:
        """The loss that the model was trained with."""
        return self._fitted().loss

    @property
    def start_(self) -> float | Float64s:
        """The margin at which boosting started: a float, or one number for each of K > 2 classes."""
        start = self._fitted().start
        return start if start.size > 1 else float(start[0])

    def _fitted(self) -> FittedState:
        if "state_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} is not fitted: there are no classes before fit")
        return self.state_

    def _check_fitted(self) -> None:
        if "state_" not in vars(self):
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet: call fit or load_model first")

    def _decide(self, proba: Float64s) -> NDArray[Any]:
        """The most probable class, or with the engine's class weights as costs, that of least expected cost."""
        costs = self.state_.costs
        return np.asarray(self.classes_[np.argmax(proba if costs is None else proba * costs, axis=1)])

    # --- staying right ---------------------------------------------------------------------------

    def check(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        cv: int = 10,
    ) -> Check:
        """Whether the model still fits new labelled rows, and what would mend it; the model does not change.

        It compares the mean probability of each class with its share of the labels (calibration in the large). And it
        tries remedies on folds, and judges them by the log loss of rows that they did not learn from: `recalibrate`,
        `refit_leaves`, and small trees that start at the model's probabilities. These trees learn what the model does
        not know; if they help most, the model should be trained again. The advice is the smallest change that is not
        worse than the best one by more than the interval.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Rows that the model was not trained on, sampled as they come where it is used.
        y : array_like of shape (n,)
            Their labels.
        sample_weight : array_like of shape (n,), optional
        groups : array_like of shape (n,), optional
            Which rows belong together, as those of one customer, or of one day: numbers or text. They stay on one side
            of a fold, and the intervals allow for their likeness.
        cv : int, default 10
            The stratified folds on which remedies are tried.

        Returns
        -------
        Check
            Printed, it is a table. `advice` is "keep", "recalibrate", "refit_leaves" or "retrain".

        Raises
        ------
        ValueError
            For labels of no class, and classes with fewer rows, or groups, than folds.

        Notes
        -----
        The interval of a share is Wilson's (Wilson 1927), with groups that of a mean over clusters (Cochran 1977). The
        interval of differences over folds is that of Nadeau and Bengio (2003). Without labels only the drift of
        features can be seen: the page on pipelines shows how.

        Examples
        --------
        >>> import numpy as np
        >>> from boostfocal import FocalXGBClassifier
        >>> X, noise = np.random.default_rng(0).normal(size=(2, 6000, 2))
        >>> y = X[:, 0] + noise[:, 0] > 2
        >>> model = FocalXGBClassifier(n_estimators=20, max_depth=2, n_jobs=1).fit(X[:4000], y[:4000])
        >>> new = np.arange(4000, 6000)
        >>> new = new[~y[new] | (new % 2 == 0)]  # half of the positives have gone
        >>> model.check(X[new], y[new], cv=5).advice
        'recalibrate'
        """
        from .checking import check  # imports what scoring does without

        self._check_fitted()
        return check(self, X, y, sample_weight, groups, cv)

    @all_or_nothing
    def recalibrate(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        slope: bool = True,
        method: Method = "sigmoid",
    ) -> Self:
        """Fit the probabilities to recent labels; the trees do not change.

        By default the log odds of `predict_proba` are scaled and shifted so that the labels are most likely: the mean
        probability becomes the share of each class in `y`, and overconfidence is taken back. Margins do not change,
        and a binary model ranks rows as before. It may be repeated, and is saved with the model.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            Rows that the model was not trained on, sampled as they come where it is used.
        y : array_like of shape (n,)
            Their labels; every class must be among them.
        sample_weight : array_like of shape (n,), optional
        slope : bool, default True
            False fits only the shift: for few labels, or a change of nothing but the classes' frequencies.
        method : {"sigmoid", "focal", "isotonic"}, default "sigmoid"
            "sigmoid" fits slope and shift; "focal" also the gamma by which margins are read (focal temperature scaling,
            Komisarenko and Kull 2024); "isotonic" an increasing map of the probabilities, for thousands of labels: it
            gives many rows the same probability. Another method replaces the map of an earlier "isotonic".

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
        codes = encode("y", y, self.classes_)
        check_rows("X", X, codes.size)
        posterior = recalibrated(self.posterior_, codes, self._margin(X), sample_weight, slope=slope, method=method)
        self.state_ = replace(self.state_, posterior=posterior)
        self._store_state()
        return self

    @all_or_nothing
    def refit_leaves(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, decay: float = 0.9) -> Self:
        """Fit the leaves' values to recent labels; the splits stay as they are, and no tree is added.

        Tree by tree, a leaf moves from its value to the one that the given rows would give it, under the loss,
        and the learning rate and penalties that the tree was trained with. LightGBM's own ``refit`` refuses a custom
        objective. Slope and bias of `recalibrate` are reset.

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
            For labels of no class, and models whose leaves depend on more than their rows: dart, linear trees, several
            trees a round, monotone constraints, path smoothing, and those trained from a margin for each row.
        """
        self._check_fitted()
        state = self.state_
        if state.start_by_row:
            raise ValueError("a model that was trained from a margin for each row cannot be refitted")
        decay = validation.number("decay", decay, validation.Interval(0, 1))
        codes, weights = labelled(X, y, sample_weight, state.classes)
        booster = self._refit(
            with_categories(X, state.categories), codes, _scaled(weights, state.weight_scale, codes.size), decay
        )
        rates = rates_by_class(state.parameters["sampling_rates"], state.classes)
        self._adopt(booster, replace(state, posterior=Posterior.from_sampling_rates(state.loss, rates)))
        if np.unique(codes).size == state.classes.size:
            self._center(X, codes, sample_weight, decay)
        return self


def _scaled(sample_weight: Any, scale: float, n_rows: int) -> Any:
    """Sample weights for the engine."""
    if scale == 1.0:
        return sample_weight
    return np.full(n_rows, scale) if sample_weight is None else scale * np.asarray(sample_weight)
