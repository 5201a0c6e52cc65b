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


def windows(x, kernel, stride, padding):
    """Yield (row, col, the window's cells clipped at the image) for each output pixel."""
    rows, cols = ((x.shape[2 + a] + 2 * padding[a] - kernel[a]) // stride[a] + 1 for a in (0, 1))
    for oy in range(rows):
        for ox in range(cols):
            y0, x0 = oy * stride[0] - padding[0], ox * stride[1] - padding[1]
            yield oy, ox, x[:, :, max(y0, 0):y0 + kernel[0], max(x0, 0):x0 + kernel[1]]


def pool(x, reduce, kernel, stride, padding):
    """(N, C, H, W) -> (N, C, H', W') with reduce(window) -> (N, C)."""
    rows, cols = ((x.shape[2 + a] + 2 * padding[a] - kernel[a]) // stride[a] + 1 for a in (0, 1))
    y = np.empty((*x.shape[:2], rows, cols))
    for oy, ox, cells in windows(x, kernel, stride, padding):
        y[:, :, oy, ox] = reduce(cells)
    return y


def max_pool2d(x, kernel, stride, padding=(0, 0)):
    """The greatest of each window."""
    return pool(x, lambda cells: cells.max((2, 3)), kernel, stride, padding)


def avg_pool2d(x, kernel, stride, padding=(0, 0), count_include_pad=True):
    """The mean of each window; padding counts as zeros where count_include_pad says so."""
    size = kernel[0] * kernel[1]
    return pool(x, lambda cells: cells.sum((2, 3)) / size if count_include_pad else cells.mean((2, 3)), kernel, stride, padding)


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
