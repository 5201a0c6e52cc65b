"""Optimizers against their formulas in float64 NumPy, and PyTorch's paths; parameter groups, missing gradients, state."""
import copy
import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import nn, optim


def sgd(p, grads, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """Reference: the parameter after each gradient."""
    buf = None
    for g in grads:
        d = g + weight_decay * p
        buf = d if buf is None else momentum * buf + (1 - dampening) * d
        p = p - lr * (d if not momentum else d + momentum * buf if nesterov else buf)
    return p


def adam(p, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, bias_correction=True, decoupled=False):
    """Reference: the parameter after each gradient."""
    m = v = 0
    for t, g in enumerate(grads, 1):
        d = g if decoupled else g + weight_decay * p
        p = p - lr * weight_decay * p if decoupled else p
        m, v = betas[0] * m + (1 - betas[0]) * d, betas[1] * v + (1 - betas[1]) * d * d
        one, two = (1 - betas[0] ** t, 1 - betas[1] ** t) if bias_correction else (1, 1)
        p = p - lr * (m / one) / (np.sqrt(v / two) + eps)
    return p


def adamw(p, grads, lr, weight_decay=1e-2, **settings):
    """Reference: the parameter after each gradient."""
    return adam(p, grads, lr, weight_decay=weight_decay, decoupled=True, **settings)


def adamax(p, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Reference: the parameter after each gradient."""
    m = u = 0
    for t, g in enumerate(grads, 1):
        d = g + weight_decay * p
        m, u = betas[0] * m + (1 - betas[0]) * d, np.maximum(betas[1] * u, np.abs(d) + eps)
        p = p - lr / (1 - betas[0] ** t) * m / u
    return p


def adagrad(p, grads, lr, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    """Reference: the parameter after each gradient."""
    s = initial_accumulator_value
    for t, g in enumerate(grads, 1):
        d = g + weight_decay * p
        s = s + d * d
        p = p - lr / (1 + (t - 1) * lr_decay) * d / (np.sqrt(s) + eps)
    return p


def rmsprop(p, grads, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    """Reference: the parameter after each gradient."""
    s = mean = buf = 0
    for g in grads:
        d = g + weight_decay * p
        s, mean = alpha * s + (1 - alpha) * d * d, alpha * mean + (1 - alpha) * d
        buf = momentum * buf + d / (np.sqrt(s - mean ** 2 if centered else s) + eps)
        p = p - lr * buf
    return p


FIRST_ORDER = [
    ("SGD", sgd, dict(lr=0.1)), ("SGD", sgd, dict(lr=0.1, weight_decay=0.2)), ("SGD", sgd, dict(lr=0.1, momentum=0.9)),
    ("SGD", sgd, dict(lr=0.1, momentum=0.8, dampening=0.3, weight_decay=0.1)),
    ("SGD", sgd, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)),
    ("Adam", adam, dict(lr=0.01)), ("Adam", adam, dict(lr=0.01, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1)),
    ("Adam", adam, dict(lr=0.01, bias_correction=False)), ("AdamW", adamw, dict(lr=0.01)),
    ("AdamW", adamw, dict(lr=0.02, weight_decay=0.3, betas=(0.8, 0.99))), ("Adamax", adamax, dict(lr=0.01)),
    ("Adamax", adamax, dict(lr=0.01, betas=(0.5, 0.6), eps=1e-3, weight_decay=0.1)), ("Adagrad", adagrad, dict(lr=0.1)),
    ("Adagrad", adagrad, dict(lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-3)),
    ("RMSprop", rmsprop, dict(lr=0.01)), ("RMSprop", rmsprop, dict(lr=0.01, alpha=0.8, momentum=0.9, weight_decay=0.1)),
    ("RMSprop", rmsprop, dict(lr=0.01, centered=True, eps=1e-2)),
    ("RMSprop", rmsprop, dict(lr=0.01, alpha=0.7, centered=True, eps=1e-2, momentum=0.5))]
each = pytest.mark.parametrize("name, reference, settings", FIRST_ORDER,
                               ids=lambda v: str(v) if isinstance(v, (str, dict)) else "")


def test_every_first_order_optimizer_is_here():
    rules = {name for name in optim.__all__ if getattr(getattr(optim, name), "rule", None)}
    assert rules == {name for name, _, _ in FIRST_ORDER}


def follow(name, params, grads, settings):
    """The optimizer, after a step for each entry of grads; None there is a missing gradient."""
    opt = getattr(optim, name)(params, **settings)
    for step in grads:
        opt.zero_grad()
        for p, g in zip(params, step):
            p.grad = g
        opt.step()
    return opt


@each
@pytest.mark.parametrize("sizes", [(1,), (3, 17), (5000, 4096, 9)])
def test_formula(name, reference, settings, sizes, isa, dtype, rng):
    """Parameters of any size, side by side in one array."""
    params = [nn.Parameter(rng.standard_normal(s).astype(dtype)) for s in sizes]
    start = [p.data.astype(np.float64) for p in params]
    grads = [[rng.standard_normal(s).astype(dtype) for s in sizes] for _ in range(4)]
    follow(name, params, grads, settings)
    for i, p in enumerate(params):
        expected = reference(start[i], [g[i].astype(np.float64) for g in grads], **settings)
        assert_allclose(p.data, expected, rtol=0, atol=200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name, reference, settings", [c for c in FIRST_ORDER if c[2].get("bias_correction", True)],
                         ids=lambda v: str(v) if isinstance(v, (str, dict)) else "")      # PyTorch has no other form
def test_pytorchs_path(name, reference, settings, isa, dtype, rng):
    """Fifty steps down a bowl from PyTorch's start, one parameter without a gradient now and then: relative 1e-4."""
    torch = pytest.importorskip("torch")
    starts = [rng.standard_normal((4, 5)).astype(dtype) + 3 for _ in range(3)]
    curves = rng.uniform(0.5, 2, (3, 4, 5)).astype(dtype)
    mine, theirs = [nn.Parameter(s) for s in starts], [torch.nn.Parameter(torch.from_numpy(s.copy())) for s in starts]
    a, b = getattr(optim, name)(mine, **settings), getattr(torch.optim, name)(theirs, **settings)
    for step in range(50):
        noise = rng.standard_normal((3, 4, 5)).astype(dtype)
        for i, (p, q) in enumerate(zip(mine, theirs)):
            missing = i == 1 and step % 3 == 0
            p.grad = None if missing else curves[i] * p.data + noise[i]
            q.grad = None if missing else torch.from_numpy(curves[i]) * q.detach() + torch.from_numpy(noise[i])
        a.step()
        b.step()
        for p, q in zip(mine, theirs):
            assert_allclose(p.data, q.detach().numpy(), rtol=1e-4, atol=1e-5)


@each
def test_threads_change_no_bit(name, reference, settings, isa, dtype, rng):
    start = rng.standard_normal(20001).astype(dtype)
    grads, found = rng.standard_normal((3, 1, 20001)), []
    for n in (1, 2, 3):
        lw.set_num_threads(n)
        p = nn.Parameter(start.copy())
        follow(name, [p], grads, settings)
        found.append(p.data)
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], start)


def test_nesterov_written_three_ways(rng):
    """Look-ahead, x += -mu v_prev + (1 + mu) v at the looked-ahead point, and PyTorch's form that SGD has: one path."""
    curve, centre, mu, lr = rng.uniform(0.5, 2, 6), rng.standard_normal(6), 0.9, 0.1
    p = nn.Parameter(np.zeros(6))
    opt = optim.SGD([p], lr=lr, momentum=mu, nesterov=True)
    x, v = np.zeros(6), np.zeros(6)                     # looks ahead to x + mu v
    y, w = np.zeros(6), np.zeros(6)                     # is there already
    for _ in range(50):
        v = mu * v - lr * curve * (x + mu * v - centre)
        x = x + v
        w_prev, w = w, mu * w - lr * curve * (y - centre)
        y = y - mu * w_prev + (1 + mu) * w
        p.grad = curve * (p.data - centre)
        opt.step()
        assert_allclose(y, x + mu * v, rtol=1e-10, atol=1e-12)
        assert_allclose(p.data, y, rtol=1e-10, atol=1e-12)


def test_centred_rmsprop_with_a_constant_gradient_stays_finite():
    """Mean square and squared mean are then equal but for rounding."""
    p = nn.Parameter(np.zeros(64, np.float32))
    follow("RMSprop", [p], np.full((3000, 1, 64), 0.1), dict(lr=1e-9, alpha=0.5, centered=True))
    assert np.isfinite(p.data).all()


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


def resumed(name, settings, path, stop):
    """Weights after six steps with a schedule; after three the run is saved, and goes on in new objects if `stop`."""
    lw.manual_seed(0)
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    opt = getattr(optim, name)(model.parameters(), **settings)
    schedule = optim.lr_scheduler.StepLR(opt, 2, 0.5)
    for i in range(6):
        if i == 3 and stop:
            lw.save_checkpoint(path, model, opt, schedule, metadata={"step": i})
            model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
            opt = getattr(optim, name)(model.parameters(), **{**settings, "lr": 0.77})
            schedule = optim.lr_scheduler.StepLR(opt, 3, 0.1)
            assert lw.load_checkpoint(path, model, opt, schedule) == {"step": i}
        opt.zero_grad()
        x, y = rng.standard_normal((7, 5)).astype(np.float32), rng.integers(0, 3, 7)
        nn.CrossEntropyLoss()(model(x), y).backward()
        opt.step()
        schedule.step()
    return np.concatenate([p.data.ravel() for p in model.parameters()])


@each
def test_resume_is_bitwise(name, reference, settings, tmp_path):
    through, again = (resumed(name, settings, tmp_path / "run.safetensors", stop) for stop in (False, True))
    assert_array_equal(through, again)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("name", ["Adam", "SGD", "Adagrad"])
def test_copies_go_their_own_way(name, how, rng):
    """A copy of model and optimizer takes the same next step, and not the first model's."""
    model = nn.Linear(3, 2)
    opt = getattr(optim, name)(model.parameters(), lr=0.1)
    for p in model.parameters():
        p.grad = rng.standard_normal(p.shape)
    opt.step()
    before = model.state_dict()
    other, theirs = how((model, opt))
    theirs.step()
    for k, v in model.state_dict().items():
        assert_array_equal(v, before[k])
    assert not np.array_equal(other.weight.data, model.weight.data)
    opt.step()
    for p, q in zip(model.parameters(), other.parameters()):
        assert_array_equal(p.data, q.data)


def test_state_has_pytorchs_layout(rng):
    torch = pytest.importorskip("torch")
    p, q = nn.Parameter(np.ones((2, 3))), torch.nn.Parameter(torch.ones(2, 3, dtype=torch.float64))
    a, b = optim.Adam([p]), torch.optim.Adam([q])
    p.grad = rng.standard_normal((2, 3))
    q.grad = torch.from_numpy(p.grad.copy())
    a.step()
    b.step()
    mine, theirs = a.state_dict(), b.state_dict()
    assert set(mine) == set(theirs) and set(mine["state"][0]) == set(theirs["state"][0])
    assert mine["param_groups"][0]["params"] == theirs["param_groups"][0]["params"]
    json.dumps(mine["param_groups"])
    a.load_state_dict(theirs)
    assert_allclose(a.state_dict()["state"][0]["exp_avg_sq"], mine["state"][0]["exp_avg_sq"], rtol=1e-12)


def test_state_of_others_is_refused():
    p = nn.Parameter(np.ones(9, np.float32))
    opt = follow("Adam", [p], np.ones((1, 1, 9)), {})
    for other in (optim.Adam([nn.Parameter(np.ones(8, np.float32))]), optim.SGD([nn.Parameter(np.ones(9, np.float32))]),
                  optim.Adam([nn.Parameter(np.ones(9, np.float32)) for _ in range(2)])):
        with pytest.raises(ValueError, match="does not belong to these parameters"):
            other.load_state_dict(opt.state_dict())


def test_checkpoints_of_others_are_refused(tmp_path):
    model = nn.Linear(2, 2)
    lw.save(model, tmp_path / "a.safetensors")
    lw.save_checkpoint(tmp_path / "b.safetensors", model)
    with pytest.raises(lw.WeightsError, match="expected a checkpoint, got weights alone"):
        lw.load_checkpoint(tmp_path / "a.safetensors", model)
    with pytest.raises(lw.WeightsError, match="with the state of its optimizer"):
        lw.load_checkpoint(tmp_path / "b.safetensors", model, optim.Adam(model.parameters()))


def test_a_newer_optimizer_takes_the_parameters():
    p = nn.Parameter(np.ones(3, np.float32))
    old = optim.SGD([p], lr=1.0)
    optim.SGD([p], lr=1.0)
    p.grad = 1
    with pytest.raises(RuntimeError, match="make the optimizer last"):
        old.step()
