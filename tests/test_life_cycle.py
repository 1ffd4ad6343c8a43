"""What happens to a model after its first fit: continued, refitted, stopped half-way, kept beside other settings."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

import boostfocal
from boostfocal import FocalLGBMClassifier, FocalLoss, FocalXGBClassifier
from boostfocal.classifiers import files, parameters
from boostfocal.classifiers.base import FocalClassifier

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

XGB, LGBM = FocalXGBClassifier, FocalLGBMClassifier
BOTH = pytest.mark.parametrize("kind", [XGB, LGBM])
PLAIN = {XGB: {"n_jobs": 1}, LGBM: {"n_jobs": 1, "verbosity": -1}}
STOPPING = {XGB: "early_stopping_rounds", LGBM: "early_stopping_round"}
INITIAL = {XGB: "xgb_model", LGBM: "init_model"}


def make(kind: type, **options: Any) -> Any:
    return kind(**PLAIN[kind], **options)


def data(n_classes: int = 2, n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 5))
    score = 1.5 * X[:, 0] + 0.8 * X[:, 1] + random.logistic(size=n)
    return X, np.digitize(score, [2.0] if n_classes == 2 else [0.5, 2.0])


def own_margin(model: Any, X: Any, rounds: int | None = None) -> np.ndarray:
    """Of the engine's booster itself, up to a round."""
    if isinstance(model, XGB):
        rounds = rounds or model.get_booster().num_boosted_rounds()
        return model.get_booster().predict(xgb.DMatrix(X), output_margin=True, iteration_range=(0, rounds))
    return model.booster_.predict(X, raw_score=True, num_iteration=rounds or -1)


def expected(model: Any, X: Any, rounds: int | None = None) -> np.ndarray:
    """Probabilities from the engine's margins and the loss, without the classifier."""
    proba = model.loss_.predict_proba(own_margin(model, X, rounds).astype(np.float64))
    return proba if proba.ndim > 1 else np.stack([1 - proba, proba], axis=1)


# --- continued -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["model", "file", "after loading"])
@pytest.mark.parametrize("n_classes", [2, 3])
@BOTH
def test_a_stopped_model_is_continued_as_it_predicts(kind: type, n_classes: int, given: str, tmp_path: Path) -> None:
    (X, y), (X_valid, y_valid) = data(n_classes), data(n_classes, seed=1)
    options = {"n_estimators": 200, "learning_rate": 0.3, STOPPING[kind]: 5}
    first = make(kind, **options).fit(X, y, eval_set=[(X_valid, y_valid)])
    best = (first.best_iteration + 1) if kind is XGB else first.best_iteration_
    assert best < 150
    start: Any = first
    if given != "model":
        start = tmp_path / "model"
        first.save_model(start)
        start = boostfocal.load(start) if given == "after loading" else str(start)
    second = make(kind, n_estimators=20).fit(X_valid, y_valid, **{INITIAL[kind]: start})
    grown = second.get_booster().num_boosted_rounds() if kind is XGB else second.booster_.current_iteration()
    assert grown == best + 20
    np.testing.assert_allclose(own_margin(second, X, best), own_margin(first, X, best), atol=1e-5)
    np.testing.assert_allclose(second.predict_proba(X), expected(second, X, grown), atol=1e-6)
    assert not hasattr(second, "evals_result_") or kind is LGBM


def test_a_booster_that_was_continued_natively_predicts_with_all_rounds() -> None:
    (X, y), valid = data(), data(seed=1)
    first = make(XGB, n_estimators=200, learning_rate=0.3, early_stopping_rounds=5).fit(X, y, eval_set=[valid])
    rounds = first.get_booster().num_boosted_rounds()
    more = xgb.train({}, xgb.DMatrix(X, y), 10, obj=first.loss_, xgb_model=first.get_booster())
    model = XGB.from_booster(more, first.loss_)
    np.testing.assert_allclose(model.predict_proba(X), expected(model, X, rounds + 10), atol=1e-6)


@pytest.mark.parametrize("alpha", [0.5, "balanced"])
def test_a_checkpoint_is_a_model(alpha: Any, tmp_path: Path) -> None:
    X, y = data()
    saved = xgb.callback.TrainingCheckPoint(tmp_path, interval=5)
    model = make(XGB, n_estimators=20, focal_alpha=alpha, callbacks=[saved]).fit(X, y)
    path = max(tmp_path.glob("model_*.ubj"), key=lambda found: int(re.findall(r"\d+", found.name)[-1]))
    found = boostfocal.load(path)
    rounds = found.get_booster().num_boosted_rounds()
    assert found.loss_ == model.loss_
    offset = float(model.state_.offset[0])
    np.testing.assert_allclose(own_margin(found, X) + offset, own_margin(model, X, rounds), atol=1e-5)
    booster = xgb.Booster(model_file=path)
    for again in (make(XGB, n_estimators=20 - rounds, focal_alpha=alpha).fit(X, y, xgb_model=str(path)),
                  make(XGB, n_estimators=20 - rounds, focal_alpha=alpha).fit(X, y, xgb_model=booster)):  # fmt: skip
        np.testing.assert_allclose(own_margin(again, X), own_margin(model, X), atol=1e-4)
    assert XGB.from_booster(booster, model.loss_).state_.weight_scale == model.state_.weight_scale


# --- refitted -------------------------------------------------------------------------------------


def trained(kind: type, case: str, n_classes: int, X: np.ndarray, y: np.ndarray) -> Any:
    rates = [0.5 * 0.9**i for i in range(12)]
    options: dict[str, Any] = {"n_estimators": 12, "focal_gamma": 1.0, "focal_hessian": "expected"}
    if case == "schedule":
        if kind is XGB:
            callback = xgb.callback.LearningRateScheduler(lambda i: rates[i])
            return make(kind, **options, callbacks=[callback]).fit(X, y)
        return make(kind, **options).fit(X, y, callbacks=[lgb.reset_parameter(learning_rate=rates)])
    first = make(kind, **options, learning_rate=0.3).fit(X, y)
    if case == "constant":
        return first
    more = {"another rate": {"learning_rate": 0.05}, "other penalties": {"reg_lambda": 30.0, "reg_alpha": 0.5}}[case]
    return make(kind, **options, **more).fit(X, y, **{INITIAL[kind]: first})


@pytest.mark.parametrize("case", ["constant", "schedule", "another rate", "other penalties"])
@pytest.mark.parametrize("n_classes", [2, 3])
@BOTH
def test_refitted_on_its_own_rows_a_model_comes_back(kind: type, n_classes: int, case: str, tmp_path: Path) -> None:
    X, y = data(n_classes)
    model = trained(kind, case, n_classes, X, y)
    before = model.predict_proba(X)
    model.save_model(tmp_path / "model")
    for one in (model, boostfocal.load(tmp_path / "model")):
        one.refit_leaves(X, y, decay=0.0)
        np.testing.assert_allclose(one.predict_proba(X), before, atol=2e-5)


@BOTH
def test_what_refitting_would_break_is_refused_and_nothing_has_changed(kind: type) -> None:
    X, y = data()
    options = [{"monotone_constraints": [1, 0, 0, 0, 0] if kind is LGBM else (1, 0, 0, 0, 0)}]
    options += [{"path_smooth": 1.0}] if kind is LGBM else []
    for option in options:
        model = make(kind, n_estimators=10, **option).fit(X, y)
        before = model.predict_proba(X)
        with pytest.raises(ValueError, match="for the leaves to be refitted"):
            model.refit_leaves(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), before)


@BOTH
def test_a_refit_that_is_interrupted_changes_nothing(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data()
    model = make(kind, n_estimators=10, focal_alpha=0.2).fit(X, y)
    before, booster = model.predict_proba(X), model._Booster
    monkeypatch.setattr(FocalClassifier, "_center", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        model.refit_leaves(X[:500], 1 - y[:500])
    assert model._Booster is booster
    np.testing.assert_array_equal(model.predict_proba(X), before)


@BOTH
def test_weights_that_are_all_zero_are_refused_by_name(kind: type) -> None:
    X, y = data()
    zeros = np.zeros(len(y))
    model = make(kind, n_estimators=5).fit(X, y)
    for call in (model.fit, model.refit_leaves, model.recalibrate, make(kind, focal_alpha="balanced").fit):
        with pytest.raises(ValueError, match="sample_weight must"):
            call(X, y, sample_weight=zeros)


@BOTH
def test_columns_in_another_order_are_refused_everywhere(kind: type) -> None:
    X, y = data()
    frame = pd.DataFrame(X, columns=["a b", "c", "d", "e", "f"])
    model = make(kind, n_estimators=5).fit(frame, y)
    turned = frame[frame.columns[::-1]]
    calls = [model.predict_proba, model.predict, model.decision_function, partial(model.recalibrate, y=y)]
    for call in [*calls, partial(model.refit_leaves, y=y)]:
        with pytest.raises(ValueError, match=r"columns of training|feature_names mismatch|feature names"):
            call(turned)
    np.testing.assert_array_equal(model.predict_proba(X) if kind is LGBM else model.predict_proba(frame),
                                  model.predict_proba(frame))  # fmt: skip


# --- what is given to fit ---------------------------------------------------------------------------


@BOTH
def test_training_rows_among_the_validation_sets_are_the_training_set(kind: type) -> None:
    X, y = data(n=1000)
    weights = np.random.default_rng(3).uniform(0.5, 2, len(y))
    X_valid, y_valid = data(n=1000, seed=1)
    model = make(kind, n_estimators=30, **{STOPPING[kind]: 5})
    options: dict[str, Any] = {}
    if kind is XGB:
        options["sample_weight_eval_set"] = [weights, None]
    model.fit(X, y, sample_weight=weights, eval_set=[(X, y), (X_valid, y_valid)], **options)
    record = model.evals_result_
    first, second = record
    curve = next(iter(record[first].values()))
    rounds = len(curve) if kind is XGB else model.booster_.current_iteration()  # LightGBM keeps those up to the best
    proba = expected(model, X, rounds)[:, 1]
    weighted = np.average(-np.log(np.where(y == 1, proba, 1 - proba)), weights=weights)
    np.testing.assert_allclose(curve[rounds - 1], weighted, rtol=1e-5)
    if kind is LGBM:  # as LightGBM's own class has it, which does not stop by it
        assert (first, second) == ("training", "valid_1")


@BOTH
def test_lists_of_lists_are_rows(kind: type) -> None:
    X, y = data(n=200)
    rows = X.tolist()
    model = make(kind, n_estimators=3).fit(rows, y, eval_set=[(rows, y), (rows[:50], y[:50])])
    np.testing.assert_allclose(model.predict_proba(X), make(kind, n_estimators=3).fit(X, y).predict_proba(X))


@pytest.mark.parametrize("count", [1, 3])
@BOTH
def test_lists_beside_the_validation_sets_have_their_length(kind: type, count: int) -> None:
    X, y = data(n=200)
    given = [np.ones(200)] * count
    names = {XGB: ("sample_weight_eval_set", "base_margin_eval_set"), LGBM: ("eval_sample_weight", "eval_init_score")}
    for name in names[kind]:
        with pytest.raises(ValueError, match=f"{name} must have one for each of 2"):
            make(kind, n_estimators=3).fit(X, y, eval_set=[(X, y), (X, y)], **{name: given})


@pytest.mark.parametrize(
    ("option", "meant"),
    [({"focal_gama": 2}, "did you mean focal_gamma"), ({"focal_weight": 2}, "focal_weight is not a parameter"),
     ({"sampling_rate": 0.1}, "did you mean sampling_rates")],
)  # fmt: skip
@BOTH
def test_a_parameter_that_is_nearly_ours_is_refused(kind: type, option: dict[str, Any], meant: str) -> None:
    X, y = data(n=200)
    with pytest.raises(ValueError, match=meant):
        make(kind, **option).fit(X, y)


@pytest.mark.parametrize("name", ["gamma", "alpha"])
def test_a_parameter_that_lightgbm_does_not_have_says_what_is_meant(name: str) -> None:
    X, y = data(n=200)
    with pytest.raises(ValueError, match=f"focal_{name}"):
        make(LGBM, **{name: 0.25}).fit(X, y)


def engine_parameters() -> list[tuple[type, str]]:
    """Every parameter of both engines' classes, and every alias that LightGBM knows."""
    aliases = lgb.basic._ConfigAliases._get_all_param_aliases()
    lightgbm = {*lgb.LGBMClassifier().get_params(), *aliases, *(one for found in aliases.values() for one in found)}
    xgboost = {*xgb.XGBClassifier().get_params(), "eta", "alpha", "lambda", "gamma", "metrics", "loss", "weights"}
    return [(XGB, name) for name in sorted(xgboost)] + [(LGBM, name) for name in sorted(lightgbm)]


def test_no_parameter_of_an_engine_shadows_what_is_ours() -> None:
    for kind, name in engine_parameters():
        model = kind()
        before = {key: getattr(type(model), key) for key in dir(FocalClassifier) if not key.startswith("__")}
        model.set_params(**{name: "given"})
        shadowed = {key for key in before if key in vars(model) and key not in parameters.PARAMETERS}
        assert shadowed <= {name}, (kind, name, shadowed)
        assert name not in before or name in parameters.PARAMETERS, (kind, name)


@BOTH
def test_metrics_of_one_name_and_those_without_are_refused(kind: type) -> None:
    X, y = data(n=200)

    def fit(metric: Any) -> Any:
        if kind is XGB:
            return make(kind, n_estimators=2, eval_metric=metric).fit(X, y, eval_set=[(X, y)])
        return make(kind, n_estimators=2).fit(X, y, eval_set=[(X, y)], eval_metric=metric)

    with pytest.raises(ValueError, match="eval_metric must be metrics of different names, got two of"):
        fit([boostfocal.PrecisionAtK(5), boostfocal.PrecisionAtK(5)])
    with pytest.raises(TypeError, match="eval_metric must be a name, a callable or a list of them, got 123"):
        fit([123])
    if kind is XGB:
        with pytest.raises(TypeError, match="eval_metric must be callables with a __name__"):
            fit(partial(lambda y, proba: 0.0))

        def logloss(y: Any, proba: Any) -> float:
            return 0.0

        with pytest.raises(ValueError, match="got two of 'logloss'"):
            fit(["logloss", logloss])


# --- files ----------------------------------------------------------------------------------------

TRICKY = ["boostfocal sha256:" + "a" * 64, "sha256:" + "b" * 64, "boostfocal=sha256:" + "c" * 64]


@pytest.mark.parametrize("suffix", [".ubj", ".json", ".txt"])
def test_labels_and_names_that_look_like_a_digest_are_kept(suffix: str, tmp_path: Path) -> None:
    kind = LGBM if suffix == ".txt" else XGB
    X, y = data(3)
    frame = pd.DataFrame(X, columns=["f" + "0" * 64, *(f"boostfocal_{'d' * 64}_{i}" for i in range(4))])
    model = make(kind, n_estimators=3).fit(frame, np.array(TRICKY)[y])
    if kind is XGB:
        model.get_booster().set_attr(another="boostfocal sha256:" + "0" * 64, boostfocal_="sha256:" + "0" * 64)
    path = tmp_path / f"model{suffix}"
    model.save_model(path)
    found = boostfocal.load(path)
    assert found.classes_.tolist() == sorted(TRICKY)
    np.testing.assert_array_equal(found.predict_proba(frame), model.predict_proba(frame))
    assert files.with_digest(path.read_bytes()) == path.read_bytes()


@BOTH
def test_a_file_without_a_digest_is_accepted_only_whole_and_only_from_xgboost(kind: type, tmp_path: Path) -> None:
    X, y = data()
    model = make(kind, n_estimators=3).fit(X, y)
    path = tmp_path / "model"
    if kind is LGBM:
        model.save_model(path)
        content = path.read_bytes()
        place = content.index(b"sha256:") + 7
        path.write_bytes(content[:place] + b"0" * 64 + content[place + 64 :])
        with pytest.raises(boostfocal.ModelFileError, match="is damaged"):
            boostfocal.load(path)
        return
    for name in ("model.ubj", "model.json"):
        path = tmp_path / name
        model.get_booster().save_model(path)
        np.testing.assert_array_equal(boostfocal.load(path).predict_proba(X), model.predict_proba(X))
        content = path.read_bytes()
        for end in np.linspace(1, len(content) - 1, 40).astype(int):
            path.write_bytes(content[:end])
            with pytest.raises(boostfocal.ModelFileError):
                boostfocal.load(path)


@BOTH
def test_a_save_that_fails_leaves_the_file_that_was_there(
    kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data()
    path, link = tmp_path / "model", tmp_path / "link"
    first, second = (make(kind, n_estimators=n).fit(X, y) for n in (3, 6))
    first.save_model(path)
    path.chmod(0o640)
    link.symlink_to(path)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            second.save_model(path)
    assert path.read_bytes() == before
    assert {found.name for found in tmp_path.iterdir()} == {"model", "link"}
    second.save_model(link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    np.testing.assert_array_equal(boostfocal.load(path).predict_proba(X), second.predict_proba(X))
    with pytest.raises(FileNotFoundError):
        second.save_model(tmp_path / "nowhere" / "model")
    assert FocalLoss(0.5, 0.5) == first.loss_


# --- arrays that are not what they seem --------------------------------------------------------------

MASKED = np.ma.masked_array([0.0, 1.0, 1.0, 0.0] * 50, mask=[False, False, True, False] * 50)
Y = np.array([0.0, 1.0, 1.0, 0.0] * 50)
LOSS = FocalLoss(2.0)

CALLS: dict[str, Any] = {
    "value y": lambda a: LOSS.value(a, Y), "value margin": lambda a: LOSS.value(Y, a),
    "gradient y": lambda a: LOSS.gradient_hessian(a, Y), "gradient margin": lambda a: LOSS.gradient_hessian(Y, a),
    "gradient weight": lambda a: LOSS.gradient_hessian(Y, Y, a), "predict_proba": LOSS.predict_proba,
    "log_odds": LOSS.log_odds, "margin": LOSS.margin, "optimal_margin": LOSS.optimal_margin,
    "balanced": lambda a: FocalLoss.balanced(a), "metric": lambda a: boostfocal.AveragePrecision().score(Y, a),
    "metric weight": lambda a: boostfocal.AveragePrecision().score(Y, Y, a),
    "cost_threshold": lambda a: boostfocal.cost_threshold(a, 5.0),
    "daily_alerts score": lambda a: boostfocal.daily_alerts(a, Y, 3),
    "daily_alerts day": lambda a: boostfocal.daily_alerts(Y, a, 3),
    "card": lambda a: boostfocal.CardPrecision(3, a, Y),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_masked_values_are_refused(call: str) -> None:
    with pytest.raises(ValueError, match="must not be masked, got 50 masked values"):
        CALLS[call](MASKED)


@BOTH
def test_masked_rows_labels_and_weights_are_refused_by_the_classifiers(kind: type) -> None:
    X = np.ma.masked_array(np.random.default_rng(0).normal(size=(200, 2)), mask=np.eye(200, 2, dtype=bool))
    plain = np.asarray(X)
    model = make(kind, n_estimators=2).fit(plain, Y)
    calls = [lambda: model.fit(X, Y), lambda: model.fit(plain, MASKED), lambda: model.predict_proba(X)]
    calls += [lambda: model.recalibrate(X, Y), lambda: model.refit_leaves(X, Y)]
    for call in calls:
        with pytest.raises(ValueError, match="must not be masked"):
            call()


@pytest.mark.parametrize("call", CALLS)
def test_ragged_lists_and_long_doubles_are_refused_by_name(call: str) -> None:
    if call in ("daily_alerts day", "card"):  # which are names of any kind
        return
    for given in ([[1.0], [0.0, 1.0]] * 100, np.asarray(Y, np.longdouble)):
        with pytest.raises((ValueError, TypeError), match=r"\w+ must be"):
            CALLS[call](given)


def test_labels_of_two_kinds_are_refused() -> None:
    X = np.random.default_rng(0).normal(size=(4, 2))
    for kind in (XGB, LGBM):
        with pytest.raises(ValueError, match="y must be classes of one kind"):
            make(kind).fit(X, [1, "a", 1, "a"])


def test_weights_that_make_results_infinite_are_an_error() -> None:
    given = [1.0, 0.0], [-80.0, 80.0], [1.0, 3e38]
    with pytest.raises(ValueError, match="sample_weight must leave results finite"):
        FocalLoss(0.0).mean(*given)


def test_cards_and_days_that_are_missing_are_refused() -> None:
    for missing in (np.array([1.0, np.nan, 2.0]), np.array(["a", None, "b"], object)):
        with pytest.raises(ValueError, match="must not be missing, got 1 missing"):
            boostfocal.CardPrecision(1, missing, [1, 1, 1])
        with pytest.raises(ValueError, match="must not be missing, got 1 missing"):
            boostfocal.CardPrecision(1, [1, 2, 3], missing)


@pytest.mark.parametrize(("alert", "miss"), [(1e308, 1e308), (1e-300, 1e300), (1e300, 1e-300), (1e-320, 1.0)])
def test_a_threshold_of_costs_of_any_size_lies_inside(alert: float, miss: float) -> None:
    threshold = boostfocal.cost_threshold(alert, miss)
    assert 0 < threshold < 1
    assert boostfocal.cost_threshold(alert, miss, true_positive=-miss / 2) > 0
