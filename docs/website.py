"""What MkDocs asks for in building the pages: formulas as MathML, docstrings as Markdown, macros."""

import html
import re
import sys
from collections.abc import Callable
from enum import StrEnum
from inspect import signature
from io import StringIO
from pathlib import Path
from typing import Any, get_args, get_type_hints

import griffe
import typer
from latex2mathml.converter import convert
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mkdocs.exceptions import PluginError

import boostfocal
from boostfocal import cli, plots

sys.path.insert(0, str(Path(__file__).parent))
import pictures
import results

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
WIDE = 8  # inches, from which a picture takes the whole width of the text
FUNCTION = r"<(?:mi|mo|mtext)>(?:log|log1p|exp|logit|softmax|max|min)</(?:mi|mo|mtext)>"


# --- MkDocs' hooks ---------------------------------------------------------------------------------


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Formulas as MathML, which browsers render without a script; no dash where a parameter is not described."""

    def formula(match: re.Match[str]) -> str:
        block, latex = match[1] == "div", html.unescape(match[2])
        try:
            markup = mathml(latex, block)
        except Exception as error:
            raise PluginError(
                f"{page.file.src_uri}: the formula {latex.strip()!r} cannot be converted: {error}"
            ) from error
        return f'<div class="formula" tabindex="0">{markup}</div>' if block else markup

    content = re.sub(
        r"–\s*(?=(?:<div class=\"doc-md-description\">\s*</div>\s*)?</li>)", "", content
    )  # nothing follows
    return FORMULA.sub(formula, content)


def mathml(latex: str, block: bool) -> str:
    """LaTeX as MathML.

    Raises
    ------
    ValueError
        For a command that latex2mathml does not know, which it would pass on as text.
    """
    latex = re.sub(r"(begin|end)\{aligned\}", r"\1{align*}", latex.strip())
    latex = re.sub(r"\\operatorname\{(\w+)\}", r"\\text{\1}", latex)  # upright, also with a digit in the name
    markup = convert(latex, display="block" if block else "inline")
    markup = markup.replace(r"\_", "_")  # an underscore in text
    if unknown := re.search(r">(\\\w+|&)<", markup):
        raise ValueError(f"latex2mathml does not know {unknown[1]!r} there")
    # the space that TeX puts around a function's name
    space = '<mspace width="0.167em"/>'
    markup = re.sub(rf"({FUNCTION})(?=<m(?!o|row><mo))", rf"\1{space}", markup)
    return re.sub(rf"(</(?:mi|mn|msup|msub|mfrac)>)(?={FUNCTION})", rf"\1{space}", markup)


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
        return svg(draw, draw.__doc__.partition("\n")[0])

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

    results.define_env(env)


def svg(draw: Callable[[], Axes | Figure], label: str) -> str:
    """What `draw` draws, as a part of the page: its text and axes have the colour of the page's text."""
    ink, settings = "#010203", {"svg.fonttype": "none", "svg.hashsalt": label}
    named = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    with pyplot.rc_context(settings | dict.fromkeys(named, ink)):
        figure, buffer = draw().figure, StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        pyplot.close(figure)
    text = buffer.getvalue().partition("<svg")[2].replace(ink, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>|\n\s*", " ", text, flags=re.S)
    kind = "picture wide" if figure.get_figwidth() > WIDE else "picture"
    return f'<figure class="{kind}"><svg role="img" aria-label="{html.escape(label)}"{text.strip()}</figure>'


def _choices(kind: Any) -> list[str]:
    """The values of an enumeration anywhere in a type."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return [f"`{value}`" for value in kind]
    return [value for part in get_args(kind) for value in _choices(part)]
