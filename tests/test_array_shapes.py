"""What the array functions' fast paths depend on: sizes around tiles and lanes, alignment, kinds of labels, running statistics."""
import array_reference as reference
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import lanewise as lw
from lanewise import ops
from lanewise._kernels import calls

F64 = np.float64


def whole(rng, shape, dtype):
    """Small integers, whose sums and products are exact."""
    return rng.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("k", [1, 2, 16])
def test_every_height_and_width_of_a_product(k, isa, dtype, rng):
    for m in (*range(1, 19), 31, 33):
        for n in (1, 7, 8, 15, 16, 17, 33, 64, 65, 80):
            a, b = whole(rng, (3, m, k), dtype), whole(rng, (3, k, n), dtype)
            assert_array_equal(ops.matmul(a, b), a.astype(F64) @ b.astype(F64))


@pytest.mark.parametrize("a, b", [((2, 3, 4, 5), (2, 3, 5, 6)), ((2, 1, 4, 5), (1, 3, 5, 6)), ((3, 4, 5), (2, 3, 5, 6)),
                                  ((1, 2, 4, 5), (1, 2, 5, 6)), ((7, 1, 1, 4, 5), (2, 3, 5, 6)), ((4, 5), (2, 2, 2, 5, 6))])
def test_batches_in_one_and_in_several_strides(a, b, dtype, rng):
    a, b = whole(rng, a, dtype), whole(rng, b, dtype)
    assert_array_equal(ops.matmul(a, b), a @ b)
    turned = a.swapaxes(0, -2).copy().swapaxes(0, -2)
    assert_array_equal(ops.matmul(turned, b), a @ b)


@pytest.mark.parametrize("rows", [0, 1, 2, 15, 16, 17])
def test_linear_backward_of_few_rows(rows, isa, dtype, rng):
    for ins, outs in ((1, 1), (33, 20), (256, 7)):
        x, w, dy = whole(rng, (rows, ins), dtype), whole(rng, (outs, ins), dtype), whole(rng, (rows, outs), dtype)
        for a, b in zip(ops.linear_backward(dy, x, w), (dy @ w, dy.T @ x, dy.sum(0))):
            assert a.dtype == dtype
            assert_array_equal(a, b)


@pytest.mark.parametrize("kw", [{}, {"stride": 2, "padding": 1}, {"stride": 3, "dilation": 2}, {"padding": (2, 0)}], ids=str)
@pytest.mark.parametrize("n", [1, 3])
def test_depthwise(n, kw, isa, dtype, rng):
    for w in (5, 16, 17, 35):
        x, weight, b = whole(rng, (n, 4, 9, w), dtype), whole(rng, (4, 1, 3, 2), dtype), whole(rng, (4,), dtype)
        expected = reference.conv2d(x.astype(F64), weight.astype(F64), b.astype(F64), groups=4, **kw)
        assert_array_equal(ops.conv2d(x, weight, b, groups=4, **kw), expected)


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("kw", [{}, {"padding": 1}, {"ceil_mode": True}, {"padding": 1, "dilation": 4}], ids=str)
def test_pools_of_every_width(stride, kw, isa, dtype, rng):
    for width in (9, 16, 17, 33, 50, 70):
        x = whole(rng, (2, 3, 11, width), dtype)
        x[rng.random(x.shape) < 0.1] = -np.inf
        y, where = ops.max_pool2d(x, 3, stride, return_indices=True, **kw)
        assert_array_equal(ops.max_pool2d(x, 3, stride, **kw), y)
        if kw.get("dilation"):
            continue
        assert_array_equal(y, reference.max_pool2d(x.astype(F64), 3, stride, kw.get("padding", 0), 1, "ceil_mode" in kw))
        x = 36 * whole(rng, x.shape, dtype)
        expected = reference.avg_pool2d(x.astype(F64), 3, stride, **kw)
        np.testing.assert_allclose(ops.avg_pool2d(x, 3, stride, **kw), expected, rtol=4 * np.finfo(dtype).eps, atol=1e-5)


def test_elementwise_starts_anywhere(isa, dtype, rng):
    """A result that begins within a cache line, and one that is written past the caches, hold the same numbers."""
    x = rng.standard_normal(300).astype(dtype)
    expected = ops.tanh(x)
    room = np.empty(340, dtype)
    for start in range(34):
        for n in (0, 1, 5, 40, 300):
            room[:] = 7
            ops.tanh(x[:n], out=room[start:start + n])
            assert_array_equal(room[start:start + n], expected[:n])
            assert (room[:start] == 7).all() and (room[start + n:] == 7).all()
    large = np.resize(x, (1 << 22) + 37)
    assert_array_equal(ops.relu(large), np.maximum(large, 0))
    assert_array_equal(ops.relu_backward(large, x[0] + large), np.where(x[0] + large > 0, large, 0))


@pytest.mark.parametrize("shape", [(6, 5), (3, 70), (2, 5, 20), (2, 70, 3), (5,)], ids=str)
def test_kinds_of_labels(shape, isa, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    classes = shape[0] if len(shape) == 1 else shape[1]
    t = rng.integers(0, classes, shape[:1] + shape[2:] if len(shape) > 1 else ())
    expected, dx = ops.cross_entropy(x, t, reduction="none"), ops.cross_entropy_backward(1.0, x, t)
    strided = np.stack([t, t], -1)[..., 0]
    for other in (t.astype(np.uint8), t.astype(">i8"), t.astype(np.int32), t.astype(np.uint64), strided, t.tolist()):
        assert_array_equal(ops.cross_entropy(x, other, reduction="none"), expected)
        assert_array_equal(ops.cross_entropy_backward(1.0, x, other), dx)
    with pytest.raises(lw.LabelError, match=f"expected labels from 0 to {classes - 1}, got 18446744073709551516"):
        ops.cross_entropy(x, np.full(np.shape(t), 2**64 - 100, np.uint64))


def test_labels_that_do_not_count(isa, dtype):
    """No loss and no gradient of their own, whatever their row holds; of nothing, the mean is NaN."""
    for classes in (4, 60):
        x = np.zeros((3, classes), dtype)
        x[1] = -np.inf
        t = np.array([1, -100, 2])
        assert ops.cross_entropy(x, t) == ops.cross_entropy(x[::2], t[::2])
        dx = ops.cross_entropy_backward(1.0, x, t)
        assert not dx[1].any()
        assert_array_equal(dx[::2], ops.cross_entropy_backward(1.0, x[::2], t[::2]))
        assert np.isnan(ops.cross_entropy(x, np.full(3, -100)))
        assert ops.cross_entropy(x, np.full(3, -100), reduction="sum") == 0


def test_running_statistics_of_any_layout(dtype, rng):
    x = rng.standard_normal((5, 3, 4)).astype(dtype)
    mean, var = np.zeros(3, dtype), np.ones(3, dtype)
    ops.batch_norm(x, mean, var, training=True)
    wide = np.zeros((2, 3, 2), dtype)
    wide[1] = 1
    ops.batch_norm(x, wide[0, :, 0], wide[1, :, 1], training=True)
    assert_array_equal(wide[0, :, 0], mean)
    assert_array_equal(wide[1, :, 1], var)
    assert not wide[0, :, 1].any() and (wide[1, :, 0] == 1).all()
    mean.flags.writeable = False
    ops.batch_norm(x, mean, var)
    with pytest.raises(ValueError, match="read-only"):
        ops.batch_norm(x, mean, var, training=True)


@pytest.mark.parametrize("value", [True, (2, True), 2.0, (1, 2, 3), "2", None, (2, 0), np.bool_(True)], ids=repr)
def test_what_is_no_size(value):
    with pytest.raises(lw.ShapeError, match="expected kernel_size to be an integer of 1 or more or a pair of them"):
        ops.max_pool2d(np.ones((1, 1, 8, 8)), value)
    assert calls.pair("f", "kernel_size", np.int32(3)) == calls.pair("f", "kernel_size", [3, np.int64(3)]) == (3, 3)
