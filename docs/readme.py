"""Put the benchmarks' figures into README.md, and draw its picture: run after a benchmark has recorded new ones.

What stands between `<!-- figures: EXPRESSION -->` and `<!-- end -->` is replaced by the expression's value, in which
the functions of `results.py` have their names. With `--check` nothing is written, and the exit status tells whether
anything would have changed.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import results
from matplotlib import pyplot
from pictures import case

README = results.ROOT / "README.md"
PICTURE = results.ROOT / "docs" / "pages" / "assets" / "case.svg"
MARKED = re.compile(r"(<!-- figures: (.*?) -->)(.*?)(<!-- end -->)", re.S)


def block(name: str, until: str) -> str:
    """What a command printed, as it is, to the line before the one that begins with `until`."""
    lines = [line.rstrip() for line in results.output(name).splitlines()]
    end = next(i for i, line in enumerate(lines) if line.startswith(until))
    return "\n```text\n" + "\n".join(lines[:end]).rstrip() + "\n```\n"


def filled(text: str) -> str:
    """The text with the figures as they are now."""
    names = {macro.__name__: macro for macro in (*results.MACROS, block)}

    def figures(match: re.Match[str]) -> str:
        return f"{match[1]}{eval(match[2], names)}{match[4]}"

    return MARKED.sub(figures, text)


def main() -> int:
    text = README.read_text(encoding="utf-8")
    new = filled(text)
    if "--check" in sys.argv[1:]:
        return int(new != text)
    README.write_text(new, encoding="utf-8")
    with pyplot.rc_context({"svg.hashsalt": "case"}):
        case().savefig(PICTURE, format="svg", facecolor="white", metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
