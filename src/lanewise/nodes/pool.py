"""Pooling: max and mean over windows, and the convolution that streams its rows through a max-pool."""
from ..errors import ShapeError
from .base import Layout, Op, loops
from .conv import BAND, SQUARE, TILE, Conv2d

WINNERS_BELOW = 16          # output channels from which dW by Winograd's points is as fast (6->16 5x5 on 12x12: 30 and 31 us a shard)


def window_fields(pool, x, y, where=0, relu=0, add=0):
    """The fields of a Pool instruction between the layouts x (before) and y (after)."""
    (kh, kw), (sh, sw), (ph, pw) = pool.kernel, pool.stride, pool.padding
    return dict(x=x.start, y=y.start, where=where, rows=y.rows, cols=y.cols, channels=y.channels, x_rows=x.rows,
                x_cols=x.cols, x_row=x.row, y_row=y.row, kh=kh, kw=kw, sh=sh, sw=sw, ph=ph, pw=pw, relu=relu, add=add,
                count_pad=int(pool.count_include_pad), clipped=int(pool.ceil_mode))


class Pool2d(Op):
    """Windows of `kernel`, `stride` apart, over an image; a window that hangs over the edge is clipped. With ceil_mode the
    last one may begin at any pixel of the image or of the padding before it."""
    count_include_pad = False

    def __init__(self, kernel, stride, padding, ceil_mode=False):
        self.kernel, self.stride, self.padding, self.ceil_mode = kernel, stride, padding, ceil_mode

    def _outputs(self, size, axis):
        k, s, p = self.kernel[axis], self.stride[axis], self.padding[axis]
        if not self.ceil_mode:
            return (size + 2 * p - k) // s + 1
        n = -((k - size - 2 * p) // s) + 1
        return n - 1 if (n - 1) * s >= size + p else n

    def shape(self, x):
        if len(x) != 3:
            raise ShapeError(f"expected an input of 4 dimensions (N, C, H, W), got {1 + len(x)}: "
                             f"input (N, {', '.join(map(str, x))})")
        rows, cols = (self._outputs(x[1 + a], a) for a in (0, 1))
        if rows < 1 or cols < 1:
            raise ShapeError(f"expected an image of at least the window's size {self.kernel[0]}x{self.kernel[1]}, got "
                             f"{x[1]}x{x[2]}: input (N, {', '.join(map(str, x))})")
        return x[0], rows, cols


def winners(b, node, y):
    """Where a max-pool leaves its winners' places: nowhere (-1) if there is no way back."""
    return b.saved(node, y.rows * y.cols * y.channels) if b.wants(node) else -1


class MaxPool2d(Pool2d):
    """The greatest of a window; its gradient goes to the first winner. NaN wins."""

    def forward(self, b, node):
        x, y = b.value(node.inputs[0]), b.value(node)
        b.emit("forward", "max_pool", **window_fields(self, x, y, winners(b, node, y)))

    def backward(self, b, node, dy):
        dx, add = b.into(node.inputs[0])
        b.emit("backward", "max_pool_backward", **window_fields(self, dx, dy, b.saved(node), add=add))


class AvgPool2d(Pool2d):
    """The mean of a window; with count_include_pad its padding counts as zeros."""

    def __init__(self, kernel, stride, padding, ceil_mode, count_include_pad):
        super().__init__(kernel, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, b, node):
        b.emit("forward", "avg_pool", **window_fields(self, b.value(node.inputs[0]), b.value(node)))

    def backward(self, b, node, dy):
        dx, add = b.into(node.inputs[0])
        b.emit("backward", "avg_pool_backward", **window_fields(self, dx, dy, add=add))


class ConvMaxPool(Conv2d):
    """A convolution whose rows are pooled (and clamped at zero) as they come: made by the plan, never by a module."""

    def __init__(self, conv, pool):
        super().__init__(conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        self.pool, self.pool_relu = pool, conv.relu

    @staticmethod
    def fits(conv, pool):
        """Windows that share no row, and no padding: a band of rows is pooled once and forgotten."""
        return type(conv) is Conv2d and type(pool) is MaxPool2d and pool.stride[0] >= pool.kernel[0] and \
            pool.padding == (0, 0) and not pool.ceil_mode

    def key(self):
        return ("conv_max_pool", super().key(), self.pool.key(), self.pool_relu)

    def output(self, node):
        return Conv2d.shape(self, node.inputs[0].shape)

    def shape(self, x):
        return self.pool.shape(super().shape(x))

    def forward(self, b, node):
        (outs, _, cols), y, kh, sh = self.output(node), b.value(node), self.pool.kernel[0], self.pool.stride[0]
        points = self.points(self.output(node))
        steps = min(y.rows, max(1, BAND // 2 // (sh * cols * outs * b.lane_bytes))) if points else 1
        if points == SQUARE:                                # rows that fill their tiles
            steps = min(y.rows, max(1, (-(-steps * sh // TILE) * TILE - kh) // sh + 1))
        rows = (steps - 1) * sh + kh
        band = Layout((outs, rows, cols), own=True, staggered=True)
        where = winners(b, node, y)
        conv = self.conv_fields(b, b.value(node.inputs[0]), band, self.output(node), rows, kh, self.bias)
        pool = window_fields(self.pool, band, y, where, relu=int(self.pool_relu))
        b.emit("forward", "conv_max_pool", conv=conv, pool=pool)

    def backward(self, b, node, dy):
        if self.pool_relu:
            b.emit("backward", "relu_backward", **loops(dy, b.value(node), dy))
        before = None
        by_winners = self.points_weight(self.output(node)) != SQUARE and self.by_winners(not b.wants(node.inputs[0]))
        if b.wants(node.inputs[0]) or (self.weight.requires_grad and not by_winners):
            before = Layout(self.output(node), self.grad_border(node), staggered=True)
            b.emit("backward", "max_pool_backward", **window_fields(self.pool, before, dy, b.saved(node)))
        if self.weight.requires_grad:
            if by_winners:
                self.winners_grad(b, b.again(node.inputs[0]), dy, b.saved(node))
            else:
                self.weight_grad(b, b.again(node.inputs[0]), before)
        self.bias_grad(b, dy)
        self.image_grad(b, node, before)

    def by_winners(self, first):
        """Whether dW of a convolution without squares is summed over the pool's winners alone (kernels/conv_dw_pool.pxi).
        `first`: no gradient of the image is wanted, so that nothing else needs what was before the pool."""
        outs, _, kh, _ = self.weight.shape
        plain = self.groups == 1 and self.stride == self.dilation == (1, 1)
        return plain and kh in (3, 5) and (first or outs < WINNERS_BELOW) and self.pool.kernel == self.pool.stride == (2, 2)

    def winners_grad(self, b, x, dy, where):
        """dW from the image x, the gradient dy of the pool's result and its winners."""
        outs, ins, kh, kw = self.weight.shape
        d = b.slot(kh * kw * ins * outs * b.lane_bytes)
        b.flops(8 * dy.rows * dy.cols * outs * ins * kh * kw)
        b.emit("backward", "conv_dw_pool", x=x.at(-self.padding[0], -self.padding[1]), x_row=x.row, x_step=x.channels, ins=ins,
               dy=dy.start, dy_row=dy.row, where=where, rows=dy.rows, cols=dy.cols, outs=outs, kh=kh, kw=kw, d=d,
               band=max(1, BAND // (2 * dy.cols * outs * b.lane_bytes)))
        self.weight_sums(b, d, 0, True, 0)


