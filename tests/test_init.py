"""Initial values: their statistics, PyTorch's formulas, and why zeros do not train."""
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lanewise import nn, optim
from lanewise.nn import init

SHAPE = (60, 40, 3, 3)
FAN_IN, FAN_OUT = 40 * 9, 60 * 9
N = math.prod(SHAPE)


def slack(std):
    """Five standard errors of a mean and a standard deviation of N numbers."""
    return 5 * std / math.sqrt(N)


UNIFORM = [("uniform_", dict(a=-2.0, b=1.0), -2, 1),
           ("xavier_uniform_", dict(gain=2), *(s * 2 * math.sqrt(6 / (FAN_IN + FAN_OUT)) for s in (-1, 1))),
           ("kaiming_uniform_", {}, *(s * math.sqrt(6 / FAN_IN) for s in (-1, 1))),
           ("kaiming_uniform_", dict(a=math.sqrt(5)), *(s / math.sqrt(FAN_IN) for s in (-1, 1))),
           ("kaiming_uniform_", dict(mode="fan_out", nonlinearity="tanh"),
            *(s * 5 / 3 * math.sqrt(3 / FAN_OUT) for s in (-1, 1)))]
NORMAL = [("normal_", dict(mean=1.0, std=0.5), 1.0, 0.5),
          ("xavier_normal_", dict(gain=0.5), 0, 0.5 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
          ("kaiming_normal_", {}, 0, math.sqrt(2 / FAN_IN)),
          ("kaiming_normal_", dict(mode="fan_out", nonlinearity="linear"), 0, 1 / math.sqrt(FAN_OUT))]


@pytest.mark.parametrize("name, args, low, high", UNIFORM, ids=str)
def test_uniform(name, args, low, high):
    p = nn.Parameter(np.zeros(SHAPE, np.float32))
    assert getattr(init, name)(p, **args, rng=1) is p
    width = high - low
    assert p.data.min() >= low - 1e-6 and p.data.max() <= high + 1e-6
    assert p.data.max() - p.data.min() > 0.99 * width
    assert p.data.mean() == pytest.approx((low + high) / 2, abs=slack(width / math.sqrt(12)))
    assert p.data.std() == pytest.approx(width / math.sqrt(12), abs=slack(width / math.sqrt(12)))


@pytest.mark.parametrize("name, args, mean, std", NORMAL, ids=str)
def test_normal(name, args, mean, std):
    w = getattr(init, name)(np.zeros(SHAPE), **args, rng=1)
    assert w.mean() == pytest.approx(mean, abs=slack(std))
    assert w.std() == pytest.approx(std, abs=slack(std))
    assert np.mean(np.abs(w - mean) < std) == pytest.approx(0.6827, abs=0.02)


def test_truncated_normal():
    stats = pytest.importorskip("scipy.stats")
    w = init.trunc_normal_(np.zeros(SHAPE), 0.5, 2.0, -1.0, 3.0, rng=1)
    assert w.min() >= -1 and w.max() <= 3
    expected = stats.truncnorm(-0.75, 1.25, 0.5, 2.0)
    assert w.mean() == pytest.approx(expected.mean(), abs=slack(2))
    assert w.std() == pytest.approx(expected.std(), abs=slack(2))
    for a, b in ((3, 3), (20, 30), (-30, -20)):
        with pytest.raises(ValueError, match="expected a < b within 4 std of the mean"):
            init.trunc_normal_(np.zeros(3), 0, 1, a, b)


def test_constants():
    p = nn.Parameter(np.full((2, 3), 9, np.float32))
    for fill, value in ((init.zeros_, 0), (init.ones_, 1), (lambda t: init.constant_(t, 0.5), 0.5)):
        assert_array_equal(fill(p).data, np.full((2, 3), value))


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (8, 2, 3, 1)])
def test_orthogonal(shape):
    w = init.orthogonal_(np.zeros(shape), gain=2, rng=1).reshape(shape[0], -1)
    product = w @ w.T if len(w) <= w.shape[1] else w.T @ w
    assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)
    signs = [np.sign(init.orthogonal_(np.zeros((4, 4)), rng=i).ravel()) for i in range(200)]
    assert np.abs(np.mean(signs, 0)).max() < 0.4


def test_gains_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in init.GAINS:
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    for slope in (None, 0, 0.2):
        assert init.calculate_gain("leaky_relu", slope) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", slope))


def test_mistakes():
    with pytest.raises(ValueError, match="xavier_normal_: expected a weight of two dimensions or more, got shape \\(3,\\)"):
        init.xavier_normal_(np.zeros(3))
    with pytest.raises(ValueError, match="expected mode 'fan_in' or 'fan_out', got 'fan'"):
        init.kaiming_normal_(np.zeros((3, 3)), mode="fan")
    with pytest.raises(ValueError, match="calculate_gain: expected leaky_relu, .* got 'step'"):
        init.calculate_gain("step")


def test_rng():
    a, b, c = (init.normal_(np.zeros(9), rng=r) for r in (1, 1, 2))
    assert_array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("fill, breaks", [(lambda p: init.zeros_(p), False), (lambda p: init.constant_(p, 0.3), False),
                                          (lambda p: init.uniform_(p, -0.5, 0.5), True)])
def test_symmetry(fill, breaks, rng):
    """Units that start alike get the same gradient and stay alike; random ones learn different things."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    for p in model.parameters():
        fill(p)
    x, y = rng.standard_normal((33, 4)).astype(np.float32), rng.integers(0, 3, 33)
    opt = optim.Adam(model.parameters(), 0.05)
    for _ in range(30):
        opt.zero_grad()
        nn.CrossEntropyLoss()(model(x), y).backward()
        opt.step()
    hidden, outputs = model[0].weight.data, model[2].weight.data
    apart = max(np.ptp(hidden, 0).max(), np.ptp(outputs, 1).max())
    assert apart > 0.1 if breaks else apart < 1e-5


@pytest.mark.parametrize("scale, low, high", [("kaiming", 0.3, 3.0), ("small", 0.0, 1e-3), ("large", 1e3, np.inf)])
def test_kaiming_keeps_the_scale_of_deep_networks(scale, low, high, rng):
    """Fifteen layers with ReLU: the last layer's mean square against the first's."""
    std = {"kaiming": math.sqrt(2 / 64), "small": 0.5 * math.sqrt(2 / 64), "large": 2 * math.sqrt(2 / 64)}[scale]
    x = rng.standard_normal((200, 64)).astype(np.float32)
    layers = [nn.Linear(64, 64, bias=False) for _ in range(15)]
    for layer in layers:
        init.normal_(layer.weight, 0, std, rng)
    values = [x]
    for layer in layers:
        values.append(nn.Sequential(layer, nn.ReLU())(values[-1]).numpy())
    ratio = np.square(values[-1]).mean() / np.square(values[1]).mean()
    assert low < ratio < high
