"""Pictures as a part of the page: their text and axes have the colour of the page's text."""

import html
import re
from contextlib import AbstractContextManager
from io import StringIO

from matplotlib import pyplot
from matplotlib.figure import Figure

INK = "#010203"  # stands for the colour of the page's text
INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
WIDE = 8  # inches, from which a picture takes the whole width of the text


def ink() -> AbstractContextManager[None]:
    """What is drawn under it can be made a part of a page."""
    return pyplot.rc_context(dict.fromkeys(INKED, INK))


def svg(figure: Figure, label: str) -> str:
    """A figure drawn with `ink`, as HTML; `label` is for those who hear the page. The figure is closed."""
    buffer = StringIO()
    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue().partition("<svg")[2].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>|\n\s*", " ", text, flags=re.S)
    kind = "picture wide" if figure.get_figwidth() > WIDE else "picture"
    return f'<figure class="{kind}"><svg role="img" aria-label="{html.escape(label)}"{text.strip()}</figure>'
