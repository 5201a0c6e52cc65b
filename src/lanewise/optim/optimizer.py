"""Optimizers: one fused, threaded pass over each group's flat parameters."""
import numpy as np

from .. import threads
from .._isa import engine
from ..parameter import Parameter, aligned, flatten


def number(owner, name, value, low=0.0, high=np.inf):
    """A float in [low, high], or one sentence."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)) or not low <= value <= high:
        raise ValueError(f"{owner}: expected {name} to be a number of {low:g} {'or more' if high == np.inf else f'to {high:g}'}"
                         f", got {value!r}")
    return float(value)


class Group(dict):
    """A parameter group: `params`, and the optimizer's settings, to be read and set between steps."""


class Optimizer:
    """Holds parameters in groups, each moved into one flat array; step() is one pass over it.

    `params`: parameters, or dicts {"params": ..., setting: ...} as in PyTorch."""
    moments = 0                                 # flat arrays of state a parameter group needs

    def __init__(self, params, defaults):
        params = list(params)
        if not params:
            raise ValueError(f"{type(self).__name__}: expected parameters, got none")
        groups = params if isinstance(params[0], dict) else [{"params": params}]
        self.param_groups, self._flat, seen = [], [], set()
        for group in groups:
            unknown = set(group) - set(defaults) - {"params"}
            if unknown:
                raise ValueError(f"{type(self).__name__}: unknown setting '{sorted(unknown)[0]}' in a parameter group, "
                                 f"expected {', '.join(defaults)}")
            group = Group({**defaults, **group})
            group["params"] = [group["params"]] if isinstance(group["params"], Parameter) else list(group["params"])
            for p in group["params"]:
                if not isinstance(p, Parameter):
                    raise TypeError(f"{type(self).__name__}: expected Parameters, got {type(p).__name__}")
                if id(p) in seen:
                    raise ValueError(f"{type(self).__name__}: parameter '{p.name}' appears twice")
                seen.add(id(p))
            self.check(group)
            self.param_groups.append(group)
        self._flatten()

    def _flatten(self):
        self._flat = []
        for group in self.param_groups:
            data, grad = flatten(group["params"])
            state = [aligned(data.size, data.dtype) for _ in range(self.moments)]
            self._flat.append([data, grad, state, 0])

    def check(self, group):
        """ValueError for settings out of range."""

    def zero_grad(self, set_to_none=True):
        """Forget all gradients (or set them to zero)."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.has_grad = False
                else:
                    p.grad = 0

    def step(self):
        """Update every parameter that has a gradient."""
        n_threads = threads.get_num_threads()
        for group, flat in zip(self.param_groups, self._flat):
            data, grad, state, steps = flat
            params = group["params"]
            if not all(p.has_grad for p in params) and not any(p.has_grad for p in params):
                continue
            if any(p._data.base is None or p._grad is None for p in params) or not self._in_place(params, data):
                raise RuntimeError("the parameters were moved after this optimizer was made (model.double(), or a newer "
                                   "optimizer on them): make the optimizer last")
            flat[3] = steps + 1
            at = data.ctypes.data, grad.ctypes.data, [s.ctypes.data for s in state]
            kernels = engine(data.dtype.name)
            start, offset, size = 0, 0, data.dtype.itemsize
            for p in [*params, None]:                   # maximal runs of parameters with gradients
                if p is None or not p.has_grad:
                    if offset > start:
                        self.update(kernels, group, at[0] + start * size, at[1] + start * size,
                                    [s + start * size for s in at[2]], offset - start, flat[3], n_threads)
                    if p is not None:
                        offset += p.data.size
                        start = offset
                else:
                    offset += p.data.size

    @staticmethod
    def _in_place(params, data):
        first = params[0]._data
        return first.__array_interface__["data"][0] == data.ctypes.data

    def update(self, kernels, group, p, g, state, n, t, n_threads):
        """One pass over n numbers at the addresses p, g and state, at step t."""
        raise TypeError(f"{type(self).__name__} expected an update() method")

    def state_dict(self):
        """Settings, step counts and moments: arrays and numbers only."""
        return {"groups": [{k: v for k, v in g.items() if k != "params"} for g in self.param_groups],
                "steps": [f[3] for f in self._flat], "state": [[s.copy() for s in f[2]] for f in self._flat]}

    def load_state_dict(self, state):
        """Take what state_dict() gave; ValueError if it is of another optimizer or other parameters."""
        sizes = [[s.size for s in f[2]] for f in self._flat]
        if [[np.size(s) for s in group] for group in state["state"]] != sizes:
            raise ValueError(f"{type(self).__name__}: the state does not belong to these parameters")
        for group, flat, settings, steps, arrays in zip(self.param_groups, self._flat, state["groups"], state["steps"],
                                                        state["state"]):
            group.update(settings)
            flat[3] = int(steps)
            for own, array in zip(flat[2], arrays):
                own[...] = array


class SGD(Optimizer):
    """d = g + weight_decay p;  buf = momentum buf + (1 - dampening) d;  p -= lr buf, or lr (d + momentum buf) with Nesterov.

    PyTorch's form and defaults (Sutskever et al. 2013); the first step sets buf = d."""
    moments = 1

    def __init__(self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                                      nesterov=nesterov))

    def check(self, group):
        """Ranges, and Nesterov's needs."""
        for name in ("lr", "momentum", "weight_decay"):
            number("SGD", name, group[name])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov expected a momentum above 0 and no dampening")

    def update(self, kernels, group, p, g, state, n, t, n_threads):
        """One SGD pass."""
        kernels.sgd(p, g, state[0], n, group["lr"], group["momentum"], group["dampening"], group["weight_decay"],
                    group["nesterov"], t == 1, n_threads)


class Adam(Optimizer):
    """m = b1 m + (1 - b1) d, v = b2 v + (1 - b2) d^2, d = g + weight_decay p;
    p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).

    PyTorch's form and defaults (Kingma and Ba 2015)."""
    moments = 2

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay))

    def check(self, group):
        """Ranges."""
        for name in ("lr", "eps", "weight_decay"):
            number("Adam", name, group[name])
        for beta in group["betas"]:
            number("Adam", "betas", beta, 0, 1 - 1e-12)

    def update(self, kernels, group, p, g, state, n, t, n_threads):
        """One Adam pass."""
        kernels.adam(p, g, state[0], state[1], n, group["lr"], *group["betas"], group["eps"], group["weight_decay"], t,
                     n_threads)
