"""Penalties on weights, gradient clipping, the max-norm constraint."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lanewise import checks, models, nn, optim
from lanewise.nn import penalty, utils

REFERENCE = {"L1": lambda w: np.abs(w).sum(), "L2": lambda w: (w ** 2).sum(), "Frobenius": np.linalg.norm,
             "MixedNorm": lambda w: np.sqrt((np.abs(w).reshape(len(w), -1).sum(1) ** 2).sum())}


def params(rng, dtype, *shapes):
    """Parameters with gradients."""
    made = [nn.Parameter(rng.standard_normal(s).astype(dtype)) for s in shapes]
    for p in made:
        p.grad = rng.standard_normal(p.shape)
    return made


def test_every_penalty_has_a_reference():
    assert {c.__name__ for c in penalty.Penalty.__subclasses__()} == set(REFERENCE)


@pytest.mark.parametrize("name", REFERENCE)
def test_penalty(name, dtype, rng):
    """The value, and the gradient by differences added to what is there."""
    given = params(rng, dtype, (3, 4), (2, 3, 2, 2))
    grads = [p.grad.astype(np.float64) for p in given]
    rule = getattr(penalty, name)(given, 0.3)
    eps = float(np.finfo(dtype).eps)
    assert rule.value() == pytest.approx(0.3 * sum(REFERENCE[name](p.data.astype(np.float64)) for p in given), rel=10 * eps)
    rule.add_grad()
    for p, g in zip(given, grads):
        slope = checks.numerical_gradient(lambda w: 0.3 * REFERENCE[name](w), p.data)
        assert_allclose(p.grad - g, slope, atol=1e-7 + 20 * eps)
    given[0].grad = None
    given[1].requires_grad = False
    rule.add_grad()
    slope = checks.numerical_gradient(lambda w: 0.3 * REFERENCE[name](w), given[0].data)
    assert_allclose(given[0].grad, slope, atol=1e-7 + 20 * eps)
    assert given[1].grad is None


@pytest.mark.parametrize("name", REFERENCE)
def test_zero_weights_have_no_slope(name):
    p = nn.Parameter(np.zeros((2, 3), np.float32))
    rule = getattr(penalty, name)([p], 1.0)
    rule.add_grad()
    assert rule.value() == 0
    assert_array_equal(p.grad, 0)


def test_penalties_see_weights_alone():
    model = models.lenet5()
    assert [p.name for p in penalty.L2(model, 1.0).params] == [n for n, _ in model.named_parameters() if n.endswith("weight")]
    with pytest.raises(ValueError, match="L1: expected lam to be a number of 0 or more, got -1"):
        penalty.L1(model, -1)
    with pytest.raises(TypeError, match="L2: expected a Module or Parameters, got ndarray"):
        penalty.L2([np.zeros((2, 2))], 1)


def test_l2_is_weight_decay_of_weights(rng):
    """Three steps of SGD with the penalty, and with weight_decay = 2 lam on the weights' group."""
    x, y = rng.standard_normal((9, 4)).astype(np.float32), rng.integers(0, 3, 9)
    start, found = nn.Linear(4, 3).state_dict(), []
    for decay in (False, True):
        model = nn.Linear(4, 3)
        model.load_state_dict(start)
        opt = optim.SGD([{"params": model.weight, "weight_decay": 0.2 * decay}, {"params": model.bias}], lr=0.1)
        rule = penalty.L2(model, 0.1 * (not decay))
        for _ in range(3):
            opt.zero_grad()
            nn.CrossEntropyLoss()(model(x), y).backward()
            rule.add_grad()
            opt.step()
        found.append(np.r_[model.weight.data.ravel(), model.bias.data])
    assert_allclose(*found, rtol=1e-5, atol=1e-7)


def test_l1_makes_weights_small(rng):
    """A weight that no target needs goes to zero, and the one that is needed stays."""
    model, x = nn.Linear(2, 1, bias=False), rng.standard_normal((64, 2)).astype(np.float32)
    model.weight.data = [[1.0, 1.0]]
    opt, rule = optim.SGD(model.parameters(), lr=0.05), penalty.L1(model, 0.1)
    for _ in range(300):
        opt.zero_grad()
        nn.MSELoss()(model(x), 2 * x[:, :1]).backward()
        rule.add_grad()
        opt.step()
    assert model.weight.data[0, 0] > 1.5 and abs(model.weight.data[0, 1]) < 0.02


def test_frobenius_and_mixed_norm_bound_each_other(rng):
    """Cauchy-Schwarz: F <= M <= sqrt(columns) F; equal on the right for rows of one magnitude, left for one weight a row."""
    for shape in ((1, 1), (3, 5), (7, 2), (4, 3, 2, 2)):
        cols = int(np.prod(shape[1:]))
        for w in (rng.standard_normal(shape), np.sign(rng.standard_normal(shape)), np.eye(shape[0], cols).reshape(shape)):
            p = [nn.Parameter(w)]
            f, m = penalty.Frobenius(p, 1.0).value(), penalty.MixedNorm(p, 1.0).value()
            assert f * (1 - 1e-12) <= m <= np.sqrt(cols) * f * (1 + 1e-12)
        if shape == (3, 5):
            one, row = [nn.Parameter(np.eye(3, 5))], [nn.Parameter(np.full((3, 5), -2.0))]
            assert penalty.MixedNorm(one, 1.0).value() == pytest.approx(penalty.Frobenius(one, 1.0).value())
            assert penalty.MixedNorm(row, 1.0).value() == pytest.approx(np.sqrt(5) * penalty.Frobenius(row, 1.0).value())


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clip_grad_norm(norm_type, max_norm, dtype, rng):
    torch = pytest.importorskip("torch")
    mine = params(rng, dtype, (3, 4), (5,), (2, 2))
    mine[2].grad = None
    theirs = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in mine]
    for p, q in zip(mine[:2], theirs):
        q.grad = torch.from_numpy(p.grad.copy())
    total = utils.clip_grad_norm_(mine, max_norm, norm_type)
    assert total == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)), rel=1e-5)
    for p, q in zip(mine[:2], theirs):
        assert_allclose(p.grad, q.grad.numpy(), rtol=1e-5)
    assert mine[2].grad is None
    assert utils.clip_grad_norm_(mine[2], 1.0) == 0


def test_clipping_large_gradients_does_not_overflow():
    p = nn.Parameter(np.zeros(4, np.float32))
    p.grad = np.full(4, 1e30)
    assert utils.clip_grad_norm_(p, 1.0) == pytest.approx(2e30)
    assert_allclose(p.grad, 0.5, rtol=1e-6)


def test_clip_grad_value(dtype, rng):
    a, b = params(rng, dtype, (30,), (3,))
    b.grad, before = None, a.grad.copy()
    utils.clip_grad_value_([a, b], 0.5)
    assert_array_equal(a.grad, np.clip(before, -0.5, 0.5))
    assert b.grad is None and np.abs(before).max() > 0.5


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_max_norm(dim, dtype, rng):
    torch = pytest.importorskip("torch")
    p = nn.Parameter(rng.standard_normal((4, 3, 2)).astype(dtype) * np.array([0, 0.1, 1, 3], dtype)[:, None, None])
    expected = torch.renorm(torch.from_numpy(p.data.copy()), 2, dim % 3, 1.0).numpy()
    utils.max_norm_(p, 1.0, dim)
    assert_allclose(p.data, expected, rtol=1e-5)
    others = tuple(a for a in range(3) if a != dim % 3)
    norms = np.sqrt((p.data.astype(np.float64) ** 2).sum(others))
    assert norms.max() <= 1 + 1e-6 and norms.max() > 0.99


@pytest.mark.parametrize("call, kind, message", [
    (lambda p: utils.clip_grad_norm_(p, 0), ValueError, "clip_grad_norm_: expected max_norm to be a number above 0, got 0"),
    (lambda p: utils.clip_grad_value_(p, -1.0), ValueError, "clip_grad_value_: expected clip_value to be a number above 0"),
    (lambda p: utils.max_norm_(p, 1.0, 3), ValueError, "max_norm_: expected dim below 1 for parameter"),
    (lambda p: utils.clip_grad_norm_([p.data], 1.0), TypeError, "clip_grad_norm_: expected Parameters, got ndarray")])
def test_mistakes(call, kind, message):
    with pytest.raises(kind, match=message):
        call(nn.Parameter(np.zeros(3, np.float32)))
