"""Initial values, with PyTorch's names: each fills a Parameter or an array in place and returns it.

`rng`: a seed, a Generator, or None for what manual_seed() seeded. Fans of a weight (O, I, K...): fan_in = I prod K, fan_out =
O prod K. Xavier keeps the variance of linear units alike forwards and backwards, Kaiming that of rectified ones."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..parameter import Parameter
from ..rng import as_rng

if TYPE_CHECKING:
    from typing import Any, TypeVar

    from .._types import Array, Seed

    T = TypeVar("T", bound="Parameter | Array")

GAINS = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0, "conv_transpose2d": 1.0,
         "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}


def _fill(tensor: T, values: Any) -> T:
    (tensor.data if isinstance(tensor, Parameter) else tensor)[...] = values
    return tensor


def _fans(tensor: Any, owner: str) -> tuple[int, int]:
    if len(tensor.shape) < 2:
        raise ValueError(f"{owner}: expected a weight of two dimensions or more, got shape {tuple(tensor.shape)}")
    taps = math.prod(tensor.shape[2:])
    return tensor.shape[1] * taps, tensor.shape[0] * taps


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What an activation's shrinking is made up for with: 1, tanh 5/3, relu sqrt(2), selu 3/4, leaky_relu
    sqrt(2 / (1 + slope^2)), slope = param or 0.01."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in GAINS:
        raise ValueError(f"calculate_gain: expected leaky_relu, {', '.join(GAINS)}, got {nonlinearity!r}")
    return GAINS[nonlinearity]


def zeros_(tensor: T) -> T:
    """0. All-zero weights never break symmetry: the hidden units of a layer stay equal for ever."""
    return _fill(tensor, 0)


def ones_(tensor: T) -> T:
    """1."""
    return _fill(tensor, 1)


def constant_(tensor: T, val: float) -> T:
    """val."""
    return _fill(tensor, val)


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, rng: Seed = None) -> T:
    """U(a, b)."""
    return _fill(tensor, as_rng(rng).uniform(a, b, tensor.shape))


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, rng: Seed = None) -> T:
    """N(mean, std^2)."""
    return _fill(tensor, as_rng(rng).normal(mean, std, tensor.shape))


def trunc_normal_(tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, rng: Seed = None) -> T:
    """N(mean, std^2), drawn again where it falls outside [a, b] (these are values, not multiples of std).

    ValueError where [a, b] is empty or more than 4 std away from the mean."""
    if not a < b or a > mean + 4 * std or b < mean - 4 * std:
        raise ValueError(f"trunc_normal_: expected a < b within 4 std of the mean {mean:g}, got a={a:g}, b={b:g}, std={std:g}")
    rng, values = as_rng(rng), np.full(tensor.shape, np.nan)
    while (out := ~((a <= values) & (values <= b))).any():
        values[out] = rng.normal(mean, std, np.count_nonzero(out))
    return _fill(tensor, values)


def xavier_uniform_(tensor: T, gain: float = 1.0, rng: Seed = None) -> T:
    """U(-k, k), k = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    k = gain * math.sqrt(6 / sum(_fans(tensor, "xavier_uniform_")))
    return uniform_(tensor, -k, k, rng)


def xavier_normal_(tensor: T, gain: float = 1.0, rng: Seed = None) -> T:
    """N(0, std^2), std = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor, "xavier_normal_"))), rng)


def _kaiming(tensor: Any, a: float, mode: str, nonlinearity: str, owner: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{owner}: expected mode 'fan_in' or 'fan_out', got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor, owner)[mode == "fan_out"])


def kaiming_uniform_(tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Seed = None) -> T:
    """U(-k, k), k = gain sqrt(3 / fan) (He et al. 2015); a: the slope of leaky_relu."""
    k = math.sqrt(3) * _kaiming(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -k, k, rng)


def kaiming_normal_(tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Seed = None) -> T:
    """N(0, std^2), std = gain / sqrt(fan) (He et al. 2015); a: the slope of leaky_relu."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity, "kaiming_normal_"), rng)


def orthogonal_(tensor: T, gain: float = 1.0, rng: Seed = None) -> T:
    """gain Q, as a matrix (O, I prod K): rows orthonormal, or columns where there are more rows (Saxe et al. 2014).

    Q of the QR decomposition of a normal matrix, with the signs of R's diagonal: uniform over orthogonal matrices."""
    _fans(tensor, "orthogonal_")
    rows, cols = tensor.shape[0], math.prod(tensor.shape[1:])
    q, r = np.linalg.qr(as_rng(rng).standard_normal((max(rows, cols), min(rows, cols))))
    q *= np.where(np.diag(r) < 0, -1, 1)
    return _fill(tensor, gain * (q if rows >= cols else q.T).reshape(tensor.shape))
