"""Optimizers against their formulas in float64 NumPy; parameter groups, missing gradients, state."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lanewise import nn, optim


def sgd(p, grads, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """Reference: the parameter after each gradient."""
    buf = None
    for g in grads:
        d = g + weight_decay * p
        buf = d if buf is None else momentum * buf + (1 - dampening) * d
        p = p - lr * (d if not momentum else d + momentum * buf if nesterov else buf)
    return p


def adam(p, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Reference: the parameter after each gradient."""
    m = v = 0
    for t, g in enumerate(grads, 1):
        d = g + weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * d, betas[1] * v + (1 - betas[1]) * d * d
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


SETTINGS = [("SGD", sgd, dict(lr=0.1)), ("SGD", sgd, dict(lr=0.1, weight_decay=0.2)), ("SGD", sgd, dict(lr=0.1, momentum=0.9)),
            ("SGD", sgd, dict(lr=0.1, momentum=0.8, dampening=0.3, weight_decay=0.1)),
            ("SGD", sgd, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)), ("Adam", adam, dict(lr=0.01)),
            ("Adam", adam, dict(lr=0.01, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1))]


@pytest.mark.parametrize("name, reference, settings", SETTINGS, ids=lambda v: str(v) if isinstance(v, (str, dict)) else "")
@pytest.mark.parametrize("sizes", [(1,), (3, 17), (5000, 4096, 9)])
def test_formula(name, reference, settings, sizes, isa, dtype, rng):
    """Parameters of any size, side by side in one array."""
    params = [nn.Parameter(rng.standard_normal(s).astype(dtype)) for s in sizes]
    start = [p.data.astype(np.float64) for p in params]
    opt = getattr(optim, name)(params, **settings)
    grads = [[rng.standard_normal(s) for s in sizes] for _ in range(4)]
    for step in grads:
        opt.zero_grad()
        for p, g in zip(params, step):
            p.grad = g
        opt.step()
    for i, p in enumerate(params):
        assert_allclose(p.data, reference(start[i], [g[i] for g in grads], **settings), rtol=0,
                        atol=200 * np.finfo(dtype).eps)


def test_groups(rng):
    """Each group has its own settings; they are read at every step."""
    a, b = (nn.Parameter(np.ones(3, np.float32)) for _ in range(2))
    opt = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    a.grad = b.grad = 1
    opt.step()
    assert_allclose(a.data, 0.9)
    assert_allclose(b.data, 0.5)
    opt.param_groups[0]["lr"] = 0.4
    opt.step()
    assert_allclose(a.data, 0.5)


def test_parameters_without_gradient_are_left():
    a, b, c = params = [nn.Parameter(np.ones(4, np.float32)) for _ in range(3)]
    opt = optim.SGD(params, lr=1.0)
    a.grad = c.grad = 1
    opt.step()
    assert_array_equal([p.data[0] for p in params], [0, 1, 0])
    opt.zero_grad()
    opt.step()
    assert_array_equal([p.data[0] for p in params], [0, 1, 0])
    opt.zero_grad(set_to_none=False)
    assert_array_equal(b.grad, 0)


def test_parameters_live_in_one_array(rng):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    before = model.state_dict()
    optim.Adam(model.parameters())
    places = [p.data.__array_interface__["data"][0] for p in model.parameters()]
    sizes = [p.data.nbytes for p in model.parameters()]
    assert places[0] % 64 == 0 and np.diff(places).tolist() == sizes[:-1]
    for k, v in model.state_dict().items():
        assert_array_equal(v, before[k])


def test_state_goes_on_where_it_was(rng):
    """Save after two steps, load into a fresh optimizer: the third step is the same to the last bit."""
    grads = rng.standard_normal((3, 10)).astype(np.float32)
    results = []
    for resume in (False, True):
        p = nn.Parameter(np.ones(10, np.float32))
        opt = optim.Adam([p], lr=0.1)
        for i, g in enumerate(grads):
            if resume and i == 2:
                state, p = opt.state_dict(), nn.Parameter(p.data.copy())
                opt = optim.Adam([p], lr=0.3)
                opt.load_state_dict(state)
            p.grad = g
            opt.step()
        results.append(p.data)
    assert_array_equal(*results)
    with pytest.raises(ValueError, match="does not belong to these parameters"):
        optim.Adam([nn.Parameter(np.ones(9, np.float32))]).load_state_dict(state)


def test_a_newer_optimizer_takes_the_parameters():
    p = nn.Parameter(np.ones(3, np.float32))
    old = optim.SGD([p], lr=1.0)
    optim.SGD([p], lr=1.0)
    p.grad = 1
    with pytest.raises(RuntimeError, match="make the optimizer last"):
        old.step()


def test_one_cycle_ends():
    opt = optim.SGD([nn.Parameter(np.ones(1, np.float32))], lr=1.0)
    schedule = optim.OneCycleLR(opt, 1.0, total_steps=3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ValueError, match="3 steps were planned and all are done"):
        schedule.step()
