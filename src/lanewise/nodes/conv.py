"""Convolution: shapes, addressing and instructions of kernels/conv.pxi, winograd.pxi and conv_dw.pxi."""
from ..errors import ShapeError
from ..parameter import forget_plans
from .base import Buffer, Op, Ref, loops

ZERO, BIAS, KEEP = 0, 1, 2          # how an accumulator starts: kernels/conv.pxi, START_*
TILE = 4                            # outputs of a Winograd tile, along a row or along both sides of a square
SQUARE = 36                         # points of a square tile: kernels/winograd_square.pxi
SQUARE_FROM = 8                     # channels, in and out, from which squares pay
BAND = 192 * 1024                   # bytes of transformed rows, or of rows before a pool, that one pass may fill: they stay in L2
_winograd = True


def set_winograd(flag: bool) -> None:
    """Whether stride-1 convolutions of 3 and 5 columns of taps use Winograd's algorithm: 1.5 to 2.8 times as fast as the
    direct sum, with 2 to 6 times its rounding error, and not exact on integers. On by default; for every plan from now on."""
    global _winograd
    if not isinstance(flag, bool):
        raise TypeError(f"set_winograd: expected True or False, got {flag!r}")
    _winograd = flag
    forget_plans()
WINOGRAD_FROM = 4                   # output channels from which it pays
POINTS_FROM = 16                    # output channels from which dW by points runs over pixels
SQUARE_BAND = 4                     # tiles whose dW is summed at once, at least a row
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
    asks_again = True

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
        return type(self)(self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups, True)

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

    def points(self, result):
        """Products of a Winograd tile for a result (O, H', W') of stride 1: 36 of a square for 3x3 taps, 6 or 8 of a row for
        3 or 5 columns of taps; 0 for the direct sum."""
        return self._points(result, self.weight.shape[0] >= WINOGRAD_FROM)

    def points_back(self, result, rows, cols):
        """points() for dX of rows x cols: by squares where they are fewer products than along rows, whose tiles are the
        result's."""
        points, along = self._points(result, self.weight.shape[1] >= WINOGRAD_FROM), self._points(result, False)
        if along and SQUARE * -(-rows // TILE) * -(-cols // TILE) > 3 * along * result[1] * -(-result[2] // TILE):
            return along
        return points

    def points_weight(self, result):
        """points() for dW."""
        return self._points(result, min(self.weight.shape[:2]) >= SQUARE_FROM)

    def _points(self, result, squares):
        (outs, _, kh, kw), (_, rows, cols) = self.weight.shape, result
        fits = _winograd and self.stride == (1, 1) and self.dilation[1] == 1 and self.groups == 1 and kw in (3, 5)
        if not fits or cols < TILE:
            return 0
        if squares and kh == kw == 3 and self.dilation[0] == 1 and rows >= TILE:
            return SQUARE
        return TILE + kw - 1 if outs >= WINOGRAD_FROM else 0

    def image_border(self, image, result):
        """The border that windows read around an image (C, H, W) for a result (O, H', W')."""
        (_, h, w), (_, rows, cols), (_, _, kh, kw) = image, result, self.weight.shape
        top, left = self.padding[:2]
        forms = self.points(result), self.points_weight(result)
        if forms == (SQUARE, SQUARE):
            return 0, 0, 0, 0
        if any(0 < points < SQUARE for points in forms):
            cols = -(-cols // TILE) * TILE
        return (top, left, max(0, (rows - 1) * self.stride[0] + (kh - 1) * self.dilation[0] + 1 - h - top),
                max(0, (cols - 1) * self.stride[1] + (kw - 1) * self.dilation[1] + 1 - w - left))

    def result_border(self, image, result):
        """The border that the way back to the image reads around a result."""
        width, cols = image[2], result[2]
        forms = self.points_back(result, *image[1:]), self.points_weight(result)
        if forms[0]:
            return 0, 0, 0, -cols % TILE if any(0 < points < SQUARE for points in forms) else 0
        left = right = 0                    # rows outside the result are skipped, columns are read as zeros
        for r in range(min(self.stride[1], width)):
            q, step, _, _, n = phase(self.stride[1], self.dilation[1], self.padding[1], self.weight.shape[3], r)
            if n:
                left = max(left, -q)
                right = max(right, (width - r - 1) // self.stride[1] + q + (n - 1) * step - (cols - 1))
        return 0, left, 0, right

    def borders(self, node):
        return (self.image_border(node.inputs[0].shape, self.output(node)),)

    def grad_border(self, node):
        return self.result_border(node.inputs[0].shape, self.output(node))

    def forward(self, b, node):
        y = b.value(node)
        b.emit("forward", "conv", **self.conv_fields(b, b.value(node.inputs[0]), y, self.output(node), y.rows, bias=self.bias))

    def conv_fields(self, b, x, y, result, band, least=1, bias=None, add=0):
        """The fields of a Conv instruction from the image x to the layout y of a result, `least` to `band` rows at a time."""
        (_, rows, cols), (outs, ins, kh, kw) = result, self.weight.shape
        (sh, sw), (dh, dw), group, points = self.stride, self.dilation, outs // self.groups, self.points(result)
        b.flops(2 * rows * cols * outs * ins * kh * kw)
        if points == SQUARE:
            w = self.square_weights(b, "conv", outs, ins, 0, 1, ins * 9, 9)
            return self.square_fields(b, x, y, w, -self.padding[0], self.padding[1], rows, cols, ins, outs, band,
                                      bias=b.address(bias), start=BIAS if bias is not None else KEEP if add else ZERO,
                                      relu=int(self.relu))
        merged = (dw == 1 and self.groups == 1) and not points
        runs = 1 if merged or points else kw
        w = b.pack(("conv", id(self.weight), points), self.weight, b.engine.conv_widest, groups=self.groups, outs=group,
                   taps=kh, runs=kw, reds=ins, first=0, s_group=group * ins * kh * kw, s_out=ins * kh * kw, s_tap=kw, s_run=1,
                   s_red=kh * kw, points=points)
        return dict(x=x.at(-self.padding[0], -self.padding[1]), y=y.start, w=w, bias=b.address(bias), rows=rows,
                    cols=cols, x_row=sh * x.row, x_step=sw * x.channels, tap_row=dh * x.row,
                    run_step=dw * x.channels, taps=kh, runs=runs, run=kw * ins if merged else ins,
                    y_row=y.row, y_step=outs, groups=self.groups, x_group=ins, outs=group,
                    start=BIAS if bias is not None else KEEP if add else ZERO, relu=int(self.relu), first=-self.padding[0],
                    row_step=sh, tap_step=dh, x_rows=x.rows,
                    **self._winograd(b, points, cols, ins, outs, x.rows, band, least=least))

    def _winograd(self, b, points, cols, ins, outs, x_rows, band, left=0, transposed=0, least=1):
        # Tiles of `cols`; scratch for `band` rows at once, or as many as fit, but `least`; of x_rows there are.
        kh, tiles = self.weight.shape[2], -(-cols // TILE)
        if points:
            row, more = points * tiles * ins, (kh - 1) * self.dilation[0]
            band = min(band, max(least, BAND // (row * b.lane_bytes) - more))
            together = max(b.engine.winograd_pixels // tiles, 2)        # rows
            scratch = Ref(Buffer(min(band + more, x_rows) * row + points + points * together * tiles * outs +
                                 (points - TILE) * outs, own=True), 0)
        return dict(points=points, transposed=transposed, tiles=tiles, left=left, scratch=scratch if points else 0, band=band,
                    x_cols=0)

    def square_weights(self, b, name, outs, reds, first, step, s_out, s_red):
        """The address of the packed points of all taps of the weights, taken in order or (step -1) backwards."""
        return b.pack((name, id(self.weight), SQUARE), self.weight, b.engine.square_outs, groups=1, outs=outs, taps=1, runs=9,
                      reds=reds, first=first, s_group=0, s_out=s_out, s_tap=0, s_run=step, s_red=s_red, points=SQUARE)

    def square_fields(self, b, x, y, w, first, left, rows, cols, ins, outs, band, **more):
        """The fields of a Conv instruction by squares for `rows` x `cols` results, `band` rows at a time, from the image x: it
        begins with row `first` and `left` columns before the image."""
        tiles = b.engine.square_tiles
        scratch = ins + SQUARE * (tiles * ins + 1) + (TILE * (TILE + 2) + SQUARE) * tiles * b.engine.square_outs + SQUARE
        return dict(x=x.start, y=y.start, w=w, rows=rows, cols=cols, x_row=x.row, x_step=x.channels, tap_row=0, run_step=0,
                    taps=1, runs=1, run=ins, y_row=y.row, y_step=outs, groups=1, x_group=0, outs=outs, first=first, row_step=1,
                    tap_step=1, x_rows=x.rows, points=SQUARE, transposed=0, tiles=-(-cols // TILE), left=left,
                    scratch=Ref(Buffer(scratch, own=True), 0), band=band, x_cols=x.cols, **more)

    def backward(self, b, node, dy):
        if self.relu:
            b.emit("backward", "relu_backward", **loops(dy, b.value(node), dy))
        self.conv_backward(b, node, dy)

    def conv_backward(self, b, node, dy):
        """The gradients of weight, bias and image."""
        if self.weight.requires_grad:
            self.weight_grad(b, b.again(node.inputs[0]), dy)
        self.bias_grad(b, dy)
        self.image_grad(b, node, dy)

    def image_grad(self, b, node, dy):
        """dx, if it is wanted."""
        if b.wants(node.inputs[0]):
            dx, add = b.into(node.inputs[0])
            self.emit_transposed(b, "backward", dy, dx, add)

    def bias_grad(self, b, dy):
        """db from the gradient dy of what the bias was added to."""
        if self.bias is not None and self.bias.requires_grad:
            d = b.slot(dy.channels * b.lane_bytes)
            b.emit("backward", "channel_sums", dy=dy.start, rows=dy.rows, cols=dy.cols, row=dy.row, step=dy.channels,
                   channels=dy.channels, d=d)
            b.emit("reduce", "lane_grad", d=d, size=dy.channels, grad=b.grad_address(self.bias),
                   add=b.used_before(self.bias))

    def weight_grad(self, b, x, dy):
        """dW from the image x and the gradient dy of the result, both with their borders."""
        outs, ins, kh, kw = self.weight.shape
        points = self.points_weight((outs, dy.rows, dy.cols))
        b.flops(2 * dy.rows * dy.cols * outs * ins * kh * kw)
        if points == SQUARE:
            self.square_weight_grad(b, x, dy)
            return
        (sh, sw), (dh, dw), group = self.stride, self.dilation, outs // self.groups
        merged = (dw == 1 and self.groups == 1) and not points
        pixels = outs >= (POINTS_FROM if points else PIXELS_FROM) and self.groups == 1
        wide = -(-outs // b.lanes) * b.lanes
        height, width = (dy.rows - 1) * sh + (kh - 1) * dh + 1, (dy.cols - 1) * sw + (kw - 1) * dw + 1
        tiles = -(-dy.cols // TILE)
        lines = points * kh * ins if points else kh * kw * ins
        d = b.slot(lines * wide * b.real_bytes if pixels else lines * outs * b.lane_bytes)
        step, out = (ins, wide if pixels else outs) if pixels or points else (x.channels, outs)
        band, places = dy.rows, dict(x_size=0, dy_size=0, xt=0, dyt=0, line=0)
        if pixels:
            across, x_step, cols = (tiles, ins, tiles) if points else (width, sw * ins, dy.cols)
            row, dy_row = across * ins, cols * wide
            x_size, dy_size = (-(-height * row // b.lanes) + 1 | 1) * b.lanes, (dy.rows * dy_row // b.lanes | 1) * b.lanes
            line = max(points * tiles * ins, (tiles * TILE + points - TILE) * max(ins, wide)) if points else 0
            places = dict(x_size=x_size, dy_size=dy_size, xt=Ref(Buffer(max(points, 1) * x_size, own=True), 0),
                          dyt=Ref(Buffer(max(points, 1) * dy_size, own=True), 0), line=Ref(Buffer(line, own=True), 0))
        elif points:
            row, dy_row, x_step, cols = points * tiles * ins, points * tiles * outs, ins, tiles
            band = min(band, max(1, BAND // 2 // (dy_row * b.lane_bytes)))
            places.update(xt=Ref(Buffer((height - dy.rows + band) * row, own=True), 0),
                          dyt=Ref(Buffer(band * dy_row, own=True), 0))
        else:
            row, dy_row, x_step, cols = x.row, dy.row, sw * x.channels, dy.cols
        b.emit("backward", "conv_dw_pixels" if pixels else "conv_dw_lanes",
               x=x.at(-self.padding[0], -self.padding[1]), src_row=x.row, src_step=x.channels, x_rows=height, channels=ins,
               dy=dy.start, dy_src_row=dy.row, dy_src_step=outs, d=d, rows=dy.rows,
               cols=cols, x_row=sh * row, x_step=x_step, tap_row=dh * row,
               run_step=dw * step, taps=kh, runs=1 if merged or points else kw, run=kw * ins if merged else ins,
               dy_row=dy_row, dy_step=out, groups=self.groups, x_group=ins, outs=group, points=points, tiles=tiles,
               width=width, wide=wide, band=band, dense=int(kh == kw == sh == sw == 1), **places)
        self.weight_sums(b, d, wide if pixels else 0, merged, points)

    def square_weight_grad(self, b, x, dy):
        """dW by squares."""
        outs, ins = self.weight.shape[:2]
        x_wide, wide, tiles = -(-ins // b.lanes) * b.lanes, -(-outs // b.lanes) * b.lanes, -(-dy.cols // TILE)
        band = min(max(1, SQUARE_BAND // tiles), -(-dy.rows // TILE))
        d = b.slot(9 * ins * wide * b.real_bytes)

        def own(size):
            return Ref(Buffer(size, own=True), 0)
        b.emit("backward", "conv_dw_square", x=x.start, x_row=x.row, x_rows=x.rows, x_cols=x.cols, ins=ins, dy=dy.start,
               dy_row=dy.row, rows=dy.rows, cols=dy.cols, outs=outs, wide=wide, first=-self.padding[0], left=self.padding[1],
               tiles=tiles, band=band, d=d, x_wide=x_wide, xt=own(SQUARE * (band * tiles * x_wide + 1)),
               dyt=own(SQUARE * (band * tiles * wide + 1)), sums=own(SQUARE * (ins * wide // b.lanes + 1)),
               turned=own(max((TILE * band + 2) * (TILE * tiles + 2) * x_wide, TILE * band * TILE * tiles * wide) + b.lanes))
        self.weight_sums(b, d, wide, False, 0)

    def weight_sums(self, b, d, wide, merged, points):
        """The weights' gradient from what is at d in the slots: lines of `wide` numbers, or (0) of lanes."""
        outs, ins, kh, kw = self.weight.shape
        group = outs // self.groups
        b.emit("reduce", "conv_grad", d=d, lanes=int(not wide), wide=wide or group,
               grad=b.grad_address(self.weight), add=b.used_before(self.weight), groups=self.groups, taps=kh,
               runs=1 if merged else kw, reds=ins, merged=kw if merged else 1, outs=group, points=points,
               s_group=group * ins * kh * kw, s_tap=kw, s_run=1, s_red=kh * kw, s_out=ins * kh * kw)

    def emit_transposed(self, b, block, dy, dx, add=0, bias=None):
        """dx = the transposed convolution of dy (+ bias, or added to what is there): one convolution of dy for every stride
        phase of dx."""
        outs, ins, kh, kw = self.weight.shape
        (sh, sw), group, points = self.stride, outs // self.groups, self.points_back((outs, dy.rows, dy.cols), dx.rows, dx.cols)
        start = BIAS if bias is not None else KEEP if add else ZERO
        if points == SQUARE:
            b.flops(2 * dy.rows * dy.cols * outs * ins * kh * kw)
            w = self.square_weights(b, "conv dx", ins, outs, 8, -1, 9, ins * 9)
            b.emit(block, "conv", **self.square_fields(
                b, dy, dx, w, self.padding[0] - 2, 2 - self.padding[1], dx.rows, dx.cols, outs, ins, dx.rows,
                bias=b.address(bias), start=start, relu=0))
            return
        if points:
            first = self.padding[0] - (kh - 1) * self.dilation[0]
            w = b.pack(("conv dx", id(self.weight), points), self.weight, b.engine.conv_widest, groups=1, outs=ins, taps=kh,
                       runs=kw, reds=outs, first=(kh - 1) * kw, s_group=0, s_out=kh * kw, s_tap=-kw, s_run=1,
                       s_red=ins * kh * kw, points=points)
            b.flops(2 * dy.rows * dy.cols * outs * ins * kh * kw)
            b.emit(block, "conv", x=dy.at(first), y=dx.start, w=w, bias=b.address(bias), rows=dx.rows, cols=dx.cols,
                   x_row=dy.row, x_step=outs, tap_row=self.dilation[0] * dy.row, run_step=0, taps=kh, runs=1, run=outs,
                   y_row=dx.row, y_step=ins, groups=1, x_group=outs, outs=ins, start=start, relu=0, first=first, row_step=1,
                   tap_step=self.dilation[0], x_rows=dy.rows,
                   **self._winograd(b, points, dy.cols, outs, ins, dy.rows, dx.rows, self.padding[1], 1))
            return
        for ry in range(min(sh, dx.rows)):
            for rx in range(min(sw, dx.cols)):
                q, q_step, k, k_step, taps = phase(sh, self.dilation[0], self.padding[0], kh, ry)
                p, p_step, j, j_step, runs = phase(sw, self.dilation[1], self.padding[1], kw, rx)
                rows, cols = -(-(dx.rows - ry) // sh), -(-(dx.cols - rx) // sw)
                if not taps or not runs:
                    if add:
                        continue
                    taps = runs = 0                     # no tap: zeros, or the bias
                merged = self.groups == 1 and (runs == 1 or p_step == 1)
                w = b.pack(("conv dx", id(self.weight), ry, rx, self.stride, self.dilation, self.padding), self.weight,
                           b.engine.conv_widest, groups=self.groups, outs=ins, taps=taps, runs=runs, reds=group,
                           first=k * kw + j, s_group=group * ins * kh * kw, s_out=kh * kw, s_tap=k_step * kw,
                           s_run=j_step, s_red=ins * kh * kw, points=0)
                b.flops(2 * rows * cols * taps * runs * outs * ins)
                b.emit(block, "conv", x=dy.at(q, p), y=dx.at(ry, rx), w=w, bias=b.address(bias), rows=rows, cols=cols,
                       x_row=dy.row, x_step=outs, tap_row=q_step * dy.row, run_step=p_step * outs, taps=taps,
                       runs=1 if merged else runs, run=runs * group if merged else group, y_row=sh * dx.row,
                       y_step=sw * dx.channels, groups=self.groups, x_group=group, outs=ins, start=start, relu=0, first=q,
                       row_step=1, tap_step=max(q_step, 1), x_rows=dy.rows,
                       **self._winograd(b, 0, cols, group, ins, dy.rows, rows))
