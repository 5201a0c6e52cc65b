"""LBFGS and Newton against least squares and scikit-learn; what they do after an error."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import nn, optim


def quadratic(rng, dtype, n=60):
    """A linear model, data, a closure on them, and the least-squares solution (W, b)."""
    model = nn.Linear(4, 2)
    model._cast(dtype)
    x, t = rng.standard_normal((n, 4)).astype(dtype), rng.standard_normal((n, 2)).astype(dtype)
    best = np.linalg.lstsq(np.c_[x, np.ones(n)].astype(np.float64), t.astype(np.float64), rcond=None)[0]

    def closure(opt):
        opt.zero_grad()
        loss = nn.MSELoss()(model(x), t)
        loss.backward()
        return loss
    return model, closure, best[:4].T, best[4]


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG", "Newton-CG"])
def test_lbfgs_finds_the_least_squares(method, dtype, rng):
    pytest.importorskip("scipy")
    model, closure, w, b = quadratic(rng, dtype)
    opt = optim.LBFGS(model.parameters(), max_iter=100, method=method)
    before = closure(opt).item()
    assert opt.step(lambda: closure(opt)) == before
    tol = 1e-3 if dtype == np.float32 else 1e-5
    assert_allclose(model.weight.data, w, atol=tol)
    assert_allclose(model.bias.data, b, atol=tol)
    assert opt.result.nfev > 1


def test_lbfgs_damped_goes_part_of_the_way(rng):
    pytest.importorskip("scipy")
    model, closure, w, _ = quadratic(rng, np.float64)
    start = model.weight.data.copy()
    opt = optim.LBFGS(model.parameters(), lr=0.25, max_iter=100)
    opt.step(lambda: closure(opt))
    assert_allclose(model.weight.data, start + 0.25 * (w - start), atol=1e-4)


def test_newton_solves_a_quadratic_in_one_step(dtype, rng):
    model, closure, w, b = quadratic(rng, dtype)
    opt = optim.Newton(model.parameters())
    opt.step(lambda: closure(opt))
    tol = 1e-3 if dtype == np.float32 else 1e-8
    assert_allclose(model.weight.data, w, atol=tol)
    assert_allclose(model.bias.data, b, atol=tol)


def test_newton_says_that_a_hessian_is_singular(rng):
    """A parameter that the loss does not reach has a row of zeros; with damping it stays where it is."""
    model, closure, w, _ = quadratic(rng, np.float64)
    model.unused = nn.Parameter(np.ones(2))
    opt = optim.Newton(model.parameters())
    with pytest.raises(np.linalg.LinAlgError, match="the Hessian of 12 parameters is singular with damping 0"):
        opt.step(lambda: closure(opt))
    opt.param_groups[0]["damping"] = 1e-6
    opt.step(lambda: closure(opt))
    assert_allclose(model.weight.data, w, atol=1e-5)
    assert_array_equal(model.unused.data, 1)
    with pytest.raises(ValueError, match="at most 500 parameters, got 501"):
        optim.Newton([nn.Parameter(np.zeros(501))])


def test_second_order_puts_the_weights_back_after_an_error(rng):
    pytest.importorskip("scipy")
    for kind in (optim.LBFGS, optim.Newton):
        model, closure, _, _ = quadratic(rng, np.float64)
        opt, calls = kind(model.parameters()), []

        def fails():
            calls.append(1)
            if len(calls) == 3:
                raise lw.NonFiniteError("planted")
            return closure(opt)
        before = model.weight.data.copy()
        with pytest.raises(lw.NonFiniteError, match="planted"):
            opt.step(fails)
        assert_array_equal(model.weight.data, before)


def test_logistic_regression_reaches_scikit_learns_coefficients(rng):
    """A convex problem, cross-entropy and an L2 penalty on the weights, has one solution."""
    pytest.importorskip("scipy")
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = rng.standard_normal((90, 4))
    y = np.digitize(x @ [1.0, -2.0, 0.5, 0.0] + 0.5 * rng.standard_normal(90), [-1, 1])
    theirs = linear_model.LogisticRegression(C=2.0, tol=1e-10, max_iter=1000).fit(x, y)
    model = nn.Linear(4, 3).double()
    opt = optim.LBFGS(model.parameters(), max_iter=500, tolerance_change=1e-15)
    l2 = nn.penalty.L2(model, 1 / (2 * 2.0))

    def closure():
        opt.zero_grad()
        loss = nn.CrossEntropyLoss(reduction="sum")(model(x), y)
        loss.backward()
        l2.add_grad()
        return loss.item() + l2.value()
    opt.step(closure)
    assert_allclose(model.weight.data, theirs.coef_, atol=1e-5)
    bias = model.bias.data - model.bias.data.mean()     # a constant in all biases changes no probability
    assert_allclose(bias, theirs.intercept_ - theirs.intercept_.mean(), atol=1e-5)
