r"""Formulas of Markdown as MathML, which browsers render without a script: an extension of Python-Markdown.

\( ... \) is a formula in a line; \[ ... \] and $$ ... $$ are formulas of their own, which blank lines set apart.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.blockprocessors import BlockProcessor
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

INLINE = r"(?<!\\)\\\((.+?)\\\)"
BLOCK = re.compile(r"\s*(?:\\\[(.+?)\\\]|\$\$(.+?)\$\$)\s*", re.S)
FUNCTION = r"<(?:mi|mo|mtext)>(?:log|log1p|exp|logit|softmax|max|min)</(?:mi|mo|mtext)>"


def makeExtension(**_: Any) -> Extension:  # noqa: N802, the name that Python-Markdown looks for
    """The extension, by the name of this module."""
    return Formulas()


class Formulas(Extension):
    """Both kinds of formulas; code comes first, so what looks like a formula in it stays."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.inlinePatterns.register(InLine(INLINE, md), "formula", 189)  # code in a line has 190
        md.parser.blockprocessors.register(OnItsOwn(md.parser), "formula", 79)  # indented code has 80


class InLine(InlineProcessor):
    def handleMatch(self, match: re.Match[str], data: str) -> tuple[str, int, int]:  # noqa: N802
        return self.md.htmlStash.store(mathml(match[1], block=False)), match.start(), match.end()


class OnItsOwn(BlockProcessor):
    def test(self, parent: Element, block: str) -> bool:
        return BLOCK.fullmatch(block) is not None

    def run(self, parent: Element, blocks: list[str]) -> None:
        match = BLOCK.fullmatch(blocks.pop(0))
        markup = mathml(match[1] or match[2], block=True)
        # a paragraph of stored HTML alone is replaced by it
        SubElement(parent, "p").text = self.parser.md.htmlStash.store(
            f'<div class="formula" tabindex="0">{markup}</div>'
        )


def mathml(latex: str, block: bool) -> str:
    """LaTeX as MathML.

    Raises
    ------
    ValueError
        For a formula that latex2mathml cannot convert, or of which it would pass on a command as text.
    """
    text = re.sub(r"(begin|end)\{aligned\}", r"\1{align*}", latex.strip())
    text = re.sub(r"\\operatorname\{(\w+)\}", r"\\text{\1}", text)  # upright, also with a digit in the name
    try:
        markup = convert(text, display="block" if block else "inline")
    except Exception as error:
        raise ValueError(f"the formula {latex.strip()!r} cannot be converted: {error!r}") from error
    markup = markup.replace(r"\_", "_")  # an underscore in text
    if unknown := re.search(r">(\\\w+|&)<", markup):
        raise ValueError(f"the formula {latex.strip()!r} has {unknown[1]!r}, which latex2mathml does not know")
    # the space that TeX puts around a function's name
    space = '<mspace width="0.167em"/>'
    markup = re.sub(rf"({FUNCTION})(?=<m(?!o|row><mo))", rf"\1{space}", markup)
    return re.sub(rf"(</(?:mi|mn|msup|msub|mfrac)>)(?={FUNCTION})", rf"\1{space}", markup)
