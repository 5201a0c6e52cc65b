"""What the array functions refuse, and what they make of nothing: errors of one sentence, zero-size arrays."""
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from op_table import OPS

import lanewise as lw
from lanewise import ops


@pytest.mark.parametrize("name", sorted(OPS))
def test_other_numbers_are_refused(name, rng):
    entry = OPS[name]
    sample = next(iter(entry.samples(rng, 2)))
    for wrong in (np.float16, np.int64, np.complex128, ">f4"):
        with pytest.raises(lw.DtypeError, match=f"^{name}: expected .* of float32 or float64, got"):
            entry.call(getattr(ops, name), (sample.arrays[0].astype(wrong), *sample.arrays[1:]), sample.kw)
    if len(sample.gradients()) > 1:
        i = sample.gradients()[1]
        arrays = list(sample.arrays)
        arrays[i] = arrays[i].astype(np.float32)
        with pytest.raises(lw.DtypeError, match="expected .* of float64, as .* is, got float32"):
            entry.call(getattr(ops, name), arrays, sample.kw)


@pytest.mark.parametrize("call", [
    lambda e: ops.conv2d(e((0, 3, 5, 5)), np.ones((4, 3, 3, 3), e.dtype)),
    lambda e: ops.conv2d(e((2, 3, 5, 5)), e((0, 3, 3, 3))),
    lambda e: ops.im2col(e((0, 3, 5, 5)), 3), lambda e: ops.im2col(e((2, 0, 5, 5)), 3),
    lambda e: ops.col2im(e((0, 9, 9)), 5, 3),
    lambda e: ops.conv_transpose2d(e((0, 3, 5, 5)), np.ones((3, 4, 3, 3), e.dtype)), lambda e: ops.relu(e((3, 0))),
    lambda e: ops.max_pool2d(e((0, 3, 4, 4)), 2), lambda e: ops.avg_pool2d(e((2, 0, 4, 4)), 2),
    lambda e: ops.softmax(e((0, 5))), lambda e: ops.gelu(e((0,))),
    lambda e: ops.adaptive_avg_pool2d(e((2, 3, 4, 4)), (0, 2)), lambda e: ops.log_softmax(e((0, 5, 3)), 1),
    lambda e: ops.matmul(e((0, 3, 4)), e((0, 4, 5))), lambda e: ops.matmul(e((3, 0, 4)), e((3, 4, 5))),
    lambda e: ops.layer_norm(e((0, 5)), 5), lambda e: ops.linear(e((0, 3)), np.ones((4, 3), e.dtype)),
    lambda e: ops.cross_entropy(e((0, 5)), np.zeros(0, int), reduction="none"),
    lambda e: ops.batch_norm(e((0, 3)), np.zeros(3, e.dtype), np.ones(3, e.dtype))])
def test_zero_size_gives_zero_size(call, dtype):
    class Empty:
        def __call__(self, shape):
            return np.ones(shape, dtype)
    Empty.dtype = dtype
    y = call(Empty())
    assert y.size == 0 and y.dtype == dtype


def test_zero_size_gradients_and_sums(dtype):
    """What sums over nothing is zero; gradients of an empty batch are zeros or empty."""
    assert_array_equal(ops.matmul(np.ones((2, 3, 0), dtype), np.ones((2, 0, 4), dtype)), np.zeros((2, 3, 4)))
    y = ops.conv2d(np.ones((2, 0, 4, 4), dtype), np.ones((3, 0, 3, 3), dtype), np.ones(3, dtype))
    assert_array_equal(y, np.ones((2, 3, 2, 2)))
    dx, dw, db = ops.conv2d_backward(np.ones((0, 4, 3, 3), dtype), np.ones((0, 3, 5, 5), dtype), np.ones((4, 3, 3, 3), dtype))
    assert dx.shape == (0, 3, 5, 5) and not dw.any() and not db.any() and dw.shape == (4, 3, 3, 3) and db.shape == (4,)
    dx, dw, db = ops.layer_norm_backward(np.ones((0, 5), dtype), np.ones((0, 5), dtype), 5)
    assert dx.shape == (0, 5) and not dw.any() and not db.any()
    assert ops.cross_entropy(np.ones((0, 5), dtype), np.zeros(0, int), reduction="sum") == 0


X = np.ones((2, 4, 6, 6), np.float32)
W = np.ones((4, 4, 3, 3), np.float32)


@pytest.mark.parametrize("call, text", [
    (lambda: ops.conv2d(X, W[:, :3]), "conv2d: expected x with 3 channels"),
    (lambda: ops.conv2d(X, W, groups=3), "conv2d: expected groups to divide the channels 4 and 4, got 3"),
    (lambda: ops.conv2d(X, W, W[0, 0, 0]), r"conv2d: expected bias of shape \(4,\), got \(3,\)"),
    (lambda: ops.conv2d(X[0, 0], W), "conv2d: expected x of 4 dimensions"),
    (lambda: ops.conv2d(X[:, :, :2], W), "conv2d: expected an image of at least the kernel's size"),
    (lambda: ops.conv2d(X, W, stride=0), "conv2d: expected stride to be an integer of 1 or more"),
    (lambda: ops.conv2d(X, W, padding="full"), "conv2d: expected padding 'same', 'valid'"),
    (lambda: ops.conv2d(X, W, padding="same", stride=2), "conv2d: expected stride 1 with padding 'same'"),
    (lambda: ops.conv2d(X, W, algorithm="fft"), "conv2d: expected algorithm 'gemm', 'lanes' or None"),
    (lambda: ops.conv2d_backward(X, X, W), "conv2d_backward: expected dy of shape"),
    (lambda: ops.conv_transpose2d(X, W, output_padding=1), "conv_transpose2d: expected output_padding smaller"),
    (lambda: ops.conv_transpose2d(X, W[:3]), "conv_transpose2d: expected x with 3 channels"),
    (lambda: ops.im2col(X, 7), "im2col: expected an image of at least the kernel's size"),
    (lambda: ops.col2im(X[0], (9, 9), 3), "col2im: expected cols"),
    (lambda: ops.max_pool2d(X, 2, padding=2), "max_pool2d: expected padding of at most half the kernel's 2"),
    (lambda: ops.max_pool2d(X, 7), "max_pool2d: expected an image of at least the kernel's size 7, got 6"),
    (lambda: ops.max_pool2d(X[:, :, :0], 1), "max_pool2d: expected an image"),
    (lambda: ops.max_pool2d_backward(X, np.full(X.shape, 36), X.shape), "max_pool2d_backward: expected indices from 0 to 35"),
    (lambda: ops.avg_pool2d(X, 2, divisor_override=0), "avg_pool2d: expected divisor_override to be an integer of 1 or more"),
    (lambda: ops.avg_pool2d_backward(X, X.shape, 2), "avg_pool2d_backward: expected dy of shape"),
    (lambda: ops.adaptive_avg_pool2d(X[:, :, :0], 1), "adaptive_avg_pool2d: expected an image to take the mean of"),
    (lambda: ops.matmul(X, X[:, :, :5]), "matmul: expected .* whose batches broadcast"),
    (lambda: ops.matmul(X, X[0, 0, 0, 0]), "matmul: expected arrays of at least one dimension"),
    (lambda: ops.matmul_backward(X, X, X[:1, :, :5]), "matmul_backward: expected"),
    (lambda: ops.linear(X, W[0, 0]), "linear: expected x .* and weight"),
    (lambda: ops.softmax(X, 4), "softmax: expected dim to name one of 4 dimensions, got 4"),
    (lambda: ops.softmax(X[:, :0], 1), "softmax: expected at least one number along dim 1"),
    (lambda: ops.softmax_backward(X, X[:1]), "softmax_backward: expected dy of shape"),
    (lambda: ops.cross_entropy(X[:, :, 0, 0], np.zeros(3, int)), "cross_entropy: expected target of shape"),
    (lambda: ops.cross_entropy(X[:0, :, 0, 0], np.zeros(0, int)), "cross_entropy: expected at least one sample"),
    (lambda: ops.cross_entropy(X[:, :, 0, 0], np.zeros(2, int), reduction="max"), "cross_entropy: expected reduction"),
    (lambda: ops.gelu(X, "erf"), "gelu: expected approximate to be 'none' or 'tanh'"),
    (lambda: ops.relu_backward(X, X[:1]), "relu_backward: expected dy of shape"),
    (lambda: ops.batch_norm(X, None, None), "batch_norm: expected running_mean and running_var outside training"),
    (lambda: ops.batch_norm(X[:1, :, 0, 0], None, None, training=True), "batch_norm: expected more than one value per channel"),
    (lambda: ops.layer_norm(X, 5), "layer_norm: expected x whose last dimensions are"),
])
def test_shape_errors(call, text):
    with pytest.raises(lw.ShapeError, match=text):
        call()


@pytest.mark.parametrize("target, text", [([0, 4], "expected labels from 0 to 3, got 4"), ([-1, 0], "got -1"),
                                          ([True, False], "expected target of integer labels or of probabilities, got bool")])
def test_label_errors(target, text):
    with pytest.raises(lw.LabelError, match=text):
        ops.cross_entropy(X[:, :, 0, 0], np.array(target))
