"""Rows on a CUDA device: on a real one if there is one, else in Numba's simulator (conftest switches it on)."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from numba import config, cuda
from numpy.testing import assert_allclose, assert_array_equal

from boostfocal import (
    AveragePrecision,
    Brier,
    FocalLGBMClassifier,
    FocalLoss,
    FocalXGBClassifier,
    LogLoss,
    SoftmaxFocalLoss,
)
from boostfocal.kernels import cuda as kernels

# In the simulator, NumPy computes both sides of a `where`, and warns of the one that is not taken.
pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:Grid size"),  # so few rows do not fill a real device
]

simulated = bool(config.ENABLE_CUDASIM)
for space in (vars(kernels), kernels.bound, kernels.bound64):
    space.setdefault("__warningregistry__", {})  # a first warning would add it while a simulated thread reads the names
on_gpu = pytest.mark.skipif(simulated, reason="no CUDA device: the simulator runs the twins of these tests")

K, L = 4, 3
BINARY = [
    FocalLoss(0.0), FocalLoss(2.0, 0.25), FocalLoss(0.3, 0.9), FocalLoss((1.0, 2.7)),
    FocalLoss(2.0, hessian="exact"),
]  # fmt: skip
SEVERAL = [FocalLoss(2.0), FocalLoss(np.array([[0, 1], [2, 0.5], [1, 1]]), [0.25, 0.5, 0.9])]
SOFTMAX = [
    SoftmaxFocalLoss(K, 2.0), SoftmaxFocalLoss(K, 0.3, [1, 2, 3, 0.1]),
    SoftmaxFocalLoss(K, 2.0, hessian="exact"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    if simulated:  # where each thread is one of Python's
        monkeypatch.setattr(kernels, "THREADS", 4)
        monkeypatch.setattr(kernels, "MAX_BLOCKS", 2)


PAST_ONE_GRID = 11 if simulated else 600_000

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(loss: Any, n: int, seed: int = 0) -> Arrays:
    """Labels, margins in and far from the middle, and weights; float16 holds them, so that no dtype changes them."""
    rng = np.random.default_rng(seed)
    several = isinstance(loss, SoftmaxFocalLoss) or loss in SEVERAL
    columns = (K if isinstance(loss, SoftmaxFocalLoss) else L,) if several else ()
    margins = rng.normal(scale=rng.choice([1, 5, 40], size=(n, *(1,) * len(columns))), size=(n, *columns))
    labels = rng.integers(0, K, n) if isinstance(loss, SoftmaxFocalLoss) else rng.integers(0, 2, (n, *columns))
    margins = margins.astype(np.float16).astype(np.float32)
    return labels.astype(np.float32), margins, (rng.integers(0, 32, n) / 8).astype(np.float32)


def to_device(*arrays: np.ndarray) -> list[Any]:
    return [cuda.to_device(array) for array in arrays]


def tolerance(loss: Any) -> float:
    """Of float32 arithmetic: exp(gamma log q) loses digits in the tails, which powers of a whole or half gamma keep."""
    return 1e-6 if simulated or (2 * np.asarray(loss.gamma) % 1 == 0).all() else 4e-6


def assert_agree(device: Any, host: np.ndarray, scale: np.ndarray | float = 0.0, rtol: float = 1e-6) -> None:
    """Equal to `rtol`, relative to each value or to a larger `scale`."""
    assert hasattr(device, "__cuda_ndarray__")
    assert device.dtype == np.float32
    found = device.copy_to_host()
    assert found.shape == host.shape
    assert_array_equal(np.abs(found - host) <= rtol * np.maximum(np.abs(host), scale) + 1e-35, True)


def assert_rows_agree(loss: Any, arrays: list[Any], host: Arrays | tuple[np.ndarray, ...]) -> None:
    gradient, hessian = loss.gradient_hessian(*arrays)
    expected = loss.gradient_hessian(*host)
    assert_agree(gradient, expected[0], rtol=tolerance(loss))
    # where the exact Hessian changes its sign it is a small difference of its terms
    scale = 10 * np.abs(expected[0]) if loss.hessian == "exact" else 0.0
    assert_agree(hessian, expected[1], scale, tolerance(loss))
    assert_allclose(loss.mean(*arrays), loss.mean(*host), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 5, PAST_ONE_GRID])
@pytest.mark.parametrize("loss", [*BINARY, *SEVERAL, *SOFTMAX], ids=repr)
def test_device_agrees_with_the_cpu(loss: Any, n: int) -> None:
    labels, margins, weights = rows(loss, n)
    for host in ((labels, margins, weights + 0.5), (labels, margins)):
        assert_rows_agree(loss, to_device(*host), host)


@pytest.mark.parametrize("dtype", ["?", "u1", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("loss", [BINARY[1], SOFTMAX[0]], ids=repr)
def test_dtype_does_not_change_the_result(loss: Any, dtype: str) -> None:
    labels, margins, weights = rows(loss, 12)
    labels = np.minimum(labels, 1)
    wide = margins.astype("f8" if dtype == "f8" else "f4")
    arrays = to_device(labels.astype(dtype), wide, weights.astype(dtype if dtype != "?" else "f4"))
    host = labels, margins, weights.astype(dtype).astype("f4") if dtype != "?" else weights
    assert_rows_agree(loss, arrays, host)


LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "Fortran": lambda array: cuda.to_device(np.asfortranarray(array)),
    "every second row": lambda array: cuda.to_device(np.repeat(array, 2, axis=0))[::2],
    "columns of a wider matrix": lambda array: cuda.to_device(np.repeat(array, 2, axis=-1))[
        (*[slice(None)] * (array.ndim - 1), slice(None, None, 2))  # Numba's device arrays take no ellipsis
    ],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss", [BINARY[1], SEVERAL[1], SOFTMAX[0]], ids=repr)
def test_layout_does_not_change_the_result(loss: Any, layout: str) -> None:
    host = rows(loss, 12)
    arrays = [LAYOUTS[layout](array) for array in host]
    assert_rows_agree(loss, arrays, host)
    in_columns = loss.gradient_hessian(*arrays)[0].is_f_contiguous()
    assert in_columns == (layout == "Fortran" or host[1].ndim == 1)


@pytest.mark.parametrize("there", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)])
@pytest.mark.parametrize("loss", [BINARY[1], SOFTMAX[0]], ids=repr)
def test_any_mix_with_host_arrays_is_computed_on_the_device(loss: Any, there: tuple[int, ...]) -> None:
    host = rows(loss, 12)
    mixed = [cuda.to_device(array) if on else array for array, on in zip(host, there, strict=True)]
    assert_rows_agree(loss, mixed, host)


@pytest.mark.parametrize("loss", [*BINARY, *SOFTMAX], ids=repr)
@pytest.mark.parametrize("far", [88.0, 104.0, 1e4, 1e30, np.inf])
def test_far_margins_are_those_of_the_cpu(loss: Any, far: float) -> None:
    margins = np.array([[far, -far, 0, 1], [-far, -far, -far, -far], [0, 0, far, far]], np.float32)
    if isinstance(loss, SoftmaxFocalLoss):
        labels = np.array([0, 1, 0], np.float32)
    else:
        margins = np.repeat([far, -far], 2).astype(np.float32)
        labels = np.array([0, 1, 0, 1], np.float32)
    device, host = loss.gradient_hessian(*to_device(labels, margins)), loss.gradient_hessian(labels, margins)
    for found, expected in zip(device, host, strict=True):
        assert_agree(found, expected, 1e-6)
        assert np.isfinite(found.copy_to_host()).all()


@pytest.mark.parametrize("loss", [BINARY[1], SEVERAL[0], SOFTMAX[0]], ids=repr)
@pytest.mark.parametrize(
    ("which", "value", "message"),
    [(0, -1, "y must be"), (0, np.nan, "y must be"), (0, 9, "y must be"), (1, np.nan, "margin must be"),
     (2, -1, "sample_weight must be"), (2, np.inf, "sample_weight must be")],
)  # fmt: skip
def test_values_not_accepted_are_refused_as_on_the_cpu(loss: Any, which: int, value: float, message: str) -> None:
    host = rows(loss, 12)
    host[which][7] = value
    for call in (loss.gradient_hessian, loss.mean):
        with pytest.raises(ValueError, match=message) as on_device:
            call(*to_device(*host))
        with pytest.raises(ValueError, match=message) as on_host:
            call(*host)
        assert str(on_device.value) == str(on_host.value)


@pytest.mark.parametrize("dtype", [">f4", ">i8"])
def test_host_arrays_of_any_kind_go_with_device_arrays(dtype: str) -> None:
    labels, margins, weights = rows(BINARY[1], 12)
    mixed = labels.astype(dtype), *to_device(margins), weights.astype(">f4")
    assert_rows_agree(BINARY[1], list(mixed), (labels, margins, weights))


def test_shapes_and_kinds_are_checked_at_the_boundary() -> None:
    labels, margins, _ = to_device(*rows(BINARY[0], 5))
    with pytest.raises(ValueError, match=r"margin must have shape \(5,\) as y has, got shape \(3,\)"):
        BINARY[0].gradient_hessian(labels, margins[:3])
    with pytest.raises(TypeError, match="y must be numbers"):
        BINARY[0].gradient_hessian(cuda.to_device(np.zeros(5, "M8[s]").view("c8")), margins)


@pytest.mark.parametrize("n", [1, PAST_ONE_GRID])
@pytest.mark.parametrize("loss", [*BINARY[:4], *SEVERAL, *SOFTMAX[:2]], ids=repr)
def test_log_loss_and_brier_are_summed_on_the_device(loss: Any, n: int) -> None:
    labels, margins, weights = rows(loss, n)
    for metric in (LogLoss(loss), Brier(loss)):
        for host in ((labels, margins, weights + 0.5), (labels, margins)):
            assert_allclose(metric.score(*to_device(*host)), metric.score(*host), rtol=1e-11, atol=1e-15)
    margins[0] = np.nan
    with pytest.raises(ValueError, match="margin must be"):
        LogLoss(loss).score(*to_device(labels, margins))


@pytest.mark.parametrize("loss", [BINARY[1], SOFTMAX[0]], ids=repr)
def test_everything_else_takes_device_arrays_to_the_host(loss: Any) -> None:
    host = rows(loss, 12)
    labels, margins, weights = to_device(*host)
    assert_array_equal(loss.predict_proba(margins), loss.predict_proba(host[1]))
    assert_array_equal(loss.value(labels, margins), loss.value(*host[:2]))
    assert_array_equal(loss.optimal_margin(labels, weights), loss.optimal_margin(host[0], host[2]))
    assert type(loss).balanced(labels, sample_weight=weights) == type(loss).balanced(host[0], sample_weight=host[2])
    if loss is BINARY[1]:
        assert AveragePrecision().score(labels, margins, weights) == AveragePrecision().score(*host)


# --- in XGBoost ------------------------------------------------------------------------------------


class OnDevice(xgb.DMatrix):
    """A data set that gives its labels and weights on the device, which XGBoost's own copies to the host up to 3.4."""

    def get_label(self) -> Any:
        return cuda.to_device(super().get_label())

    def get_weight(self) -> Any:
        return cuda.to_device(super().get_weight())


@pytest.mark.parametrize("loss", [BINARY[1], SOFTMAX[0]], ids=repr)
def test_training_with_labels_on_the_device_gives_the_same_model(loss: Any) -> None:
    labels, X, weights = rows(loss, 24)
    X = X.reshape(24, -1)
    parameters = {"disable_default_eval_metric": 1, "nthread": 1} | ({"num_class": K} if loss in SOFTMAX else {})

    def on_host(margin: Any, data: Any) -> Any:
        return tuple(array.copy_to_host() for array in loss(margin, data))

    results: list[dict[str, Any]] = [{}, {}]
    boosters = [
        xgb.train(
            parameters, data, 3, obj=objective, custom_metric=loss.metric, evals=[(data, "train")],
            evals_result=result, verbose_eval=False,
        )
        for data, objective, result in zip(
            (xgb.DMatrix(X, labels, weight=weights), OnDevice(X, labels, weight=weights)), (loss, on_host), results,
            strict=True,
        )
    ]  # fmt: skip
    margins = [booster.predict(xgb.DMatrix(X), output_margin=True) for booster in boosters]
    assert_allclose(margins[0], margins[1], atol=1e-4)
    assert_allclose(results[0]["train"]["focal"], results[1]["train"]["focal"], rtol=1e-5)


@pytest.mark.parametrize("kind", [FocalXGBClassifier, FocalLGBMClassifier])
def test_classifiers_take_labels_and_weights_on_the_device(kind: type) -> None:
    labels, X, weights = rows(SOFTMAX[0], 60)
    y = (labels > 1).astype(np.int64)
    parameters: dict[str, Any] = {"n_estimators": 3, "n_jobs": 1}
    parameters |= {"min_child_samples": 1, "verbosity": -1} if kind is FocalLGBMClassifier else {}
    here = kind(**parameters).fit(X, y, sample_weight=weights, eval_set=[(X, y)])
    there = kind(**parameters).fit(
        X, to_device(y)[0], sample_weight=to_device(weights)[0], eval_set=[(X, *to_device(y))]
    )
    assert_array_equal(there.predict_proba(X), here.predict_proba(X))
    assert_array_equal(there.classes_, [0, 1])
    on_device = there.check(*to_device(X, y, weights), cv=2)
    assert on_device == here.check(X, y, weights, cv=2)


# --- on a real device, and for it --------------------------------------------------------------------


PTX = """
import sys
import numpy as np
from numba import boolean, cuda, float32, float64, int32
from boostfocal.kernels import cuda as shared, cuda_elementwise as elementwise, cuda_softmax as softmax

rows, matrix = float32[::1], float32[:, ::1]
capability = int(sys.argv[1]), int(sys.argv[2])

def ptx(kernel, *signature):
    text, _ = cuda.compile(
        kernel.py_func, signature, cc=capability, device=False, abi="numba", output="ptx", opt=True
    )
    assert ".target sm_%d%d" % capability in text, text[:500]
    return text

every = capability == (7, 5)  # elsewhere the largest kernels
for formula in ("gradient_expected", "gradient_exact", "focal_loss")[: 3 if every else 1]:
    out = rows if formula == "focal_loss" else matrix
    kernel = softmax.softmax_kernel(formula, True)
    text = ptx(kernel, rows, matrix, rows, rows, float32, float32, out, out, int32[::1])
    assert ".f64" not in text, "float64 is slow on most devices"
    row, valued = shared.bound[formula], formula == "focal_loss"
    kernel = elementwise.elementwise_kernel(row, valued, np.float32, False, True)
    text = ptx(kernel, rows, rows, rows, matrix, float32, boolean, rows, rows, int32[::1])
    assert ".f64" not in text, "float64 is slow on most devices"
    if every:
        ptx(kernel, int32[::1], float64[::1], rows, matrix, float32, boolean, rows, rows, int32[::1])
        kernel = elementwise.elementwise_kernel(row, valued, np.float32, True, False)
        ptx(kernel, matrix, matrix, matrix, matrix, float32, boolean, matrix, matrix, int32[::1])
wide = float64[:, ::1]
for row in elementwise.SCORES.values():
    kernel = elementwise.elementwise_kernel(row, True, np.float64, False, True)
    ptx(kernel, rows, rows, rows, wide, float64, boolean, float64[::1], float64[::1], int32[::1])
kernel = softmax.class_scores_kernel(True, True)
ptx(kernel, rows, matrix, rows, float64[::1], float64, float64[::1], int32[::1])
ptx(shared.sum_kernel, rows, float64[::1])
print("compiled")
"""


@pytest.mark.parametrize("capability", ["7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0"])
def test_kernels_compile_for_the_devices_that_xgboost_supports(capability: str) -> None:
    """To PTX, which needs no device: what XGBoost 3.4's wheel names is 7.5 to 12.0."""
    pytest.importorskip("numba_cuda", reason="numba-cuda, of the extra `cuda`, is not installed")
    if tuple(map(int, np.__version__.split(".")[:2])) >= (2, 5):
        pytest.skip("numba-cuda does not compile under NumPy 2.5, which removed row_stack")
    done = subprocess.run(
        [sys.executable, "-c", PTX, *capability.split(".")],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "0"},
    )
    assert done.stdout.strip() == "compiled", done.stderr
