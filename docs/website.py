"""What MkDocs asks for in building the pages: those of the examples, docstrings as Markdown, macros."""

import re
from enum import StrEnum
from inspect import signature
from typing import Any, get_args, get_type_hints

import drawing
import gallery
import griffe
import pictures
import results
import typer
from mkdocs.structure.files import File, Files

import boostfocal
from boostfocal import cli, plots

# --- MkDocs' hooks ---------------------------------------------------------------------------------


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """A page for each example."""
    for example in gallery.examples():
        files.append(File.generated(config, f"examples/{example.name}.md", content=example.page))
    return files


# --- mkdocstrings ----------------------------------------------------------------------------------


class Docstrings(griffe.Extension):
    """Docstrings as Markdown: formulas, and links to the names of this package."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            if "<parameters>" in obj.docstring.value:  # which the class puts there itself when it is imported
                obj.docstring.value = getattr(boostfocal, obj.name).__doc__
            text = re.sub(r"\.\. math:: (.*)", r"\\[\1\\]", obj.docstring.value)
            obj.docstring.value = re.sub(r"(?<!`)`(\w+)`(?!`)", self._link, text)

    @staticmethod
    def _link(match: re.Match[str]) -> str:
        name = match[1]
        return f"[`{name}`][boostfocal.{name}]" if name in boostfocal.__all__ else match[0]


# --- macros ----------------------------------------------------------------------------------------


def define_env(env: Any) -> None:
    """The macros of the pages."""

    @env.macro
    def picture(name: str) -> str:
        """A picture of `boostfocal.plots`, with its defaults, or one of the benchmarks' results."""
        draw = getattr(plots, name, None) or getattr(pictures, name)
        with drawing.ink():
            return drawing.svg(draw().figure, draw.__doc__.partition("\n")[0])

    @env.macro
    def compare_options() -> str:
        """A table of the options of `boostfocal compare`, as the command itself describes them."""
        rows = ["| option | |", "| --- | --- |"]
        hints = get_type_hints(cli.compare, include_extras=True)
        for name, parameter in signature(cli.compare).parameters.items():
            kind, option = get_args(hints[name])
            if isinstance(option, typer.models.OptionInfo):
                declared = [given for given in (option.default, *(option.param_decls or ())) if isinstance(given, str)]
                names = ", ".join(f"`{given}`" for given in declared or [f"--{name.replace('_', '-')}"])
                choices = _choices(kind)
                text = option.help + (f" One of {', '.join(choices)}." if choices else "")
                text += "" if parameter.default is None else f" Default: `{parameter.default}`."
                rows.append(f"| {names} | {text} |")
        return "\n".join(rows)

    @env.macro
    def contributing() -> str:
        """The repository's CONTRIBUTING.md, whose links to pages are links here."""
        return (results.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/pages/", "](")

    @env.macro
    def examples() -> str:
        """Each example with its summary and its first picture."""
        return gallery.overview()

    results.define_env(env)


def _choices(kind: Any) -> list[str]:
    """The values of an enumeration anywhere in a type."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return [f"`{value}`" for value in kind]
    return [value for part in get_args(kind) for value in _choices(part)]
