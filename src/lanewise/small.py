"""The forward pass of a few samples by the array functions: in the engine most lanes would be empty."""
import math

import numpy as np

from . import ops
from ._isa import engine
from .graph import Input, run_dtype, topological
from .nodes import batchnorm, conv, dense, depthwise, elementwise, pool, resample, reshape, softmax
from .parameter import storage_version

WORTH = 1 << 21         # multiply-adds of a sample from which it pays: a LeNet (0.3 million) is as fast in lanes
PART = 4                # a batch goes this way that fills no more than a quarter of the lanes. CIFAR CNN, one thread, AVX-512: 1 sample 0.28 ms and 1.50 in
                        # lanes, 4 samples 0.91, 8 samples 1.65


def _conv2d(op, x):
    top, left, bottom, right = op.padding
    if (top, left) != (bottom, right):
        x, top, left = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))), 0, 0
    return ops.conv2d(x, op.weight.data, None if op.bias is None else op.bias.data, op.stride, (top, left), op.dilation,
                      op.groups)


def _linear(op, x):
    weight = op.weight.data
    return ops.linear(x, weight.T if op.transposed else weight, None if op.bias is None else op.bias.data)


def _batch_norm(op, x):
    weight, bias = (None if p is None else p.data for p in (op.weight, op.bias))
    return ops.batch_norm(x, op.running[0].data, op.running[1].data, weight, bias, eps=op.eps)


def _unary(op, x):
    if op.name == "affine":
        return x * x.dtype.type(op.alpha) + x.dtype.type(op.beta)
    return UNARY[op.name](x)


UNARY = {"relu": ops.relu, "sigmoid": ops.sigmoid, "tanh": ops.tanh, "affine": None}

# the operations that a pass may have; each gives what the engine gives, to rounding
FORMS = {
    conv.Conv2d: _conv2d, depthwise.DepthwiseConv2d: _conv2d, dense.Linear: _linear, batchnorm.BatchNorm: _batch_norm,
    elementwise.ReLU: _unary, elementwise.Unary: _unary, elementwise.Affine: _unary,
    elementwise.Add: lambda op, a, b: a + b,
    pool.MaxPool2d: lambda op, x: ops.max_pool2d(x, op.kernel, op.stride, op.padding, ceil_mode=op.ceil_mode),
    pool.AvgPool2d: lambda op, x: ops.avg_pool2d(x, op.kernel, op.stride, op.padding, op.ceil_mode, op.count_include_pad),
    resample.Resample: lambda op, x: ops.adaptive_avg_pool2d(x, tuple(out for out, *_ in op.settings)),
    reshape.Reshape: lambda op, x: x.reshape(len(x), *op.to),
    reshape.Concat: lambda op, *x: np.concatenate(x, op.axis + 1),
    softmax.Softmax: lambda op, x: ops.softmax(x, op.axis + 1), softmax.LogSoftmax: lambda op, x: ops.log_softmax(x, op.axis + 1),
}


def _fits(node):
    op = node.op
    if isinstance(op, Input):
        return op.kind in ("float32", "float64", "uint8") and op.augment is None
    if type(op) is batchnorm.BatchNorm and (op.batch or op.running is None):
        return False
    if isinstance(op, elementwise.Unary) and op.name not in UNARY:
        return False
    if type(op) is elementwise.Add and len({i.shape for i in node.inputs}) > 1:
        return False
    if type(op) is resample.Resample and op.how is not resample.adaptive:
        return False
    return type(op) in FORMS


def _multiply_adds(node):
    op = node.op
    if isinstance(op, conv.Conv2d):
        return op.weight.data.size * math.prod(node.shape[1:])
    return op.weight.data.size if isinstance(op, dense.Linear) else 0


def _steps(node, feeds):
    # [(function or None, op or Input's node, places of the inputs)] in order, and the number type; None where the pass is not
    # one for us. Kept with the node, until a parameter moves or changes its type.
    key = "small", storage_version()
    if key not in node.plans:
        order, dtype = topological([node]), np.dtype(run_dtype([node], feeds))
        place = {n: i for i, n in enumerate(order)}
        fits = all(map(_fits, order)) and sum(map(_multiply_adds, order)) >= WORTH
        node.plans[key] = fits and ([(FORMS.get(type(n.op)), n.op if n.inputs else n, [place[i] for i in n.inputs])
                                     for n in order], dtype, engine(dtype.name).lanes // PART)
    return node.plans[key]


def _bound(op, feed, dtype):
    x = feed.array if feed.index is None else feed.array[feed.index]
    if op.kind != "uint8":
        return x
    scale, channels = np.array(op.scale, dtype), len(op.scale) // 2
    shape = (channels,) + (1,) * (x.ndim - 2)
    return x * scale[:channels].reshape(shape) + scale[channels:].reshape(shape)


def forward(node, feeds, n):
    """The numbers (n, ...) of a node for what is bound to its inputs, None where the engine has to give them."""
    found = _steps(node, feeds)
    if not found or n > found[2]:
        return None
    steps, dtype, _ = found
    values = []
    for function, op, inputs in steps:
        values.append(_bound(op.op, feeds[op], dtype) if function is None else function(op, *[values[i] for i in inputs]))
    return values[-1]
