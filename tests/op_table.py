"""The table of array functions: one entry for every public name of lanewise.ops that is not a gradient.

An entry's samples are calls: arrays, then keywords. Its reference takes the same, in float64. Everything test_array_ops.py
does to a function it does to every sample of every entry, and the benchmarks take their shapes' functions from PUBLIC_OPS."""
from dataclasses import dataclass, field
from itertools import product
from typing import Callable

import numpy as np
import reference as ref
from array_reference import (adaptive_avg_pool2d, as_tuple, avg_pool2d, batch_norm, col2im, conv2d, conv_transpose2d,
                             cross_entropy, gelu, im2col, layer_norm, log_softmax, max_pool2d)


@dataclass
class Sample:
    """One call: `arrays` given by position (None stays None), `kw` by name; `wrt`: which of the arrays have gradients.
    `reduction`: how many products are summed for a number of the result, from which tolerances follow."""
    arrays: tuple
    kw: dict = field(default_factory=dict)
    reduction: int = 1
    wrt: tuple = None

    def gradients(self):
        """Indices of the arrays that have gradients."""
        return tuple(i for i, a in enumerate(self.arrays) if a is not None) if self.wrt is None else self.wrt


@dataclass
class Entry:
    """`samples(rng, n)`: calls for a batch of n, float64. `backward(ops, dy, y, sample)`: the gradients of what `wrt` names,
    by the functions of lanewise.ops. `torch(F, *arrays, **kw)`: the same in PyTorch. `exact`: sums and products only.
    `out`: takes out=."""
    samples: Callable
    reference: Callable
    backward: Callable
    torch: Callable
    exact: bool = False
    out: bool = True
    names: tuple = None                 # of the arrays, where they are not the first arguments

    def call(self, function, arrays, kw):
        """function(arrays, keywords)."""
        return function(**dict(zip(self.names, arrays)), **kw) if self.names else function(*arrays, **kw)


def spread(rng, *shape):
    """Distinct numbers at least 0.01 apart and off zero: no ties, no kinks within a difference quotient's reach."""
    size = int(np.prod(shape))
    if size >= 400:
        return rng.standard_normal(shape)
    return ((rng.permutation(size) - size // 2 + 0.5) * (4 / max(size, 1))).reshape(shape)


def conv_samples(rng, n):
    """Fixed shapes for what is easily got wrong, then random ones."""
    cases = [((1, 9, 9), 6, (5, 5), {}), ((6, 8, 7), 16, (5, 5), {"padding": "valid"}), ((3, 6, 6), 4, (3, 3), {"padding": 1}),
             ((2, 7, 8), 5, (3, 3), {"stride": 2}), ((4, 5, 5), 7, (1, 1), {}), ((3, 6, 5), 2, (1, 1), {"stride": 2}),
             ((2, 5, 5), 3, (2, 2), {"padding": "same"}), ((2, 6, 6), 3, (3, 4), {"padding": "same", "dilation": 2}),
             ((4, 7, 7), 4, (3, 3), {"groups": 4, "padding": 1}), ((2, 9, 20), 4, (3, 2), {"padding": (1, 3)})]
    for _ in range(4):
        g = int(rng.integers(1, 4))
        kernel = tuple(rng.integers(1, 4, 2).tolist())
        cases.append(((g * int(rng.integers(1, 4)), *rng.integers(7, 12, 2).tolist()), g * int(rng.integers(1, 4)), kernel,
                      {"stride": tuple(rng.integers(1, 4, 2).tolist()), "padding": tuple(rng.integers(0, 3, 2).tolist()),
                       "dilation": tuple(rng.integers(1, 4, 2).tolist()), "groups": g}))
    for k, (image, outs, kernel, kw) in enumerate(cases):
        w = rng.standard_normal((outs, image[0] // kw.get("groups", 1), *kernel)) * 0.5
        b = None if k % 4 == 3 else rng.standard_normal(outs)
        for algorithm in ("gemm", "lanes") if k % 2 else (None,):
            yield Sample((rng.standard_normal((n, *image)), w, b), {**kw, "algorithm": algorithm}, w[0].size)


def conv_backward(ops, dy, y, s):
    """Gradients of what is there."""
    kw = dict(s.kw)
    grads = ops.conv2d_backward(dy, *s.arrays[:2], **kw)
    return grads if s.arrays[2] is not None else grads[:2]


def transpose_samples(rng, n):
    """Random ones, and stride below dilation with its larger output_padding."""
    yield Sample((rng.standard_normal((n, 2, 3, 4)), rng.standard_normal((2, 3, 3, 3)), rng.standard_normal(3)),
                 {"dilation": 3, "output_padding": 2}, 20)
    for k in range(5):
        g, stride = int(rng.integers(1, 3)), rng.integers(1, 4, 2)
        c, outs, kernel = g * int(rng.integers(1, 4)), int(rng.integers(1, 4)), rng.integers(1, 4, 2)
        kw = {"stride": tuple(stride.tolist()), "padding": tuple(np.minimum(rng.integers(0, 2, 2), kernel - 1).tolist()),
              "output_padding": tuple((stride - 1).tolist()), "groups": g, "dilation": int(rng.integers(1, 3))}
        x, b = rng.standard_normal((n, c, *rng.integers(2, 6, 2))), rng.standard_normal(outs * g) if k % 2 else None
        yield Sample((x, rng.standard_normal((c, outs, *kernel)), b), kw, c * 9)


def transpose_backward(ops, dy, y, s):
    """Gradients of what is there."""
    grads = ops.conv_transpose2d_backward(dy, *s.arrays[:2], **s.kw)
    return grads if s.arrays[2] is not None else grads[:2]


def window(rng):
    """Random im2col keywords."""
    return {"kernel_size": tuple(rng.integers(1, 4, 2).tolist()), "stride": tuple(rng.integers(1, 4, 2).tolist()),
            "padding": tuple(rng.integers(0, 3, 2).tolist()), "dilation": tuple(rng.integers(1, 3, 2).tolist())}


def im2col_samples(rng, n):
    """Random windows on random images."""
    yield Sample((rng.standard_normal((n, 3, 16, 16)),), {"kernel_size": 3, "padding": 1})
    for _ in range(6):
        yield Sample((rng.standard_normal((n, int(rng.integers(1, 4)), *rng.integers(6, 40, 2))),), window(rng))


def col2im_samples(rng, n):
    """Columns of the right number for a random image."""
    for _ in range(5):
        kw, size = window(rng), tuple(rng.integers(6, 12, 2).tolist())
        cols = im2col(np.zeros((1, 2, *size)), **kw).shape[1:]
        yield Sample((rng.standard_normal((n, *cols)),), {"output_size": size, **kw}, 9)


def pool_samples(rng, n, **more):
    """2x2 in all widths around a vector, overlaps, padding, ceil_mode; random ones."""
    for image, kw in (((3, 8, 8), {"kernel_size": 2}), ((2, 9, 7), {"kernel_size": 2}), ((1, 4, 70), {"kernel_size": 2}),
                      ((2, 9, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
                      ((2, 6, 40), {"kernel_size": (2, 3), "stride": 1}),
                      ((1, 5, 5), {"kernel_size": 2, "ceil_mode": True}), ((1, 1, 1), {"kernel_size": 1})):
        yield Sample((spread(rng, n, *image),), kw, 9)
    for _ in range(6):
        kernel = rng.integers(1, 5, 2)
        kw = {"kernel_size": tuple(kernel.tolist()), "stride": tuple(rng.integers(1, 4, 2).tolist()),
              "padding": tuple((rng.integers(0, 3, 2) % (kernel // 2 + 1)).tolist()), "ceil_mode": bool(rng.integers(2))}
        kw.update({k: v(rng) for k, v in more.items()})
        yield Sample((spread(rng, n, int(rng.integers(1, 3)), *rng.integers(8, 21, 2)),), kw, 16)


def max_samples(rng, n):
    """With dilation."""
    return pool_samples(rng, n, dilation=lambda rng: int(rng.integers(1, 3)))


def avg_samples(rng, n):
    """With its two ways to divide."""
    return pool_samples(rng, n, count_include_pad=lambda rng: bool(rng.integers(2)),
                        divisor_override=lambda rng: [None, 5][rng.integers(2)])


def adaptive_samples(rng, n):
    """Smaller, equal and larger than the image."""
    for image, size in (((2, 7, 9), 1), ((2, 7, 9), (3, 4)), ((1, 5, 6), (5, None)), ((1, 3, 4), (5, 6)), ((3, 8, 8), 4)):
        yield Sample((rng.standard_normal((n, *image)),), {"output_size": size}, 63)


def matmul_samples(rng, n):
    """Batches, broadcasting, 1-D operands, every width around a vector."""
    for a, b in (((n, 5, 7), (n, 7, 3)), ((n, 16, 16), (n, 16, 16)), ((n, 1, 4, 9), (3, 9, 33)), ((3, 4), (n, 4, 17)),
                 ((n, 6, 20), (20, 64)), ((n, 4), (4, 5)), ((4,), (n, 4, 3)), ((n, 3, 4), (4,)), ((n,), (n,)),
                 ((n, 13, 1), (n, 1, 70)), ((2, n, 31), (2, 31, 48)), ((n, 2, 70, 40), (1, 2, 40, 15))):
        yield Sample((rng.standard_normal(a), rng.standard_normal(b)), {}, a[-1])


def linear_samples(rng, n):
    """(N, I), (N, T, I), with and without bias."""
    for x, outs, bias in (((n, 13), 10, True), ((n, 3, 7), 4, True), ((n, 70), 1, False), ((9,), 5, True)):
        w, b = rng.standard_normal((outs, x[-1])), rng.standard_normal(outs) if bias else None
        yield Sample((rng.standard_normal(x), w, b), {}, x[-1])


def softmax_samples(rng, n):
    """Short, middling and long rows; every axis; the range that overflows without the maximum."""
    for shape, dim in (((n, 10), -1), ((n, 1), 1), ((n, 48), -1), ((n, 49), -1), ((n, 130), 1), ((n, 7, 3), 1),
                       ((n, 3, 5, 17), 1), ((n, 5), 0), ((11,), 0), ((2, n, 4, 3), -2)):
        yield Sample((3 * rng.standard_normal(shape),), {"dim": dim}, shape[dim])
    yield Sample((200 * rng.standard_normal((n, 12)),), {"dim": -1}, 12)


def entropy_samples(rng, n):
    """Labels and probabilities, weights, smoothing, ignored labels, images."""
    for k, (rest, reduction, smoothing) in enumerate(product(((), (2, 3)), ("mean", "sum", "none"), (0.0, 0.1))):
        x = 2 * rng.standard_normal((n, 7, *rest))
        labels, weight = rng.integers(0, 7, (n, *rest)), rng.uniform(0.5, 2, 7) if k % 2 else None
        kw = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
        if labels.size > 1:
            ignored = labels.copy()
            ignored.flat[0] = 9 if k % 3 == 0 else -100
            yield Sample((x, ignored), {**kw, "ignore_index": int(ignored.flat[0])}, 7, (0,))
        yield Sample((x, labels), kw, 7, (0,))
        yield Sample((x, ref.softmax(rng.standard_normal(x.shape))), kw, 7, (0,))


def plain_samples(*kws):
    """Shapes of every rank, away from zero by spread()."""
    def samples(rng, n):
        for kw in kws or ({},):
            for shape in ((n,), (n, 3, 5), (n, 2, 33), ()):
                yield Sample((np.asarray(spread(rng, *shape) * 1.5),), kw)
    return samples


def batch_samples(rng, n):
    """Images, sequences and vectors; both modes; with and without weight, bias."""
    for rest, training, affine in product(((4, 5), (17,), ()), (True, False), (True, False)):
        shape = (n + 2, 3, *rest)                  # more than one number in a channel
        wb = (rng.uniform(0.5, 2, 3), rng.standard_normal(3)) if affine else (None, None)
        yield Sample((rng.standard_normal(shape) + 1, rng.standard_normal(3), rng.uniform(0.5, 2, 3), *wb),
                     {"training": training}, 40, (0, 3, 4) if affine else (0,))


def batch_backward(ops, dy, y, s):
    """dx, and with weights theirs."""
    x, mean, var, weight, bias = s.arrays
    grads = ops.batch_norm_backward(dy, x, mean, var, weight, **s.kw)
    return grads if weight is not None else grads[:1]


def layer_samples(rng, n):
    """One and two normalised dimensions."""
    for shape, size, affine in (((n, 10), 10, True), ((n, 3, 40), (40,), False), ((n, 2, 3, 5), (3, 5), True)):
        wb = tuple(rng.standard_normal(size) for _ in range(2)) if affine else (None, None)
        yield Sample((rng.standard_normal(shape), *wb), {"normalized_shape": size}, 40)


def layer_backward(ops, dy, y, s):
    """dx, and with weights theirs."""
    x, weight, bias = s.arrays
    grads = ops.layer_norm_backward(dy, x, s.kw["normalized_shape"], weight)
    return grads if weight is not None else grads[:1]


def same_as(name):
    """torch.nn.functional's function of a name."""
    return lambda F, *arrays, **kw: getattr(F, name)(*arrays, **kw)


def from_output(name):
    """A gradient from dy and the output."""
    return lambda ops, dy, y, s: (getattr(ops, name)(dy, y, **s.kw),)


def from_input(name):
    """A gradient from dy and the input."""
    return lambda ops, dy, y, s: (getattr(ops, name)(dy, *s.arrays, **s.kw),)


def max_backward(ops, dy, y, s):
    """By the winners' places."""
    _, where = ops.max_pool2d(*s.arrays, **s.kw, return_indices=True)
    return (ops.max_pool2d_backward(dy, where, s.arrays[0].shape),)


OPS = {
    "conv2d": Entry(conv_samples, conv2d, conv_backward,
                    lambda F, *arrays, algorithm=None, **kw: F.conv2d(*arrays, **kw), exact=True),
    "conv_transpose2d": Entry(transpose_samples, conv_transpose2d, transpose_backward, same_as("conv_transpose2d"), exact=True),
    "im2col": Entry(im2col_samples, im2col, lambda ops, dy, y, s: (ops.im2col_backward(dy, s.arrays[0].shape[2:], **s.kw),),
                    same_as("unfold"), exact=True),
    "col2im": Entry(col2im_samples, col2im, lambda ops, dy, y, s: (ops.col2im_backward(
        dy, **{k: v for k, v in s.kw.items() if k != "output_size"}),), same_as("fold"), exact=True),
    "max_pool2d": Entry(max_samples, max_pool2d, max_backward, same_as("max_pool2d"), exact=True),
    "avg_pool2d": Entry(avg_samples, avg_pool2d, lambda ops, dy, y, s: (
        ops.avg_pool2d_backward(dy, s.arrays[0].shape, **s.kw),), same_as("avg_pool2d")),
    "adaptive_avg_pool2d": Entry(adaptive_samples, adaptive_avg_pool2d, lambda ops, dy, y, s: (
        ops.adaptive_avg_pool2d_backward(dy, s.arrays[0].shape),), same_as("adaptive_avg_pool2d")),
    "matmul": Entry(matmul_samples, np.matmul, lambda ops, dy, y, s: ops.matmul_backward(dy, *s.arrays),
                    lambda F, a, b: a @ b, exact=True),
    "linear": Entry(linear_samples, lambda x, w, b=None: x @ w.T + (0 if b is None else b),
                    lambda ops, dy, y, s: ops.linear_backward(dy, *s.arrays[:2])[:len(s.gradients())], same_as("linear"),
                    exact=True),
    "softmax": Entry(softmax_samples, lambda x, dim: ref.softmax(x, dim), from_output("softmax_backward"), same_as("softmax")),
    "log_softmax": Entry(softmax_samples, log_softmax, from_output("log_softmax_backward"), same_as("log_softmax")),
    "cross_entropy": Entry(entropy_samples, cross_entropy, from_input("cross_entropy_backward"), same_as("cross_entropy"),
                           out=False),
    "relu": Entry(plain_samples(), lambda x: np.maximum(x, 0), from_output("relu_backward"), same_as("relu"), exact=True),
    "leaky_relu": Entry(plain_samples({}, {"negative_slope": 0.25}),
                        lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
                        from_input("leaky_relu_backward"), same_as("leaky_relu")),
    "elu": Entry(plain_samples({}, {"alpha": 0.5}), lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)),
                 from_input("elu_backward"), same_as("elu")),
    "sigmoid": Entry(plain_samples(), lambda x: 1 / (1 + np.exp(-x)), from_output("sigmoid_backward"), same_as("sigmoid")),
    "tanh": Entry(plain_samples(), np.tanh, from_output("tanh_backward"), same_as("tanh")),
    "gelu": Entry(plain_samples({}, {"approximate": "tanh"}), gelu, from_input("gelu_backward"), same_as("gelu")),
    "batch_norm": Entry(batch_samples, batch_norm, batch_backward, same_as("batch_norm")),
    "layer_norm": Entry(layer_samples, layer_norm, layer_backward, lambda F, x, weight, bias, normalized_shape: F.layer_norm(
        x, as_tuple(normalized_shape), weight, bias), names=("x", "weight", "bias")),
}
