"""What to try before a long training run: the first loss, gradients against differences, one batch learnt by heart."""
from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .errors import GradientError
from .graph import tensor
from .rng import as_rng

if TYPE_CHECKING:
    from .loss import Loss
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import ArrayLike

    from ._types import Array, LossFn, Operand, Seed
    from .nn.module import Module


class InitialLoss(NamedTuple):
    """The loss before training, and log(classes), that of a classifier which knows nothing."""
    loss: float
    expected: float


def initial_loss(model: Module, loss_fn: LossFn, x: Operand, y: ArrayLike) -> InitialLoss:
    """InitialLoss(loss, log(classes)) of a classifier's scores (N, classes, ...) in evaluation mode.

    Much above: the initial weights are too large, or the inputs are not scaled. Nothing is trained."""
    mode = model.training
    model.eval()
    try:
        scores = model(x)
        return InitialLoss(loss_fn(scores, y).item(), math.log(scores.shape[1]))
    finally:
        model.train(mode)


def numerical_gradient(f: Callable[[Array], Any], x: ArrayLike, eps: float = 1e-6) -> Array:
    """(f(x + eps e_i) - f(x - eps e_i)) / 2 eps for every number x_i of an array, float64 array of x's shape.

    `f`: takes an array like x, in float64, returns a number. The error is O(eps^2), and rounding's |f| 1e-16 / eps."""
    x = np.array(x, np.float64)
    grad, flat = np.empty_like(x), x.reshape(-1)
    for i in range(x.size):
        old, sides = flat[i], []
        for sign in (1, -1):
            flat[i] = old + sign * eps
            sides.append(float(f(x.copy())))
        flat[i] = old
        grad.reshape(-1)[i] = (sides[0] - sides[1]) / (2 * eps)
    return grad


def gradcheck(model: Module, loss_fn: LossFn, x: ArrayLike, y: ArrayLike, directions: int = 5, eps: float = 1e-6,
              tolerance: float = 1e-4, rng: Seed = 0) -> float:
    """The largest relative error of backward() against differences, over every parameter (and x, if it is floating-point).

    On a copy of the model in float64: for each parameter p and random direction d, normal numbers, <dloss/dp, d> against
    (loss(p + eps d) - loss(p - eps d)) / 2 eps; relative to the larger of the two, and to no less than 1e-4 of the larger of 1
    and the loss, where rounding reigns. The model stays in the mode it is in. GradientError where the error is above
    `tolerance`, or where the loss of one batch is not the same twice: switch random layers off with model.eval()."""
    model, rng = copy.deepcopy(model).double(), as_rng(rng)
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype.kind == "f":
        x = tensor(x.astype(np.float64), requires_grad=True)
    if y.dtype.kind == "f":
        y = y.astype(np.float64)

    def loss_now() -> Loss:
        return loss_fn(model(x), y)
    loss = loss_now()
    loss.backward()
    first, again = loss.item(), loss_now().item()
    if first != again:
        raise GradientError(f"the loss of one batch is {first!r} and then {again!r}: expected a model without randomness, "
                            f"which model.eval() switches off")
    checked = [(f"parameter '{n}'", p.data, p.grad) for n, p in model.named_parameters() if p.requires_grad]
    if not isinstance(x, np.ndarray):
        checked.append(("the input", x.data, x.grad))
    worst = 0.0
    for name, numbers, grad in checked:
        start = numbers.copy()
        for _ in range(directions):
            d, sides = rng.standard_normal(start.shape), []
            for sign in (1, -1):
                numbers[...] = start + sign * eps * d
                sides.append(loss_now().item())
            numbers[...] = start
            slope = (sides[0] - sides[1]) / (2 * eps)
            own = 0.0 if grad is None else float((grad * d).sum())
            error = abs(own - slope) / max(abs(own), abs(slope), 1e-4 * max(1.0, abs(first)))
            if not error <= tolerance:
                raise GradientError(f"the gradient of {name} is wrong: along a random direction backward() gives {own:.6g}, "
                                    f"differences {slope:.6g} (relative error {error:.2g}, expected at most {tolerance:g})")
            worst = max(worst, error)
    return worst


def overfit_one_batch(model: Module, loss_fn: LossFn, x: Operand, y: ArrayLike, steps: int = 200,
                      lr: float = 1e-2) -> list[float]:
    """The losses of `steps` Adam steps of a copy of the model on one batch, a list.

    A network that works learns a few dozen samples by heart: the last loss is close to 0. If it is not, look at the labels,
    the loss and the layers before looking at more data. The model itself is not changed."""
    from .optim import Adam
    model = copy.deepcopy(model).train()
    optimizer, losses = Adam(model.parameters(), lr), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
