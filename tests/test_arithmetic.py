"""Losses by arithmetic, parameters as operands, functional forms: against PyTorch's autograd and by hand. Every single operation
is in the table, arithmetic_cases.py."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import nn, optim
from lanewise.graph import as_value
from lanewise.nn import functional as F

LOSSES = {
    "mean square": (2, lambda x, t: ((x - t) ** 2).mean()),
    "sum of absolutes": (2, lambda x, t: abs(x - t).sum()),
    "Cauchy": (2, lambda x, t: (1 + (x - t) ** 2).log().mean()),
    "weighted": (2, lambda x, t: 3 * ((x - t) ** 2).sum() / 4 - (x * t).mean()),
    "cosine": (2, lambda x, t: -((x * t).sum(1) / (x * x).sum(1).sqrt()).mean()),
    "norm": (4, lambda x, t: ((x - t) ** 2).sum((1, 2, 3)).sqrt().mean()),
    "centred": (4, lambda x, t: (((x - x.mean((2, 3), keepdim=True)) * t).sum((2, 3)) ** 2).sum()),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n", [1, 8, 9, 40])
def test_losses_by_arithmetic(name, n, isa, rng):
    torch = pytest.importorskip("torch")
    rank, loss = LOSSES[name]
    shape = (n, 5) if rank == 2 else (n, 2, 3, 4)
    x, t = rng.standard_normal((2, *shape))
    leaf, tensor = lw.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    mine, theirs = loss(as_value(leaf), t), loss(tensor, torch.from_numpy(t))
    mine.backward()
    theirs.backward()
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-12)
    assert_allclose(leaf.grad, tensor.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_backpropagation_by_gates(isa):
    """f(w, x) = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2))) at w = (2, -3, -3), x = (-1, -2)."""
    w, x = lw.tensor([[2.0, -3.0, -3.0]], requires_grad=True), lw.tensor([[-1.0, -2.0]], requires_grad=True)
    a, b = as_value(w), as_value(x)
    f = 1 / (1 + lw.exp(-(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2])))
    f.sum().backward()
    assert f.numpy() == pytest.approx([0.73], abs=5e-3)
    assert_allclose(w.grad, [[-0.20, -0.39, 0.20]], atol=5e-3)
    assert_allclose(x.grad, [[0.39, -0.59]], atol=5e-3)


class Scale(nn.Module):
    """A learnable scale and shift of channels, and a temperature."""

    def __init__(self):
        super().__init__()
        self.scale, self.shift = nn.Parameter(np.ones((3, 1, 1), np.float32)), nn.Parameter(np.zeros((1, 3, 1, 1), np.float32))
        self.temperature = nn.Parameter(np.ones(1, np.float32))

    def forward(self, x):
        return (self.scale * x + self.shift) / lw.exp(self.temperature)


def test_parameters_in_forward_train(rng):
    """Parameters in arithmetic are trained: they find the scale, and the shift, of what made the targets."""
    model = Scale()
    model.temperature.requires_grad = False
    opt, x = optim.Adam([model.scale, model.shift], lr=0.1), rng.standard_normal((33, 3, 4, 4)).astype(np.float32)
    wanted, moved = np.float32([2, -1, 0.5]).reshape(3, 1, 1), np.float32([0, 1, 2]).reshape(3, 1, 1)
    for _ in range(300):
        opt.zero_grad()
        nn.MSELoss()(model(x), (wanted * x + moved) / np.exp(np.float32(1))).backward()
        opt.step()
    assert_allclose(model.scale.data, wanted, atol=0.02)
    assert_allclose(model.shift.data[0], moved, atol=0.02)
    assert model.temperature.grad is None


@pytest.mark.parametrize("threads", [1, 2])
def test_parameter_gradients(threads, isa, rng):
    """By differences, for any number of threads and slots; and the same to the last bit from run to run."""
    lw.set_num_threads(threads)
    x, t = rng.standard_normal((2, 203, 3, 2, 2))
    assert lw.checks.gradcheck(Scale(), nn.MSELoss(), x, t) < 1e-5
    grads = []
    for _ in range(2):
        model = Scale().double()
        nn.MSELoss()(model(x), t).backward()
        grads.append(model.scale.grad)
    assert_array_equal(*grads)


def test_parameters_alone(rng):
    """A penalty on weights is a loss of its own, whatever the batch, and joins others."""
    layer = nn.Linear(4, 3)
    penalty = (layer.weight ** 2).sum()
    penalty.backward()
    assert penalty.item() == pytest.approx((layer.weight.data ** 2).sum(), rel=1e-6)
    assert_allclose(layer.weight.grad, 2 * layer.weight.data, rtol=1e-6)
    assert_allclose((layer.weight * 2 + 1).numpy(), layer.weight.data * 2 + 1, rtol=1e-6)
    for n in (1, 37):
        layer.zero_grad()
        x, y = rng.standard_normal((n, 4)).astype(np.float32), rng.integers(0, 3, n)
        nn.CrossEntropyLoss()(layer(x), y).backward()
        plain = layer.weight.grad.copy()
        layer.zero_grad()
        (nn.CrossEntropyLoss()(layer(x), y) + 0.5 * (layer.weight ** 2).sum()).backward()
        assert_allclose(layer.weight.grad, plain + layer.weight.data, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_shared_weight_with_two_biases(threads, rng):
    """The second use adds to the weight's gradient and starts its own bias's, run after run."""
    lw.set_num_threads(threads)
    weight = nn.Parameter(rng.standard_normal((13, 13)))
    biases = nn.Parameter(np.ones(13)), nn.Parameter(np.ones(13))
    x = rng.standard_normal((37, 13))
    for _ in range(2):
        for p in (weight, *biases):
            p.grad = None
        (F.linear(F.linear(x, weight, biases[0]), weight, biases[1]) + x @ weight).sum().backward()
        upstream = weight.data.sum(0)
        assert_allclose(biases[1].grad, np.full(13, 37), rtol=1e-12)
        assert_allclose(biases[0].grad, 37 * upstream, rtol=1e-10)
        y = x @ weight.data.T + 1
        assert_allclose(weight.grad, np.tile(y.sum(0), (13, 1)) + np.outer(upstream, x.sum(0)) + np.outer(x.sum(0), np.ones(13)),
                        rtol=1e-10)


def test_idle_lanes_touch_nothing(isa, dtype):
    """One sample: the other lanes must not make 0 / 0 of a gradient of zero, which would reach the parameters."""
    p = nn.Parameter(np.full(3, 2, dtype))
    x = np.full((1, 3), 3, dtype)
    (lw.log(as_value(x)) * p + (as_value(x) ** 0.5) / p).sum().backward()
    assert_allclose(p.grad, np.log(3) - np.sqrt(3) / 4, rtol=1e-5)


def test_edges_of_functions(isa, dtype):
    x = as_value(np.array([[0, -1, np.inf, np.nan, 4]], dtype))
    assert_allclose(lw.log(x).numpy(), [[-np.inf, np.nan, np.inf, np.nan, np.log(4)]], rtol=1e-6)
    assert_allclose(lw.sqrt(x).numpy(), [[0, np.nan, np.inf, np.nan, 2]], rtol=1e-6)
    assert_allclose((x ** 1.5).numpy(), [[0, np.nan, np.inf, np.nan, 8]], rtol=1e-5)
    assert_allclose((1 / x).numpy(), [[np.inf, -1, 0, np.nan, 0.25]], rtol=1e-6)
    assert_allclose(x.max(1).numpy(), [np.nan])
    assert_allclose(F.softplus(as_value(np.array([[-90, -20, 0, 90]], dtype))).numpy(),
                    [[np.exp(-90), np.exp(-20), np.log(2), 90]], rtol=1e-5, atol=1e-38)


def test_ties_and_kinks():
    """The first of equal winners takes the gradient; |x| has none at 0."""
    leaf = lw.tensor(np.zeros((1, 2, 2)), requires_grad=True)
    (as_value(leaf).max((1, 2)) * 3).sum().backward()
    assert_array_equal(leaf.grad, [[[3, 0], [0, 0]]])
    leaf.grad = None
    abs(as_value(leaf)).sum().backward()
    assert_array_equal(leaf.grad, 0)


ERRORS = {
    "expected shapes that broadcast": lambda x: x + np.ones((2, 4), np.float32),
    "expected two values of as many dimensions": lambda x: x * x[:, 0],
    "expected values of one batch size": lambda x: x * np.ones((3, 5), np.float32),
    "sum: expected dimensions other than the batch": lambda x: x.sum(0),
    "mean: expected each dimension once": lambda x: x.mean((1, -1)),
    "max: expected dimensions other than the batch": lambda x: x.max(),
    "permute: expected each of 0 to 1 once, the batch first": lambda x: x.permute(1, 0),
    "transpose: expected dimensions other": lambda x: x.transpose(0, 1),
    "expected ':' as a value's first index": lambda x: x[0],
    "expected up to 2 integers and slices": lambda x: x[:, 0, 0],
    "expected an index from -5 to 4": lambda x: x[:, 5],
    "expected a slice of one number or more": lambda x: x[:, 3:3],
    "pad: expected up to 1 pairs": lambda x: F.pad(x, (1, 2, 3)),
    "@: expected matrices": lambda x: x @ x,
    "stack: expected dim other than the batch": lambda x: lw.stack([x], 0),
    "stack: expected at least one value": lambda x: lw.stack([]),
    "prelu: expected a weight of 1 or 5 numbers": lambda x: F.prelu(x, nn.Parameter(np.ones(3, np.float32))),
    "expected dim other than the batch": lambda x: F.log_softmax(x, 0),
    "4 dimensions": lambda x: nn.TotalVariationLoss()(x),
}


@pytest.mark.parametrize("message", ERRORS)
def test_shape_errors(message):
    with pytest.raises(lw.ShapeError) as error:
        ERRORS[message](as_value(np.ones((2, 5), np.float32)))
    assert message in str(error.value)


def test_other_errors():
    x = as_value(np.ones((2, 5), np.float32))
    for call in (lambda: x ** x, lambda: F.linear(x, np.ones((3, 5), np.float32)), lambda: x.sum(1, axis=1)):
        with pytest.raises(TypeError):
            call()
    for call in (lambda: F.softplus(x, 0), lambda: F.gelu(x, "erf"), lambda: nn.GramLoss("max"), lambda: nn.TotalVariationLoss(3)):
        with pytest.raises(ValueError, match="expected"):
            call()


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid", "tanh", "softmax",
                                  "log_softmax"])
def test_functional_forms(name, rng):
    """PyTorch's function of the same name and first argument."""
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((5, 6)).astype(np.float32)
    dim = (1,) if "softmax" in name else ()
    assert_allclose(getattr(F, name)(x, *dim).numpy(), getattr(torch.nn.functional, name)(torch.from_numpy(x), *dim).numpy(),
                    rtol=1e-5, atol=1e-6)


def test_functional_layers(rng):
    """conv2d, linear, pools and losses with Parameters, in PyTorch's argument order."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x, w, v, b = (rng.standard_normal(s).astype(np.float32) for s in ((5, 4, 8, 8), (6, 2, 3, 3), (7, 6), (6,)))
    kernel, bias, weight = nn.Parameter(w), nn.Parameter(b), nn.Parameter(v)
    y = F.avg_pool2d(F.max_pool2d(F.relu(F.conv2d(x, kernel, bias, 2, 1, 1, 2)), 2), 2)
    scores = F.linear(F.flatten(y), weight)
    t = torch.from_numpy
    z = f.avg_pool2d(f.max_pool2d(f.relu(f.conv2d(t(x), t(w), t(b), 2, 1, 1, 2)), 2), 2)
    expected = f.linear(z.flatten(1), t(v))
    assert_allclose(scores.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    labels = rng.integers(0, 7, 5)
    assert F.cross_entropy(scores, labels).item() == pytest.approx(f.cross_entropy(expected, t(labels)).item(), rel=1e-5)
    F.cross_entropy(scores, labels).backward()
    assert kernel.grad.any() and bias.grad.any() and weight.grad.any()


def test_every_function_is_exported():
    assert all(hasattr(F, name) for name in F.__all__)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_total_variation(power, reduction, isa, rng):
    x = rng.standard_normal((9, 2, 4, 5))
    leaf = lw.tensor(x, requires_grad=True)
    loss = nn.TotalVariationLoss(power, reduction)(leaf)

    def by_hand(x):
        total = sum(abs(x[..., i, j] - x[..., i - 1, j]).__pow__(power).sum() for i in range(1, 4) for j in range(5))
        total += sum(abs(x[..., i, j] - x[..., i, j - 1]).__pow__(power).sum() for i in range(4) for j in range(1, 5))
        return total / (9 if reduction == "mean" else 1)
    loss.backward()
    assert loss.item() == pytest.approx(by_hand(x))
    assert_allclose(leaf.grad, lw.checks.numerical_gradient(by_hand, x), rtol=1e-5, atol=1e-7)


def test_gram_loss(isa, rng):
    x, target = rng.standard_normal((9, 3, 4, 5)), rng.standard_normal((9, 3, 2, 6))
    leaf = lw.tensor(x, requires_grad=True)
    loss = nn.GramLoss()(leaf, target)

    def by_hand(x):
        a, b = (np.stack([s.reshape(3, -1) @ s.reshape(3, -1).T / s.size for s in v]) for v in (x, target))
        return ((a - b) ** 2).mean()
    loss.backward()
    assert loss.item() == pytest.approx(by_hand(x))
    assert_allclose(leaf.grad, lw.checks.numerical_gradient(by_hand, x), rtol=1e-4, atol=1e-8)
    assert nn.GramLoss()(x, x).item() == 0
    with pytest.raises(lw.ShapeError, match="3 channels"):
        nn.GramLoss()(x, target[:, :2])
