"""The objective on a CUDA device: against the CPU, and its time in a boosting round.

Correctness: gradients, Hessians and scores of every loss and memory layout on the device against the CPU's, and
models of the engines' GPU backends against those of the CPU. Speed: the kernels beside a device copy of as many
bytes, by CUDA events and by the clock; and whole rounds of XGBoost with its own objective and with ours: as `obj`,
which is given margins on the host, and with `TrainingOnDevice`, which computes the gradients on the device and keeps
the margins there, too, if the rows are there. All grow the same trees. They take turns from round to round.

Without a GPU, ``--quick`` runs all of it at a tiny size: the kernels in Numba's simulator, the rounds on the CPU.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

GPU = Path("/proc/driver/nvidia/version").exists() or os.environ.get("NUMBA_ENABLE_CUDASIM") == "0"
if not GPU:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # before Numba is imported

import lightgbm as lgb  # noqa: E402
import numpy as np  # noqa: E402
import xgboost as xgb  # noqa: E402
from _measure import Report, parser  # noqa: E402
from numba import cuda  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from sklearn.metrics import average_precision_score  # noqa: E402
from training import table  # noqa: E402

from boostfocal import FocalLoss, SoftmaxFocalLoss  # noqa: E402
from boostfocal.device_training import TrainingOnDevice  # noqa: E402
from boostfocal.kernels import cuda as kernels  # noqa: E402

Array = NDArray[Any]
K, L, FEATURES = 5, 3, 30
DEVICE = "cuda" if GPU else "cpu"
PARAMETERS = {"device": DEVICE, "max_depth": 6, "learning_rate": 0.1, "disable_default_eval_metric": 1}
ON_DEVICE = "ours, margins on the device"
NAMES = {"binary": "binary", "multiclass": f"{K} classes"}


def on_device(array: Array) -> Any:
    """A copy on the device, of CuPy; without one, what the simulator or XGBoost on the CPU takes."""
    if not GPU:
        return array
    import cupy

    return cupy.asarray(array)


def wait() -> None:
    if GPU:
        cuda.synchronize()


# --- against the CPU -------------------------------------------------------------------------------

LOSSES: tuple[tuple[Any, tuple[int, ...]], ...] = (
    (FocalLoss(0.0), ()), (FocalLoss(2.0, 0.25), ()), (FocalLoss(0.3, 0.9), ()), (FocalLoss((1.0, 2.7)), ()),
    (FocalLoss(2.0, hessian="exact"), ()),
    (FocalLoss(2.0), (L,)), (FocalLoss(np.array([[0, 1], [2, 0.5], [1, 1]]), [0.25, 0.5, 0.9]), (L,)),
    (SoftmaxFocalLoss(4, 2.0), (4,)), (SoftmaxFocalLoss(4, 0.3, [1, 2, 3, 0.1]), (4,)),
    (SoftmaxFocalLoss(4, 2.0, hessian="exact"), (4,)), (SoftmaxFocalLoss(20, 1.0), (20,)),
)  # fmt: skip
LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "by row": cuda.to_device,
    "by column": lambda array: cuda.to_device(np.asfortranarray(array)),
    "every second row": lambda array: cuda.to_device(np.repeat(array, 2, axis=0))[::2],
}


def difference(device: Any, host: Array, scale: Array | float = 0.0) -> float:
    """Worst difference, relative to each value or to a larger scale."""
    found = device.copy_to_host()
    return float(np.max(np.abs(found - host) / np.maximum(np.maximum(np.abs(host), scale), 1e-30)))


def agreement(n: int) -> Iterator[tuple[Any, ...]]:
    random = np.random.default_rng(0)
    for loss, columns in LOSSES:
        softmax = isinstance(loss, SoftmaxFocalLoss)
        scale = random.choice([1, 5, 40], size=(n, *(1,) * len(columns)))
        margins = random.normal(scale=scale, size=(n, *columns)).astype(np.float32)
        labels = random.integers(0, columns[0], n) if softmax else random.integers(0, 2, (n, *columns))
        labels = labels.astype(np.float32)
        weights = random.uniform(0.5, 2, n).astype(np.float32)
        gradient, hessian = loss.gradient_hessian(labels, margins, weights)
        near = 10 * np.abs(gradient) if loss.hessian == "exact" else 0.0  # a small difference of large terms
        for layout, put in LAYOUTS.items():
            if layout == "by column" and not columns:
                continue
            given = put(labels), put(margins), put(weights)
            found = loss.gradient_hessian(*given)
            means = [_mean(loss.sums(*given), loss.sums(labels, margins, weights))]
            means += [
                _mean(loss.score_sums(score, *given), loss.score_sums(score, labels, margins, weights))
                for score in ("log_loss", "brier")
            ]
            yield (repr(loss), layout, difference(found[0], gradient), difference(found[1], hessian, near), *means)


def _mean(device: tuple[float, float], host: tuple[float, float]) -> float:
    return abs(device[0] / device[1] / (host[0] / host[1]) - 1)


# --- models of the backends ------------------------------------------------------------------------


def models(n: int, rounds: int, report: Report) -> Iterator[tuple[Any, ...]]:
    """Models of each device, with our objective and, for comparison, with the engine's own."""
    X, y = table(n + n // 5)
    rows, held_out = slice(n), slice(n, None)
    loss = FocalLoss(2.0, 0.25)
    start = loss.optimal_margin(y[rows])

    def xgboost(device: str, ours: bool) -> tuple[Array, list[float]]:
        put = on_device if device == "cuda" else np.asarray
        data = xgb.QuantileDMatrix(put(X[rows]), y[rows])
        valid = xgb.QuantileDMatrix(put(X[held_out]), y[held_out], ref=data)
        results: dict[str, Any] = {}
        options = PARAMETERS | {"device": device}
        if ours:
            options |= {"base_score": start}
            callbacks = [TrainingOnDevice(loss, put(X[rows]), y[rows])] if device == "cuda" else []
            more: dict[str, Any] = {"obj": loss, "custom_metric": loss.metric, "callbacks": callbacks}
        else:
            options |= {"objective": "binary:logistic", "eval_metric": "logloss"}
            more = {}
        booster = xgb.train(
            options, data, rounds, evals=[(valid, "valid")], evals_result=results, verbose_eval=False, **more
        )
        return booster.predict(valid, output_margin=True), results["valid"]["focal" if ours else "logloss"]

    def lightgbm(device: str, ours: bool) -> tuple[Array, list[float]]:
        options: dict[str, Any] = {"device_type": device, "verbosity": -1, "learning_rate": 0.1}
        init = start if ours else 0.0
        data = lgb.Dataset(X[rows], y[rows], init_score=np.full(n, init) if ours else None, params=options)
        valid = lgb.Dataset(
            X[held_out], y[held_out], init_score=np.full(len(y) - n, init) if ours else None, reference=data
        )
        results: dict[str, Any] = {}
        options |= {"objective": loss, "metric": "None"} if ours else {"objective": "binary"}
        booster = lgb.train(
            options, data, rounds, [valid], feval=loss.metric if ours else None,
            callbacks=[lgb.record_evaluation(results)],
        )  # fmt: skip
        curve = results["valid_0"]["focal" if ours else "binary_logloss"]
        return booster.predict(X[held_out], raw_score=True) + init, curve

    engines = (("XGBoost", xgboost, ("cpu", "cuda")), ("LightGBM", lightgbm, ("cpu", "gpu", "cuda")))
    for engine, train, devices in engines:
        for ours in (True, False):
            cpu_curve: list[float] = []
            for device in devices:
                if engine == "XGBoost" and device == "cuda" and not GPU:  # it would fall back to the CPU
                    continue
                begin = time.perf_counter()
                try:
                    margin, curve = train(device, ours)
                except lgb.basic.LightGBMError as error:  # a backend that this build, or this machine, does not have
                    report.note(f"{engine} on {device}: {str(error).splitlines()[0]}")
                    continue
                cpu_curve = cpu_curve or curve
                worst = float(np.max(np.abs(np.array(curve) / cpu_curve - 1)))
                precision = float(average_precision_score(y[held_out], margin))
                what = "focal loss" if ours else "the engine's log loss"
                yield engine, what, device, precision, curve[-1], worst, time.perf_counter() - begin


# --- kernels ---------------------------------------------------------------------------------------


def kernel_seconds(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Medians of the kernel by CUDA events, launched several times in a row, and of the call by the clock."""
    launch, seconds = kernels.run, []

    def watched(kernel: Any, n_threads: int, inputs: list[Any], scalars: tuple[Any, ...], out: list[Any]) -> bool:
        result = launch(kernel, n_threads, inputs, scalars, out)
        if GPU:
            invalid, launches = cuda.to_device(np.zeros(1, np.int32)), 10
            begin, end = cuda.event(), cuda.event()
            begin.record()
            for _ in range(launches):
                kernel[kernels._grid(n_threads)](*inputs, *scalars, *out, invalid)
            end.record()
            end.synchronize()
            seconds.append(cuda.event_elapsed_time(begin, end) / 1e3 / launches)
        return result

    call()
    kernels.run = watched
    for _ in range(repeats):
        call()
    kernels.run = launch
    by_clock = [_clock(call) for _ in range(repeats)]
    return float(np.median(seconds or by_clock)), float(np.median(by_clock))


def _clock(call: Callable[[], Any]) -> float:
    wait()
    begin = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - begin


def copy_seconds(n_bytes: int, repeats: int) -> float:
    """Of a device copy that moves so many bytes, half of them read and half written."""
    source = on_device(np.ones(n_bytes // 2, np.uint8))
    target = on_device(np.zeros(n_bytes // 2, np.uint8))

    def copy() -> None:
        for _ in range(10):
            target[...] = source

    copy()
    return float(np.median([_clock(copy) for _ in range(repeats)])) / 10


def kernel_rows(sizes: tuple[int, ...], repeats: int) -> Iterator[tuple[Any, ...]]:
    random = np.random.default_rng(1)
    for n in sizes:
        margin = random.standard_normal(n, np.float32) * 3
        label = (random.random(n, np.float32) < 0.1).astype(np.float32)
        for loss in (FocalLoss(0.0), FocalLoss(2.0, 0.25), FocalLoss(0.3), SoftmaxFocalLoss(K, 2.0)):
            softmax = isinstance(loss, SoftmaxFocalLoss)
            rows = n // K if softmax else n  # as many margins
            y = cuda.to_device(random.integers(0, K, rows).astype(np.float32) if softmax else label)
            z = cuda.to_device(np.resize(margin, (rows, K)) if softmax else margin)
            kernel, whole = kernel_seconds(lambda y=y, z=z, loss=loss: loss.gradient_hessian(y, z), repeats)
            what = f"{K} classes, gamma {loss.gamma:g}" if softmax else f"binary, gamma {loss.gamma:g}"
            n_bytes = 4 * (y.size + 3 * z.size)  # labels and margins are read, gradients and Hessians written
            copy = copy_seconds(n_bytes, repeats)
            yield z.size, what, kernel * 1e3, whole * 1e3, copy * 1e3, kernel / copy, 1e-9 * n_bytes / kernel


# --- rounds ----------------------------------------------------------------------------------------


class Contender:
    """A training whose rounds are timed, and the parts of each."""

    PARTS = ("predict", "objective", "boost", "inplace_predict")

    def __init__(self, data: xgb.DMatrix, parameters: dict[str, Any], loss: Any = None, loop: Any = None) -> None:
        self._data, self._loss = data, loss
        self.booster = xgb.Booster(PARAMETERS | parameters, [data])
        self._parts = dict.fromkeys(self.PARTS, 0.0)
        self.rounds: list[dict[str, float]] = []
        for name in ("predict", "inplace_predict"):
            setattr(self.booster, name, self._watched(name, getattr(self.booster, name)))
        if loop is not None:  # the boost of other contenders calls the objective itself
            self.booster.boost = self._watched("boost", self.booster.boost)
            X, labels = loop
            TrainingOnDevice(self, X, labels).before_training(self.booster)
        self._objective = None if loss is None else self._watched("objective", loss)

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            wait()
            begin = time.perf_counter()
            result = function(*arguments, **options)
            wait()
            self._parts[name] += time.perf_counter() - begin
            return result

        return watched

    def __getattr__(self, name: str) -> Any:
        """What the loop asks of its loss."""
        found = getattr(self._loss, name)
        return self._watched("objective", found) if name == "_gradient_hessian" else found

    def round(self) -> None:
        self._parts = dict.fromkeys(self.PARTS, 0.0)
        number = len(self.rounds)
        seconds = _clock(lambda: self.booster.update(self._data, number, self._objective))
        self.rounds.append({**self._parts, "round": seconds})


def contenders(X: Array, y: Array, kind: str) -> dict[str, Contender]:
    """Trainings of equal trees. Each has its data set, as XGBoost moves labels where it needs them."""
    device_X, device_y = on_device(X), on_device(y)
    loss: Any
    if kind == "binary":
        loss = FocalLoss(0.0, max_step=float("inf"))
        start = {"base_score": loss.optimal_margin(y)}
        own = {"objective": "binary:logistic", "base_score": float(y.mean())}
        scaled: dict[str, Any] = {}
    else:
        loss = SoftmaxFocalLoss(K, 0.0, max_step=float("inf"))
        start = {"num_class": K, "base_score": [0.5] * K}
        own = {"objective": "multi:softprob", "num_class": K, "base_score": [0.5] * K}
        # XGBoost doubles its Hessian
        scaled = {"learning_rate": 0.05, "reg_lambda": 0.5, "min_child_weight": 0.5}

    def data(labels: Any) -> xgb.DMatrix:
        return xgb.QuantileDMatrix(device_X, labels)

    return {
        "XGBoost's own": Contender(data(device_y), own),
        "ours": Contender(data(y), start | scaled, loss),
        "ours, gradients on the device": Contender(data(device_y), start | scaled, loss, (None, device_y)),
        ON_DEVICE: Contender(data(device_y), start | scaled, loss, (device_X, device_y)),
    }


def round_rows(n: int, kind: str, rounds: int, report: Report) -> Iterator[tuple[Any, ...]]:
    X, y = table(n)
    if kind == "multiclass":
        y = np.digitize(X[:, :5].sum(axis=1), [-2.0, -0.7, 0.7, 2.0]).astype(np.float32)
    trainings = contenders(X, y, kind)
    for _ in range(3 + rounds):
        for training in trainings.values():
            training.round()
    margins = {name: t.booster.predict(xgb.DMatrix(X[:10_000]), output_margin=True) for name, t in trainings.items()}
    own, *_ = trainings.values()
    base = np.array([r["round"] for r in own.rounds[3:]])
    centre = {name: m - m.mean(axis=-1, keepdims=True) if m.ndim > 1 else m for name, m in margins.items()}
    for name, training in trainings.items():
        measured = {part: np.array([r[part] for r in training.rounds[3:]]) for part in (*Contender.PARTS, "round")}
        whole = measured["round"]
        moved = float(np.median(measured["predict"] + measured["inplace_predict"])) * 1e3
        objective = float(np.median(measured["objective"])) * 1e3
        share = float(np.median(measured["objective"] / whole))
        times = float(np.median(whole / base))
        apart = float(np.abs(centre[name] - centre["XGBoost's own"]).mean())
        yield name, float(np.median(whole)) * 1e3, times, objective, share, moved, apart
        if name == ON_DEVICE and n == 10_000_000 and kind == "binary":
            report.target("objective's share of a round, 10M x 30, labels on the device", share, high=0.05)
            report.target("a round, times XGBoost's own, 10M x 30, labels on the device", times, high=1.05)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--only", nargs="*", choices=["agreement", "models", "kernels", "rounds"])
    options = arguments.parse_args()
    if not (GPU or options.quick):
        arguments.error("there is no CUDA device; --quick runs all of it in a simulator and on the CPU")
    report = Report("gpu", options)
    sections = options.only or ["agreement", "models", "kernels", "rounds"]
    if GPU:
        import cupy

        name = cuda.get_current_device().name
        report.figures["machine"]["gpu"] = name.decode() if isinstance(name, bytes) else str(name)
        report.figures["versions"]["cupy"] = cupy.__version__
        driver = Path("/proc/driver/nvidia/version")
        report.note(
            f"{report.figures['machine']['gpu']}, {driver.read_text().splitlines()[0] if driver.exists() else ''}"
        )
    else:
        report.note("no CUDA device: kernels in Numba's simulator, rounds on the CPU; times say nothing of a GPU")
        kernels.THREADS, kernels.MAX_BLOCKS = 4, 2  # each thread is one of Python's
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy computes both sides of a `where`
        for space in (vars(kernels), kernels.bound, kernels.bound64):
            space.setdefault("__warningregistry__", {})  # not added later, while a simulated thread reads the names
    warnings.filterwarnings("ignore", "Grid size")  # so few rows do not fill a device
    small = options.quick

    if "agreement" in sections:
        columns: tuple[str, ...] = ("loss", "layout", "gradient", "Hessian", "mean loss", "log loss", "Brier score")
        rows = list(agreement(24 if not GPU else 10_000 if small else 1_000_000))
        report.table("Device against CPU, worst relative difference", columns, rows, text="{:.0e}")
        worst = max(max(row[2:4]) for row in rows)
        report.target("worst relative difference of a gradient or Hessian", worst, high=2e-6, timing=False)
    if "models" in sections:
        columns = (
            "engine", "objective", "device", "average precision", "last loss", "curve's worst difference", "seconds",
        )  # fmt: skip
        size, rounds = (2_000, 5) if small else (1_000_000, 100)
        report.table("Models", columns, list(models(size, rounds, report)), text="{:.5f}")
    if "kernels" in sections:
        columns = ("margins", "loss", "kernel, ms", "call, ms", "copy, ms", "kernel / copy", "GB/s")
        sizes = (24,) if not GPU else (100_000,) if small else (1_000_000, 10_000_000, 100_000_000)
        report.table("Kernels, beside a copy of as many bytes", columns, list(kernel_rows(sizes, 3 if small else 15)))
    if "rounds" in sections:
        columns = (
            "objective", "round, ms", "times XGBoost's own", "objective, ms", "its share", "margins, ms",
            "mean distance of margins",
        )  # fmt: skip
        for n in (2_000,) if small else (1_000_000, 10_000_000):
            for kind, title in NAMES.items():
                rows = list(round_rows(n, kind, 3 if small else 10, report))
                report.table(f"A round of XGBoost, {n:,} x {FEATURES}, {title}", columns, rows)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
