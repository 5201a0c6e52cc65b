"""Who computes convolutions, columns and pools, and how: {op: function of a shape that gives its contests}.

Each function draws its arrays, and yields the forward contest and then the backward one. Padding is a number here, the
same for both axes, and stride=None is the kernel's size, as in PyTorch.
"""
from math import prod

import naive
import numpy as np
import numpy_ops
from contest import Contest, torch_backward, torch_forward

from lanewise import ops


def draw(*shapes):
    """Standard normal float32 arrays, the same in every run."""
    rng = np.random.default_rng(11)
    return [rng.standard_normal(s, np.float32) for s in shapes]


def conv2d(x, w, stride=1, padding=0, dilation=1, groups=1):
    x, w, b = draw(x, w, w[:1])
    args = stride, padding, dilation, groups
    P, Q = ((n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(x.shape[2:], w.shape[2:]))
    dy, = draw((len(x), len(w), P, Q))
    macs = len(x) * P * Q * w.size

    def f(F):
        return lambda x, w, b: F.conv2d(x, w, b, *args)
    yield Contest("conv2d", "forward", lambda: ops.conv2d(x, w, b, *args), (naive.conv2d, x, w, b, *args),
                  lambda: numpy_ops.conv2d(x, w, b, *args), lambda t: torch_forward(t, f(t.nn.functional), x, w, b),
                  macs, 2 * macs, sums=w[0].size)
    yield Contest("conv2d", "backward", lambda: ops.conv2d_backward(dy, x, w, *args), (naive.conv2d_backward, dy, x, w, *args),
                  lambda: numpy_ops.conv2d_backward(dy, x, w, *args),
                  lambda t: torch_backward(t, f(t.nn.functional), dy, x, w, b), macs, 4 * macs, sums=len(x) * P * Q)


def conv_transpose2d(x, w, stride=1, padding=0, output_padding=0):
    x, w, b = draw(x, w, w[1:2])
    P, Q = ((n - 1) * stride - 2 * padding + k + output_padding for n, k in zip(x.shape[2:], w.shape[2:]))
    shape = len(x), w.shape[1], P, Q
    dy, = draw(shape)
    macs = x.size * w[0].size

    def f(F):
        return lambda x, w, b: F.conv_transpose2d(x, w, b, stride, padding, output_padding)
    yield Contest("conv_transpose2d", "forward", lambda: ops.conv_transpose2d(x, w, b, stride, padding, output_padding),
                  (naive.conv_transpose2d, x, w, b, stride, padding, output_padding),
                  lambda: numpy_ops.conv_transpose2d(x, w, b, stride, padding, shape),
                  lambda t: torch_forward(t, f(t.nn.functional), x, w, b), macs, 2 * macs, sums=w[:, 0].size)
    yield Contest("conv_transpose2d", "backward",
                  lambda: ops.conv_transpose2d_backward(dy, x, w, stride, padding, output_padding),
                  (naive.conv_transpose2d_backward, dy, x, w, stride, padding),
                  lambda: numpy_ops.conv_transpose2d_backward(dy, x, w, stride, padding),
                  lambda t: torch_backward(t, f(t.nn.functional), dy, x, w, b), macs, 4 * macs, sums=dy[:, 0].size)


def im2col(x, kernel, stride=1, padding=0):
    x, = draw(x)
    size = x.shape[1] * kernel ** 2 * prod((n + 2 * padding - kernel) // stride + 1 for n in x.shape[2:]) * len(x)
    yield Contest("im2col", "forward", lambda: ops.im2col(x, kernel, padding=padding, stride=stride),
                  (naive.im2col, x, kernel, stride, padding), lambda: numpy_ops.im2col(x, kernel, stride, padding),
                  lambda t: torch_forward(t, lambda x: t.nn.functional.unfold(x, kernel, 1, padding, stride), x),
                  size, bytes=4 * (x.size + size))


def col2im(x, kernel, stride=1, padding=0):
    N, C, H, W = x
    cols, = draw((N, C * kernel ** 2, prod((n + 2 * padding - kernel) // stride + 1 for n in (H, W))))
    yield Contest("col2im", "forward", lambda: ops.col2im(cols, (H, W), kernel, padding=padding, stride=stride),
                  (naive.col2im, cols, C, H, W, kernel, stride, padding),
                  lambda: numpy_ops.col2im(cols, C, H, W, kernel, stride, padding),
                  lambda t: torch_forward(t, lambda c: t.nn.functional.fold(c, (H, W), kernel, 1, padding, stride), cols),
                  cols.size, bytes=4 * (cols.size + N * C * H * W), sums=kernel ** 2)


def max_pool2d(x, kernel, stride=None, padding=0):
    x, = draw(x)
    stride = stride or kernel
    y, where = ops.max_pool2d(x, kernel, stride, padding, return_indices=True)
    dy, = draw(y.shape)

    def f(F):
        return lambda x: F.max_pool2d(x, kernel, stride, padding)
    yield Contest("max_pool2d", "forward", lambda: ops.max_pool2d(x, kernel, stride, padding),
                  (naive.max_pool2d, x, kernel, stride, padding),
                  lambda: numpy_ops.pool(x, np.maximum, kernel, stride, padding, -np.inf),
                  lambda t: torch_forward(t, f(t.nn.functional), x), y.size * kernel ** 2, bytes=4 * (x.size + y.size))
    yield Contest("max_pool2d", "backward", lambda: ops.max_pool2d_backward(dy, where, x.shape),
                  (naive.max_pool2d_backward, dy, where, *x.shape[2:]),
                  lambda: numpy_ops.max_pool2d_backward(dy, where, *x.shape[2:], stride < kernel),
                  lambda t: torch_backward(t, f(t.nn.functional), dy, x), y.size,
                  bytes=4 * (x.size + y.size) + where.nbytes, sums=kernel ** 2)


def avg_pool2d(x, kernel, stride=None, padding=0):
    x, = draw(x)
    stride, shape = stride or kernel, x.shape
    dy, = draw((*shape[:2], *((n + 2 * padding - kernel) // stride + 1 for n in shape[2:])))
    steps, size = dy.size * kernel ** 2, 4 * (x.size + dy.size)
    area = np.float32(kernel ** 2)

    def f(F):
        return lambda x: F.avg_pool2d(x, kernel, stride, padding)
    yield Contest("avg_pool2d", "forward", lambda: ops.avg_pool2d(x, kernel, stride, padding),
                  (naive.avg_pool2d, x, kernel, stride, padding),
                  lambda: numpy_ops.pool(x, np.add, kernel, stride, padding, 0) / area,
                  lambda t: torch_forward(t, f(t.nn.functional), x), steps, bytes=size, sums=kernel ** 2)
    yield Contest("avg_pool2d", "backward", lambda: ops.avg_pool2d_backward(dy, shape, kernel, stride, padding),
                  (naive.avg_pool2d_backward, dy, *shape[2:], kernel, stride, padding),
                  lambda: numpy_ops.avg_pool2d_backward(dy, *shape[2:], kernel, stride, padding),
                  lambda t: torch_backward(t, f(t.nn.functional), dy, x), steps, bytes=size, sums=kernel ** 2)


def adaptive_avg_pool2d(x, size):
    x, dy = draw(x, (*x[:2], *size))
    most = prod(-(-n // s) + 1 for n, s in zip(x.shape[2:], size))

    def f(F):
        return lambda x: F.adaptive_avg_pool2d(x, size)
    yield Contest("adaptive_avg_pool2d", "forward", lambda: ops.adaptive_avg_pool2d(x, size),
                  (naive.adaptive_avg_pool2d, x, *size), lambda: numpy_ops.adaptive_avg_pool2d(x, *size),
                  lambda t: torch_forward(t, f(t.nn.functional), x), x.size, bytes=4 * (x.size + dy.size), sums=most)
    yield Contest("adaptive_avg_pool2d", "backward", lambda: ops.adaptive_avg_pool2d_backward(dy, x.shape),
                  (naive.adaptive_avg_pool2d_backward, dy, *x.shape[2:]),
                  lambda: numpy_ops.adaptive_avg_pool2d_backward(dy, *x.shape[2:]),
                  lambda t: torch_backward(t, f(t.nn.functional), dy, x), x.size, bytes=4 * (x.size + dy.size), sums=most)


CONTESTS = {f.__name__: f for f in (conv2d, conv_transpose2d, im2col, col2im, max_pool2d, avg_pool2d, adaptive_avg_pool2d)}
