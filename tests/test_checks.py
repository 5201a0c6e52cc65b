"""lanewise.checks: each says the truth about a network that is right, and finds a planted mistake. Copies of models."""
import copy
import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import checks, models, nn, optim
from lanewise.graph import apply
from lanewise.nodes import dense


def small():
    """A little of everything."""
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.ReLU(),
                         nn.Linear(5, 3))


def batch(rng, n=9):
    """(x, y) for small()."""
    return rng.standard_normal((n, 2, 4, 4)).astype(np.float32), rng.integers(0, 3, n)


def test_initial_loss(rng):
    x, y = rng.standard_normal((64, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 64)
    model = models.lenet5()
    loss, expected = checks.initial_loss(model, nn.CrossEntropyLoss(), x, y)
    assert expected == math.log(10)
    assert loss == pytest.approx(expected, rel=0.02)
    assert model.training and all(p.grad is None for p in model.parameters())
    nn.init.normal_(model[-1].weight, std=10.0)
    assert checks.initial_loss(model, nn.CrossEntropyLoss(), x, y).loss > 2 * expected


def test_numerical_gradient(rng):
    x = rng.standard_normal((3, 4))
    kept = x.copy()
    assert_allclose(checks.numerical_gradient(lambda a: (np.sin(a) * a).sum(), x), np.cos(x) * x + np.sin(x), atol=1e-8)
    assert_array_equal(x, kept)


def test_numerical_gradient_of_a_network(rng):
    """Every number of a weight's gradient."""
    model = small().double()
    x, y = batch(rng)
    x = x.astype(np.float64)
    nn.CrossEntropyLoss()(model(x), y).backward()
    weight = model[4].weight

    def loss(w):
        weight.data = w
        return nn.CrossEntropyLoss()(model(x), y)
    assert_allclose(checks.numerical_gradient(loss, weight.data.copy()), weight.grad, atol=1e-8)


def test_the_gates_of_a_course():
    """f = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2))) at w = (2, -3, -3), x = (-1, -2)."""
    w, x = np.array([2.0, -3.0, -3.0]), np.array([-1.0, -2.0])

    def f(w, x):
        return 1 / (1 + np.exp(-(w[0] * x[0] + w[1] * x[1] + w[2])))
    assert f(w, x) == pytest.approx(0.73, abs=0.005)
    assert_allclose(checks.numerical_gradient(lambda w: f(w, x), w), [-0.20, -0.39, 0.20], atol=0.005)
    assert_allclose(checks.numerical_gradient(lambda x: f(w, x), x), [0.39, -0.59], atol=0.005)


@pytest.mark.parametrize("loss_fn, targets", [(nn.CrossEntropyLoss(), "labels"), (nn.CrossEntropyLoss(reduction="sum"), "labels"),
                                              (nn.MSELoss(), "numbers")])
def test_gradcheck(loss_fn, targets, isa, rng):
    model = small()
    x, y = batch(rng)
    y = y if targets == "labels" else rng.standard_normal((9, 3)).astype(np.float32)
    before = model.state_dict()
    assert 0 < checks.gradcheck(model, loss_fn, x, y) < 1e-5
    assert checks.gradcheck(model.eval(), loss_fn, (x > 0).astype(np.uint8), y) < 1e-5
    assert not model.training and all(p.dtype == np.float32 and p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert_array_equal(value, before[name])


class WrongLinear(dense.Linear):
    """Its backward pass multiplies the input's gradient by the weights once too often, or forgets the bias."""

    def backward(self, b, node, dy):
        kept, self.bias = self.bias, None
        super().backward(b, node, dy)
        self.bias = kept


class Forgetful(nn.Linear):
    """Uses the operation with the planted mistake."""

    def forward(self, x):
        return apply(WrongLinear(self.weight, self.bias), x)


def test_gradcheck_names_what_is_wrong(rng):
    x, y = batch(rng)
    model = small()
    model.head = Forgetful(3, 3)
    with pytest.raises(lw.GradientError, match=r"gradient of parameter 'head.bias' is wrong: along a random direction"):
        checks.gradcheck(model, nn.CrossEntropyLoss(), x, y)


def test_gradcheck_wants_the_same_loss_twice(rng):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.rng = nn.Linear(4, 3), np.random.default_rng(0)

        def forward(self, x):
            return self.fc(x) * float(self.rng.uniform(1, 2))
    with pytest.raises(lw.GradientError, match="expected a model without randomness"):
        checks.gradcheck(Noisy(), nn.CrossEntropyLoss(), rng.standard_normal((5, 4)), rng.integers(0, 3, 5))


def test_overfit_one_batch(rng):
    x, y = batch(rng, 20)
    model = small()
    before = model.state_dict()
    losses = checks.overfit_one_batch(model, nn.CrossEntropyLoss(), x, y, steps=300)
    assert len(losses) == 300 and losses[0] > 0.8 and losses[-1] < 0.02
    for name, value in model.state_dict().items():
        assert_array_equal(value, before[name])


@pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies(how, rng):
    """A copy has numbers and gradients of its own, trains, and leaves the first alone; a shared weight stays shared."""
    x, y = batch(rng)
    model = small()
    model.twin = model[4]
    opt = optim.Adam(model.parameters(), 1e-2)
    loss_fn = nn.CrossEntropyLoss()
    forward = nn.Sequential(*[model[i] for i in range(7)])
    loss_fn(forward(x), y).backward()
    other = how(model)
    assert other.twin is other[4] and other[4].weight is not model[4].weight
    assert [n for n, _ in other.named_parameters()] == [n for n, _ in model.named_parameters()]
    for p, q in zip(model.parameters(), other.parameters()):
        assert_array_equal(p.data, q.data)
        assert_array_equal(p.grad, q.grad)
        assert not np.shares_memory(p.data, q.data) and not np.shares_memory(p.grad, q.grad) and q.plans is not p.plans
    before = model.state_dict()
    again = nn.Sequential(*[other[i] for i in range(7)])
    assert_array_equal(again(x).numpy(), forward(x).numpy())
    theirs = optim.Adam(other.parameters(), 1e-2)
    theirs.step()
    for name, value in model.state_dict().items():
        assert_array_equal(value, before[name])
    opt.step()
    for p, q in zip(model.parameters(), other.parameters()):
        assert_array_equal(p.data, q.data)
