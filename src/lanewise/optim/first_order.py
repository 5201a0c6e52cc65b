"""First-order optimizers, PyTorch's forms and defaults: the formula here, the loop in kernels/optimizer.pxi.

p: parameter, g: gradient, t: step from 1, d = g + weight_decay p (the gradient of loss + weight_decay / 2 sum p^2)."""
from __future__ import annotations

from typing import TYPE_CHECKING

from .optimizer import Optimizer, number

if TYPE_CHECKING:
    from .._types import Params
    from ..optim.optimizer import Group


class SGD(Optimizer):
    """d = g + weight_decay p;  buf = momentum buf + (1 - dampening) d;  p -= lr buf, or lr (d + momentum buf) with Nesterov.

    PyTorch's form and defaults (Sutskever et al. 2013); the first step sets buf = d."""
    moments, rule = ("momentum_buffer",), "sgd"

    def __init__(self, params: Params, lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
                 weight_decay: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                                      nesterov=nesterov))

    def check(self, group: Group) -> None:
        """Ranges, and Nesterov's needs."""
        self._ranges(group, "lr", "momentum", "weight_decay")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov expected a momentum above 0 and no dampening")

    def constants(self, group: Group, t: int) -> tuple[tuple[float, ...], int]:
        """Of sgd; modes: 1 Nesterov, 2 first step."""
        return (group["lr"], group["momentum"], 1 - group["dampening"], group["weight_decay"]), \
            bool(group["nesterov"]) + 2 * (t == 1)


class Adam(Optimizer):
    """m = b1 m + (1 - b1) d, v = b2 v + (1 - b2) d^2;
    p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), or with bias_correction=False p -= lr m / (sqrt(v) + eps).

    PyTorch's form and defaults (Kingma and Ba 2015); bias_correction=False is the simplified form of textbooks, whose
    first steps are larger than lr."""
    moments, rule, decoupled = ("exp_avg", "exp_avg_sq"), "adam", False

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0, bias_correction: bool = True) -> None:
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay,
                                      bias_correction=bias_correction))

    def check(self, group: Group) -> None:
        """Ranges."""
        self._ranges(group, "lr", "eps", "weight_decay")
        for beta in group["betas"]:
            number(type(self).__name__, "betas", beta, 0, 1 - 1e-12)

    def constants(self, group: Group, t: int) -> tuple[tuple[float, ...], int]:
        """Of adam; mode 1: decoupled weight decay."""
        (b1, b2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        step, root = (lr / (1 - b1 ** t), (1 - b2 ** t) ** -0.5) if group["bias_correction"] else (lr, 1.0)
        return (step, root, b1, 1 - b1, b2, 1 - b2, group["eps"], lr * decay if self.decoupled else decay), self.decoupled


class AdamW(Adam):
    """Adam with decoupled weight decay: p -= lr weight_decay p, then Adam's step with d = g.

    PyTorch's form and defaults (Loshchilov and Hutter 2019)."""
    decoupled = True

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, bias_correction: bool = True) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, bias_correction)


class Adamax(Optimizer):
    """m = b1 m + (1 - b1) d, u = max(b2 u, |d| + eps);  p -= lr / (1 - b1^t) m / u.

    Adam with the largest gradient in the place of the root mean square; PyTorch's form and defaults (Kingma and Ba 2015)."""
    moments, rule, check = ("exp_avg", "exp_inf"), "adamax", Adam.check

    def __init__(self, params: Params, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0) -> None:
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay))

    def constants(self, group: Group, t: int) -> tuple[tuple[float, ...], int]:
        """Of adamax."""
        b1, b2 = group["betas"]
        return (group["lr"] / (1 - b1 ** t), b1, 1 - b1, b2, group["eps"], group["weight_decay"]), 0


class Adagrad(Optimizer):
    """s += d^2 (s = initial_accumulator_value at first);  p -= lr / (1 + (t - 1) lr_decay) d / (sqrt(s) + eps).

    PyTorch's form and defaults (Duchi et al. 2011)."""
    moments, rule = ("sum",), "adagrad"

    def __init__(self, params: Params, lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
                 initial_accumulator_value: float = 0.0, eps: float = 1e-10) -> None:
        super().__init__(params, dict(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
                                      initial_accumulator_value=initial_accumulator_value, eps=eps))
        for group, flat in zip(self.param_groups, self._flat):
            flat.moments[0][...] = self.fresh(group)

    def check(self, group: Group) -> None:
        """Ranges."""
        self._ranges(group, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def fresh(self, group: Group) -> float:
        """The sum's start."""
        return group["initial_accumulator_value"]

    def constants(self, group: Group, t: int) -> tuple[tuple[float, ...], int]:
        """Of adagrad."""
        return (group["lr"] / (1 + (t - 1) * group["lr_decay"]), group["eps"], group["weight_decay"]), 0


class RMSprop(Optimizer):
    """s = alpha s + (1 - alpha) d^2, r = d / (sqrt(s) + eps);  p -= lr r, or with momentum buf = momentum buf + r, p -= lr buf.
    centered: s minus the square of the running mean of d under the root, 0 where rounding takes it below.

    PyTorch's form and defaults (Hinton 2012; centred: Graves 2013)."""
    moments, rule = ("square_avg", "grad_avg", "momentum_buffer"), "rmsprop"

    def __init__(self, params: Params, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0,
                 momentum: float = 0.0, centered: bool = False) -> None:
        super().__init__(params, dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
                                      centered=centered))

    def check(self, group: Group) -> None:
        """Ranges."""
        self._ranges(group, "lr", "eps", "weight_decay", "momentum")
        number("RMSprop", "alpha", group["alpha"], 0, 1)

    def constants(self, group: Group, t: int) -> tuple[tuple[float, ...], int]:
        """Of rmsprop; mode 1: centred."""
        alpha = group["alpha"]
        return (group["lr"], alpha, 1 - alpha, group["eps"], group["momentum"], group["weight_decay"]), bool(group["centered"])
