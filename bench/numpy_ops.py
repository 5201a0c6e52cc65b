"""What a good NumPy user writes: windows without a copy, one call a kernel tap, BLAS where there is a product.

Arrays are (N, C, H, W); strides, paddings and dilations are one number for both axes.
"""
import functools
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def pad(x, by, value=0):
    return np.pad(x, ((0, 0), (0, 0), (by, by), (by, by)), constant_values=value) if by else x


def windows(x, kernel, stride, padding, dilation=1):
    """(N, C, P, Q, K, L) view of the padded image's windows."""
    k, l = ((n - 1) * dilation + 1 for n in kernel)
    return sliding_window_view(pad(x, padding), (k, l), (2, 3))[:, :, ::stride, ::stride, ::dilation, ::dilation]


def grouped(f, groups, *arrays):
    """f on each group of channels (axis 1 of each array), joined."""
    return np.concatenate([f(*parts) for parts in zip(*(np.split(a, groups, 1) for a in arrays))], 1)


def conv2d(x, w, b, stride, padding, dilation, groups):
    view = windows(x, w.shape[2:], stride, padding, dilation)
    if groups == 1:
        y = np.tensordot(w, view, ((1, 2, 3), (1, 4, 5))).swapaxes(0, 1)
    else:
        per_group = w.reshape(groups, -1, *w.shape[1:]).swapaxes(0, 1).reshape(-1, groups * w.shape[1], *w.shape[2:])
        y = grouped(lambda v, k: np.tensordot(k, v, ((1, 2, 3), (1, 4, 5))).swapaxes(0, 1), groups, view, per_group)
    return y + b[:, None, None]


def conv_input_grad(dy, w, shape, stride, padding, dilation, groups):
    """(N, C, H, W) gradient of the input: a product for every tap, added where the tap lay."""
    N, C, H, W = shape
    P, Q = dy.shape[2:]
    dx = np.zeros((N, C, H + 2 * padding, W + 2 * padding), dy.dtype)
    dy = dy.reshape(N, groups, -1, P * Q)
    w = w.reshape(groups, -1, *w.shape[1:])
    for k in range(w.shape[3]):
        for l in range(w.shape[4]):
            top, left = k * dilation, l * dilation
            dx[:, :, top:top + stride * P:stride, left:left + stride * Q:stride] += (
                w[:, :, :, k, l].swapaxes(1, 2) @ dy).reshape(N, C, P, Q)
    return dx[:, :, padding:padding + H, padding:padding + W]


def conv_weight_grad(dy, x, w, stride, padding, dilation, groups):
    """(O, I, K, L) gradient of the weights: one product over samples and pixels for each group."""
    view = windows(x, w.shape[2:], stride, padding, dilation)[:, :, :dy.shape[2], :dy.shape[3]]
    return np.concatenate([np.tensordot(d, v, ((0, 2, 3), (0, 2, 3)))
                           for d, v in zip(np.split(dy, groups, 1), np.split(view, groups, 1))])


def conv2d_backward(dy, x, w, stride, padding, dilation, groups):
    return (conv_input_grad(dy, w, x.shape, stride, padding, dilation, groups),
            conv_weight_grad(dy, x, w, stride, padding, dilation, groups), dy.sum((0, 2, 3)))


def conv_transpose2d(x, w, b, stride, padding, shape):
    return conv_input_grad(x, w, shape, stride, padding, 1, 1) + b[:, None, None]


def conv_transpose2d_backward(dy, x, w, stride, padding):
    view = windows(dy, w.shape[2:], stride, padding)[:, :, :x.shape[2], :x.shape[3]]
    return (np.tensordot(w, view, ((1, 2, 3), (1, 4, 5))).swapaxes(0, 1), conv_weight_grad(x, dy, w, stride, padding, 1, 1),
            dy.sum((0, 2, 3)))


def im2col(x, kernel, stride, padding):
    view = windows(x, (kernel, kernel), stride, padding)
    return view.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), x.shape[1] * kernel * kernel, -1)


def col2im(cols, C, H, W, kernel, stride, padding):
    P, Q = (H + 2 * padding - kernel) // stride + 1, (W + 2 * padding - kernel) // stride + 1
    x = np.zeros((len(cols), C, H + 2 * padding, W + 2 * padding), cols.dtype)
    cols = cols.reshape(len(cols), C, kernel, kernel, P, Q)
    for (k, l), at in taps(kernel, stride, P, Q):
        x[at] += cols[:, :, k, l]
    return x[:, :, padding:padding + H, padding:padding + W]


def taps(kernel, stride, P, Q):
    """((k, l), index of the pixels that tap (k, l) reads for all P x Q outputs)."""
    for k in range(kernel):
        for l in range(kernel):
            yield (k, l), (..., slice(k, k + stride * (P - 1) + 1, stride), slice(l, l + stride * (Q - 1) + 1, stride))


def pool(x, combine, kernel, stride, padding, value):
    """`combine` over a window, a call a tap."""
    P, Q = ((n + 2 * padding - kernel) // stride + 1 for n in x.shape[2:])
    x = pad(x, padding, value)
    return functools.reduce(combine, (x[at] for _, at in taps(kernel, stride, P, Q)))


def max_pool2d_backward(dy, where, H, W, overlapping):
    dx = np.zeros((dy.shape[0] * dy.shape[1], H * W), dy.dtype)
    dy, where = dy.reshape(len(dx), -1), where.reshape(len(dx), -1)
    if overlapping:
        np.add.at(dx, (np.arange(len(dx))[:, None], where), dy)
    else:
        np.put_along_axis(dx, where, dy, 1)
    return dx


def avg_pool2d_backward(dy, H, W, kernel, stride, padding):
    dx = np.zeros((*dy.shape[:2], H + 2 * padding, W + 2 * padding), dy.dtype)
    share = dy / np.float32(kernel * kernel)
    for _, at in taps(kernel, stride, *dy.shape[2:]):
        dx[at] += share
    return dx[:, :, padding:padding + H, padding:padding + W]


def bins(size, parts):
    """Slices of adaptive pooling along an axis."""
    return [slice(i * size // parts, -(-(i + 1) * size // parts)) for i in range(parts)]


def adaptive_avg_pool2d(x, P, Q):
    return np.stack([np.stack([x[:, :, r, c].mean((2, 3)) for c in bins(x.shape[3], Q)], 2) for r in bins(x.shape[2], P)], 2)


def adaptive_avg_pool2d_backward(dy, H, W):
    dx = np.zeros((*dy.shape[:2], H, W), dy.dtype)
    for p, r in enumerate(bins(H, dy.shape[2])):
        for q, c in enumerate(bins(W, dy.shape[3])):
            area = (r.stop - r.start) * (c.stop - c.start)
            dx[:, :, r, c] += dy[:, :, p, q, None, None] / np.float32(area)
    return dx


def softmax(x, dim):
    y = np.exp(x - x.max(dim, keepdims=True))
    y /= y.sum(dim, keepdims=True)
    return y


def softmax_backward(dy, y, dim):
    return y * (dy - (dy * y).sum(dim, keepdims=True))


def log_softmax(x, dim):
    x = x - x.max(dim, keepdims=True)
    return x - np.log(np.exp(x).sum(dim, keepdims=True))


def log_softmax_backward(dy, y, dim):
    return dy - np.exp(y) * dy.sum(dim, keepdims=True)


def cross_entropy(x, target):
    return -log_softmax(x, 1)[np.arange(len(x)), target].mean()


def cross_entropy_backward(x, target):
    dx = softmax(x, 1)
    dx[np.arange(len(x)), target] -= 1
    dx /= len(x)
    return dx


def norm(x, axes, w, b, eps):
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + np.float32(eps)) * w + b


def norm_backward(dy, x, axes, w, eps, others):
    """(dx, dw, db); `others`: the axes that dw and db are summed over."""
    centred = x - x.mean(axes, keepdims=True)
    inv = 1 / np.sqrt(np.square(centred).mean(axes, keepdims=True) + np.float32(eps))
    xhat, g = centred * inv, dy * w
    dx = inv * (g - g.mean(axes, keepdims=True) - xhat * (g * xhat).mean(axes, keepdims=True))
    return dx, (dy * xhat).sum(others), dy.sum(others)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x, erf):
    return np.float32(0.5) * x * (1 + erf(x * np.float32(math.sqrt(0.5))))
