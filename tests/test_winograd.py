"""Winograd's convolutions against the direct sum: every place in a row, every edge, bands, reuse; and their error, bounded."""
import numpy as np
import pytest
import reference as ref
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import nn
from lanewise.graph import topological

# in, out, kernel, (H, W), padding, dilation: columns of every remainder by 4, borders wider than the kernel, tall and flat taps
SHAPES = [(1, 6, 5, (12, 12), 0, 1), (6, 16, 5, (12, 12), 0, 1), (3, 32, 3, (8, 8), 1, 1), (16, 33, 3, (6, 9), 1, 1),
          (4, 5, 3, (7, 6), 0, 1), (4, 7, 5, (6, 9), 2, 1), (5, 18, 5, (9, 10), 3, 1), (3, 17, 3, (4, 7), 4, 1),
          (2, 4, (1, 3), (5, 11), 0, 1), (2, 20, (7, 5), (9, 9), (3, 2), 1), (3, 6, (4, 3), (9, 8), (2, 0), (2, 1)),
          (2, 24, (2, 5), (5, 13), (1, 4), (3, 1)), (40, 16, 3, (40, 36), 1, 1), (16, 8, 3, (40, 36), 1, 1),
          # squares where rows stand beside them: in dW, forward, in both; a last tile of every number of channels
          (1, 4, 3, (9, 9), 1, 1), (4, 3, 3, (7, 6), 1, 1), (5, 2, 3, (6, 9), 2, 1), (7, 9, 3, (10, 7), 0, 1), (6, 8, 3, (5, 6), 1, 1),
          # by squares all ways, from 8 channels on
          (8, 8, 3, (6, 6), 0, 1), (8, 9, 3, (8, 8), 1, 1), (9, 40, 3, (7, 10), 2, 1), (35, 17, 3, (4, 5), (3, 1), 1),
          (64, 64, 3, (8, 8), 1, 1), (16, 8, 3, (19, 9), (0, 4), 1)]
EVERY = pytest.mark.parametrize("shape", SHAPES, ids=str)


@pytest.fixture
def algorithm():
    """set_winograd, undone afterwards."""
    yield lw.set_winograd
    lw.set_winograd(True)


def results(layer, x, target):
    """[output, dX, dW, db] of sum (layer(x) - target)^2."""
    leaf = lw.tensor(x, requires_grad=True)
    for p in layer.parameters():
        p.grad = None
    out = layer(leaf)
    nn.MSELoss(reduction="sum")(out, target).backward()
    return [out.numpy(), leaf.grad, *(p.grad.copy() for p in layer.parameters())]


def points(layer, x):
    """Products of a tile in each convolution of a traced call, forward and for dW."""
    return [(node.op.points(node.op.output(node)), node.op.points_weight(node.op.output(node)))
            for node in topological([layer(x).node]) if hasattr(node.op, "points")]


def expected_points(shape):
    """Squares for 3x3 taps, forward from 4 channels on, in dW from 8; rows otherwise, from 4 channels on."""
    c, o, kernel, _, _, dilation = shape
    square = kernel == 3 and dilation == 1
    width = kernel if isinstance(kernel, int) else kernel[1]
    row = 0 if o < 4 else width + 3
    return (36 if square and o >= 4 else row), (36 if square and min(c, o) >= 8 else row)


@EVERY
def test_equals_the_direct_sum(shape, isa, algorithm, rng):
    """In float64, where neither rounds much: outputs and all gradients to 1e-11 of the largest."""
    c, o, kernel, size, padding, dilation = shape
    layer = nn.Conv2d(c, o, kernel, padding=padding, dilation=dilation).double()
    for n in (1, 9):
        x = rng.standard_normal((n, c, *size))
        target = rng.standard_normal(layer(x).shape)
        assert points(layer, x) == [expected_points(shape)]
        fast = results(layer, x, target)
        algorithm(False)
        assert points(layer, x) == [(0, 0)]
        for a, b in zip(fast, results(layer, x, target)):
            assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max())
        algorithm(True)


@EVERY
def test_error_in_float32(shape, isa, rng):
    """Forward: within 12 eps sqrt(products) of the float64 reference, relative to the largest; measured: at most 6 times the
    direct sum's error, of one channel."""
    c, o, kernel, size, padding, dilation = shape
    layer = nn.Conv2d(c, o, kernel, padding=padding, dilation=dilation)
    x = rng.standard_normal((5, c, *size)).astype(np.float32)
    weight, bias = (p.data.astype(np.float64) for p in layer.parameters())
    two = [(v, v) if isinstance(v, int) else v for v in (padding, dilation)]
    expected = ref.conv2d(x.astype(np.float64), weight, bias, padding=two[0], dilation=two[1])
    bound = 12 * np.finfo(np.float32).eps * np.sqrt(weight[0].size)
    assert np.abs(layer(x).numpy() - expected).max() <= bound * np.abs(expected).max()


def test_more_shards_than_slots(isa, algorithm, rng):
    """dW of a batch of which some gradient slots take two shards."""
    layer = nn.Conv2d(8, 9, 3, padding=1).double()
    x = rng.standard_normal((18 * 8 - 3, 8, 6, 5))
    target = rng.standard_normal((len(x), 9, 6, 5))
    fast = results(layer, x, target)
    algorithm(False)
    for a, b in zip(fast, results(layer, x, target)):
        assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max())


def test_gradient_is_added_to_an_earlier_one(isa, algorithm, rng):
    """Two convolutions and a product read one image: dX is added to what is there."""
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 5, padding=2)

        def forward(self, x):
            return self.a(x) + self.b(x) + 2 * self.a(x)
    layer = Fork().double()
    x, target = rng.standard_normal((9, 3, 7, 9)), rng.standard_normal((9, 4, 7, 9))
    fast = results(layer, x, target)
    algorithm(False)
    for a, b in zip(fast, results(layer, x, target)):
        assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max())


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d((3, 2), (4, 3)), nn.MaxPool2d(20)], ids=repr)
def test_fused_pool_in_bands(pool, isa, rng):
    """An image of several bands, with the pool fused or on its own: equal to the last bit."""
    conv = nn.Conv2d(8, 12, 3, padding=1)
    x = rng.standard_normal((3, 8, 61, 40)).astype(np.float32)
    fused = nn.Sequential(conv, nn.ReLU(), pool)(x).numpy()
    before = nn.ReLU()(conv(x)).numpy()
    assert_array_equal(fused, pool(before).numpy())


def test_squares_back_where_they_are_fewer():
    """A full padding adds tiles: dX of 8x8 results without padding goes along rows, of 16x16 ones by squares again."""
    def back(size, padding):
        op = nn.Conv2d(8, 8, 3, padding=padding)(np.zeros((1, 8, size, size), np.float32)).node.op
        return op.points_back(op.shape((8, size, size)), size, size)
    assert [back(10, 0), back(18, 0), back(8, 1), back(4, 2)] == [6, 36, 36, 36]


def test_strided_or_grouped_goes_direct(rng):
    x = rng.standard_normal((2, 4, 9, 9)).astype(np.float32)
    for layer in (nn.Conv2d(4, 8, 3, stride=2), nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(4, 8, 3, dilation=2), nn.Conv2d(4, 8, 7)):
        assert points(layer, x) == [(0, 0)]


def test_setting():
    with pytest.raises(TypeError, match="set_winograd: expected True or False, got 1"):
        lw.set_winograd(1)
