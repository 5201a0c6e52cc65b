"""Activations, number by number, and their gradients. All take and return arrays of one shape; out= may be the input itself.
NaN passes. float32 and float64 to a few units in the last place."""
from __future__ import annotations

from typing import TYPE_CHECKING

from .._kernels.calls import elementwise
from ..errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import Array


def relu(x: ArrayLike, *, out: Array | None = None) -> Array:
    """max(x, 0)."""
    return elementwise("relu", 0.25, x, None, 0.0, out)


def relu_backward(dy: ArrayLike, y: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy where y > 0 (y or x: the same), else 0, at 0 too; NaN in y lets dy through."""
    return elementwise("relu_backward", 0.25, y, dy, 0.0, out)


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01, *, out: Array | None = None) -> Array:
    """x where x > 0, else negative_slope x."""
    return elementwise("leaky_relu", 0.25, x, None, negative_slope, out)


def leaky_relu_backward(dy: ArrayLike, x: ArrayLike, negative_slope: float = 0.01, *, out: Array | None = None) -> Array:
    """dx = dy where x > 0, else negative_slope dy."""
    return elementwise("leaky_relu_backward", 0.25, x, dy, negative_slope, out)


def elu(x: ArrayLike, alpha: float = 1.0, *, out: Array | None = None) -> Array:
    """x where x > 0, else alpha (exp(x) - 1)."""
    return elementwise("elu", 1, x, None, alpha, out)


def elu_backward(dy: ArrayLike, x: ArrayLike, alpha: float = 1.0, *, out: Array | None = None) -> Array:
    """dx = dy where x > 0, else dy alpha exp(x)."""
    return elementwise("elu_backward", 1, x, dy, alpha, out)


def sigmoid(x: ArrayLike, *, out: Array | None = None) -> Array:
    """1 / (1 + exp(-x))."""
    return elementwise("sigmoid", 1, x, None, 0.0, out)


def sigmoid_backward(dy: ArrayLike, y: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy y (1 - y), from the output y."""
    return elementwise("sigmoid_backward", 0.25, y, dy, 0.0, out)


def tanh(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Hyperbolic tangent."""
    return elementwise("tanh", 1, x, None, 0.0, out)


def tanh_backward(dy: ArrayLike, y: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy (1 - y^2), from the output y."""
    return elementwise("tanh_backward", 0.25, y, dy, 0.0, out)


def _gelu(approximate: str) -> str:
    if approximate not in ("none", "tanh"):
        raise ShapeError(f"gelu: expected approximate to be 'none' or 'tanh', got {approximate!r}")
    return "gelu" if approximate == "none" else "gelu_tanh"


def gelu(x: ArrayLike, approximate: str = "none", *, out: Array | None = None) -> Array:
    """x P(x), P the normal distribution; "tanh": x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2."""
    return elementwise(_gelu(approximate), 3, x, None, 0.0, out, "gelu")


def gelu_backward(dy: ArrayLike, x: ArrayLike, approximate: str = "none", *, out: Array | None = None) -> Array:
    """dx = dy (P(x) + x p(x)), from the input x; "tanh": the derivative of that formula."""
    return elementwise(_gelu(approximate) + "_backward", 4, x, dy, 0.0, out, "gelu_backward")
