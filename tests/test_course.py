"""Numbers that a course works out by hand, from lanewise: gates, shapes, variance, conditioning, logistic regression's gradient."""
import numpy as np
import pytest
from numpy.testing import assert_allclose

import lanewise as lw
from lanewise import nn, optim


def test_gates():
    """f(w, x) = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2))): 0.73, and the gradients of every input."""
    w, x = nn.Parameter(np.array([2.0, -3, -3])), lw.tensor(np.array([[-1.0, -2]]), requires_grad=True)
    f = nn.functional.sigmoid((lw.concat([x, np.ones((1, 1))]) * w).sum(1))
    f.sum().backward()
    assert f.numpy() == pytest.approx(0.73, abs=0.005)
    assert_allclose(w.grad, [-0.20, -0.39, 0.20], atol=0.005)
    assert_allclose(x.grad, [[0.39, -0.59]], atol=0.005)


def test_scores_both_ways_round(rng):
    """Samples in rows, x W^T + b, and in columns, W X + b: transposes of each other."""
    layer = nn.Linear(5, 3).double()
    x = rng.standard_normal((7, 5))
    rows = layer(x).numpy()
    assert_allclose(rows.T, layer.weight.data @ x.T + layer.bias.data[:, None], rtol=1e-12)


def test_logistic_regressions_gradient(rng):
    """dw = 1/m X (A - Y)^T, db = 1/m sum (a - y), with samples in columns."""
    layer = nn.Linear(4, 1).double()
    x, y = rng.standard_normal((9, 4)), rng.integers(0, 2, (9, 1)).astype(float)
    nn.BCEWithLogitsLoss()(layer(x), y).backward()
    a = 1 / (1 + np.exp(-(layer.weight.data @ x.T + layer.bias.data[:, None])))
    assert_allclose(layer.weight.grad, (x.T @ (a - y.T).T / 9).T, rtol=1e-10)
    assert_allclose(layer.bias.grad, (a - y.T).mean(1), rtol=1e-10)


def test_softmax_jacobian(rng):
    """dp_j/dz_i = p_j (delta_ij - p_i)."""
    z = rng.standard_normal((1, 5))
    p = nn.Softmax(1)(z).numpy()[0]
    for j in range(5):
        leaf = lw.tensor(z, requires_grad=True)
        nn.functional.softmax(leaf, 1)[:, j].sum().backward()
        assert_allclose(leaf.grad[0], p[j] * ((np.arange(5) == j) - p), atol=1e-12)


def test_variance_of_a_product(rng):
    """Var(XY) = E[X]^2 Var(Y) + E[Y]^2 Var(X) + Var(X) Var(Y) of independent terms: with means of zero, Var(X) Var(Y)."""
    x, y = rng.normal(0.7, 1.3, 400000), rng.normal(-0.4, 0.8, 400000)
    expected = 0.7 ** 2 * 0.8 ** 2 + 0.4 ** 2 * 1.3 ** 2 + 1.3 ** 2 * 0.8 ** 2
    assert (x * y).var() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("activation, init, kept", [
    (nn.Tanh, lambda w: nn.init.xavier_normal_(w), True), (nn.Tanh, lambda w: nn.init.normal_(w, std=0.01), False),
    (nn.ReLU, lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), True),
    (nn.ReLU, lambda w: nn.init.normal_(w, std=0.01), False)], ids=["xavier", "small tanh", "kaiming", "small relu"])
def test_initialisation_keeps_the_variance(activation, init, kept, rng):
    """Ten layers of 256: scaled weights keep the spread of the numbers, small ones lose it."""
    layers = []
    for _ in range(10):
        layers += [nn.Linear(256, 256, bias=False), activation()]
        init(layers[-2].weight)
    x = rng.standard_normal((200, 256)).astype(np.float32)
    spread = nn.Sequential(*layers)(x).numpy().std()
    assert spread > 0.1 if kept else spread < 1e-6


def test_centring_lowers_the_condition_number(rng):
    """Of X^T X, whose eigenvalues are the curvatures of least squares; and gradient descent gets further in as many steps."""
    x = rng.standard_normal((300, 3)) * [1, 2, 1] + [8, 5, -6]
    y = x @ [[1.0], [2], [-1]] + 3
    centred = x - x.mean(0)

    def condition(a):
        return np.linalg.cond(np.c_[a, np.ones(len(a))])

    def loss_after(a, rate):
        layer = nn.Linear(3, 1).double()
        opt = optim.SGD(layer.parameters(), rate)
        for _ in range(100):
            opt.zero_grad()
            loss = nn.MSELoss()(layer(a), y)
            loss.backward()
            opt.step()
        return loss.item()
    assert condition(centred) < condition(x) / 3
    largest = [np.linalg.norm(np.c_[a, np.ones(len(a))], 2) ** 2 / len(a) for a in (x, centred)]
    assert loss_after(centred, 0.5 / largest[1]) < loss_after(x, 0.5 / largest[0]) / 10
