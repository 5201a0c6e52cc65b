"""Docstrings as Markdown: ours are plain text with formulas, in which `*`, `_`, `<` and brackets mean themselves."""
import re
from ast import literal_eval
from itertools import groupby
from textwrap import dedent

import griffe


def markdown(text):
    """The same text as Markdown shows it: `code` stays code, indented lines are a block of Python."""
    parts = []
    for code, lines in groupby(text.split("\n"), lambda line: line.startswith("    ")):
        part = "\n".join(lines)
        parts.append(f"\n```python\n{dedent(part)}\n```\n" if code else "\n".join(map(_line, part.split("\n"))))
    return "\n".join(parts)


def _line(line):
    pieces = re.split(r"(`[^`]+`)", line)
    pieces[::2] = (re.sub(r"([\\*_\[\]`])", r"\\\1", p.replace("&", "&amp;").replace("<", "&lt;")) for p in pieces[::2])
    return re.sub(r"^(\d*)([-+.#>])(?=\s)", r"\1\\\2", "".join(pieces))


class PlainDocstrings(griffe.Extension):
    """Rewrites the docstrings of what Griffe has read, which sees no `__doc__ = "..." + Base.__doc__`."""

    def __init__(self):
        self._plain = {}                        # docstrings as they were, by path

    def on_object(self, *, obj, **kw):
        """Of each module, class, function and attribute; other packages' bases stay as they are."""
        if obj.path.split(".")[0] != "lanewise":
            return
        joined = obj.members.get("__doc__") if obj.is_class else None
        if joined is not None and isinstance(joined.value, griffe.ExprBinOp):
            base = obj.module.members[str(joined.value.right).split(".")[0]]
            text = f"{literal_eval(str(joined.value.left)).strip()}\n\n{self._plain.get(base.path, base.docstring.value)}"
            obj.docstring = griffe.Docstring(text, parent=obj)
        if obj.docstring:
            self._plain[obj.path] = obj.docstring.value
            obj.docstring.value = markdown(obj.docstring.value)
