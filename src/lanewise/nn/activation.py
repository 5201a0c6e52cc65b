"""Activations: PyTorch's names, arguments and defaults; any shape (N, ...)."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..parameter import Parameter
from . import functional as F
from ._check import count
from .module import Module

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..graph import Value


class _Activation(Module):
    # A subclass names its function of functional, and the arguments that it keeps as attributes.
    function: Callable[..., Value]
    arguments: tuple[str, ...] = ()

    def forward(self, x: Value) -> Value:
        """Same shape."""
        return self.function(x, *(getattr(self, a) for a in self.arguments))

    def extra_repr(self) -> str:
        """The arguments."""
        return ", ".join(f"{a}={getattr(self, a)!r}" for a in self.arguments)


class ReLU(_Activation):
    """max(x, 0). The gradient at 0 is 0; NaN passes through."""
    function = staticmethod(F.relu)


class LeakyReLU(_Activation):
    """x where x > 0, else negative_slope x. The gradient at 0 is negative_slope."""
    function, arguments = staticmethod(F.leaky_relu), ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope


class PReLU(_Activation):
    """x where x > 0, else w x, w learnt (He et al. 2015): one number, or one for each of num_parameters channels.

    The gradient at 0 is w, and 0 for w. ShapeError where num_parameters is neither 1 nor the channels (dimension 1)."""
    function, arguments = staticmethod(F.prelu), ("weight",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.num_parameters, self.init = count(num_parameters, "num_parameters"), init
        self.weight = Parameter(np.full(self.num_parameters, init, np.float32))

    def extra_repr(self) -> str:
        """The arguments."""
        return f"num_parameters={self.num_parameters}"


class ELU(_Activation):
    """x where x > 0, else alpha (exp(x) - 1)."""
    function, arguments = staticmethod(F.elu), ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha


class GELU(_Activation):
    """x P(x), P the normal distribution; approximate="tanh": x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2."""
    function, arguments = staticmethod(F.gelu), ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate


class SiLU(_Activation):
    """x / (1 + exp(-x))."""
    function = staticmethod(F.silu)


class Softplus(_Activation):
    """log(1 + exp(beta x)) / beta; x where beta x > threshold, as PyTorch has it."""
    function, arguments = staticmethod(F.softplus), ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)); derivative y (1 - y)."""
    function = staticmethod(F.sigmoid)


class Tanh(_Activation):
    """Hyperbolic tangent; derivative 1 - y^2."""
    function = staticmethod(F.tanh)


class Softmax(_Activation):
    """exp(x) / sum exp(x) along `dim` (1: classes or channels), with the maximum subtracted first."""
    function, arguments = staticmethod(F.softmax), ("dim",)

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim


class LogSoftmax(_Activation):
    """x - log sum exp(x) along `dim` (1: classes or channels), with the maximum subtracted first."""
    function, arguments = staticmethod(F.log_softmax), ("dim",)

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim
