"""What `boostfocal compare` does with its terminal and its files: it loses nothing, and destroys nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from boostfocal.cli import app

COMMAND = [sys.executable, "-m", "boostfocal", "compare"]
SMALL = [
    "--target",
    "fraud",
    "--engine",
    "lightgbm",
    "--folds",
    "2",
    "--repeats",
    "1",
    "--trials",
    "1",
    "--rounds",
    "5",
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"amount": random.gamma(2, 50, 400), "hour\x1b[31m": random.integers(0, 24, 400)})
    frame["fraud"] = (random.random(400) < 0.05 + 0.3 * (frame["amount"] > 150)).astype(int)
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def compare(*arguments: Any, shell: str = "", **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [*COMMAND, *map(str, arguments)]
    environment = {**os.environ, **options.pop("env", {})}
    given: Any = " ".join(f"'{part}'" for part in command) + shell if shell else command
    return subprocess.run(
        given, shell=bool(shell), executable="/bin/bash" if shell else None, env=environment,
        stdout=options.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, timeout=280, **options,
    )  # fmt: skip


def compare_here(*arguments: Any, env: dict[str, str] | None = None) -> Result:
    """In this process: where what matters is not the terminal itself."""
    return CliRunner().invoke(app, ["compare", *map(str, arguments)], env=env)


@pytest.mark.parametrize(
    ("shell", "env"),
    [(" | head -1", {}), (" >&-", {}), (" > /dev/full", {}), (" 2>&- >&-", {}), ("", {"PYTHONIOENCODING": "ascii"}),
     ("", {"PYTHONIOENCODING": "latin-1"})],
    ids=["a reader that leaves", "closed", "full", "both closed", "ASCII", "Latin-1"],
)  # fmt: skip
def test_results_are_kept_whatever_becomes_of_the_terminal(
    table: Path, tmp_path: Path, shell: str, env: dict[str, str]
) -> None:
    outputs = tmp_path / "r.json", tmp_path / "r.html"
    workers = {} if env else {"LOKY_MAX_CPU_COUNT": "2"}  # they, too, see a closed stream, but not an encoding
    done = compare(table, *SMALL, "--json", outputs[0], "--report", outputs[1], shell=shell or " ", env=env | workers)
    assert json.loads(outputs[0].read_text())["results"], done.stderr
    assert "</html>" in outputs[1].read_text()
    assert b"Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.json"]
    if env:
        assert b"Paired differences" in done.stdout


def test_files_of_the_user_are_not_destroyed(table: Path, tmp_path: Path) -> None:
    before = table.read_bytes()
    same, link, fifo = tmp_path / "same", tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(table)
    os.mkfifo(fifo)
    hard = tmp_path / "hard"
    os.link(table, hard)
    for arguments in (["--json", table], ["--report", link], ["--json", hard], ["--json", same, "--report", same],
                      ["--json", fifo], ["--report", "/dev/null"], ["--json", tmp_path]):  # fmt: skip
        done = compare_here(table, *SMALL, *arguments)
        assert done.exit_code == 2, arguments
        assert "must be a file" in " ".join(done.output.split())
    assert table.read_bytes() == before
    assert link.is_symlink()
    assert not same.exists()


def test_a_file_beside_and_the_target_of_a_link_are_what_they_should_be(table: Path, tmp_path: Path) -> None:
    (tmp_path / "r.json.part").write_text("mine")
    (tmp_path / "target.json").write_text("old")
    (tmp_path / "r.json").symlink_to(tmp_path / "target.json")
    assert compare_here(table, *SMALL, "--json", tmp_path / "r.json").exit_code == 0
    assert (tmp_path / "r.json.part").read_text() == "mine"
    assert (tmp_path / "r.json").is_symlink()
    assert json.loads((tmp_path / "target.json").read_text())["results"]


def test_escape_sequences_in_names_are_shown_escaped(table: Path) -> None:
    done = compare_here(table, *SMALL, "--drop", "no\x1b[31m")
    assert done.exit_code == 2
    assert "\x1b" not in done.output
    done = compare_here(table, *SMALL)
    assert done.exit_code == 0
    assert "\x1b" not in done.output


@pytest.mark.parametrize("costs", [[], ["--cost-fp", "1", "--cost-fn", "5"]], ids=["plain", "with costs"])
@pytest.mark.parametrize("width", [40, 60, 80, 81, 100])
def test_figures_show_on_narrow_terminals(table: Path, width: int, costs: list[str]) -> None:
    text = compare_here(table, *SMALL, *costs, env={"COLUMNS": str(width)}).stdout
    assert "…" not in text
    means, paired = text[text.index("Means over") : text.index("Paired")], text[text.index("Paired") :]
    paired = paired[: paired.index("lightgbm:")]
    for shown in (means, paired):
        assert max(map(len, shown.splitlines())) <= width
        headings = next(line for line in shown.splitlines() if "↑" in line)
        assert set(re.sub("[↑↓]", "", headings).split()) <= {
            "AP",
            "saved",
            "AUC",
            "P@20",
            "log",
            "loss",
            "Brier",
            "ECE",
            "fit,",
            "s",
        }
        digits = {len(found) for found in re.findall(r"\d\.(\d*)", shown)}
        assert digits == ({4, 2} if "fit" in headings else {4})  # no number is cut off
    assert re.search(r"focal loss +0\.\d{4}", means)
    assert re.search(r"[+-]0\.\d{4} ± 0\.\d{4}", paired)
    assert width < 60 or "weighted log loss − log loss" in paired
    assert Console(width=width).width == width


def test_a_seed_that_no_generator_takes_is_refused_at_once(table: Path) -> None:
    done = compare_here(table, *SMALL, "--seed", 2**32)
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)


def test_sigterm_ends_the_workers_too(table: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    pd.concat([pd.read_csv(table)] * 20).to_csv(large, index=False)
    given = [*COMMAND, str(large), "--target", "fraud", "--trials", "50", "--folds", "5"]
    workers = os.environ | {"LOKY_MAX_CPU_COUNT": "2"}
    with subprocess.Popen(
        given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=workers
    ) as process:

        def alive() -> int:
            found = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True)
            return len(found.stdout.split())

        def wait_until(reached: Callable[[], bool]) -> bool:
            return any(reached() or time.sleep(0.1) for _ in range(600))

        assert wait_until(lambda: alive() > 2)  # itself, what tracks its resources, and workers
        time.sleep(2)  # until the workers are at work
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert wait_until(lambda: alive() == 0)


def test_a_number_of_threads_that_is_no_number_is_overlooked() -> None:
    code = "import numpy as np; from boostfocal import FocalLoss as F; z = np.zeros(10**6); F().gradient_hessian(z, z)"
    for given in ("²", "x", "-1", "0", ""):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": given}, capture_output=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
