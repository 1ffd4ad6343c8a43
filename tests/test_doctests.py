"""Each public name has an example, and it prints what it says."""

import doctest
import importlib
import inspect

import pytest

import boostfocal

MODULES = {name: inspect.getmodule(getattr(boostfocal, name)) for name in boostfocal.__all__}
NEEDS = {"TrainingOnDevice": "cupy"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", boostfocal.__all__)
def test_the_examples_of_a_public_name_print_what_they_say(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed")
    public = getattr(boostfocal, name)
    found = doctest.DocTestFinder(recurse=False).find(public, name, module=MODULES[name])
    examples = [example for test in found for example in test.examples]
    plain = isinstance(public, tuple) or (isinstance(public, type) and issubclass(public, Exception))
    assert examples or plain, f"{name} has no example"
    for test in found:
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
        assert not result.failed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", ["metrics.registry", "plots", "recalibration", "classifiers.base"])
def test_examples_of_modules(module: str) -> None:
    pytest.importorskip("matplotlib").use("agg")
    found = doctest.testmod(importlib.import_module(f"boostfocal.{module}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed
