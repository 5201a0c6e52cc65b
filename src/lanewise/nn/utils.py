"""Limits on gradients and weights, with PyTorch's names."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def _parameters(params: Any, owner: str) -> list[Parameter]:
    params = [params] if isinstance(params, Parameter) else list(params)
    for p in params:
        if not isinstance(p, Parameter):
            raise TypeError(f"{owner}: expected Parameters, got {type(p).__name__}")
    return params


def _positive(value: Any, owner: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not value > 0:
        raise ValueError(f"{owner}: expected {name} to be a number above 0, got {value!r}")
    return float(value)


def clip_grad_norm_(parameters: Parameter | Iterable[Parameter], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale all gradients by min(1, max_norm / (total + 1e-6)), total = (sum |g|^norm_type)^(1 / norm_type) over all of them
    (inf: the greatest |g|); returns total, a float, as it was before.

    Call it between backward() and the optimizer's step() (Pascanu et al. 2013). No gradients: 0."""
    grads = [p.grad for p in _parameters(parameters, "clip_grad_norm_") if p.grad is not None]
    max_norm = _positive(max_norm, "clip_grad_norm_", "max_norm")
    norm_type = _positive(norm_type, "clip_grad_norm_", "norm_type")
    norms = [np.linalg.norm(g.astype(np.float64).ravel(), norm_type) for g in grads]
    total = float(np.linalg.norm(norms, norm_type)) if norms else 0.0
    if total + 1e-6 > max_norm:
        for g in grads:
            g *= max_norm / (total + 1e-6)
    return total


def clip_grad_value_(parameters: Parameter | Iterable[Parameter], clip_value: float) -> None:
    """Cut every number of every gradient to [-clip_value, clip_value]. NaN stays."""
    clip_value = _positive(clip_value, "clip_grad_value_", "clip_value")
    for p in _parameters(parameters, "clip_grad_value_"):
        if p.grad is not None:
            np.clip(p.grad, -clip_value, clip_value, out=p.grad)


def max_norm_(parameters: Parameter | Iterable[Parameter], max_norm: float, dim: int = 0) -> None:
    """Scale each slice of a parameter along `dim` (0: the weights of one output) whose 2-norm is above max_norm to that norm.

    w_i <- w_i min(1, max_norm / |w_i|): call it after the optimizer's step() (Srebro and Shraibman 2005; torch.renorm)."""
    max_norm = _positive(max_norm, "max_norm_", "max_norm")
    for p in _parameters(parameters, "max_norm_"):
        w = p.data
        if not -w.ndim <= dim < w.ndim:
            raise ValueError(f"max_norm_: expected dim below {w.ndim} for parameter '{p.name}' of shape {w.shape}, got {dim}")
        others = tuple(a for a in range(w.ndim) if a != dim % w.ndim)
        norms = np.sqrt(np.square(w, dtype=np.float64).sum(others, keepdims=True))
        w *= np.where(norms > max_norm, max_norm / np.where(norms > 0, norms, 1), 1).astype(w.dtype)
