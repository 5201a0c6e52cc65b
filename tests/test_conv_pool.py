"""A convolution under a max-pool that the plan has fused: its gradients are those of the same layers kept apart."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import _isa, nn
from lanewise.nodes.pool import ConvMaxPool

LAYERS = [(1, 6, 5, 0, (13, 12), 2), (3, 4, 3, 1, (9, 8), 2), (2, 5, (3, 2), 0, (8, 9), 2), (2, 3, (5, 4), (2, 1), (7, 6), 2),
          (1, 2, (5, 1), 0, (8, 5), 2), (2, 20, 3, 1, (6, 6), 2), (2, 17, 5, 2, (6, 7), 2), (1, 3, 7, 3, (8, 8), 2),
          (2, 3, 3, 1, (9, 10), 3), (2, 3, 3, 0, (8, 8), (2, 1)),
          (2, 32, 3, 1, (13, 40), 2)]             # several bands of rows
ids = [f"{i}-{o} {k} {w}" for i, o, k, _, _, w in LAYERS]


@pytest.fixture
def direct():
    """Sums that are exact on integers."""
    lw.set_winograd(False)
    yield
    lw.set_winograd(True)


def gradients(layers, x, target, wants_dx, apart):
    """(dW, db, dx or None) of sum (pool - target)^2; apart: the convolution's result has a second reader, so nothing is fused."""
    conv, relu, pool = layers
    conv.weight.grad = conv.bias.grad = None
    leaf = lw.tensor(x, requires_grad=wants_dx)
    before = conv(leaf)
    loss = nn.MSELoss("sum")(pool(relu(before)), target)
    if apart:
        loss = loss + 0.0 * nn.MSELoss("sum")(before, np.zeros(before.shape, x.dtype))
    loss.backward()
    assert ("conv_max_pool" in {w.name for w in loss._plan.work}) is not apart
    return conv.weight.grad.copy(), conv.bias.grad.copy(), leaf.grad.copy() if wants_dx else None


@pytest.mark.parametrize("wants_dx", [False, True])
@pytest.mark.parametrize("relu", [nn.ReLU(), nn.Identity()], ids=repr)
@pytest.mark.parametrize("layer", LAYERS, ids=ids)
def test_gradients(layer, relu, wants_dx, isa, dtype, direct, rng):
    """Exact on integers, where equal numbers in a window try the rule of the first winner."""
    ins, outs, kernel, padding, size, window = layer
    conv, pool = nn.Conv2d(ins, outs, kernel, padding=padding), nn.MaxPool2d(window)
    if dtype == np.float64:
        conv.double()
    conv.weight.data, conv.bias.data = rng.integers(-2, 3, conv.weight.shape), rng.integers(-3, 4, outs)
    lanes = _isa.engine(dtype.name).lanes
    for n in sorted({1, lanes - 1, lanes, lanes + 1}):
        x = rng.integers(-2, 3, (n, ins, *size)).astype(dtype)
        target = rng.integers(-4, 5, pool(conv(x)).shape).astype(dtype)
        fused, apart = (gradients((conv, relu, pool), x, target, wants_dx, a) for a in (False, True))
        for ours, theirs in zip(fused, apart):
            assert ours is None and theirs is None or assert_array_equal(ours, theirs) is None


POINTS = [(1, 6, 5, 0, (28, 28)), (6, 16, 5, 0, (12, 12)), (2, 5, 5, 2, (7, 9)), (3, 4, (5, 3), (2, 1), (9, 11)),
          (3, 4, 5, 2, (8, 50)), (3, 8, 3, 1, (13, 14)), (8, 9, 3, 0, (11, 10)), (9, 16, 3, 1, (4, 40)), (4, 5, 3, (0, 1), (7, 5))]


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("layer", POINTS, ids=[f"{i}-{o} {k} {w}" for i, o, k, _, w in POINTS])
def test_by_points(layer, window, isa, dtype, rng):
    """Pooled from a tile's registers, with and without a way back: as of the stored image, NaN included; winners, as the gradient
    of the image has them, too."""
    ins, outs, kernel, padding, size = layer
    conv, pool = nn.Conv2d(ins, outs, kernel, padding=padding), nn.MaxPool2d(window)
    if dtype == np.float64:
        conv.double()
    lanes = _isa.engine(dtype.name).lanes
    for n in sorted({1, lanes - 1, lanes, lanes + 1}):
        x = rng.standard_normal((n, ins, *size)).astype(dtype)
        if n > 1:
            x[-1, 0, 2, 2] = np.nan
        before = conv(x)
        both = pool(before + 0.0).numpy()             # two readers: nothing is fused
        tight = dict(rtol=1e-5, atol=1e-5) if dtype == np.float32 else dict(rtol=1e-12, atol=1e-12)
        assert_allclose(pool(conv(x)).numpy(), both, **tight)
        x = np.nan_to_num(x)
        target = rng.standard_normal(both.shape).astype(dtype)
        fused, apart = (gradients((conv, nn.ReLU(), pool), x, target, True, a) for a in (False, True))
        for ours, theirs in zip(fused, apart):
            assert_allclose(ours, theirs, rtol=10 * tight["rtol"], atol=10 * tight["atol"] * max(1, np.abs(theirs).max()))


def test_who_takes_winners():
    """2x2 windows of stride 1 and 3 or 5 rows of taps: always in a first layer, below 16 channels in others."""
    def node(outs, kernel=3, window=2, **kw):
        conv, pool = nn.Conv2d(2, outs, kernel, **kw), nn.MaxPool2d(window)
        value = pool(conv(np.zeros((1, 2, 12, 12), np.float32)))
        return ConvMaxPool(value.node.inputs[0].op, value.node.op)
    assert node(8).by_winners(False) and node(64).by_winners(True) and not node(64).by_winners(False)
    assert node(8, 5).by_winners(False) and not node(8, 7).by_winners(True) and not node(8, (4, 3)).by_winners(True)
    assert not node(8, window=3).by_winners(True) and not node(8, stride=2).by_winners(True)
    assert not node(8, dilation=2).by_winners(True) and not node(8, groups=2).by_winners(True)
