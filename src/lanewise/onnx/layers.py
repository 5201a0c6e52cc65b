"""Layers with weights, windows or statistics."""
import numpy as np

from ..nodes import batchnorm, conv, conv_transpose, dense, depthwise, embedding, layer_norm, pool, resample
from .builder import emits


def _weights(g, op):
    return [g.weight(p) for p in (op.weight, op.bias) if p is not None]


@emits(conv.Conv2d, depthwise.DepthwiseConv2d)
def convolution(g, node, x):
    """Padding (top, left, bottom, right) is ONNX's pads."""
    op = node.op
    return g.add("Conv", x, *_weights(g, op), kernel_shape=op.weight.shape[2:], strides=op.stride, pads=op.padding,
                 dilations=op.dilation, group=op.groups)


@emits(conv_transpose.ConvTranspose2d)
def transposed(g, node, x):
    """Weights (C, O / groups, KH, KW) as there. Where output_padding reaches the stride, which runtimes refuse, the far side is
    cropped less, and what no tap reaches is padding before the bias."""
    op = node.op
    how = dict(kernel_shape=op.weight.shape[2:], strides=op.stride, dilations=op.dilation, group=op.groups)
    near, more = op.padding[:2], op.output_padding
    if all(m < s for m, s in zip(more, op.stride)):
        return g.add("ConvTranspose", x, *_weights(g, op), pads=op.padding, output_padding=more, **how)
    y = g.add("ConvTranspose", x, g.weight(op.weight), pads=(*near, *(max(0, p - m) for p, m in zip(near, more))), **how)
    y = g.add("Pad", y, g.integers([0] * 6 + [max(0, m - p) for p, m in zip(near, more)]), g.numbers(0))
    return _per_channel(g, y, None, op.bias, 2)


@emits(dense.Linear)
def linear(g, node, x):
    """Gemm for vectors; of sequences each row alike."""
    op = node.op
    w, *b = _weights(g, op)
    if len(node.shape) == 1:
        return g.add("Gemm", x, w, *b, transB=int(not op.transposed))
    y = g.add("MatMul", x, w if op.transposed else g.add("Transpose", w, perm=[1, 0]))
    return g.add("Add", y, *b) if b else y


@emits(embedding.Embedding)
def rows(g, node, x):
    """Rows by index."""
    return g.add("Gather", g.weight(node.op.weight), x, axis=0)


def _windows(node):
    """Attributes of a pooling whose far padding holds its last window, so that floor and ceil_mode give the same size; and by
    how much that is more than the layer's own."""
    op, sizes = node.op, node.inputs[0].shape[1:]
    far = [max(0, (out - 1) * s + k - size - p)
           for out, s, k, size, p in zip(node.shape[1:], op.stride, op.kernel, sizes, op.padding)]
    return dict(kernel_shape=op.kernel, strides=op.stride, pads=(*op.padding, *far)), any(
        f > p for f, p in zip(far, op.padding))


@emits(pool.MaxPool2d)
def max_pool(g, node, x):
    """The greatest of each window."""
    return g.add("MaxPool", x, **_windows(node)[0])


@emits(pool.AvgPool2d)
def avg_pool(g, node, x):
    """The mean of each window; what hangs over the layer's own padding is not counted, and ONNX counts it: put right after."""
    op, (attributes, over) = node.op, _windows(node)
    y = g.add("AveragePool", x, **attributes, count_include_pad=int(op.count_include_pad))
    if not over or not op.count_include_pad:
        return y
    shares = [[k / (min(i * s - p + k, size + p) - (i * s - p)) for i in range(out)]
              for out, s, k, size, p in zip(node.shape[1:], op.stride, op.kernel, node.inputs[0].shape[1:], op.padding)]
    return g.add("Mul", y, g.numbers(np.outer(*shares)))


@emits(batchnorm.BatchNorm)
def batch_norm(g, node, x):
    """By the running statistics, or by the batch's where there are none."""
    op, channels, rest = node.op, node.shape[0], len(node.shape) - 1
    if not op.batch:
        w = g.weight(op.weight) if op.weight is not None else g.numbers(np.ones(channels))
        b = g.weight(op.bias) if op.bias is not None else g.numbers(np.zeros(channels))
        return g.add("BatchNormalization", x, w, b, *map(g.weight, op.running[:2]), epsilon=op.eps)
    axes = [0, *range(2, rest + 2)]
    centred = g.add("Sub", x, g.reduce("ReduceMean", x, axes, True))
    variance = g.reduce("ReduceMean", g.add("Mul", centred, centred), axes, True)
    y = g.add("Div", centred, g.add("Sqrt", g.add("Add", variance, g.numbers(op.eps))))
    return _per_channel(g, y, op.weight, op.bias, rest)


def _per_channel(g, y, w, b, rest):
    # y w[c] + b[c], either None, `rest` dimensions after the channels
    for kind, p in (("Mul", w), ("Add", b)):
        if p is not None:
            y = g.add(kind, y, g.add("Reshape", g.weight(p), g.integers([-1, *[1] * rest])))
    return y


@emits(layer_norm.LayerNorm)
def sample_norm(g, node, x):
    """Over the last dimensions."""
    op = node.op
    scale = g.weight(op.weight) if op.weight is not None else g.numbers(np.ones(op.over))
    bias = () if op.bias is None else (g.weight(op.bias),)
    return g.add("LayerNormalization", x, scale, *bias, axis=-len(op.over), epsilon=op.eps)


@emits(layer_norm.GroupNorm)
def group_norm(g, node, x):
    """As the instance normalisation of groups; GroupNormalization's weights changed their meaning between opsets."""
    op = node.op
    ones, zeros = g.numbers(np.ones(op.over)), g.numbers(np.zeros(op.over))
    y = g.add("InstanceNormalization", g.reshape(x, (op.over, -1)), ones, zeros, epsilon=op.eps)
    return _per_channel(g, g.reshape(y, node.shape), op.weight, op.bias, len(node.shape) - 1)


@emits(resample.Resample)
def another_size(g, node, x):
    """A pooling or Resize where it is exactly that, else two products with the tables of rows and columns."""
    op, before, after = node.op, node.inputs[0].shape[1:], node.shape[1:]
    if op.how is resample.adaptive and all(n % m == 0 for n, m in zip(before, after)):
        if after == (1, 1):
            return g.add("GlobalAveragePool", x)
        window = [n // m for n, m in zip(before, after)]
        return g.add("AveragePool", x, kernel_shape=window, strides=window)
    whole = all(m % n == 0 and scale in (None, m // n) for n, (m, scale, *_) in zip(before, op.settings)) \
        if op.how is not resample.adaptive else False
    if whole and not any(more and more[0] for _, _, *more in op.settings):
        scales = g.constant(np.array([1, 1, *(m // n for n, m in zip(before, after))], np.float32))
        how = dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor") \
            if op.how is resample.nearest else dict(mode="linear", coordinate_transformation_mode="half_pixel")
        return g.add("Resize", x, "", scales, **how)
    down, across = (np.zeros((m, n)) for m, n in zip(after, before))
    for table, axis in zip((down, across), op.entries(node.inputs[0].shape)):
        for i, reads in enumerate(axis):
            for j, share in reads:
                table[i, j] += share
    return g.add("MatMul", g.add("MatMul", g.numbers(down), x), g.numbers(np.ascontiguousarray(across.T)))
