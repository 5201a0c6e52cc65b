"""Arguments of layers and functions: checked, or one sentence on what was expected."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import ShapeError
from ..parameter import Parameter

if TYPE_CHECKING:
    from typing import Any


def pair(value: Any, what: str, least: int) -> tuple[int, int]:
    """(a, b) from an int or a pair of ints of at least `least`."""
    two = (value, value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else value
    if not isinstance(two, (tuple, list)) or len(two) != 2 or not all(
            isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v >= least for v in two):
        raise ValueError(f"{what}: expected an integer of at least {least}, or two, got {value!r}")
    return int(two[0]), int(two[1])


def count(value: Any, what: str) -> int:
    """A positive int."""
    return pair(value, what, 1)[0]


def weights(owner: str, rank: int, weight: Any, bias: Any = None) -> tuple[Any, Any]:
    """The weight, of so many dimensions, and the bias: Parameters."""
    for name, p in (("weight", weight), ("bias", bias)):
        if not isinstance(p, Parameter) and not (name == "bias" and p is None):
            raise TypeError(f"{owner}: expected a Parameter as {name}, got {type(p).__name__}")
    if len(weight.shape) != rank or (bias is not None and bias.shape != weight.shape[:1]):
        raise ShapeError(f"{owner}: expected a weight of {rank} dimensions and a bias of as many numbers as its first, got "
                         f"{weight.shape}{'' if bias is None else f' and {bias.shape}'}")
    return weight, bias


def other_dim(dim: Any, ndim: int) -> int:
    """The per-sample dimension of one of torch's, which is not the batch."""
    if not isinstance(dim, (int, np.integer)) or not -ndim <= dim < ndim or dim % ndim == 0:
        raise ShapeError(f"expected dim other than the batch, from 1 to {ndim - 1}, got {dim}")
    return int(dim) % ndim - 1
