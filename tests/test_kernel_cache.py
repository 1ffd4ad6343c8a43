"""Compiled kernels are kept between processes, and only code that is whole, ours and of today's text is run."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

import boostfocal
from boostfocal.kernels import cache, elementwise

TIMEOUT = 120

COMPUTE = """
import sys
import numpy as np
from boostfocal import FocalLoss
margins = np.linspace(-4, 4, 100, dtype=np.float32)
labels = np.arange(100, dtype=np.float32) % 2
print(FocalLoss(0.0).mean(labels, margins), "boostfocal.kernels.simd" in sys.modules)
"""
"""Of one kernel, the fastest to compile: the mean loss, and whether it had to be compiled."""

LABELS = np.arange(100, dtype=np.float32) % 2
MARGINS = np.linspace(-4, 4, 100, dtype=np.float32)
MEAN = float(np.mean(np.log1p(np.exp(np.where(LABELS == 1, -MARGINS, MARGINS).astype(np.float64)))))


def run(code: str, folder: Path | str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"BOOSTFOCAL_CACHE_DIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    variables |= options.pop("variables", {})
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=TIMEOUT, check=False, **options
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def compiled(folder: Path | str, **options: Any) -> bool:
    """Compute in another process, and tell whether it had to compile."""
    mean, had_to = run(COMPUTE, folder, **options).stdout.split()
    assert float(mean) == pytest.approx(MEAN, rel=1e-6)
    return had_to == "True"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one kernel in it, to be copied."""
    folder = tmp_path_factory.mktemp("kernels") / "filled"
    assert compiled(folder)
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "kernels")
    return tmp_path / "kernels"


def in_fork(work: Callable[[], Any]) -> None:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(TIMEOUT)
    assert process.exitcode == 0


def kernels(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{cache.SUFFIX}"))


def the_kernel(folder: Path) -> Path:
    (path,) = kernels(folder)
    return path


# --- between processes -----------------------------------------------------------------------------


def test_second_process_compiles_nothing_and_computes_the_same_bits(tmp_path: Path) -> None:
    code = """
    import sys
    import numpy as np
    from boostfocal import FocalLoss, SoftmaxFocalLoss
    rng = np.random.default_rng(0)
    labels, margins, weights = rng.integers(0, 2, 3000), rng.normal(scale=4, size=3000), rng.integers(0, 9, 3000) / 8
    classes, scores = rng.integers(0, 3, 1000), rng.normal(scale=4, size=(1000, 3))
    for y, z, w in ((labels, margins, None), (labels.astype("f4"), margins.astype("f4"), weights)):
        for hessian in ("expected", "exact"):
            loss = FocalLoss((2.0, 0.7), 0.25, hessian)
            print(*(array.tobytes().hex() for array in loss.gradient_hessian(y, z, w)), loss.mean(y, z, w))
    for order in "CF":
        loss = SoftmaxFocalLoss(3)
        arrays = loss.gradient_hessian(classes, np.array(scores, np.float32, order=order))
        print(*(array.tobytes().hex() for array in arrays), loss.mean(classes, scores))
    print("boostfocal.kernels.simd" in sys.modules)
    """
    first, second = (run(code, tmp_path / "kernels").stdout.splitlines() for _ in range(2))
    assert (first[-1], second[-1]) == ("True", "False")
    assert first[:-1] == second[:-1]


def test_8_processes_at_once_compute_the_same_and_leave_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    results: list[bool] = []
    workers = [Thread(target=lambda: results.append(compiled(folder))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(TIMEOUT)
    assert len(results) == 8
    assert [path.suffix for path in folder.iterdir()] == [cache.SUFFIX]
    assert not compiled(folder)


def test_files_and_folder_are_the_users_alone(filled: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows has lists of access instead of modes")
    assert filled.stat().st_mode & 0o777 == 0o700
    assert the_kernel(filled).stat().st_mode & 0o777 == 0o600


# --- of today's text and this machine ----------------------------------------------------------------


def copied_package(folder: Path) -> Path:
    package = folder / "boostfocal"
    shutil.copytree(Path(boostfocal.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def test_changed_formula_is_compiled_anew(tmp_path: Path) -> None:
    package, folder = copied_package(tmp_path), tmp_path / "kernels"
    here = {"variables": {"PYTHONPATH": str(tmp_path)}, "cwd": tmp_path}
    assert compiled(folder, **here)
    assert not compiled(folder, **here)
    formulas = package / "kernels" / "formulas.py"
    text = formulas.read_text()
    changed = text.replace(
        "return -alpha * power(q, log_q, gamma) * log_p", "return -alpha * power(q, log_q, gamma) * (log_p + log_p)"
    )
    assert changed != text
    formulas.write_text(changed)
    mean, had_to = run(COMPUTE, folder, **here).stdout.split()
    assert had_to == "True"
    assert float(mean) == pytest.approx(2 * MEAN, rel=1e-6)
    formulas.write_text(text)
    assert not compiled(folder, **here)
    assert len(kernels(folder)) == 2


def test_kernel_of_text_that_changed_while_the_process_ran_is_not_kept(tmp_path: Path) -> None:
    package, folder = copied_package(tmp_path), tmp_path / "kernels"
    formulas = package / "kernels" / "formulas.py"
    edit = (
        f"import boostfocal, pathlib; path = pathlib.Path({str(formulas)!r}); path.write_text(path.read_text() + '#')\n"
    )
    run(edit + COMPUTE, folder, variables={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path)
    assert not folder.exists()


def test_package_without_its_text_compiles_and_keeps_nothing(tmp_path: Path) -> None:
    package, folder = copied_package(tmp_path), tmp_path / "kernels"
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-b", package], check=True, timeout=TIMEOUT)
    for path in package.rglob("*.py"):
        path.unlink()
    assert compiled(folder, variables={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path)
    assert not folder.exists()


def test_versions_of_the_compiler_side_by_side_each_have_their_own(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "llvmlite-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: llvmlite\nVersion: 0.0.1\n")
    paths = os.pathsep.join(filter(None, [str(other.parent), str(Path(boostfocal.__file__).parents[1])]))
    variables = {"PYTHONPATH": paths}
    assert compiled(folder, variables=variables)
    assert len(kernels(folder)) == 2
    assert not compiled(folder, variables=variables)
    assert not compiled(folder)


def test_name_of_the_cpu_and_its_features_are_in_the_key() -> None:
    from llvmlite import binding

    assert {binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()} <= set(cache._machine())


# --- damaged files -----------------------------------------------------------------------------------


def flipped(content: bytes) -> bytes:
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "one bit": flipped,
    "first byte": lambda content: b"x" + content[1:],
    "last byte": lambda content: content[:-1] + b"x",
    "cut": lambda content: content[: len(content) // 2],
    "cut in the digest": lambda content: content[:7],
    "longer": lambda content: content + b"x",
    "empty": lambda content: b"",
    "text": lambda content: b"no kernel\n" * 1000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file_is_not_run_but_replaced(damage: str, folder: Path) -> None:
    path = the_kernel(folder)
    whole = path.read_bytes()
    assert cache._read(path) is not None
    path.write_bytes(DAMAGE[damage](whole))
    assert cache._read(path) is None
    if damage in ("one bit", "empty"):
        assert compiled(folder)
        assert not compiled(folder)
        assert cache._read(the_kernel(folder)) is not None


def test_file_of_another_kernel_is_not_run(folder: Path) -> None:
    path = the_kernel(folder)
    other = path.with_name("0" * 64 + cache.SUFFIX)
    path.rename(other)
    assert cache._read(other) is None


def test_directory_in_a_files_place_is_left_alone(folder: Path) -> None:
    path = the_kernel(folder)
    path.unlink()
    path.mkdir()
    assert compiled(folder)
    assert path.is_dir()
    assert [entry.name for entry in folder.iterdir()] == [path.name]


# --- writing that fails ------------------------------------------------------------------------------

LIMIT_FILES = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    assert "True" in run(LIMIT_FILES + COMPUTE, folder).stdout
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_process_killed_in_the_middle_of_writing_does_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    deadly = LIMIT_FILES + "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
    assert run(deadly + COMPUTE, folder, check=False).returncode == -signal.SIGXFSZ
    (left,) = folder.iterdir()
    assert left.stat().st_size == 4096
    assert kernels(folder) == []
    assert compiled(folder)
    assert not compiled(folder)
    day_ago = left.stat().st_mtime - 2 * cache.DAY
    os.utime(left, (day_ago, day_ago))
    cache._remove_old(folder)
    assert not left.exists()
    assert len(kernels(folder)) == 1


@pytest.mark.parametrize("place", ["/dev/null/kernels", "/proc/kernels"])
def test_place_that_cannot_be_written_is_not_needed(place: str) -> None:
    if os.name == "nt":
        pytest.skip("Windows has neither")
    assert compiled(place)


def test_empty_name_switches_it_off(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    assert compiled("", variables=home, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_name_it_is_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platformdirs = pytest.importorskip("platformdirs")
    monkeypatch.delenv("BOOSTFOCAL_CACHE_DIR")
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    assert cache._folder() == Path(platformdirs.user_cache_dir("boostfocal", False))


# --- other users ---------------------------------------------------------------------------------------

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the platform has no owners of files")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_folder_that_others_can_write_is_not_used(mode: int, folder: Path) -> None:
    path = the_kernel(folder)
    folder.chmod(mode)
    assert cache._read(path) is None
    before = path.stat()
    cache._write(path, b"code")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@posix
@pytest.mark.parametrize("mode", [0o622, 0o620, 0o602])
def test_file_that_others_can_write_is_not_run_but_replaced(mode: int, folder: Path) -> None:
    path = the_kernel(folder)
    path.chmod(mode)
    assert compiled(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not compiled(folder)


@as_root
def test_folder_and_file_of_another_user_are_not_used(folder: Path) -> None:
    path = the_kernel(folder)
    os.chown(path, 12345, 12345)
    assert cache._read(path) is None
    os.chown(path, os.geteuid(), os.getegid())
    assert cache._read(path) is not None
    os.chown(folder, 12345, 12345)
    assert compiled(folder)
    assert cache._read(path) is None


@as_root
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_of_two_users_none_runs_or_replaces_the_others_kernel(folder: Path) -> None:
    path = the_kernel(folder)
    folder.chmod(0o755)
    path.chmod(0o644)
    before = path.read_bytes()

    def as_another_user() -> None:
        os.chdir(folder)  # its parents are for the first user alone
        os.setuid(12345)
        here = Path(path.name)
        assert here.read_bytes() == before
        assert cache._read(here) is None
        cache._write(here, b"code")

    in_fork(as_another_user)
    assert path.read_bytes() == before
    assert not compiled(folder)


# --- how much is kept ------------------------------------------------------------------------------------


def test_longest_unused_kernels_are_removed_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 3500)
    folder = tmp_path / "kernels"
    paths = [folder / f"{number}{cache.SUFFIX}" for number in range(6)]
    now = 1_700_000_000.0
    for number, path in enumerate(paths[:5]):
        cache._write(path, b"x" * 900)
        os.utime(path, (now + number, now + number))
    other = folder / "notes.txt"
    other.write_bytes(b"x" * 5000)
    assert [path.exists() for path in paths[:5]] == [False, False, True, True, True]
    assert cache._read(paths[2]) == b"x" * 900  # which makes it the last used
    cache._write(paths[5], b"x" * 900)
    assert [path.exists() for path in paths] == [False, False, True, False, True, True]
    assert other.exists()


# --- in one process ------------------------------------------------------------------------------------


def loss_kernel() -> cache.Kernel:
    """The kernel of `COMPUTE`, not loaded yet."""
    loaded = elementwise._kernel("focal_loss", (0.0, 0.0), False)
    return cache.Kernel(loaded.module, loaded.variant, loaded.signature)


def mean(kernel: cache.Kernel) -> float:
    progress, result = np.zeros(17, np.int64), np.empty(100, np.float32)
    scalars = [np.float32(value) for value in (1, 1, 0, 0, 0)]
    kernel(progress, np.empty(elementwise.BLOCK, np.float32), LABELS, MARGINS, LABELS[:1], *scalars, result, result)
    return float(result.mean(dtype=np.float64))


def test_kernel_that_threads_meet_at_is_loaded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOSTFOCAL_CACHE_DIR", str(folder))
    kernel, results = loss_kernel(), []
    workers = [Thread(target=lambda: results.append((mean(kernel), id(kernel._engine)))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(TIMEOUT)
    assert len(results) == 8
    assert len(set(results)) == 1
    assert results[0][0] == pytest.approx(MEAN, rel=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_while_another_thread_loads_can_load_and_use_what_was_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOSTFOCAL_CACHE_DIR", str(folder))
    before, after = loss_kernel(), loss_kernel()
    mean(before)
    held, release = Event(), Event()

    def hold() -> None:
        with cache._lock:
            held.set()
            release.wait(TIMEOUT)

    holder = Thread(target=hold)
    holder.start()
    assert held.wait(TIMEOUT)
    try:
        in_fork(lambda: [mean(kernel) == pytest.approx(MEAN, rel=1e-6) or os._exit(1) for kernel in (before, after)])
    finally:
        release.set()
        holder.join(TIMEOUT)


def test_arrays_of_other_types_are_refused() -> None:
    kernel = elementwise._kernel("focal_loss", (0.0, 0.0), False)
    progress, buffer, result = (
        np.zeros(17, np.int64),
        np.empty(elementwise.BLOCK, np.float32),
        np.empty(100, np.float32),
    )
    scalars = [np.float32(value) for value in (1, 1, 0, 0, 0)]
    for wrong in (MARGINS.astype(np.float64), MARGINS.astype(np.int32), MARGINS.reshape(10, 10)):
        with pytest.raises(TypeError, match=r"takes .*float32.*got"):
            kernel(progress, buffer, LABELS, wrong, LABELS[:1], *scalars, result, result)
    with pytest.raises((TypeError, ValueError, BufferError)):
        kernel(progress, buffer, LABELS, np.repeat(MARGINS, 2)[::2], LABELS[:1], *scalars, result, result)
    with pytest.raises(TypeError, match="missing"):
        kernel(progress, buffer, LABELS, MARGINS)
