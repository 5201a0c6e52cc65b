"""Convolution: shapes, addressing and instructions of kernels/conv.pxi and conv_dw.pxi."""
from ..errors import ShapeError
from .base import Buffer, Op, Ref, loops

ZERO, BIAS, KEEP = 0, 1, 2          # how an accumulator starts: kernels/conv.pxi, START_*
PIXELS_FROM = 32                    # output channels from which dW over pixels beats dW over lanes: 85 against 57 GFLOP/s
                                    # on 32->64 3x3 16x16; on LeNet's 6->16 5x5 lanes win, 92 against 60


def phase(stride, dilation, pad, kernel, r):
    """Which taps reach the inputs r, r + stride, ... along one axis: (first output, output step, first tap, tap step,
    count). Input r + stride*u takes output u + first + a*(output step) through tap (first tap) + a*(tap step)."""
    taps = sorted(((r + pad - k * dilation) // stride, k) for k in range(kernel) if (r + pad - k * dilation) % stride == 0)
    if not taps:
        return 0, 0, 0, 0, 0
    (q, k), more = taps[0], len(taps) > 1
    return q, taps[1][0] - q if more else 0, k, taps[1][1] - k if more else 0, len(taps)


class Conv2d(Op):
    """y[n,o] = b[o] + sum_c w[o,c] * x[n,c]; stride, padding (top, left, bottom, right), dilation, groups; ReLU fused
    where the plan found one."""

    def __init__(self, weight, bias, stride, padding, dilation, groups, relu=False):
        self.weight, self.bias, self.stride, self.padding = weight, bias, stride, padding
        self.dilation, self.groups, self.relu = dilation, groups, relu

    @property
    def params(self):
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def key(self):
        return ("conv2d", id(self.weight), id(self.bias), self.stride, self.padding, self.dilation, self.groups, self.relu)

    def with_relu(self):
        """The same with a ReLU after it."""
        return Conv2d(self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups, True)

    def shape(self, x):
        outs, ins, kh, kw = self.weight.shape
        if len(x) != 3:
            raise ShapeError(f"expected an input of 4 dimensions (N, C, H, W), got {1 + len(x)}: "
                             f"input (N, {', '.join(map(str, x))})")
        if x[0] != ins * self.groups:
            raise ShapeError(f"expected input with {ins * self.groups} channels, got {x[0]}: "
                             f"input (N, {', '.join(map(str, x))})")
        top, left, bottom, right = self.padding
        rows = (x[1] + top + bottom - self.dilation[0] * (kh - 1) - 1) // self.stride[0] + 1
        cols = (x[2] + left + right - self.dilation[1] * (kw - 1) - 1) // self.stride[1] + 1
        if rows < 1 or cols < 1:
            raise ShapeError(f"expected an image of at least the kernel's size {kh}x{kw}, got "
                             f"{x[1]}x{x[2]}: input (N, {', '.join(map(str, x))})")
        return outs, rows, cols

    def output(self, node):
        """The shape of the convolution itself (a fused pool follows it)."""
        return self.shape(node.inputs[0].shape)

    def borders(self, node):
        (_, h, w), (_, rows, cols), (_, _, kh, kw) = node.inputs[0].shape, self.output(node), self.weight.shape
        top, left = self.padding[:2]
        return ((top, left, max(0, (rows - 1) * self.stride[0] + (kh - 1) * self.dilation[0] + 1 - h - top),
                 max(0, (cols - 1) * self.stride[1] + (kw - 1) * self.dilation[1] + 1 - w - left)),)

    def grad_border(self, node):
        before, after = [], []
        for axis in (0, 1):
            size, out = node.inputs[0].shape[1 + axis], self.output(node)[1 + axis]
            low = high = 0
            for r in range(min(self.stride[axis], size)):
                q, step, _, _, n = phase(self.stride[axis], self.dilation[axis], self.padding[axis],
                                         self.weight.shape[2 + axis], r)
                if n:
                    low = max(low, -q)
                    high = max(high, (size - r - 1) // self.stride[axis] + q + (n - 1) * step - (out - 1))
            before.append(low)
            after.append(high)
        return (*before, *after)

    def forward(self, b, node):
        b.emit("forward", "conv", **self.conv_fields(b, node, b.value(node)))

    def conv_fields(self, b, node, y):
        x = b.value(node.inputs[0])
        outs, ins, kh, kw = self.weight.shape
        (sh, sw), (dh, dw), group = self.stride, self.dilation, outs // self.groups
        merged = dw == 1 and self.groups == 1
        w = b.pack(("conv", id(self.weight)), self.weight, b.engine.conv_widest, groups=self.groups, outs=group, taps=kh,
                   runs=kw, reds=ins, first=0, s_group=group * ins * kh * kw, s_out=ins * kh * kw, s_tap=kw, s_run=1,
                   s_red=kh * kw)
        b.flops(2 * y.rows * y.cols * outs * ins * kh * kw)
        return dict(x=x.at(-self.padding[0], -self.padding[1]), y=y.start, w=w, bias=b.address(self.bias), rows=y.rows,
                    cols=y.cols, x_row=sh * x.row, x_step=sw * x.channels, tap_row=dh * x.row,
                    run_step=dw * x.channels, taps=kh, runs=1 if merged else kw, run=kw * ins if merged else ins,
                    y_row=y.row, y_step=outs, groups=self.groups, x_group=ins, outs=group,
                    start=ZERO if self.bias is None else BIAS, relu=int(self.relu))

    def backward(self, b, node, dy):
        if self.relu:
            b.emit("backward", "relu_backward", **loops(dy, b.value(node), dy))
        self.conv_backward(b, node, dy)

    def conv_backward(self, b, node, dy):
        self.weight_grad(b, node, dy)
        if b.wants(node.inputs[0]):
            self.input_grad(b, node, dy)

    def weight_grad(self, b, node, dy):
        if not any(p.requires_grad for p in self.params):
            return
        x = b.value(node.inputs[0])
        outs, ins, kh, kw = self.weight.shape
        (sh, sw), (dh, dw), group = self.stride, self.dilation, outs // self.groups
        merged = dw == 1 and self.groups == 1
        pixels = outs >= PIXELS_FROM and self.groups == 1
        wide = -(-outs // b.lanes) * b.lanes
        taps = outs * ins * kh * kw
        d = b.slot(kh * kw * ins * wide * b.real_bytes if pixels else taps * b.lane_bytes)
        db = b.slot(outs * b.lane_bytes)
        fields = dict(x=x.at(-self.padding[0], -self.padding[1]), dy=dy.start, db=db, d=d, rows=dy.rows, cols=dy.cols,
                      x_row=sh * x.row, x_step=sw * x.channels, tap_row=dh * x.row, run_step=dw * x.channels, taps=kh,
                      runs=1 if merged else kw, run=kw * ins if merged else ins, dy_row=dy.row, dy_step=outs,
                      groups=self.groups, x_group=ins, outs=group, has_bias=int(self.bias is not None), xt=0, dyt=0,
                      src_row=0, x_rows=0, x_width=0, x_channels=0, wide=wide)
        if pixels:
            height, width = (dy.rows - 1) * sh + (kh - 1) * dh + 1, (dy.cols - 1) * sw + (kw - 1) * dw + 1
            row = width * ins
            fields.update(xt=Ref(Buffer(height * row), 0), dyt=Ref(Buffer(dy.rows * dy.cols * wide), 0), src_row=x.row,
                          x_rows=height, x_width=width, x_channels=ins, x_row=sh * row, x_step=sw * ins,
                          tap_row=dh * row, run_step=dw * ins)
        b.flops(2 * dy.rows * dy.cols * taps)
        b.emit("backward", "conv_dw_pixels" if pixels else "conv_dw_lanes", **fields)
        if self.weight.requires_grad:
            b.emit("reduce", "conv_grad", d=d, lanes=int(not pixels), wide=wide if pixels else group,
                   grad=b.grad_address(self.weight), add=b.used_before(self.weight), groups=self.groups, taps=kh,
                   runs=1 if merged else kw, reds=ins, merged=kw if merged else 1, outs=group,
                   s_group=group * ins * kh * kw, s_tap=kw, s_run=1, s_red=kh * kw, s_out=ins * kh * kw)
        if self.bias is not None and self.bias.requires_grad:
            b.emit("reduce", "lane_grad", d=db, size=outs, grad=b.grad_address(self.bias), add=b.used_before(self.bias))

    def input_grad(self, b, node, dy):
        """One convolution of dY for every stride phase of the input."""
        dx, add = b.into(node.inputs[0])
        outs, ins, kh, kw = self.weight.shape
        (sh, sw), group = self.stride, outs // self.groups
        for ry in range(min(sh, dx.rows)):
            for rx in range(min(sw, dx.cols)):
                q, q_step, k, k_step, taps = phase(sh, self.dilation[0], self.padding[0], kh, ry)
                p, p_step, j, j_step, runs = phase(sw, self.dilation[1], self.padding[1], kw, rx)
                rows, cols = -(-(dx.rows - ry) // sh), -(-(dx.cols - rx) // sw)
                if not taps or not runs:
                    if not add:
                        b.emit("backward", "fill", **loops(
                            dx.at(ry, rx), dx.at(ry, rx), shape=(rows, cols, dx.channels),
                            ys=(sh * dx.row, sw * dx.channels, 1), as_=(0, 0, 0)))
                    continue
                merged = self.groups == 1 and (runs == 1 or p_step == 1)
                w = b.pack(("conv dx", id(self.weight), ry, rx, self.stride, self.dilation, self.padding), self.weight,
                           b.engine.conv_widest, groups=self.groups, outs=ins, taps=taps, runs=runs, reds=group,
                           first=k * kw + j, s_group=group * ins * kh * kw, s_out=kh * kw, s_tap=k_step * kw,
                           s_run=j_step, s_red=ins * kh * kw)
                b.flops(2 * rows * cols * taps * runs * outs * ins)
                b.emit("backward", "conv", x=dy.at(q, p), y=dx.at(ry, rx), w=w, bias=0, rows=rows, cols=cols,
                       x_row=dy.row, x_step=outs, tap_row=q_step * dy.row, run_step=p_step * outs, taps=taps,
                       runs=1 if merged else runs, run=runs * group if merged else group, y_row=sh * dx.row,
                       y_step=sw * dx.channels, groups=self.groups, x_group=group, outs=ins,
                       start=KEEP if add else ZERO, relu=0)
