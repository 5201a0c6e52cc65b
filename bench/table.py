"""Tables and numbers for people: text for a terminal, Markdown for a page."""
import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def seconds(t):
    """A duration in three digits and its unit, 12.3ms; "" for None."""
    if t is None:
        return ""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us"), (1e9, "ns")):
        if t * factor >= 0.9995 or unit == "ns":
            return f"{digits(t * factor)}{unit}"


def digits(v):
    """Three digits: 1.23, 12.3, 123, 1,230; "" for None."""
    if v is None:
        return ""
    return f"{v:.2f}" if v < 9.995 else f"{v:.1f}" if v < 99.95 else f"{v:,.0f}"


def ratio(v):
    """How many times as fast: 3.1x; "" for None."""
    if v is None:
        return ""
    return f"{v:.1g}x" if v < 0.01 else f"{v:.2f}x" if v < 0.995 else f"{v:.1f}x" if v < 99.95 else f"{v:,.0f}x"


def percent(v):
    """A share as a percentage; "" for None."""
    return "" if v is None else f"{100 * v:.0f} %" if v >= 0.0995 else f"{100 * v:.1f} %"


def text(head, rows, left=1, breaks=()):
    """Lines of a table: `head` and `rows` of strings, the first `left` columns flush left, the others right; a rule above
    the rows whose numbers are in `breaks`."""
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    rule = "  ".join("-" * w for w in widths)

    def line(row):
        return "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
    lines = [line(head), rule]
    for i, row in enumerate(rows):
        if i in breaks:
            lines.append(rule)
        lines.append(line(row))
    return lines


def markdown(head, rows, left=1):
    """The same table in Markdown."""
    return ["| " + " | ".join(head) + " |", "|" + "|".join("---" if i < left else "--:" for i in range(len(head))) + "|",
            *("| " + " | ".join(row) + " |" for row in rows)]


def save(name, content):
    """Write `content` to results/NAME (a .json name: anything JSON can say; else lines): the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    path.write_text(json.dumps(content, indent=1) + "\n" if name.endswith(".json") else "\n".join(content) + "\n")
    return path
