"""Plain loops for products, softmax, losses, activations and norms: see naive.py.

Softmax and its kin work on (outer, F, inner), the axis in the middle; norms on (groups, F) or (N, C, pixels); activations on
a flat array.
"""
import math

import numpy as np


def matmul(a, b):
    N, R, K = a.shape
    C = b.shape[2]
    y = np.empty((N, R, C), a.dtype)
    for n in range(N):
        for r in range(R):
            for c in range(C):
                s = 0.0
                for k in range(K):
                    s += a[n, r, k] * b[n, k, c]
                y[n, r, c] = s
    return y


def matmul_backward(dy, a, b):
    N, R, K = a.shape
    C = b.shape[2]
    da, db = np.zeros_like(a), np.zeros_like(b)
    for n in range(N):
        for r in range(R):
            for c in range(C):
                g = dy[n, r, c]
                for k in range(K):
                    da[n, r, k] += g * b[n, k, c]
                    db[n, k, c] += g * a[n, r, k]
    return da, db


def linear(x, w, b):
    N, I = x.shape
    O = len(w)
    y = np.empty((N, O), x.dtype)
    for n in range(N):
        for o in range(O):
            s = b[o] + 0.0
            for i in range(I):
                s += x[n, i] * w[o, i]
            y[n, o] = s
    return y


def linear_backward(dy, x, w):
    N, I = x.shape
    O = len(w)
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(O, x.dtype)
    for n in range(N):
        for o in range(O):
            g = dy[n, o]
            db[o] += g
            for i in range(I):
                dx[n, i] += g * w[o, i]
                dw[o, i] += g * x[n, i]
    return dx, dw, db


def softmax(x):
    A, F, B = x.shape
    y = np.empty_like(x)
    for a in range(A):
        for b in range(B):
            most, total = -np.inf, 0.0
            for f in range(F):
                most = max(most, x[a, f, b])
            for f in range(F):
                y[a, f, b] = math.exp(x[a, f, b] - most)
                total += y[a, f, b]
            for f in range(F):
                y[a, f, b] /= total
    return y


def softmax_backward(dy, y):
    A, F, B = y.shape
    dx = np.empty_like(y)
    for a in range(A):
        for b in range(B):
            s = 0.0
            for f in range(F):
                s += dy[a, f, b] * y[a, f, b]
            for f in range(F):
                dx[a, f, b] = y[a, f, b] * (dy[a, f, b] - s)
    return dx


def log_softmax(x):
    A, F, B = x.shape
    y = np.empty_like(x)
    for a in range(A):
        for b in range(B):
            most, total = -np.inf, 0.0
            for f in range(F):
                most = max(most, x[a, f, b])
            for f in range(F):
                total += math.exp(x[a, f, b] - most)
            shift = most + math.log(total)
            for f in range(F):
                y[a, f, b] = x[a, f, b] - shift
    return y


def log_softmax_backward(dy, y):
    A, F, B = y.shape
    dx = np.empty_like(y)
    for a in range(A):
        for b in range(B):
            s = 0.0
            for f in range(F):
                s += dy[a, f, b]
            for f in range(F):
                dx[a, f, b] = dy[a, f, b] - math.exp(y[a, f, b]) * s
    return dx


def cross_entropy(x, target):
    N, F = x.shape
    loss = 0.0
    for n in range(N):
        most, total = -np.inf, 0.0
        for f in range(F):
            most = max(most, x[n, f])
        for f in range(F):
            total += math.exp(x[n, f] - most)
        loss += most + math.log(total) - x[n, target[n]]
    return loss / N


def cross_entropy_backward(x, target):
    N, F = x.shape
    dx = np.empty_like(x)
    for n in range(N):
        most, total = -np.inf, 0.0
        for f in range(F):
            most = max(most, x[n, f])
        for f in range(F):
            total += math.exp(x[n, f] - most)
        for f in range(F):
            dx[n, f] = math.exp(x[n, f] - most) / total / N
        dx[n, target[n]] -= 1.0 / N
    return dx


def batch_norm(x, w, b, eps):
    N, C, S = x.shape
    y = np.empty_like(x)
    for c in range(C):
        total = squares = 0.0
        for n in range(N):
            for s in range(S):
                total += x[n, c, s]
        mean = total / (N * S)
        for n in range(N):
            for s in range(S):
                squares += (x[n, c, s] - mean) ** 2
        scale = w[c] / math.sqrt(squares / (N * S) + eps)
        for n in range(N):
            for s in range(S):
                y[n, c, s] = (x[n, c, s] - mean) * scale + b[c]
    return y


def batch_norm_backward(dy, x, w, eps):
    N, C, S = x.shape
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty_like(w)
    for c in range(C):
        total = squares = sum_dy = sum_dyx = 0.0
        for n in range(N):
            for s in range(S):
                total += x[n, c, s]
        mean = total / (N * S)
        for n in range(N):
            for s in range(S):
                squares += (x[n, c, s] - mean) ** 2
                sum_dy += dy[n, c, s]
                sum_dyx += dy[n, c, s] * (x[n, c, s] - mean)
        inv = 1.0 / math.sqrt(squares / (N * S) + eps)
        dw[c], db[c] = sum_dyx * inv, sum_dy
        for n in range(N):
            for s in range(S):
                xhat = (x[n, c, s] - mean) * inv
                dx[n, c, s] = w[c] * inv * (dy[n, c, s] - sum_dy / (N * S) - xhat * sum_dyx * inv / (N * S))
    return dx, dw, db


def layer_norm(x, w, b, eps):
    N, F = x.shape
    y = np.empty_like(x)
    for n in range(N):
        total = squares = 0.0
        for f in range(F):
            total += x[n, f]
        mean = total / F
        for f in range(F):
            squares += (x[n, f] - mean) ** 2
        inv = 1.0 / math.sqrt(squares / F + eps)
        for f in range(F):
            y[n, f] = (x[n, f] - mean) * inv * w[f] + b[f]
    return y


def layer_norm_backward(dy, x, w, eps):
    N, F = x.shape
    dx, dw, db = np.empty_like(x), np.zeros_like(w), np.zeros_like(w)
    for n in range(N):
        total = squares = sum_g = sum_gx = 0.0
        for f in range(F):
            total += x[n, f]
        mean = total / F
        for f in range(F):
            squares += (x[n, f] - mean) ** 2
        inv = 1.0 / math.sqrt(squares / F + eps)
        for f in range(F):
            g, xhat = dy[n, f] * w[f], (x[n, f] - mean) * inv
            sum_g += g
            sum_gx += g * xhat
            dw[f] += dy[n, f] * xhat
            db[f] += dy[n, f]
        for f in range(F):
            xhat = (x[n, f] - mean) * inv
            dx[n, f] = inv * (dy[n, f] * w[f] - sum_g / F - xhat * sum_gx / F)
    return dx, dw, db


def relu(x):
    return x if x > 0 else 0.0


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def tanh(x):
    return math.tanh(x)


def leaky_relu(x):
    return x if x > 0 else 0.01 * x


def elu(x):
    return x if x > 0 else math.expm1(x)


def gelu(x):
    return 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0)))


def relu_backward(x):
    return 1.0 if x > 0 else 0.0


def sigmoid_backward(x):
    y = 1.0 / (1.0 + math.exp(-x))
    return y * (1.0 - y)


def tanh_backward(x):
    return 1.0 - math.tanh(x) ** 2


def leaky_relu_backward(x):
    return 1.0 if x > 0 else 0.01


def elu_backward(x):
    return 1.0 if x > 0 else math.exp(x)


def gelu_backward(x):
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0))) + x * math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def pointwise(scalar):
    """The loop y = scalar(x) over a flat array."""
    def around(f):
        def loop(x):
            y = np.empty_like(x)
            for i in range(len(x)):
                y[i] = f(x[i])
            return y
        return loop
    loop = around(scalar)
    loop.scalar, loop.around = scalar, around
    return loop


def pointwise_backward(scalar):
    """The loop dx = dy * scalar(x) over flat arrays, `scalar` being the derivative."""
    def around(f):
        def loop(dy, x):
            dx = np.empty_like(x)
            for i in range(len(x)):
                dx[i] = dy[i] * f(x[i])
            return dx
        return loop
    loop = around(scalar)
    loop.scalar, loop.around = scalar, around
    return loop
