"""Which parameters have a gradient: told one by one, read and set for all of an optimizer or a plan at once."""
import copy

import numpy as np
import pytest

from lanewise import nn, optim


def test_gradients_that_parameters_have():
    """One by one, of an optimizer, of two, of none: who has one, who adds, who steps."""
    p, q, r = (nn.Parameter(np.full(3, float(i), np.float32)) for i in range(3))
    x = np.ones((2, 3), np.float32)

    def backward(*params):
        total = params[0] * x
        for other in params[1:]:
            total = total + other * x
        total.sum().backward()
    backward(p, r)
    assert [a.has_grad for a in (p, q, r)] == [True, False, True] and q.grad is None and (p.grad == 2).all()
    opt = optim.SGD([p, q], lr=1.0)
    assert [a.has_grad for a in (p, q, r)] == [True, False, True] and (p.grad == 2).all()
    opt.step()
    assert opt._flat[0].steps == [1, 0] and (p.data == -2).all() and (q.data == 1).all()
    backward(p, q, r)
    assert (p.grad == 4).all() and (q.grad == 2).all() and (r.grad == 4).all()
    opt.step()
    assert opt._flat[0].steps == [2, 1]
    opt.zero_grad()
    assert p.grad is None and q.grad is None and (r.grad == 4).all()
    q.grad = np.ones(3)
    other = optim.SGD([q, r, p], lr=1.0)
    assert [a.has_grad for a in (p, q, r)] == [False, True, True]
    opt.zero_grad()                                     # of an optimizer whose parameters went elsewhere
    assert [a.has_grad for a in (p, q, r)] == [False, False, True]
    backward(q, p)
    assert [a.has_grad for a in (p, q, r)] == [True, True, True]
    other.step()
    assert other._flat[0].steps == [1, 1, 1]
    other.zero_grad()
    p.grad = np.ones(3)
    backward(p, r)                                      # r's memory still has the last gradient
    assert (p.grad == 3).all() and q.grad is None and (r.grad == 2).all()
    q.grad, p.grad = np.zeros(3), None
    r.requires_grad = False
    other.step()
    assert other._flat[0].steps == [2, 1, 1] and not r.has_grad
    with pytest.raises(RuntimeError, match="make the optimizer last"):
        opt.step()
    other.zero_grad(set_to_none=False)
    assert all(a.has_grad and not a.grad.any() for a in (p, q, r))


def test_a_copy_has_marks_of_its_own():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optim.SGD(model.parameters(), 0.1)
    nn.CrossEntropyLoss()(model(np.ones((5, 4), np.float32)), np.arange(5) % 3).backward()
    other = copy.deepcopy(model)
    others = [*other.parameters(), *map(copy.copy, model.parameters())]
    assert all(p.has_grad for p in (*model.parameters(), *others))
    model.zero_grad()
    assert not any(p.has_grad for p in model.parameters()) and all(p.has_grad for p in others)
