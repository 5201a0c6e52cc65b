"""The diagram of a network: its traced graph as boxes in columns, broken into lines where only one value passes."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import Input, as_value, topological
from ..nodes.constant import Constant
from ..nodes.conv import Conv2d
from ..nodes.pool import Pool2d
from ..summary import trace
from .look import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, extent, figure, fitting, shorten

if TYPE_CHECKING:
    from ..graph import Node
    from collections.abc import Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from numpy.typing import DTypeLike

    from .._types import Shape
    from ..nn.module import Module

SIGNS = {"Add": "+", "Mul": "×", "Sub": "−", "MatMul": "@", "Concat": "concat"}
COLOURS = ((Input, GREY), (Conv2d, BLUE), (Pool2d, SKY))
LINE, PAD, GAP, LEVEL = 0.135, 0.14, 0.16, 0.13         # inches: of a text's line, in a box, between lanes, between arcs
BETWEEN, EDGE, WIDEST = 0.18, 0.07, 1.4                 # inches: between boxes, at a text's sides, of the widest box
LARGE, LITTLE, LEAST = 7.0, 5.5, 5.0                    # points: of a text, where its box grows, where it is cut


class Box:
    """Layers that are drawn together: a head, and what without weights follows it alone; its place."""

    def __init__(self, path: str, texts: list[str], colour: str, shape: Shape) -> None:
        self.path, self.texts, self.colour, self.shape = path, texts, colour, shape
        self.sources: list[Box] = []
        self.targets: list[Box] = []
        self.column = self.lane = self.line = 0
        self.x = self.y = 0.0

    @property
    def words(self) -> list[str]:
        """Lines of text."""
        return [*self.texts, "×".join(map(str, self.shape))]

    @property
    def height(self) -> float:
        """Inches."""
        return LINE * len(self.words) + PAD


def _text(kind: Any, nodes: Any) -> str:
    for node in nodes:
        op, size = node.op, None
        if isinstance(op, Conv2d):
            size = op.weight.shape[2:]
        elif isinstance(op, Pool2d) and not kind.startswith("Adaptive"):
            size = op.kernel[:1] if op.kernel[0] == op.kernel[1] else op.kernel
        if size:
            stride = f" /{op.stride[0]}" if isinstance(op, Conv2d) and op.stride != (1, 1) else ""
            return f"{_short(kind)} {'×'.join(map(str, size))}{stride}"
    return SIGNS.get(kind, _short(kind))


def _short(kind: str) -> str:
    for long, short in (("2d", ""), ("Adaptive", ""), ("Transpose", "T")):
        kind = kind.replace(long, short)
    return kind


def _colour(nodes: Any) -> str:
    for node in nodes:
        for kind, colour in COLOURS:
            if isinstance(node.op, kind):
                return colour
    if any(p.data.ndim > 1 for n in nodes for p in n.op.params):
        return GREEN
    return ORANGE if any(len(n.inputs) > 1 for n in nodes) else PURPLE


def boxes(model: Module, input_shape: Any, dtype: Any) -> list[Box]:
    """The boxes of a model, inputs first, with their edges."""
    several = isinstance(input_shape[0], (tuple, list))
    number = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    values = [as_value(np.zeros((1, *s), dtype or number)) for s in (input_shape if several else [input_shape])]
    out, calls = trace(model, values)
    order = topological([v.node for v in (out if isinstance(out, (tuple, list)) else (out,))])
    place = {n: i for i, n in enumerate(order)}
    calls = sorted((c for c in calls if c[3][-1] in place), key=lambda c: place[c[3][-1]])
    found: list[Box] = []
    home: dict[Node, Box] = {}
    readers: dict[Node, int] = {}
    for v in values:
        home[v.node] = Box("", ["input"], GREY, v.node.shape)
        found.append(home[v.node])
    for _, _, nodes, _ in calls:
        for source in {i for n in nodes for i in n.inputs if i not in nodes}:
            readers[source] = readers.get(source, 0) + 1
    for path, kind, nodes, results in calls:
        nodes = [n for n in nodes if not isinstance(n.op, Constant)]
        sources = list(dict.fromkeys(home[i] for n in nodes for i in n.inputs if i in home and i not in nodes))
        if not nodes:
            continue
        light = not any(p.data.ndim > 1 for n in nodes for p in n.op.params)
        feeds = {i for n in nodes for i in n.inputs if i in home and i not in nodes}
        if light and len(sources) == 1 and sources[0].path is not None and len(feeds) == 1 and readers[next(iter(feeds))] == 1 \
                and sources[0] not in found[:len(values)]:
            box = sources[0]
            box.texts.append(_text(kind, nodes))
        else:
            box = Box(path, [_text(kind, nodes)], _colour(nodes), ())
            box.sources = sources
            found.append(box)
            for s in sources:
                s.targets.append(box)
        box.shape = results[-1].shape
        home.update((n, box) for n in nodes)
    return found


def _columns(found: Any) -> Any:
    # A column behind the last source; the lane of the first source, or the next that is free.
    taken = set()
    for box in found:
        box.column = 1 + max((s.column for s in box.sources), default=-1)
        box.lane = box.sources[0].lane if box.sources else 0
        if any(s.lane == 0 for s in box.sources) and len(box.sources) > 1:
            box.lane = 0
        while (box.column, box.lane) in taken:
            box.lane += 1
        taken.add((box.column, box.lane))
    return max(b.column for b in found) + 1


def _lines(found: Any, columns: Any, most: Any) -> Any:
    # Breaks: behind the last column, at most `most` of them in a line, where everything that passes comes from one box.
    crossing = [{s for b in found for s in b.sources if s.column <= c < b.column} for c in range(columns)]
    starts = [0]
    while columns - starts[-1] > most:
        clean = [c + 1 for c in range(starts[-1], columns - 1) if len(crossing[c]) == 1]
        fits = [c for c in clean if c - starts[-1] <= most]
        if not clean:
            break
        starts.append(fits[-1] if fits else clean[0])
    for box in found:
        box.line = sum(box.column >= s for s in starts) - 1
    return starts


def _levels(edges: Any) -> Any:
    # Arcs over one line: of those that overlap, the shorter lies lower.
    levels: dict[Any, int] = {}
    for edge in sorted(edges, key=lambda e: e[1] - e[0]):
        used = {levels[o] for o in levels if o[0] < edge[1] and edge[0] < o[1]}
        levels[edge] = next(k for k in range(len(used) + 1) if k not in used)
    return levels


def network(model: Module, input_shape: Sequence[int] | Sequence[Sequence[int]], dtype: DTypeLike | None = None,
            ax: Axes | None = None) -> Axes:
    """The network as boxes and arrows, from the traced graph of inputs (C, H, W), or a list of such; the Axes.
    `dtype`: of the inputs, as in summary().

    A box is a layer with what without weights follows it (ReLU, pooling, normalisation), and the shape that comes out, without
    the batch; branches lie below each other, what skips a part goes over it, and long networks go on in the next line."""
    if not isinstance(input_shape, (tuple, list)) or not input_shape:
        raise ValueError(f"network: expected the shape of an input, (C, H, W), or a list of such, got {input_shape!r}")
    found = boxes(model, input_shape, dtype)
    columns = _columns(found)
    starts = _lines(found, columns, 7 if columns <= 14 else 10)
    longest = max(b - a for a, b in zip(starts, (*starts[1:], columns)))
    needed = max(extent(word, LITTLE, i == 0) for b in found for i, word in enumerate(b.words)) + EDGE
    wide = min(WIDEST, max(0.68 if longest <= 7 else 0.64, needed))
    pitch, margin = wide + BETWEEN, 0.24
    width = max(4.0, longest * pitch + 0.5)
    place, occupied, top, ghosts, arcs = {}, {(b.column, b.lane) for b in found}, 0.1, [], {}
    for line, start in enumerate(starts):
        own = [b for b in found if b.line == line]
        spans = {}
        for b in own:
            for s in b.sources:
                first = s.column if s.line == line else start - 1
                lane = s.lane if s.line == line else 0
                if b.column - first > 1 and any((c, lane) in occupied for c in range(first + 1, b.column)):
                    spans[s, b] = (first, b.column)
        levels = _levels(set(spans.values()))
        arcs.update({e: levels[span] for e, span in spans.items()})
        top += LEVEL * (max(levels.values(), default=-1) + 1) + GAP
        lanes = [max((b.height for b in own if b.lane == k), default=0.0) for k in range(max(b.lane for b in own) + 1)]
        for b in own:
            b.x, b.y = margin + (b.column - start + 0.5) * pitch, top + sum(lanes[:b.lane]) + GAP * b.lane + lanes[b.lane] / 2
        ghosts.append((0.1, top + lanes[0] / 2, top))
        top += sum(lanes) + GAP * (len(lanes) - 1) + 0.06
        place[line] = top
    scale = 1.0
    if ax is None:
        ax = figure(None, width, top + 0.15).subplots()
    else:
        box = ax.get_window_extent()
        scale = min(1.0, box.width / width / ax.figure.dpi, box.height / top / ax.figure.dpi)
    ax.set(xlim=(0, width), ylim=(top + 0.05, 0), aspect="equal")
    ax.set_axis_off()
    for b in found:
        _draw(ax, b, wide, scale)
    _edges(ax, found, arcs, ghosts, place, wide, margin + longest * pitch)
    return ax


def _draw(ax: Any, box: Any, wide: Any, scale: Any) -> None:
    from matplotlib.patches import FancyBboxPatch
    ax.add_patch(FancyBboxPatch((box.x - wide / 2, box.y - box.height / 2), wide, box.height,
                                boxstyle="round,pad=0,rounding_size=0.05", facecolor=box.colour + "30",
                                edgecolor=box.colour, linewidth=1, zorder=2))
    for i, word in enumerate(box.words):
        size = fitting([word], wide - EDGE, LARGE, LEAST, i == 0)
        word, size = *shorten([word], wide - EDGE, size, i == 0), size * scale
        ax.text(box.x, box.y - box.height / 2 + PAD / 2 + LINE * (i + 0.5), word, ha="center",
                va="center", fontsize=size, zorder=3, color="black" if i + 1 < len(box.words) else "#444444",
                fontweight="bold" if i == 0 else "normal", parse_math=False)


def _edges(ax: Any, found: Any, arcs: Any, ghosts: Any, place: Any, wide: Any, right: Any) -> None:
    def line(points: Any, arrow: bool = True) -> None:
        xs, ys = zip(*points)
        ax.plot(xs, ys, color="#555555", linewidth=0.9, zorder=1, solid_joinstyle="round")
        if arrow:
            ax.annotate("", points[-1], points[-2], arrowprops=dict(arrowstyle="-|>", color="#555555", linewidth=0.9, shrinkA=0,
                                                                    shrinkB=0, mutation_scale=7), zorder=1)
    for n, (x, y, _) in enumerate(ghosts):              # the value that passes from one line to the next
        source = next((s for b in found if b.line == n for s in b.sources if s.line < n), None)
        if source is not None:
            edge, below = source.x + wide / 2, place[source.line] + 0.03
            line([(edge, source.y), (edge + 0.1, source.y), (edge + 0.1, below), (x, below), (x, y)], arrow=False)
    for b in found:
        for s in b.sources:
            x, y = (s.x + wide / 2, s.y) if s.line == b.line else ghosts[b.line][:2]
            left = b.x - wide / 2
            if (s, b) in arcs:
                over = ghosts[b.line][2] - 0.07 - LEVEL * arcs[s, b]
                if s.line != b.line or s.lane:          # from the line's start, or between the columns from below
                    gap = x if s.line != b.line else x + 0.05
                    out = [(x, y), (gap, y), (gap, over)]
                else:
                    out = [(s.x + 0.1, s.y - s.height / 2), (s.x + 0.1, over)]
                back = [(left - 0.05, over), (left - 0.05, b.y), (left, b.y)] if b.lane else \
                    [(b.x - 0.1, over), (b.x - 0.1, b.y - b.height / 2)]
                line(out + back)
            elif abs(y - b.y) < 1e-6:
                line([(x, y), (left, b.y)])
            elif s.line == b.line and b.column - s.column > 1:
                side = np.sign(y - b.y)
                line([(x, y), (b.x, y), (b.x, b.y + side * b.height / 2)])
            else:
                middle = (left + (x if s.line == b.line else left - 0.2)) / 2
                line([(x, y), (middle, y), (middle, b.y), (left, b.y)])
