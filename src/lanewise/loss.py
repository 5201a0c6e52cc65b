"""The handle of a loss: one number, computed with its gradient when it is asked for."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._isa import engine
from ._kernels.step import compute

if TYPE_CHECKING:
    from typing import Any

    from ._types import Array
    from .graph import Value


class Loss:
    """A loss that nothing has computed yet: weighted terms on traced values. `a + 2 * b` joins losses."""

    _plan: Any = None
    _losses: Any = None             # of the terms' samples: profile() repeats instructions, which write them again
    _hits: Any = None
    _run: int | None = None
    _number: float | None = None

    def __init__(self, terms: list[tuple[float, Any, Value, Any]]) -> None:
        self.terms = terms                      # [(weight, loss op, Value, arrays of its targets)]

    def __mul__(self, factor: float) -> Loss:
        if not isinstance(factor, (int, float)):
            raise TypeError(f"a loss can be multiplied by a number, got {type(factor).__name__}")
        return Loss([(w * factor, op, v, t) for w, op, v, t in self.terms])

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Loss:
        return self * (1 / divisor)

    def __neg__(self) -> Loss:
        return self * -1

    def __sub__(self, other: Loss) -> Loss:
        return self + -other

    def __add__(self, other: Loss | float) -> Loss:
        if isinstance(other, (int, float)) and other == 0:      # sum() starts with 0
            return self
        if not isinstance(other, Loss):
            raise TypeError(f"a loss can be added to a loss, got {type(other).__name__}")
        return Loss(self.terms + other.terms)

    __radd__ = __add__

    def _compute(self, backward: bool, reduce: bool = False) -> None:
        # item() and backward() share one run.
        self._plan, self._number, self._losses, self._hits = compute(self.terms, backward, reduce)
        self._run = self._plan.runs if backward else None

    def backward(self) -> None:
        """Add the gradient to `.grad` of every parameter (and of inputs that asked). Raises NonFiniteError, and leaves the
        gradients empty, when the loss or a gradient is NaN or infinite."""
        if self._plan is None or not self._plan.last(self._run):
            self._compute(True, True)
        self._plan.finish(self._number)
        self._run = None

    def item(self) -> float:
        """The loss as a float: the mean (or sum) over the batch."""
        if self._number is None:
            self._compute(any(t[2].train for t in self.terms))
        return self._number                             # type: ignore[return-value]  # _compute() leaves a number

    __float__ = item

    def numpy(self) -> Array:
        """The loss as a 0-dimensional array."""
        return np.asarray(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.item(), dtype)

    @property
    def correct(self) -> int:
        """How many labels of the batch the first term over classes has right: the greatest score is theirs. Of probabilities
        the label is the greatest; a label that ignore_index names is never right."""
        self.item()
        if self._hits is None:
            raise ValueError("correct: expected a loss over classes, got one of numbers")
        return int(engine(self._hits.dtype).total(self._hits))

    @property
    def counted(self) -> int:
        """How many labels `correct` is out of: those of the batch, pixel by pixel, but not the ignored ones."""
        for _, op, _, arrays in self.terms:
            if op.counts:
                return op.counted(arrays)
        return 0

    @property
    def mass(self) -> float | None:
        """What the first term's mean is taken over: the sum of its weights, or how many labels or samples there are; None
        where it is a sum. Means of batches, weighted by it, are the mean of all."""
        for _, op, value, arrays in self.terms:
            if value.n is not None:
                if op.reduction == "sum":
                    return None
                return op.mass if op.weighted else op.counted(arrays) if op.counts else value.n
        return 1

    def __repr__(self) -> str:
        return f"Loss({self.item():.6g})"
