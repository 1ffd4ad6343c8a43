"""Models elsewhere: one file that is the whole model, plain engines, Treelite, ONNX, damaged files."""

import json
import os
import pickle
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from test_classifiers import XGBOOST_3_1_0, fit, labels, make

import boostfocal
from boostfocal import FocalLGBMClassifier, FocalLoss, FocalXGBClassifier, ModelFileError, SoftmaxFocalLoss
from boostfocal.posterior import Posterior
from boostfocal.recalibration import recalibrated

xgb = pytest.importorskip("xgboost")
lgb = pytest.importorskip("lightgbm")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

XGB, LGBM = FocalXGBClassifier, FocalLGBMClassifier
BOTH = pytest.mark.parametrize("kind", [XGB, LGBM])
SUFFIX = {XGB: ".ubj", LGBM: ".txt"}
NAMES = {2: np.array(["=o,k\n", "C:\\users\\%"]), 3: np.array([3, 5, 11])}


def data(categories: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """Two decimals, so that values meet thresholds; a tenth missing; one category with many values."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(np.round(rng.normal(size=(2000, 4)), 2), columns=list("abcd"))
    score = frame.a + rng.normal(size=2000)
    if categories:
        codes = rng.integers(0, 40, 2000)
        frame["e"] = pd.Categorical.from_codes(codes, [f"k{i}" for i in range(40)])
        frame["f"] = pd.Categorical.from_codes(codes % 3, ["x", "y", "z"])
        score = score + (codes % 7 == 0)
    return frame.mask(rng.random(frame.shape) < 0.1), score.to_numpy()


def trained(
    kind: type, n_classes: int, stopped: bool, categories: bool = False, **parameters: Any
) -> tuple[Any, pd.DataFrame]:
    X, score = data(categories)
    y = NAMES[n_classes][labels(score, n_classes)]
    options: dict[str, Any] = {"focal_alpha": "balanced", "n_estimators": 25}
    if kind is XGB and categories:
        if XGBOOST_3_1_0:
            pytest.skip("XGBoost 3.1.0 crashes when it predicts categories")
        options |= {"enable_categorical": True, "max_cat_to_onehot": 2}
    if kind is LGBM and categories:
        options |= {"min_data_per_group": 5, "cat_smooth": 1}
    if stopped:
        options |= {"early_stopping_rounds": 2, "learning_rate": 1.0}
    model = make(kind, **options, **parameters)
    fit(model, X[:1500], y[:1500], eval_set=[(X[1500:], y[1500:])] if stopped else None)
    return model, X


def codes(X: pd.DataFrame) -> np.ndarray:
    """Categories as their codes, missing ones as -1."""
    columns = [X[c].cat.codes if X[c].dtype == "category" else X[c] for c in X]
    return np.column_stack(columns).astype(np.float64)


# --- one file --------------------------------------------------------------------------------------------

SCORE = """
import json, sys
import numpy as np, pandas as pd
import boostfocal
X = pd.read_pickle("rows.pkl")
for path in sys.argv[1:]:
    model = boostfocal.load(path)
    np.savez(path, margin=model.decision_function(X), proba=model.predict_proba(X), classes=model.classes_)
print(json.dumps([name for name in sys.modules if name.split(".")[0] in ("numba", "llvmlite", "onnx")]))
"""


@BOTH
def test_a_fresh_process_loads_files_and_scores_alike_without_a_compiler(kind: type, tmp_path: Path) -> None:
    models = {}
    for n_classes, stopped in product([2, 3], [False, True]):
        model, X = trained(kind, n_classes, stopped, categories=not (kind is XGB and XGBOOST_3_1_0))
        model.recalibrate(X[1500:], np.resize(model.classes_, 500), slope=False)
        name = f"{n_classes}-{stopped}{SUFFIX[kind]}"
        model.save_model(tmp_path / name)
        models[name] = model
    X.to_pickle(tmp_path / "rows.pkl")
    (tmp_path / "score.py").write_text(SCORE)
    command = [sys.executable, "score.py", *models]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    for name, model in models.items():
        found = np.load(tmp_path / f"{name}.npz")
        np.testing.assert_allclose(found["margin"], model.decision_function(X), rtol=1e-6, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(found["proba"], model.predict_proba(X), rtol=1e-6, atol=1e-9, err_msg=name)
        np.testing.assert_array_equal(found["classes"], model.classes_, name)


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_loaded_model_is_whole(kind: type, n_classes: int, tmp_path: Path) -> None:
    model, X = trained(kind, n_classes, True, focal_gamma=2.0, sampling_rates={NAMES[n_classes][0]: 0.5})
    file = tmp_path / f"model{SUFFIX[kind]}"
    model.save_model(file)
    loaded = boostfocal.load(file)
    assert type(loaded) is kind
    assert (loaded.loss_, loaded.posterior_) == (model.loss_, model.posterior_)
    np.testing.assert_array_equal(loaded.start_, model.start_)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.n_features_in_ == 4
    np.testing.assert_array_equal(loaded.feature_importances_, model.feature_importances_)
    assert (loaded.focal_gamma, loaded.focal_alpha) == (2.0, "balanced")
    again = tmp_path / f"again{SUFFIX[kind]}"
    loaded.save_model(again)
    np.testing.assert_array_equal(boostfocal.load(str(again)).predict_proba(X), model.predict_proba(X))
    y = model.predict(X)
    loaded.set_params(n_estimators=20).fit(X, y)  # it can be trained again
    assert loaded.score(X, y) > 0.7
    other = kind()
    assert other.load_model(file) is other


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_the_bare_booster_of_xgboost_carries_the_loss(suffix: str, tmp_path: Path) -> None:
    model, X = trained(XGB, 2, True)
    file = tmp_path / f"bare{suffix}"
    model.get_booster().save_model(file)
    np.testing.assert_array_equal(boostfocal.load(file).predict_proba(X), model.predict_proba(X))
    passed_on = tmp_path / "again.ubj"
    xgb.Booster(model_file=file).save_model(passed_on)
    np.testing.assert_array_equal(boostfocal.load(passed_on).predict_proba(X), model.predict_proba(X))


@BOTH
@pytest.mark.parametrize(
    "parameters",
    [{"sampling_rates": {0: 0.1}}, {"scale_pos_weight": 10}, {"focal_alpha": {0: 1, 1: 5}}, {"focal_gamma": (1, 2)}],
    ids=str,
)  # fmt: skip
def test_a_loaded_model_can_be_used_further_as_the_first(kind: type, parameters: Any, tmp_path: Path) -> None:
    X, score = data(False)
    y = labels(score, 2)
    model = make(kind, **parameters).fit(X[:1000], y[:1000])
    file = tmp_path / f"m{SUFFIX[kind]}"
    model.save_model(file)
    loaded = make(kind, scale_pos_weight=3).load_model(file)
    name = "xgb_model" if kind is XGB else "init_model"
    for use in (
        lambda m: m.refit_leaves(X[1000:], y[1000:]),
        lambda m: clone(m).set_params(max_depth=3, n_estimators=5).fit(X, y),
        lambda m: clone(m).set_params(max_depth=3, n_estimators=5).fit(X, y, **{name: file}),
    ):
        ours, theirs = use(loaded), use(model)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    if "sampling_rates" in parameters:
        with pytest.raises(ValueError, match="sampling_rates must be those of the model to continue"):
            make(kind).fit(X, y, **{name: file})


@BOTH
def test_pickle_and_joblib(kind: type, tmp_path: Path) -> None:
    model, X = trained(kind, 3, True)
    joblib.dump(model, tmp_path / "m.joblib")
    for other in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "m.joblib")):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        np.testing.assert_array_equal(other.predict(X), model.predict(X))


@BOTH
def test_a_value_for_missing_and_costs_are_kept(kind: type, tmp_path: Path) -> None:
    X, score = data(False)
    y = labels(score, 2)
    file = tmp_path / f"m{SUFFIX[kind]}"
    model = make(kind, scale_pos_weight=10, **({"missing": -1.0} if kind is XGB else {}))
    filled = X.fillna(-1.0)
    model.fit(filled, y).save_model(file)
    loaded = boostfocal.load(file)
    np.testing.assert_array_equal(loaded.predict_proba(filled), model.predict_proba(filled))
    np.testing.assert_array_equal(loaded.predict(filled), model.predict(filled))
    assert (model.predict(filled) == 1).sum() > (model.predict_proba(filled)[:, 1] > 0.5).sum()


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        *((kind, {name: value}) for kind in (XGB, LGBM) for name, value in [
            ("scale_pos_weight", np.int64(3)), ("focal_alpha", np.float32(0.25)), ("sampling_rates", np.float32(0.5)),
        ]),
        (LGBM, {"is_unbalance": np.True_}), (XGB, {"missing": -np.inf}),
    ],
)  # fmt: skip
def test_parameters_may_be_numpys_scalars_and_infinite(kind: Any, parameters: Any, tmp_path: Path) -> None:
    X, score = data(categories=False)
    y, X = (score > 0).astype(int), X.fillna(-1.0)
    quiet = {"verbosity": -1} if kind is LGBM else {}
    model = kind(n_estimators=3, **quiet, **parameters).fit(X, y)
    model.save_model(tmp_path / "model.txt")
    loaded = kind().load_model(tmp_path / "model.txt")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert {name: loaded.get_params()[name] for name in parameters} == parameters


def test_linear_trees_keep_their_start_beside_the_booster(tmp_path: Path) -> None:
    for n_classes in (2, 3):
        model, X = trained(LGBM, n_classes, False, linear_tree=True)
        model.save_model(tmp_path / "m.txt")
        np.testing.assert_array_equal(boostfocal.load(tmp_path / "m.txt").predict_proba(X), model.predict_proba(X))
        plain = lgb.Booster(model_file=tmp_path / "m.txt").predict(X, raw_score=True) + model.start_
        np.testing.assert_allclose(plain, model.decision_function(X), rtol=1e-9, atol=1e-12)


@BOTH
def test_labels_that_no_file_can_hold(kind: type, tmp_path: Path) -> None:
    X, score = data(False)
    y = np.array(["2026-01-01", "2026-01-02"], "datetime64[D]")[labels(score, 2)]
    model = make(kind).fit(X, y)
    with pytest.raises(TypeError, match="labels must be numbers, bools or text to be saved"):
        model.save_model(tmp_path / f"m{SUFFIX[kind]}")
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


# --- damaged and foreign files ------------------------------------------------------------------------------

READ = """
import sys
import boostfocal
for path in sys.argv[1:]:
    try:
        boostfocal.load(path)
        print("loaded")
    except boostfocal.ModelFileError:
        print("refused")
    except BaseException as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(("kind", "suffix"), [(XGB, ".ubj"), (XGB, ".json"), (LGBM, ".txt")])
def test_damaged_files_are_refused(kind: type, suffix: str, tmp_path: Path) -> None:
    model, _ = trained(kind, 2, False)
    whole = tmp_path / f"whole{suffix}"
    model.save_model(whole)
    content = whole.read_bytes()
    rng = np.random.default_rng(0)
    paths = []
    for share in (0.001, 0.01, 0.02, 0.05, 0.1, 0.5, 0.9, 0.99):
        paths.append(tmp_path / f"cut{share}")
        paths[-1].write_bytes(content[: int(share * len(content))])
    key = content.index(b"boostfocal")
    places = [*rng.integers(0, len(content), 30), *(key + rng.integers(0, 400, 30)), *range(0, 40)]
    for i, place in enumerate(places):
        damaged = bytearray(content)
        damaged[place] ^= 1 + rng.integers(0, 127)
        paths.append(tmp_path / f"flipped{i}")
        paths[-1].write_bytes(bytes(damaged))
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, paths)], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    answers = [line for line in done.stdout.splitlines() if line and not line.startswith("[")]
    assert len(answers) == len(paths)
    assert set(answers) == {"refused"}, dict(zip([path.name for path in paths], answers, strict=True))


@BOTH
def test_foreign_files_are_refused(kind: type, tmp_path: Path) -> None:
    X, score = data(False)
    y = labels(score, 2)
    plain = kind.__bases__[1](n_estimators=3).fit(X, y)
    foreign = tmp_path / f"foreign{SUFFIX[kind]}"
    plain.save_model(foreign) if kind is XGB else plain.booster_.save_model(foreign)
    with pytest.raises(ModelFileError, match="has no focal loss in it"):
        boostfocal.load(foreign)
    with pytest.raises(ModelFileError, match=r"has no focal loss in it|no model file"):
        make(kind).load_model(foreign)
    pickled = tmp_path / "model.pkl"
    pickled.write_bytes(pickle.dumps(os.system))
    for path in (pickled, Path(__file__)):
        with pytest.raises(ModelFileError, match="is not a model file"):
            boostfocal.load(path)
    (tmp_path / "empty").touch()
    with pytest.raises(ModelFileError, match="is not a model file"):
        boostfocal.load(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        boostfocal.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    "change",
    [
        {"classes": {"dtype": "<i8", "values": [1, 0]}}, {"classes": {"dtype": "<i8", "values": [0, 10**30]}},
        {"classes": {"dtype": "O", "values": [0, 1]}}, {"classes": {"dtype": "U500000000", "values": ["a", "b"]}},
        {"slope": None}, {"slope": float("inf")}, {"slope": 0}, {"slope": -1.0}, {"bias": "00"}, {"start": "NaN"},
        {"start": [[1]]}, {"offset": [1, 2]}, {"weight_scale": "x"}, {"weight_scale": 0}, {"start_by_row": "no"},
        {"gamma": -1}, {"loss": "os.system"}, {"n_classes": 10**9, "loss": "SoftmaxFocalLoss"}, {"parameters": []},
        {"extras": {}}, {"extras": {"missing": None, "training": [[1, {"learning_rate": float("nan")}]]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_changed_state_is_refused(change: Any, tmp_path: Path) -> None:
    X, score = data(False)
    booster = make(XGB).fit(X, labels(score, 2)).get_booster()
    digest, _, text = booster.attr("boostfocal").partition(";")
    state = json.loads(unquote(text))
    changed = [key for key in change if key not in state]  # the posterior's
    state["posterior"] |= {key: change[key] for key in changed}
    state |= {key: value for key, value in change.items() if key not in changed}
    booster.set_attr(boostfocal=f"{digest};{json.dumps(state)}")
    booster.save_model(tmp_path / "m.ubj")
    with pytest.raises(ModelFileError, match="is damaged"):
        boostfocal.load(tmp_path / "m.ubj")
    for text in ("", "[" * 100_000, "null"):
        booster.set_attr(boostfocal=text)
        booster.save_model(tmp_path / "m.ubj")
        with pytest.raises(ModelFileError, match=r"is damaged|has no focal loss|no model file"):
            boostfocal.load(tmp_path / "m.ubj")


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    model, _ = trained(XGB, 2, False)
    booster = model.get_booster()
    booster.set_attr(boostfocal=booster.attr("boostfocal").replace('"format":1', '"format":2'))
    booster.save_model(tmp_path / "m.ubj")
    with pytest.raises(ModelFileError, match="format 2 of boostfocal, this version reads 1"):
        boostfocal.load(tmp_path / "m.ubj")


# --- plain engines and Treelite --------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_plain_engine_loads_the_file_and_gives_the_margin(kind: type, n_classes: int, tmp_path: Path) -> None:
    model, X = trained(kind, n_classes, True)
    file = tmp_path / f"m{SUFFIX[kind]}"
    model.save_model(file)
    if kind is XGB:
        plain = xgb.Booster(model_file=file)
        best = (0, plain.best_iteration + 1)
        margin = plain.predict(xgb.DMatrix(X), output_margin=True, iteration_range=best)
    else:
        margin = lgb.Booster(model_file=file).predict(X, raw_score=True)
    np.testing.assert_allclose(margin, model.decision_function(X), rtol=1e-6, atol=1e-6)


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_treelite_gives_the_margin(kind: type, n_classes: int, tmp_path: Path) -> None:
    treelite = pytest.importorskip("treelite")
    model, X = trained(kind, n_classes, False)
    file = tmp_path / ("m.json" if kind is XGB else "m.txt")
    model.save_model(file)
    if kind is XGB:
        loaded = treelite.frontend.load_xgboost_model(file, format_choice="use_suffix")
        rows = X.to_numpy(np.float32)
    else:
        text = file.read_text()
        if n_classes > 2:  # Treelite wants to be told what several margins are of
            text = text.replace("\ntree_sizes=", f"\nobjective=multiclass num_class:{n_classes}\ntree_sizes=")
        loaded = treelite.frontend.from_lightgbm(lgb.Booster(model_str=text))
        rows = X.to_numpy(np.float64)
    margin = np.squeeze(treelite.gtil.predict(loaded, rows, pred_margin=True))
    np.testing.assert_allclose(margin, model.decision_function(X), atol=2e-5)


# --- ONNX -----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("stopped", [False, True], ids=["whole", "stopped"])
@pytest.mark.parametrize("categories", [False, True], ids=["numbers", "categories"])
def test_onnx_runtime_gives_the_same_on_every_row(kind: type, n_classes: int, stopped: bool, categories: bool) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, X = trained(kind, n_classes, stopped, categories, focal_gamma=1.5)
    exported = model.to_onnx()
    onnx.checker.check_model(exported, full_check=True)
    session = runtime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = codes(X).astype(np.float32 if kind is XGB else np.float64)
    label, proba, margin = session.run(["label", "probabilities", "margin"], {"X": rows})
    np.testing.assert_allclose(margin, model.decision_function(X), atol=2e-5)
    np.testing.assert_allclose(proba, model.predict_proba(X), atol=2e-5)
    np.testing.assert_array_equal(label, model.predict(X))


@BOTH
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_onnx_of_trees_of_every_shape(kind: type, depth: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    for seed in range(6):  # ONNX Runtime 1.21 goes wrong where a leaf and the node beside it have one number
        rng = np.random.default_rng(seed)
        X = np.round(rng.normal(size=(500, 3)), 1)
        X[rng.random(X.shape) < 0.1] = np.nan
        y = labels(np.nan_to_num(X[:, 0]) + rng.normal(size=500), 2 + seed % 2)
        model = make(kind, n_estimators=3, max_depth=depth, learning_rate=0.8).fit(X, y)
        session = runtime.InferenceSession(model.to_onnx("float64").SerializeToString())
        np.testing.assert_allclose(session.run(["margin"], {"X": X})[0], model.decision_function(X), atol=2e-5)


def test_onnx_of_a_tree_as_deep_as_its_rows() -> None:
    runtime = pytest.importorskip("onnxruntime")
    X = np.arange(3000.0)[:, np.newaxis]
    y = (np.arange(3000) % 2).astype(int)
    weight = 0.99 ** np.arange(3000.0)  # the best split is always at the heavy end
    options = {
        "grow_policy": "lossguide",
        "max_depth": 0,
        "max_leaves": 1500,
        "min_child_weight": 0,
        "reg_lambda": 1e-9,
    }
    model = make(XGB, **{"n_estimators": 1, "tree_method": "hist", "max_bin": 3000, **options}).fit(
        X, y, sample_weight=weight
    )
    session = runtime.InferenceSession(model.to_onnx().SerializeToString())
    margin = session.run(["margin"], {"X": X.astype(np.float32)})[0]
    np.testing.assert_allclose(margin, model.decision_function(X), atol=2e-5)


def test_float32_rows_are_compared_as_lightgbm_compares_them() -> None:
    runtime = pytest.importorskip("onnxruntime")
    model, X = trained(LGBM, 2, False)
    rows = X.to_numpy(np.float32)
    session = runtime.InferenceSession(model.to_onnx("float32").SerializeToString())
    np.testing.assert_allclose(session.run(["margin"], {"X": rows})[0], model.decision_function(rows), atol=1e-9)
    # values on the thresholds themselves, and next to them
    thresholds = np.array([
        node["threshold"] for tree in model.booster_.dump_model()["tree_info"] for node in inner(tree["tree_structure"])
    ])  # fmt: skip
    at = np.float32(thresholds)
    near = np.concatenate([at, np.nextafter(at, np.float32(9)), np.nextafter(at, np.float32(-9))])
    rows = np.repeat(near[:, np.newaxis], 4, axis=1)
    np.testing.assert_allclose(session.run(["margin"], {"X": rows})[0], model.decision_function(rows), atol=1e-9)


def inner(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *inner(node["left_child"]), *inner(node["right_child"])] if "threshold" in node else []


@pytest.mark.parametrize(
    "parameters", [{"booster": "dart", "rate_drop": 0.3}, {"missing": 0.0}, {"num_parallel_tree": 2}], ids=str
)
def test_onnx_of_xgboosts_other_options(parameters: Any) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model, X = trained(XGB, 3, False, **parameters)
    session = runtime.InferenceSession(model.to_onnx("float64").SerializeToString())
    margin = session.run(["margin"], {"X": X.to_numpy(np.float64)})[0]
    np.testing.assert_allclose(margin, model.decision_function(X), atol=2e-5)


@BOTH
def test_onnx_keeps_recalibration_costs_and_the_kind_of_label(kind: type) -> None:
    runtime = pytest.importorskip("onnxruntime")
    X, score = data(False)
    rows = X.to_numpy(np.float64)
    for names in (np.array([False, True]), np.array([2.0, 5.0]), np.array(["u", "v"], object), np.array([-3, 9])):
        y = names[labels(score, 2)]
        model = make(kind, scale_pos_weight=4).fit(rows[:1000], y[:1000]).recalibrate(rows[1000:], y[1000:])
        session = runtime.InferenceSession(model.to_onnx("float64").SerializeToString())
        label, proba, _ = session.run(None, {"X": rows})
        np.testing.assert_allclose(proba, model.predict_proba(rows), atol=2e-5)
        np.testing.assert_array_equal(label, model.predict(rows))


def test_what_onnx_cannot_hold_is_refused() -> None:
    pytest.importorskip("onnx")
    X, score = data(False)
    y = labels(score, 2)
    for model, message in (
        (make(XGB, booster="gblinear"), "booster must be of trees"),
        (make(LGBM, linear_tree=True), "linear_tree must be off"),
        (make(LGBM, zero_as_missing=True), "zero_as_missing must be off"),
        (make(XGB, n_estimators=0), "a model without trees cannot be exported"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(X.fillna(0.0), y).to_onnx()
    with pytest.raises(ValueError, match="input_type must be"):
        make(XGB).fit(X, y).to_onnx("float16")
    with pytest.raises(ValueError, match="from a margin for each row"):
        make(XGB).fit(X, y, base_margin=np.zeros(y.size)).to_onnx()


# --- the posterior as a value ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [boostfocal.FocalLoss((2.0, 0.5), 0.25, max_step=float("inf")), boostfocal.FocalLoss(2.0),
     boostfocal.SoftmaxFocalLoss(3, 1.5, [1, 2, 3], hessian="exact")],
    ids=str,
)  # fmt: skip
def test_a_posterior_comes_back_from_json(loss: Any) -> None:
    posterior = Posterior(loss, 0.9, (0.0, 0.5, -0.25)[: 2 + (type(loss) is boostfocal.SoftmaxFocalLoss)])
    assert Posterior.from_dict(json.loads(json.dumps(posterior.to_dict()))) == posterior
    rng = np.random.default_rng(0)
    margin = rng.normal(size=(100, 3), scale=5) if posterior.n_classes == 3 else rng.normal(size=100, scale=5)
    eta = loss.predict_proba(margin)
    eta = eta if eta.ndim == 2 else np.column_stack([1 - eta, eta])
    expected = eta**0.9 * np.exp(posterior.bias)
    np.testing.assert_allclose(
        posterior.predict_proba(margin), expected / expected.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_recalibration_finds_the_slope_and_bias_that_made_the_labels(n_classes: int) -> None:
    loss: Any = boostfocal.FocalLoss(2.0, 0.3) if n_classes == 2 else boostfocal.SoftmaxFocalLoss(3, 2.0)
    rng = np.random.default_rng(0)
    margin = rng.normal(size=(40_000, 3)) if n_classes == 3 else 2 * rng.normal(size=40_000)
    truth = Posterior(loss, 0.7, (0.0, 0.8, -0.4)[:n_classes])
    y = (rng.random((40_000, 1)) > truth.predict_proba(margin).cumsum(axis=1)).sum(axis=1)
    found = recalibrated(Posterior(loss), y, margin)
    assert found.slope == pytest.approx(0.7, abs=0.05)
    np.testing.assert_allclose(np.diff(found.bias), np.diff(truth.bias), atol=0.06)
    np.testing.assert_allclose(found.predict_proba(margin).mean(axis=0), np.bincount(y) / y.size, atol=1e-6)
    shifted = recalibrated(Posterior(loss), y, margin, slope=False)
    assert shifted.slope == 1.0
    np.testing.assert_allclose(shifted.predict_proba(margin).mean(axis=0), np.bincount(y) / y.size, atol=1e-6)
    again = recalibrated(found, y, margin)
    assert again.slope == pytest.approx(found.slope, rel=1e-3)


# --- boosters that were trained otherwise ----------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_classifier_of_a_booster_is_whole(kind: type, n_classes: int, tmp_path: Path) -> None:
    X, score = data(False)
    y = labels(score, n_classes)
    loss = (
        FocalLoss.balanced(y, (1.0, 2.0)) if n_classes == 2 else SoftmaxFocalLoss.balanced(y, 2.0, n_classes=n_classes)
    )
    start = loss.optimal_margin(y)
    if kind is XGB:
        parameters = {"base_score": np.asarray(start).tolist(), "disable_default_eval_metric": 1}
        parameters |= {"num_class": 3} if n_classes > 2 else {}
        booster = xgb.train(parameters, xgb.DMatrix(X, y), 12, obj=loss)
        margin = booster.predict(xgb.DMatrix(X), output_margin=True)
        model = XGB.from_booster(booster, loss, NAMES[n_classes], training_params=parameters)
    else:
        init_score = np.tile(start, (len(y), 1)) if n_classes > 2 else np.full(len(y), start)
        parameters = {"objective": loss, "verbosity": -1} | ({"num_class": 3} if n_classes > 2 else {})
        booster = lgb.train(parameters, lgb.Dataset(X, y, init_score=init_score), 12)
        margin = booster.predict(X) + start
        model = LGBM.from_booster(booster, loss, NAMES[n_classes], start=start)
    model.save_model(tmp_path / f"model{SUFFIX[kind]}")
    for found in (model, boostfocal.load(tmp_path / f"model{SUFFIX[kind]}"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(found.decision_function(X), margin, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found.start_, start, rtol=1e-6)
        assert found.loss_ == loss
        assert set(found.predict(X)) <= set(NAMES[n_classes])
    proba = loss.predict_proba(model.decision_function(X))
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], proba if n_classes == 2 else proba[:, 1])
    model.recalibrate(X, NAMES[n_classes][y], slope=False)
    share = np.bincount(y) / y.size
    np.testing.assert_allclose(model.predict_proba(X).mean(axis=0), share, atol=1e-6)
    before = model.decision_function(X)
    if n_classes > 2:  # of two classes each gamma its own is a loss that levels its margins
        model.refit_leaves(X, NAMES[n_classes][y], decay=1.0)
        np.testing.assert_allclose(model.decision_function(X), before, atol=1e-5)


def test_a_booster_of_xgboosts_own_class_is_taken_with_its_start_as_a_margin(tmp_path: Path) -> None:
    X, score = data(False)
    y, loss = labels(score, 2), FocalLoss(2.0, 0.5)
    plain = xgb.XGBClassifier(n_estimators=5, objective=loss, base_score=0.3, learning_rate=0.2).fit(X, y)
    model = XGB.from_booster(plain.get_booster(), loss, training_params={"eta": 0.2})
    margin = plain.predict(X, output_margin=True)
    model.save_model(tmp_path / "model.ubj")
    for found in (model, boostfocal.load(tmp_path / "model.ubj")):
        np.testing.assert_allclose(found.decision_function(X), margin, atol=1e-6)
        assert found.start_ == pytest.approx(np.log(0.3 / 0.7))
    session = pytest.importorskip("onnxruntime").InferenceSession(model.to_onnx().SerializeToString())
    np.testing.assert_allclose(np.ravel(session.run(["margin"], {"X": X.to_numpy(np.float32)})[0]), margin, atol=2e-5)
    model.refit_leaves(X, y, decay=1.0)
    np.testing.assert_allclose(model.decision_function(X), margin, atol=1e-5)
    with pytest.raises(ValueError, match="training_params must be given to from_booster"):
        XGB.from_booster(plain.get_booster(), loss).refit_leaves(X, y)
    several = xgb.train({}, xgb.DMatrix(X, np.stack([y, y], axis=1)), 2, obj=FocalLoss())
    with pytest.raises(ValueError, match=r"booster must have 1 margins a row as .* has, got 2"):
        XGB.from_booster(several, FocalLoss())


@BOTH
def test_what_is_not_of_the_booster_is_refused(kind: type) -> None:
    X, score = data(False)
    y = labels(score, 2)
    native = make(kind, n_estimators=2)
    fit(native, X, y)
    booster = native.get_booster() if kind is XGB else native.booster_
    more: dict[str, Any] = {} if kind is XGB else {"start": 0.0}
    for loss, classes, error, message in (
        (FocalLoss(np.array([1.0, 2.0])), None, TypeError, "loss must be a FocalLoss of one label"),
        ("focal", None, TypeError, "loss must be"),
        (SoftmaxFocalLoss(2), None, TypeError, "loss must be .* three classes or more"),
        (FocalLoss(), ["b", "a"], ValueError, "classes must be 2 labels in ascending order"),
        (FocalLoss(), [1, 2, 3], ValueError, "classes must be 2 labels"),
        (SoftmaxFocalLoss(3), None, ValueError, "booster must have 3 margins a row"),
    ):
        with pytest.raises(error, match=message):
            kind.from_booster(booster, loss, classes, **more)
    if kind is LGBM:
        with pytest.raises(ValueError, match="start must be a finite number"):
            LGBM.from_booster(booster, FocalLoss(), start=np.inf)
