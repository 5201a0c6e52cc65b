"""Plain NumPy float64 references of the array functions, with torch's arguments."""
from itertools import product

import numpy as np
import reference as ref
from scipy.special import erf

def pair(v):
    """(v, v), or the pair."""
    return tuple(v) if isinstance(v, (tuple, list)) else (v, v)


def pads(kernel, padding, dilation):
    """(top, left, bottom, right) of a conv2d's padding."""
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel)]
        return tuple(t // 2 for t in total) + tuple(t - t // 2 for t in total)
    return pair(padding) * 2


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, algorithm=None):
    """reference.conv2d with torch's arguments."""
    return ref.conv2d(x, w, b, pair(stride), pads(w.shape[2:], padding, pair(dilation)), pair(dilation), groups)


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Every input pixel adds its kernel to the result."""
    (sh, sw), (ph, pw), (dh, dw), (oh, ow) = map(pair, (stride, padding, dilation, output_padding))
    n, c, h, wide = x.shape
    _, outs, kh, kw = w.shape
    y = np.zeros((n, outs * groups, (h - 1) * sh + dh * (kh - 1) + oh + 1, (wide - 1) * sw + dw * (kw - 1) + ow + 1))
    for i, r, s in product(range(c), range(h), range(wide)):
        first = i // (c // groups) * outs
        y[:, first:first + outs, r * sh:r * sh + dh * (kh - 1) + 1:dh, s * sw:s * sw + dw * (kw - 1) + 1:dw] += (
            x[:, i, r, s, None, None, None] * w[i])
    y = y[:, :, ph:y.shape[2] - ph, pw:y.shape[3] - pw]
    return y if b is None else y + b[:, None, None]


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    """Windows one after the other."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = map(pair, (kernel_size, stride, padding, dilation))
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    rows, cols = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1, (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    windows = [x[:, :, r * sh:r * sh + dh * (kh - 1) + 1:dh, c * sw:c * sw + dw * (kw - 1) + 1:dw]
               for r in range(rows) for c in range(cols)]
    return np.stack([w.reshape(len(x), x.shape[1] * kh * kw) for w in windows], 2)


def col2im(cols, output_size, kernel_size, **kw):
    """The transpose of im2col, by its matrix."""
    h, w = pair(output_size)
    eye = im2col(np.eye(h * w).reshape(h * w, 1, h, w), kernel_size, **kw)
    return np.einsum("pkl,nckl->ncp", eye, cols.reshape(len(cols), -1, *eye.shape[1:])).reshape(len(cols), -1, h, w)


def pool(x, reduce, kernel_size, stride, padding, dilation, ceil_mode):
    """reduce(cells of the image, the window's size clipped at the padded edge) for every window, by torch's rules."""
    kernel, pad, far = pair(kernel_size), pair(padding), pair(dilation)
    step, size, outs = kernel if stride is None else pair(stride), x.shape[2:], []
    for a in (0, 1):
        room = size[a] + 2 * pad[a] - far[a] * (kernel[a] - 1) - 1
        n = (-(-room // step[a]) if ceil_mode else room // step[a]) + 1
        outs.append(n - 1 if ceil_mode and (n - 1) * step[a] >= size[a] + pad[a] else n)
    y = np.empty((*x.shape[:2], *outs))
    for r, c in product(*map(range, outs)):
        starts = r * step[0] - pad[0], c * step[1] - pad[1]
        cells = [[s + k * far[a] for k in range(kernel[a]) if 0 <= s + k * far[a] < size[a]] for a, s in enumerate(starts)]
        clipped = [min(s + kernel[a], size[a] + pad[a]) - s for a, s in enumerate(starts)]
        y[:, :, r, c] = reduce(x[:, :, cells[0]][:, :, :, cells[1]], clipped[0] * clipped[1])
    return y


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The greatest cell."""
    return pool(x, lambda cells, size: cells.max((2, 3)), kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """The cells' sum over what counts."""
    def mean(cells, size):
        return cells.sum((2, 3)) / (divisor_override or (size if count_include_pad else cells.shape[2] * cells.shape[3]))
    return pool(x, mean, kernel_size, stride, padding, 1, ceil_mode)


def adaptive_avg_pool2d(x, output_size):
    """Means of floor to ceil."""
    two = [s if o is None else o for o, s in zip(pair(output_size), x.shape[2:])]
    cut = [[slice(i * s // o, -(-(i + 1) * s // o)) for i in range(o)] for o, s in zip(two, x.shape[2:])]
    return np.stack([np.stack([x[:, :, r, c].mean((2, 3)) for c in cut[1]], 2) for r in cut[0]], 2)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """-sum over classes of the smoothed, weighted target times log softmax."""
    classes = x.shape[1]
    w = np.ones(classes) if weight is None else weight
    log_p, across = log_softmax(x, 1), (1, classes) + (1,) * (x.ndim - 2)
    if target.dtype.kind == "f":
        t, count = target, x.size // classes
    else:
        t = np.moveaxis(np.eye(classes)[np.where(target == ignore_index, 0, target)], -1, 1)
        t = t * (target != ignore_index)[:, None]
        count = (t * w.reshape(across)).sum()
    real = 1 if target.dtype.kind == "f" else (target != ignore_index)[:, None]
    loss = -((t * (1 - label_smoothing) + label_smoothing / classes * real) * w.reshape(across) * log_p).sum(1)
    return loss if reduction == "none" else loss.sum() / (count if reduction == "mean" else 1)


def log_softmax(x, dim=-1):
    """x - log sum exp."""
    z = x - x.max(dim, keepdims=True)
    return z - np.log(np.exp(z).sum(dim, keepdims=True))


def gelu(x, approximate="none"):
    """By erf or tanh."""
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Per channel."""
    axes, across = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    mean, var = (x.mean(axes), x.var(axes)) if training else (mean, var)
    y = (x - mean.reshape(across)) / np.sqrt(var.reshape(across) + eps)
    y = y if weight is None else y * weight.reshape(across)
    return y if bias is None else y + bias.reshape(across)


def layer_norm(x, weight=None, bias=None, normalized_shape=(), eps=1e-5):
    """Over the last dimensions."""
    axes = tuple(range(x.ndim - len(as_tuple(normalized_shape)), x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def as_tuple(v):
    """A tuple of an int or a tuple."""
    return (v,) if isinstance(v, int) else tuple(v)
