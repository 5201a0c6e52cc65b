"""What everybody writes first: plain loops over NumPy arrays, for convolutions and pools. naive_dense.py has the rest.

Each function runs in two contestants: as it stands, in Python, and compiled by Numba (compiled()), on one thread in
both. Arrays are (N, C, H, W); strides, paddings and dilations are one number for both axes. Sums are kept in a Python
float, which is a float64 for Numba too.
"""
import functools

import numpy as np


@functools.lru_cache(maxsize=None)
def compiled(loop):
    """The same loops compiled by Numba, on one thread."""
    import numba
    scalar = getattr(loop, "scalar", None)
    if scalar is not None:                              # a loop around a function of one number, compiled with it
        return numba.njit(loop.around(numba.njit(scalar)))
    return numba.njit(loop, cache=True)


def conv2d(x, w, b, stride, padding, dilation, groups):
    N, C, H, W = x.shape
    O, I, K, L = w.shape
    P = (H + 2 * padding - dilation * (K - 1) - 1) // stride + 1
    Q = (W + 2 * padding - dilation * (L - 1) - 1) // stride + 1
    y = np.empty((N, O, P, Q), x.dtype)
    for n in range(N):
        for o in range(O):
            first = o // (O // groups) * I
            for p in range(P):
                for q in range(Q):
                    s = b[o] + 0.0
                    for i in range(I):
                        for k in range(K):
                            h = p * stride - padding + k * dilation
                            if 0 <= h < H:
                                for l in range(L):
                                    v = q * stride - padding + l * dilation
                                    if 0 <= v < W:
                                        s += x[n, first + i, h, v] * w[o, i, k, l]
                    y[n, o, p, q] = s
    return y


def conv2d_backward(dy, x, w, stride, padding, dilation, groups):
    N, C, H, W = x.shape
    O, I, K, L = w.shape
    _, _, P, Q = dy.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(O, x.dtype)
    for n in range(N):
        for o in range(O):
            first = o // (O // groups) * I
            for p in range(P):
                for q in range(Q):
                    g = dy[n, o, p, q]
                    db[o] += g
                    for i in range(I):
                        for k in range(K):
                            h = p * stride - padding + k * dilation
                            if 0 <= h < H:
                                for l in range(L):
                                    v = q * stride - padding + l * dilation
                                    if 0 <= v < W:
                                        dx[n, first + i, h, v] += g * w[o, i, k, l]
                                        dw[o, i, k, l] += g * x[n, first + i, h, v]
    return dx, dw, db


def conv_transpose2d(x, w, b, stride, padding, output_padding):
    N, C, H, W = x.shape
    _, O, K, L = w.shape
    P = (H - 1) * stride - 2 * padding + K + output_padding
    Q = (W - 1) * stride - 2 * padding + L + output_padding
    y = np.empty((N, O, P, Q), x.dtype)
    for n in range(N):
        for o in range(O):
            y[n, o] = b[o]
            for c in range(C):
                for h in range(H):
                    for v in range(W):
                        for k in range(K):
                            p = h * stride - padding + k
                            if 0 <= p < P:
                                for l in range(L):
                                    q = v * stride - padding + l
                                    if 0 <= q < Q:
                                        y[n, o, p, q] += x[n, c, h, v] * w[c, o, k, l]
    return y


def conv_transpose2d_backward(dy, x, w, stride, padding):
    N, C, H, W = x.shape
    _, O, K, L = w.shape
    _, _, P, Q = dy.shape
    dx, dw, db = np.empty_like(x), np.zeros_like(w), np.zeros(O, x.dtype)
    for n in range(N):
        for o in range(O):
            for p in range(P):
                for q in range(Q):
                    db[o] += dy[n, o, p, q]
        for c in range(C):
            for h in range(H):
                for v in range(W):
                    s = 0.0
                    for o in range(O):
                        for k in range(K):
                            p = h * stride - padding + k
                            if 0 <= p < P:
                                for l in range(L):
                                    q = v * stride - padding + l
                                    if 0 <= q < Q:
                                        s += dy[n, o, p, q] * w[c, o, k, l]
                                        dw[c, o, k, l] += dy[n, o, p, q] * x[n, c, h, v]
                    dx[n, c, h, v] = s
    return dx, dw, db


def im2col(x, kernel, stride, padding):
    N, C, H, W = x.shape
    P, Q = (H + 2 * padding - kernel) // stride + 1, (W + 2 * padding - kernel) // stride + 1
    cols = np.zeros((N, C * kernel * kernel, P * Q), x.dtype)
    for n in range(N):
        for c in range(C):
            for k in range(kernel):
                for l in range(kernel):
                    for p in range(P):
                        for q in range(Q):
                            h, v = p * stride - padding + k, q * stride - padding + l
                            if 0 <= h < H and 0 <= v < W:
                                cols[n, (c * kernel + k) * kernel + l, p * Q + q] = x[n, c, h, v]
    return cols


def col2im(cols, C, H, W, kernel, stride, padding):
    N = len(cols)
    P, Q = (H + 2 * padding - kernel) // stride + 1, (W + 2 * padding - kernel) // stride + 1
    x = np.zeros((N, C, H, W), cols.dtype)
    for n in range(N):
        for c in range(C):
            for k in range(kernel):
                for l in range(kernel):
                    for p in range(P):
                        for q in range(Q):
                            h, v = p * stride - padding + k, q * stride - padding + l
                            if 0 <= h < H and 0 <= v < W:
                                x[n, c, h, v] += cols[n, (c * kernel + k) * kernel + l, p * Q + q]
    return x


def max_pool2d(x, kernel, stride, padding):
    N, C, H, W = x.shape
    P, Q = (H + 2 * padding - kernel) // stride + 1, (W + 2 * padding - kernel) // stride + 1
    y = np.empty((N, C, P, Q), x.dtype)
    for n in range(N):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    most = -np.inf
                    for k in range(kernel):
                        h = p * stride - padding + k
                        if 0 <= h < H:
                            for l in range(kernel):
                                v = q * stride - padding + l
                                if 0 <= v < W and x[n, c, h, v] > most:
                                    most = x[n, c, h, v]
                    y[n, c, p, q] = most
    return y


def max_pool2d_backward(dy, where, H, W):
    N, C, P, Q = dy.shape
    dx = np.zeros((N, C, H, W), dy.dtype)
    for n in range(N):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    at = where[n, c, p, q]
                    dx[n, c, at // W, at % W] += dy[n, c, p, q]
    return dx


def avg_pool2d(x, kernel, stride, padding):
    N, C, H, W = x.shape
    P, Q = (H + 2 * padding - kernel) // stride + 1, (W + 2 * padding - kernel) // stride + 1
    y = np.empty((N, C, P, Q), x.dtype)
    for n in range(N):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    s = 0.0
                    for k in range(kernel):
                        h = p * stride - padding + k
                        if 0 <= h < H:
                            for l in range(kernel):
                                v = q * stride - padding + l
                                if 0 <= v < W:
                                    s += x[n, c, h, v]
                    y[n, c, p, q] = s / (kernel * kernel)
    return y


def avg_pool2d_backward(dy, H, W, kernel, stride, padding):
    N, C, P, Q = dy.shape
    dx = np.zeros((N, C, H, W), dy.dtype)
    for n in range(N):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    g = dy[n, c, p, q] / (kernel * kernel)
                    for k in range(kernel):
                        h = p * stride - padding + k
                        if 0 <= h < H:
                            for l in range(kernel):
                                v = q * stride - padding + l
                                if 0 <= v < W:
                                    dx[n, c, h, v] += g
    return dx


def adaptive_avg_pool2d(x, P, Q):
    N, C, H, W = x.shape
    y = np.empty((N, C, P, Q), x.dtype)
    for n in range(N):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    s, top, bottom, left, right = 0.0, p * H // P, -(-(p + 1) * H // P), q * W // Q, -(-(q + 1) * W // Q)
                    for h in range(top, bottom):
                        for v in range(left, right):
                            s += x[n, c, h, v]
                    y[n, c, p, q] = s / ((bottom - top) * (right - left))
    return y


def adaptive_avg_pool2d_backward(dy, H, W):
    N, C, P, Q = dy.shape
    dx = np.zeros((N, C, H, W), dy.dtype)
    for n in range(N):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    top, bottom, left, right = p * H // P, -(-(p + 1) * H // P), q * W // Q, -(-(q + 1) * W // Q)
                    g = dy[n, c, p, q] / ((bottom - top) * (right - left))
                    for h in range(top, bottom):
                        for v in range(left, right):
                            dx[n, c, h, v] += g
    return dx
