"""im2col and col2im: windows of images as the columns of a matrix."""
import numpy as np

from ..errors import ShapeError
from ._check import Result, arrays, crew, image, kernels, ndim, packed, pair


class Geometry:
    """Where the windows of a convolution lie: sizes in pairs (rows, columns), padding (top, left, bottom, right).
    `outs`: fewer windows than would fit."""

    def __init__(self, name, size, kernel, stride, padding, dilation, outs=None):
        self.size, self.kernel, self.stride, self.dilation = tuple(size), kernel, stride, dilation
        self.padding = padding * 2 if len(padding) == 2 else padding
        self.outs = outs or tuple((size[a] + self.padding[a] + self.padding[2 + a] - dilation[a] * (kernel[a] - 1) - 1)
                                  // stride[a] + 1 for a in (0, 1))
        if min(self.outs) < 1:
            raise ShapeError(f"{name}: expected an image of at least the kernel's size, got {size[0]}x{size[1]} with padding "
                             f"{self.padding[0]}, {self.padding[1]} for a kernel of {kernel[0]}x{kernel[1]}")
        self.taps, self.pixels = kernel[0] * kernel[1], self.outs[0] * self.outs[1]

    @property
    def plain(self):
        """Whether the columns are the image itself: 1x1, stride 1, no padding."""
        return self.taps == 1 and self.stride == (1, 1) and not any(self.padding)

    @property
    def numbers(self):
        """What the kernels read of it."""
        return (*self.size, *self.outs, *self.kernel, *self.stride, *self.dilation, *self.padding[:2])

    def move(self, x, cols, back=False):
        """cols (N, C*KH*KW, L) from C-contiguous x (N, C, H, W), or (back) x from cols, overlaps added up."""
        planes = x.shape[0] * x.shape[1]
        if back and not cols.size:
            x[...] = 0
        elif cols.size:
            kernels(x).im2col(x, cols, planes, self.numbers, back, crew(max(x.size, cols.size) // 4))


def _geometry(name, size, kernel_size, stride, padding, dilation):
    return Geometry(name, size, pair(name, "kernel_size", kernel_size), pair(name, "stride", stride),
                    pair(name, "padding", padding, 0), pair(name, "dilation", dilation))


def im2col(x, kernel_size, stride=1, padding=0, dilation=1, *, out=None):
    """torch's unfold: (N, C, H, W) -> (N, C*KH*KW, L), L = H' W' windows as columns, zeros for padding. Its backward is
    col2im."""
    x, alone = image("im2col", "x", arrays("im2col", x=x))
    g = _geometry("im2col", x.shape[2:], kernel_size, stride, padding, dilation)
    x, full = packed(x), (x.shape[0], x.shape[1] * g.taps, g.pixels)
    cols = Result("im2col", out, full[1:] if alone else full, x.dtype, (x,))
    g.move(x, cols.array)
    return cols.done()


def col2im(cols, output_size, kernel_size, stride=1, padding=0, dilation=1, *, out=None):
    """torch's fold: (N, C*KH*KW, L) -> (N, C, *output_size), where windows overlap the sum. Its backward is im2col."""
    cols = arrays("col2im", cols=cols)
    alone = cols.ndim == 2
    cols = cols[None] if alone else cols
    ndim("col2im", "cols", cols, 3, "N, C*KH*KW, L")
    g = _geometry("col2im", pair("col2im", "output_size", output_size), kernel_size, stride, padding, dilation)
    if cols.shape[1] % g.taps or cols.shape[2] != g.pixels:
        raise ShapeError(f"col2im: expected cols (N, a multiple of {g.taps}, {g.pixels}), got {cols.shape}")
    full = (cols.shape[0], cols.shape[1] // g.taps, *g.size)
    cols = packed(cols)
    x = Result("col2im", out, full[1:] if alone else full, cols.dtype, (cols,))
    g.move(x.array.reshape(full), cols, True)
    return x.done()


def im2col_backward(dcols, input_size, kernel_size, stride=1, padding=0, dilation=1):
    """dx of im2col, (N, C, *input_size): col2im of the gradient."""
    return col2im(dcols, input_size, kernel_size, stride, padding, dilation)


def col2im_backward(dx, kernel_size, stride=1, padding=0, dilation=1):
    """dcols of col2im: im2col of the gradient."""
    return im2col(dx, kernel_size, stride, padding, dilation)


def groups_of(name, groups, *sizes):
    """ShapeError unless groups divides all of them."""
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1 or any(s % groups for s in sizes):
        raise ShapeError(f"{name}: expected groups to divide the channels {' and '.join(map(str, sizes))}, got {groups!r}")
    return int(groups)


