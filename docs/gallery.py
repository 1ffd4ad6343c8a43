"""The examples: scripts in cells, which run when the site is built, each as a page."""

import ast
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import drawing
from matplotlib import pyplot

FOLDER = Path(__file__).parent / "examples"
CELL = re.compile(r"^# %%[^\n]*\n((?:#[^\n]*\n)*)(.*?)(?=^# %%|\Z)", re.M | re.S)
"""A line `# %%`, comments that are the prose, and code."""

HEAD = """\
---
render_macros: false
---

# {title}

{summary}

This page is what `python docs/examples/{name}.py` does.
"""


@dataclass(frozen=True)
class Example:
    """An example that has run."""

    name: str
    title: str
    summary: str
    page: str
    """Markdown."""
    pictures: list[str]
    """HTML."""


def examples() -> list[Example]:
    """Those of the folder, by name."""
    return [run(file.stem, file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.py"))]


@cache
def run(name: str, script: str) -> Example:
    """Runs the cells of a script in their order, and puts what they print and draw below them; no window opens.

    The docstring's first line is the title, the rest the summary. A picture is named by the title of its first axes.
    """
    title, _, summary = (ast.get_docstring(ast.parse(script)) or name).partition("\n")
    parts, pictures = [HEAD.format(name=name, title=title, summary=summary.strip())], []
    scope: dict[str, Any] = {"__name__": "__main__"}
    pyplot.close("all")
    for cell in CELL.finditer(script):
        prose, code = cell.groups()
        parts.append(re.sub("^# ?", "", prose, flags=re.M))
        if code.strip():
            above = "\n" * script.count("\n", 0, cell.start(2))  # so that an error names its line
            with drawing.ink(), redirect_stdout(StringIO()) as printed, patch.object(pyplot, "show"):
                exec(compile(above + code, f"{name}.py", "exec"), scope)
            drawn = [pyplot.figure(number) for number in pyplot.get_fignums()]
            shown = [drawing.svg(figure, figure.axes[0].get_title(loc="left")) for figure in drawn]
            pictures += shown
            parts += [fenced(code, "python"), fenced(printed.getvalue(), "text"), *shown]
    return Example(name, title, summary.strip(), "\n\n".join(filter(None, parts)), pictures)


def fenced(text: str, language: str) -> str:
    """Text as a block of code; nothing if there is none."""
    lines = text.strip("\n")
    return f"```{language}\n{lines}\n```" if lines else ""


def overview() -> str:
    """Each example with its summary and its first picture."""
    return "\n\n".join(
        f"## [{each.title}]({each.name}.md)\n\n{each.summary}\n\n{each.pictures[0]}" for each in examples()
    )
