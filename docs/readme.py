"""Put the benchmarks' figures into README.md, and draw its picture: run after a benchmark has recorded new ones.

What stands between `<!-- figures: EXPRESSION -->` and `<!-- end -->` is replaced by the expression's value, in which
the functions of `results.py` have their names. With `--check` nothing is written, and the exit status tells whether
anything would have changed.
"""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import results
from matplotlib import pyplot
from pictures import case

README = results.ROOT / "README.md"
PICTURE = results.ROOT / "docs" / "pages" / "assets" / "case.svg"
MARKED = re.compile(r"(<!-- figures: (.*?) -->)(.*?)(<!-- end -->)", re.S)


def block(name: str, since: str, until: str) -> str:
    """What a command printed, from the line that begins with `since` to before the next that begins with `until`."""
    lines = [line.rstrip() for line in results.output(name).splitlines()]
    begin = next(i for i, line in enumerate(lines) if line.startswith(since))
    end = next(i for i, line in enumerate(lines) if i > begin and line.startswith(until))
    return "\n```text\n" + "\n".join(lines[begin:end]).rstrip() + "\n```\n"


def filled(text: str) -> str:
    """The text with the figures as they are now."""
    names: dict[str, Any] = {macro.__name__: macro for macro in (*results.MACROS, block)}
    names["OURS_AND_THEIRS"] = results.OURS_AND_THEIRS
    others = {row["objective"] for row in results.rows("robustness", "Share that fails, by starting margin")}
    names["PEERS"] = [name for name in others if not name.startswith("boostfocal")]

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
