"""What warming up compiles is what training needs: it then compiles nothing."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from boostfocal import FocalLoss, SoftmaxFocalLoss, warm_up

TIMEOUT = 120

LOSSES: dict[str, Any] = {
    "binary": FocalLoss(2.0, 0.25),
    "two gammas": FocalLoss((1.3, 0.4), hessian="exact"),
    "multilabel": FocalLoss(2.0, [0.2, 0.3, 0.4]),
    "classes": SoftmaxFocalLoss(3, 2.0),
    "classes, any gamma": SoftmaxFocalLoss(5, 0.7, hessian="exact"),
}


def run(code: str, folder: Path) -> str:
    variables = os.environ | {"BOOSTFOCAL_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("name", LOSSES)
def test_training_after_it_compiles_nothing(name: str, engine: Any, tmp_path: Path, monkeypatch: Any) -> None:
    if (name, engine) == ("multilabel", "lightgbm"):
        pytest.skip("LightGBM has one label a row")
    pytest.importorskip(engine)
    loss, folder = LOSSES[name], tmp_path / "kernels"
    monkeypatch.setenv("BOOSTFOCAL_CACHE_DIR", str(folder))
    warm_up(loss, engines=[engine])
    before = sorted(folder.iterdir())
    classes = loss.n_classes if isinstance(loss, SoftmaxFocalLoss) else 2
    code = f"""
    import sys
    import numpy as np, {engine} as engine
    from boostfocal import *
    loss, random = {loss!r}, np.random.default_rng(0)
    X, w = random.normal(size=(200, 3)), random.uniform(size=200)
    y = random.integers(0, {classes}, (200, 3) if {name == "multilabel"} else 200)
    for weights in (None, w):
        if {engine == "xgboost"}:
            data = engine.DMatrix(X, y, weight=weights)
            parameters = {{"disable_default_eval_metric": 1}} | ({{"num_class": {classes}}} if {classes > 2} else {{}})
            evaluated = dict(custom_metric=loss.metric, evals=[(data, "")], verbose_eval=False)
            engine.train(parameters, data, 2, obj=loss, **evaluated)
        else:
            data = engine.Dataset(X, y, weight=weights)
            parameters = {{"objective": loss, "verbose": -1}} | ({{"num_class": {classes}}} if {classes > 2} else {{}})
            engine.train(parameters, data, 2, feval=loss.metric, valid_sets=[data])
    print("boostfocal.kernels.simd" in sys.modules)
    """
    assert run(code, folder).split()[-1] == "False"
    assert sorted(folder.iterdir()) == before


def test_command_compiles_by_engine_gamma_and_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, app = pytest.importorskip("typer.testing").CliRunner(), pytest.importorskip("boostfocal.cli").app
    counts = {}
    for arguments in ((), ("--engine", "xgboost"), ("--engine", "xgboost", "--gamma", "2", "--gamma", "1.3,0.4")):
        folder = tmp_path / str(len(counts))
        monkeypatch.setenv("BOOSTFOCAL_CACHE_DIR", str(folder))
        result = runner.invoke(app, ["warm-up", *arguments])
        assert result.exit_code == 0, result.output
        assert str(folder) in result.output.replace("\n", "")
        counts[arguments] = len(list(folder.iterdir()))
    assert list(counts.values()) == [8, 4, 8]  # gradient and loss, with weights and without
    monkeypatch.setenv("BOOSTFOCAL_CACHE_DIR", str(tmp_path / "classes"))
    assert (
        runner.invoke(app, ["warm-up", "--classes", "4", "--engine", "lightgbm", "--hessian", "exact"]).exit_code == 0
    )
    assert len(list((tmp_path / "classes").iterdir())) == 4


def test_what_the_process_has_loaded_is_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, margins = [0, 1], {"binary": [0.0, 0.1], "classes": [[0.0, 0.1, 0.2], [0.0, 0.0, 0.1]]}
    for name in margins:
        LOSSES[name].gradient_hessian(labels, margins[name])
        monkeypatch.setenv("BOOSTFOCAL_CACHE_DIR", str(tmp_path / name))
        assert len(list(warm_up(LOSSES[name], engines=["lightgbm"]).iterdir())) == 4


@pytest.mark.parametrize(
    ("variable", "message"),
    [("", "must name a folder .* got an empty name"), ("/dev/null/kernels", "can be written, got /dev/null/kernels")],
)
def test_place_where_nothing_can_be_kept_is_an_error(
    variable: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOSTFOCAL_CACHE_DIR", variable)
    with pytest.raises(OSError, match=message):
        warm_up()
    runner, app = pytest.importorskip("typer.testing").CliRunner(), pytest.importorskip("boostfocal.cli").app
    result = runner.invoke(app, ["warm-up"])
    assert result.exit_code == 2
    assert "BOOSTFOCAL_CACHE_DIR" in result.output


def test_folder_that_others_can_write_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("the platform has no owners of files")
    tmp_path.chmod(0o777)
    monkeypatch.setenv("BOOSTFOCAL_CACHE_DIR", str(tmp_path))
    with pytest.raises(OSError, match="this user alone can write"):
        warm_up()
    assert list(tmp_path.iterdir()) == []


def test_other_engines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOSTFOCAL_CACHE_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="engines must be among xgboost, lightgbm, got 'catboost'"):
        warm_up(engines=["catboost"])  # type: ignore[list-item]


def test_without_a_compiler_it_is_an_error() -> None:
    code = """
    import sys; sys.modules["llvmlite"] = None
    from boostfocal import warm_up
    try:
        warm_up()
    except ImportError as error:
        print(error)
    """
    assert "pip install llvmlite" in run(code, Path("unused"))
