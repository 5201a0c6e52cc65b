"""Plain NumPy float64 references: what each operation means, slowly. N samples, C channels, H W image, O outputs, K kernel."""
import math

import numpy as np


def conv2d(x, w, b=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """(N, C, H, W), (O, C / groups, KH, KW) -> (N, O, H', W'). `padding`: (rows, cols), or (top, left, bottom, right)."""
    top, left, bottom, right = padding if len(padding) == 4 else padding * 2
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    n, c, h, wide = x.shape
    outs, ins, kh, kw = w.shape
    rows = (h - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    cols = (wide - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, outs, rows, cols))
    for o in range(outs):
        first = o // (outs // groups) * ins
        for i in range(kh):
            for j in range(kw):
                taps = x[:, first:first + ins, i * dilation[0]:, j * dilation[1]:]
                taps = taps[:, :, :(rows - 1) * stride[0] + 1:stride[0], :(cols - 1) * stride[1] + 1:stride[1]]
                y[:, o] += np.einsum("nchw,c->nhw", taps, w[o, :, i, j])
    return y if b is None else y + b[:, None, None]


def conv_transpose2d(x, w, b=None, stride=(1, 1), padding=(0, 0), output_padding=(0, 0), dilation=(1, 1), groups=1):
    """(N, C, H, W), (C, O / groups, KH, KW) -> (N, O, H', W'): every input pixel lays its weighted kernel into the result."""
    (n, c, h, wide), (_, outs, kh, kw) = x.shape, w.shape
    full = [(s - 1) * stride[a] + dilation[a] * (k - 1) + 1 + output_padding[a] for a, (s, k) in enumerate(((h, kh), (wide, kw)))]
    y = np.zeros((n, outs * groups, *full))
    for i in range(c):
        first = i // (c // groups) * outs
        for ky in range(kh):
            for kx in range(kw):
                rows = slice(ky * dilation[0], ky * dilation[0] + (h - 1) * stride[0] + 1, stride[0])
                cols = slice(kx * dilation[1], kx * dilation[1] + (wide - 1) * stride[1] + 1, stride[1])
                y[:, first:first + outs, rows, cols] += np.einsum("nhw,o->nohw", x[:, i], w[i, :, ky, kx])
    y = y[:, :, padding[0]:full[0] - padding[0], padding[1]:full[1] - padding[1]]
    return y if b is None else y + b[:, None, None]


def pool(x, reduce, kernel, stride, padding, ceil_mode=False):
    """(N, C, H, W) -> (N, C, H', W') with reduce(the window's cells in the image, cells with padding) -> (N, C)."""
    starts = []
    for size, k, s, p in zip(x.shape[2:], kernel, stride, padding):
        at = list(range(-p, size + p - k + 1, s))
        if ceil_mode and at[-1] + k < size + p and at[-1] + s < size:
            at.append(at[-1] + s)
        starts.append(at)
    y = np.empty((*x.shape[:2], *map(len, starts)))
    for oy, y0 in enumerate(starts[0]):
        for ox, x0 in enumerate(starts[1]):
            cells = np.prod([min(at + k, size + p) - at for at, k, size, p in zip((y0, x0), kernel, x.shape[2:], padding)])
            y[:, :, oy, ox] = reduce(x[:, :, max(y0, 0):y0 + kernel[0], max(x0, 0):x0 + kernel[1]], cells)
    return y


def max_pool2d(x, kernel, stride, padding=(0, 0), ceil_mode=False):
    """The greatest of each window."""
    return pool(x, lambda window, cells: window.max((2, 3)), kernel, stride, padding, ceil_mode)


def avg_pool2d(x, kernel, stride, padding=(0, 0), ceil_mode=False, count_include_pad=True):
    """The mean of each window; padding counts as zeros where count_include_pad says so."""
    def mean(window, cells):
        return window.sum((2, 3)) / cells if count_include_pad else window.mean((2, 3))
    return pool(x, mean, kernel, stride, padding, ceil_mode)


def adaptive_avg_pool2d(x, size):
    """The means of size[0] x size[1] windows over the image."""
    y = np.empty((*x.shape[:2], *size))
    for i in range(size[0]):
        for j in range(size[1]):
            (top, bottom), (left, right) = (
                (int(np.floor(k * n / out)), int(np.ceil((k + 1) * n / out))) for k, n, out in zip((i, j), x.shape[2:], size))
            y[:, :, i, j] = x[:, :, top:bottom, left:right].mean((2, 3))
    return y


def nearest(x, size, scale=None):
    """x[floor(i H / H'), floor(j W / W')]; given scales stand for H' / H and W' / W."""
    scale = scale or [out / n for out, n in zip(size, x.shape[2:])]
    rows, cols = (np.floor(np.arange(out) / s + 1e-9).astype(int) for out, s in zip(size, scale))
    return x[:, :, rows][..., cols]


def bilinear(x, size, scale=None, align_corners=False):
    """Interpolated between pixel centres; beyond the outermost ones their value goes on."""
    scale = scale or [out / n for out, n in zip(size, x.shape[2:])]
    for axis, out, s in zip((2, 3), size, scale):
        n = x.shape[axis]
        at = np.arange(out) * (n - 1) / max(out - 1, 1) if align_corners else (np.arange(out) + 0.5) / s - 0.5
        x = np.apply_along_axis(lambda line: np.interp(at, np.arange(n), line), axis, x)
    return x


def normalised(x, axes, eps):
    """Mean 0 and variance 1 over axes."""
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def layer_norm(x, dims, w=1.0, b=0.0, eps=1e-5):
    """Over the last `dims` dimensions."""
    return normalised(x, tuple(range(-dims, 0)), eps) * w + b


def group_norm(x, groups, w=None, b=None, eps=1e-5):
    """Over the channels of a group and all that follows."""
    y = normalised(x.reshape(len(x), groups, -1), -1, eps).reshape(x.shape)
    each = (-1,) + (1,) * (x.ndim - 2)
    return y if w is None else y * w.reshape(each) + b.reshape(each)


def maxout(x, w, b, pieces):
    """The greatest of `pieces` linear layers."""
    return (x @ w.T + b).reshape(len(x), pieces, -1).max(1)


def linear(x, w, b=None):
    """(N, ..., I), (O, I) -> (N, ..., O)."""
    return x @ w.T if b is None else x @ w.T + b


def relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0)


def leaky_relu(x, slope=0.01):
    """x where x > 0, else slope x."""
    return np.where(x > 0, x, slope * x)


def prelu(x, w):
    """x where x > 0, else w x, w one number or one a channel."""
    return np.where(x > 0, x, x * w.reshape(-1, *[1] * (x.ndim - 2)))


def elu(x, alpha=1.0):
    """x where x > 0, else alpha (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu(x):
    """x P(x), P the normal distribution."""
    return x * np.vectorize(lambda v: (1 + math.erf(v / math.sqrt(2))) / 2)(x)


def gelu_tanh(x):
    """GELU by tanh."""
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))) / 2


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def softplus(x, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta; x where beta x > threshold."""
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


def gram_matrix(x):
    """(N, C, H, W) -> (N, C, C): products of channels over C H W."""
    return np.einsum("nchw,ndhw->ncd", x, x) / np.prod(x.shape[1:])


def log_softmax(x, axis=1):
    """log softmax(x)."""
    z = x - x.max(axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def softmax(x, axis=1):
    """exp(x) / sum exp(x)."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def cross_entropy(x, y):
    """-log softmax(x)[label] of each sample."""
    return -np.log(softmax(x)[np.arange(len(y)), y])


def mse(x, t):
    """Mean square of each sample's numbers."""
    return ((x - t) ** 2).reshape(len(x), -1).mean(1)
