"""Penalties on weights: lam R(W), added to the loss by hand.

    loss.backward()
    penalty.add_grad()          # before the optimizer's step()
    total = loss.item() + penalty.value()

They see weights and never data: of a Module its weights, the parameters of two or more dimensions named "weight" (no biases,
no scales of norms), or the parameters that are given. R adds up over the parameters; w_ij: i the first dimension (outputs),
j all others."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..parameter import Parameter
from .module import Module

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .._types import Array


def weights(module: Module) -> list[Parameter]:
    """The parameters that a penalty sees by default."""
    return [p for name, p in module.named_parameters() if p.data.ndim >= 2 and name.rpartition(".")[2] == "weight"]


class Penalty:
    """The base: a subclass gives of(w) and slope(w), R of one parameter and its gradient."""

    def __init__(self, weights_of: Module | Iterable[Parameter], lam: float) -> None:
        owner = type(self).__name__
        if isinstance(lam, bool) or not isinstance(lam, (int, float, np.number)) or not 0 <= lam < np.inf:
            raise ValueError(f"{owner}: expected lam to be a number of 0 or more, got {lam!r}")
        self.lam = float(lam)
        self.params = weights(weights_of) if isinstance(weights_of, Module) else list(weights_of)
        for p in self.params:
            if not isinstance(p, Parameter):
                raise TypeError(f"{owner}: expected a Module or Parameters, got {type(p).__name__}")

    def of(self, w: Array) -> Any:
        """R of one parameter."""
        raise TypeError(f"{type(self).__name__} expected an of() method")

    def slope(self, w: Array) -> Array:
        """Its gradient."""
        raise TypeError(f"{type(self).__name__} expected a slope() method")

    def value(self) -> float:
        """lam R(W), a float summed in float64."""
        return self.lam * sum((float(self.of(p.data.astype(np.float64))) for p in self.params), 0.0)

    def add_grad(self) -> None:
        """Add lam dR/dW to `.grad` of every parameter that requires one."""
        for p in self.params:
            if p.requires_grad:
                slope = (self.lam * self.slope(p.data)).astype(p.data.dtype)
                p.grad = slope if p.grad is None else p.grad + slope


class L1(Penalty):
    """R = sum |w|;  dR/dw = sign w, 0 at 0."""

    def of(self, w: Array) -> Any:
        """sum |w|."""
        return np.abs(w).sum()

    def slope(self, w: Array) -> Array:
        """sign w."""
        return np.sign(w)


class L2(Penalty):
    """R = sum w^2;  dR/dw = 2 w: an optimizer's weight_decay of 2 lam, on weights alone."""

    def of(self, w: Array) -> Any:
        """sum w^2."""
        return np.square(w).sum()

    def slope(self, w: Array) -> Array:
        """2 w."""
        return 2 * w


class Frobenius(Penalty):
    """R = |W|_F = sqrt(sum w^2);  dR/dw = w / |W|_F, 0 where W is 0."""

    def of(self, w: Array) -> Any:
        """sqrt(sum w^2)."""
        return np.sqrt(np.square(w).sum())

    def slope(self, w: Array) -> Array:
        """w / |W|_F."""
        norm = self.of(w)
        return w / norm if norm else np.zeros_like(w)


class MixedNorm(Penalty):
    """R = sqrt(sum_i r_i^2), r_i = sum_j |w_ij|;  dR/dw_ij = sign(w_ij) r_i / R, 0 where W is 0.

    Between the Frobenius norm F and sqrt(number of j) F (Cauchy-Schwarz): many small weights in a row cost more than one."""

    def of(self, w: Array) -> Any:
        """sqrt(sum_i (sum_j |w_ij|)^2)."""
        return np.sqrt(np.square(np.abs(w).reshape(len(w), -1).sum(1)).sum())

    def slope(self, w: Array) -> Array:
        """sign(w_ij) r_i / R."""
        rows, norm = np.abs(w).reshape(len(w), -1).sum(1), self.of(w)
        return np.sign(w) * (rows / norm).reshape(-1, *[1] * (w.ndim - 1)) if norm else np.zeros_like(w)
