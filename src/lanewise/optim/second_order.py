"""Second-order training of small models: step(closure) with the loss as a function of one flat vector."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..parameter import storage_version
from .optimizer import Optimizer, number

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._types import Array, Params
    from ..optim.optimizer import Group

METHODS = {"L-BFGS-B": dict(maxiter="max_iter", maxfun="max_eval", gtol="tolerance_grad", ftol="tolerance_change",
                            maxcor="history_size"),
           "BFGS": dict(maxiter="max_iter", gtol="tolerance_grad"), "CG": dict(maxiter="max_iter", gtol="tolerance_grad"),
           "Newton-CG": dict(maxiter="max_iter", xtol="tolerance_change")}


class _OnVector(Optimizer):
    # One group, no moments: what changes is the flat array of the parameters.

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError(f"{type(self).__name__}: expected one parameter group, got {len(self.param_groups)}")

    def _loss_at(self, closure: Callable[[], Any], x: Array) -> tuple[float, Array]:
        """(loss, gradient) in float64 with the parameters at x; those that the loss does not reach have gradient 0."""
        flat = self._flat[0]
        flat.data[...] = x
        loss = float(closure())
        return loss, np.concatenate([np.zeros(p.data.size) if p.grad is None else p.grad.ravel().astype(np.float64)
                                     for p in flat.params])

    def _solve(self, closure: Callable[[], Any], start: Array) -> tuple[float, Array]:
        """(the loss at `start`, where the parameters go)."""
        raise TypeError(f"{type(self).__name__} expected a _solve() method")

    def step(self, closure: Callable[[], Any]) -> float:        # type: ignore[override]
        """closure(): zero_grad(), the loss, backward(), return the loss. The loss before the step, as a float.

        On an error, NonFiniteError among them, the parameters are those before the step."""
        flat = self._flat[0]
        flat.check(storage_version())
        start = flat.data.astype(np.float64)
        try:
            first, end = self._solve(closure, start)
        except BaseException:
            flat.data[...] = start
            raise
        flat.data[...] = end
        return first


class LBFGS(_OnVector):
    """Quasi-Newton steps on all parameters as one vector x: up to max_iter iterations of scipy.optimize.minimize from x to
    x*, then x += lr (x* - x).

    PyTorch's arguments and closure; the line search is SciPy's, so that lr, at most 1, only damps a whole step. `method`:
    "L-BFGS-B" (Byrd et al. 1995), "BFGS", "CG" or "Newton-CG"; each takes those of the tolerances that it has. Every step()
    starts without memory of the one before: give it the whole batch and a large max_iter. `result`: SciPy's report."""

    def __init__(self, params: Params, lr: float = 1.0, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 method: str = "L-BFGS-B") -> None:
        self.result: Any = None
        super().__init__(params, dict(lr=lr, max_iter=max_iter, tolerance_grad=tolerance_grad, method=method,
                                      max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
                                      tolerance_change=tolerance_change, history_size=history_size))

    def check(self, group: Group) -> None:
        """Ranges, and the method's name."""
        self._ranges(group, "tolerance_grad", "tolerance_change")
        number("LBFGS", "lr", group["lr"], 0, 1)
        for name in ("max_iter", "max_eval", "history_size"):
            number("LBFGS", name, group[name], 1)
        if group["method"] not in METHODS:
            raise ValueError(f"LBFGS: expected method {', '.join(METHODS)}, got {group['method']!r}")

    def _solve(self, closure: Callable[[], Any], start: Array) -> tuple[float, Array]:
        try:
            from scipy.optimize import minimize
        except ImportError:
            raise ImportError("optim.LBFGS needs SciPy: pip install lanewise[scipy]") from None
        group, losses = self.param_groups[0], []

        def f(x: Array) -> tuple[float, Array]:
            loss, grad = self._loss_at(closure, x)
            losses.append(loss)
            return loss, grad
        options = {theirs: group[ours] for theirs, ours in METHODS[group["method"]].items()}
        if group["method"] == "Newton-CG":              # its Hessian products are differences of gradients of this step
            options["eps"] = float(np.sqrt(np.finfo(self._flat[0].data.dtype).eps))
        self.result = minimize(f, start, jac=True, method=group["method"], options=options)
        return losses[0], start + group["lr"] * (self.result.x - start)


class Newton(_OnVector):
    """x -= lr (H + damping I)^-1 grad, H by central differences of the gradient: 2 n gradients a step, n <= 500 parameters.

    An example of what second order costs and gives: one step solves a quadratic loss. H = (g(x + h e_i) - g(x - h e_i)) / 2h,
    made symmetric, h = eps max(1, |x_i|), eps the cube root of the number type's. Without damping it goes to the nearest
    stationary point, also a saddle. numpy.linalg.LinAlgError for a singular H + damping I."""
    most = 500

    def __init__(self, params: Params, lr: float = 1.0, damping: float = 0.0) -> None:
        super().__init__(params, dict(lr=lr, damping=damping))
        n = self._flat[0].data.size
        if n > self.most:
            raise ValueError(f"Newton: expected at most {self.most} parameters, got {n}: use LBFGS")

    def check(self, group: Group) -> None:
        """Ranges."""
        self._ranges(group, "lr", "damping")

    def _solve(self, closure: Callable[[], Any], start: Array) -> tuple[float, Array]:
        group, n = self.param_groups[0], len(start)
        loss, grad = self._loss_at(closure, start)
        eps, hessian = np.finfo(self._flat[0].data.dtype).eps ** (1 / 3), np.empty((n, n))
        for i in range(n):
            sides, reached = [], []
            for sign in (1, -1):
                x = start.copy()
                x[i] += sign * eps * max(1.0, abs(x[i]))
                sides.append(self._loss_at(closure, x)[1])
                reached.append(float(self._flat[0].data[i]))            # rounded to the parameters' type
            hessian[i] = (sides[0] - sides[1]) / (reached[0] - reached[1])
        hessian = (hessian + hessian.T) / 2 + group["damping"] * np.eye(n)
        try:
            return loss, start - group["lr"] * np.linalg.solve(hessian, grad)
        except np.linalg.LinAlgError:
            raise np.linalg.LinAlgError(f"Newton: the Hessian of {n} parameters is singular with damping {group['damping']:g}, "
                                        f"expected a larger damping") from None
