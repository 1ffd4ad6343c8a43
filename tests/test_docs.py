"""What the README and the documents show runs, and gives what they say."""

import gc
import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from boostfocal import FocalLoss, SoftmaxFocalLoss
from boostfocal.compare.training import missing_device

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "pages"

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python[^\n]*\n(.*?)^```$", text, flags=re.M | re.S)


def made() -> dict[str, Any]:
    """The names that the README takes for given."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 4))
    y = (rng.random(6000) < 1 / (1 + np.exp(3 - 2 * X[:, 0]))).astype(int)
    return {"X": X[:4000], "y": y[:4000], "X_valid": X[4000:], "y_valid": y[4000:]}


def test_the_readmes_python_gives_probabilities_of_the_true_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xgboost")
    pytest.importorskip("lightgbm")
    monkeypatch.chdir(tmp_path)
    scope = made()
    y = scope["y_valid"]
    found = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(found) == 3
    for block in found:
        exec(block, scope)
        probability = scope.pop("probability")
        assert probability.shape == y.shape
        assert probability.mean() == pytest.approx(y.mean(), abs=0.02)
        assert average_precision_score(y, probability) > 0.5


def test_every_way_of_scoring_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("xgboost", "lightgbm", "onnxruntime", "treelite"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    probabilities = []
    for block in blocks((PAGES / "scoring.md").read_text(encoding="utf-8")):
        exec(block, scope)
        probabilities.append(scope.get("probability"))
    model, other, rows = scope["model"], scope["other"], scope["X_valid"]
    expected = model.predict_proba(rows)
    np.testing.assert_allclose(probabilities[2], expected[:, 1], rtol=1e-6)
    np.testing.assert_allclose(scope["probability"], expected, atol=2e-5)
    np.testing.assert_array_equal(scope["label"], model.predict(rows))
    for name in ("margin", "treelite_margin"):
        np.testing.assert_allclose(scope[name], model.decision_function(rows), atol=2e-5)
    np.testing.assert_allclose(scope["lightgbm_margin"], other.decision_function(rows), rtol=1e-12)
    np.testing.assert_allclose(scope["plain"], expected[:, 1], rtol=1e-9)
    np.testing.assert_allclose(scope["interpolated"], expected[:, 1], atol=1e-4)
    recalibrated = model.recalibrate(rows, scope["y_valid"]).posterior_
    again = scope["posterior"](scope["margin"], 2.0, 0.25, recalibrated.slope, recalibrated.bias)
    np.testing.assert_allclose(again, model.predict_proba(rows)[:, 1], rtol=1e-9)
    y_class = np.digitize(rows[:, 1] + np.random.default_rng(0).normal(size=len(rows)), [0, 1.5])
    several = (
        type(other)(n_estimators=20, focal_alpha=[1, 2, 3], verbosity=-1).fit(rows, y_class).recalibrate(rows, y_class)
    )
    formula = scope["posterior_of_several"](
        several.decision_function(rows), several.loss_.gamma, several.loss_.alpha, several.posterior_.slope,
        several.posterior_.bias,
    )  # fmt: skip
    np.testing.assert_allclose(formula, several.predict_proba(rows), rtol=1e-9)
    far = np.array([-800.0, -30.0, 0.0, 30.0, 800.0])
    for gamma, alpha in [(0.0, None), (2.0, None), ((2.0, 0.0), 0.1)]:
        expected = FocalLoss(gamma, alpha).predict_proba(far)
        np.testing.assert_allclose(scope["posterior"](far, gamma, alpha), expected, rtol=1e-9)
    margins = np.array([[0.0, 1.0, 2.0], [300.0, 0.0, -300.0], [0.0, 700.0, 0.0]])
    for gamma in (0.0, 2.0):
        expected = SoftmaxFocalLoss(3, gamma).predict_proba(margins)
        np.testing.assert_allclose(scope["posterior_of_several"](margins, gamma, None), expected, rtol=1e-9)


IN_SECTIONS = ("gpu.md", "clusters.md", "memory.md")
"""Pages of which each section stands for itself, since no machine has all that they need."""


def documents() -> Iterator[tuple[str, list[str]]]:
    """The code of every page, or of its sections."""
    for page in sorted(PAGES.rglob("*.md")):
        name, text = str(page.relative_to(PAGES)), page.read_text(encoding="utf-8")
        if name in IN_SECTIONS:
            rows, *sections = re.split(r"^## ", text, flags=re.M)
            for part in sections:
                if code := blocks(part):
                    yield f"{name}: {part.partition(chr(10))[0]}", blocks(rows) + code
        elif code := blocks(text):
            yield name, code


DOCUMENTS = dict(documents())


def needed(code: str) -> list[str]:
    """The packages that the code imports, the engines of our classifiers among them."""
    found = re.findall(r"^ *(?:from|import) ([\w.]+)", code, flags=re.M)
    engines = {"FocalXGB": "xgboost", "FocalLGBM": "lightgbm"}
    return sorted({*found, *(engine for name, engine in engines.items() if name in code)})


@pytest.mark.parametrize("title", DOCUMENTS)
def test_every_page_runs_and_gives_probabilities_of_the_true_rate(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = DOCUMENTS[title]
    for package in needed("\n".join(code)):
        pytest.importorskip(package, reason=f"{package} is not installed")
    scope: dict[str, Any] = {"folder": str(tmp_path)}
    if 'device_type="gpu"' in "".join(code) and missing_device("lightgbm", {"device_type": "gpu"}):
        pytest.skip("LightGBM trains on no OpenCL device")
    if "import ray" in "".join(code):
        import ray

        ray.init(num_cpus=2, include_dashboard=False)
    if "spark." in "".join(code):
        if shutil.which("java") is None:
            pytest.skip("Spark needs Java")
        from pyspark.sql import SparkSession

        monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
        settings = {"spark.ui.enabled": "false", "spark.driver.memory": "1g"}
        scope["spark"] = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    monkeypatch.chdir(tmp_path)
    for block in code:
        before = scope.get("probability")
        exec(block, scope)
        if scope.get("probability") is not before:
            check(scope["probability"], scope["y_valid"])
    if title == "xgboost.md":
        check_of_several(scope)
    scope.clear()
    gc.collect()  # XGBoost removes its cache, whose name is relative to this folder


def check_of_several(scope: dict[str, Any]) -> None:
    """Multiclass and multilabel probabilities have the true rates."""
    shares = np.bincount(scope["y3_valid"]) / len(scope["y3_valid"])
    np.testing.assert_allclose(scope["several"].mean(axis=0), shares, atol=0.03)
    truth = np.column_stack([scope["y_valid"], scope["X_valid"][:, 0] > 1])
    np.testing.assert_allclose(scope["by_label"].mean(axis=0), truth.mean(axis=0), atol=0.03)


def check(probability: np.ndarray, y: np.ndarray) -> None:
    """A page's probabilities of the validation rows have the true rates, and rank."""
    probability = probability.reshape(len(y), -1)[:, -1]
    rate = np.mean(y)
    assert abs(probability.mean() - rate) < min(0.03, 0.35 * rate)
    assert average_precision_score(y, probability) > min(3 * rate, (1 + rate) / 2)


def test_the_readmes_figures_are_those_of_the_results_files() -> None:
    readme = runpy.run_path(str(ROOT / "docs" / "readme.py"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme["filled"](text) == text


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda file: file.stem)
def test_recorded_results_are_of_full_size(file: Path) -> None:
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert not figures["quick"]
    assert not any("left out" in note or "skipped" in note for note in figures["notes"])


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Markdown as HTML, with the formulas of the pages."""
    pytest.importorskip("latex2mathml")
    markdown = pytest.importorskip("markdown")
    monkeypatch.syspath_prepend(ROOT / "docs")
    return lambda text: markdown.markdown(text, extensions=["formulas", "tables"])


def test_formulas_become_mathml_where_they_stand(rendered: Callable[[str], str]) -> None:
    text = r"It is \(a < b\), or"
    for block in ("\n\n\\[\n\\eta\n> 0\n\\]\n", "\n\n$$\n\\eta\n> 0\n$$\n"):
        html = rendered(text + block + "\n| \\(c\\) |\n| --- |\n| $5 and $6 |")
        assert re.search(
            r'<p>It is <math [^>]*display="inline"><mrow><mi>a</mi><mo>&#x0003C;</mo>.*</math>, or</p>', html
        )
        assert re.search(r'^<div class="formula" tabindex="0"><math [^>]*display="block">.*</math></div>$', html, re.M)
        assert re.search(r"<th><math .*<td>\$5 and \$6</td>", html, re.S)
        assert html.count("<math") == 3


@pytest.mark.parametrize("code", [r"`\(a\)`", "    \\[a\\]", r"\\(a)"])
def test_what_looks_like_a_formula_in_code_stays(rendered: Callable[[str], str], code: str) -> None:
    html = rendered(code)
    assert "<math" not in html
    assert code.strip("` ").replace("\\\\", "\\") in html


@pytest.mark.parametrize("formula", [r"\(\fraction{a}\)", r"\[\sqrt\]", r"\(\frac\)"])
def test_a_formula_that_cannot_be_converted_is_named(rendered: Callable[[str], str], formula: str) -> None:
    with pytest.raises(ValueError, match="the formula " + re.escape(repr(formula[2:-2]))):
        rendered(formula)
