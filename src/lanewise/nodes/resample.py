"""Images of another size: each output pixel is a weighted sum of input pixels, from one table for rows and one for columns.
Instructions of kernels/resample.pxi."""
from fractions import Fraction

import numpy as np

from ..errors import ShapeError
from .base import Op


def adaptive(size, out):
    """The entries of a mean over out windows, window i from floor(i size / out) to ceil((i + 1) size / out)."""
    entries = []
    for i in range(out):
        first, last = i * size // out, -(-(i + 1) * size // out)
        entries.append([(j, 1 / (last - first)) for j in range(first, last)])
    return entries


def nearest(size, out, scale=None):
    """The entries of the pixel floor(i size / out), or floor(i / scale) where a scale is given; in single precision, as
    PyTorch computes it."""
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(out)
    return [[(min(int(np.float32(i) * step), size - 1), 1.0)] for i in range(out)]


def linear(size, out, scale=None, align_corners=False):
    """The entries of the two pixels around (i + 1/2) size / out - 1/2, clipped at the first; with align_corners around
    i (size - 1) / (out - 1). A given scale stands for out / size."""
    if align_corners:
        step = (size - 1) / (out - 1) if out > 1 else 0.0
    else:
        step = 1 / scale if scale else size / out
    entries = []
    for i in range(out):
        place = i * step if align_corners else max((i + 0.5) * step - 0.5, 0.0)
        low = min(int(place), size - 1)
        part = min(place - low, 1.0)
        entries.append([(low, 1.0)] if part == 0 or low + 1 == size else [(low, 1 - part), (low + 1, part)])
    return entries


def turned(entries, size):
    """The transposed table: for each of `size` inputs, the outputs that read it."""
    back = [[] for _ in range(size)]
    for i, reads in enumerate(entries):
        for j, w in reads:
            back[j].append((i, w))
    return back


class Resample(Op):
    """y[oy][ox] = sum of w[oy][iy] w[ox][ix] x[iy][ix]. `how` is a function of an axis' size, giving its entries; `name` and
    `settings` identify the tables."""

    def __init__(self, how, settings):
        self.how, self.settings = how, settings         # settings: for each axis (out, further arguments of how)

    def key(self):
        return ("resample", self.how.__name__, self.settings)

    def shape(self, x):
        if len(x) != 3:
            raise ShapeError(f"expected an input of 4 dimensions (N, C, H, W), got {1 + len(x)}: "
                             f"input (N, {', '.join(map(str, x))})")
        return (x[0], *(out for out, *_ in self.settings))

    def entries(self, x):
        """(rows, columns) of the tables for an image (C, H, W)."""
        return [self.how(size, *args) for size, args in zip(x[1:], self.settings)]

    def window(self, x):
        """((KH, KW), (SH, SW)): how many pixels an output sees at most, and how far apart its windows are on average."""
        spans = [max(reads[-1][0] - reads[0][0] + 1 for reads in axis) for axis in self.entries(x)]
        return tuple(spans), tuple(Fraction(size, out) for size, (out, *_) in zip(x[1:], self.settings))

    def _emit(self, b, block, x, y, tables, add=0):
        fields = {}
        for axis, entries in zip(("row", "col"), tables):
            flat = [e for reads in entries for e in reads]
            first = np.cumsum([0] + [len(reads) for reads in entries], dtype=np.int64)
            at = np.array([j for j, _ in flat], np.int64)
            w = np.array([w for _, w in flat], np.float32 if b.real_bytes == 4 else np.float64)
            b.keep += [first, at, w]
            fields.update({f"{axis}_first": first.ctypes.data, f"{axis}_at": at.ctypes.data, f"{axis}_w": w.ctypes.data})
        b.flops(2 * x.channels * np.prod([sum(map(len, entries)) for entries in tables]))
        b.emit(block, "resample", x=x.start, y=y.start, rows=y.rows, cols=y.cols, channels=y.channels, x_row=x.row,
               y_row=y.row, add=add, **fields)

    def forward(self, b, node):
        x = node.inputs[0]
        self._emit(b, "forward", b.value(x), b.value(node), self.entries(x.shape))

    def backward(self, b, node, dy):
        x = node.inputs[0]
        dx, add = b.into(x)
        self._emit(b, "backward", dy, dx, [turned(e, size) for e, size in zip(self.entries(x.shape), x.shape[1:])], add)
