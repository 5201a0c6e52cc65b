"""Parameters, and the flat arrays that they live in once an optimizer has them."""
from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from ._kernels.step import forget_plans, storage_version
from .errors import DtypeError, ShapeError
from .operators import Arithmetic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import ArrayLike, DTypeLike

    from ._types import Array, Shape

class Parameter(Arithmetic):
    """A trainable array: `.data` and `.grad` are NumPy views (write into them, or assign `.data`). Arithmetic with Values, or
    on its own, gives Values."""

    def __init__(self, data: ArrayLike, requires_grad: bool = True) -> None:
        self._data = np.ascontiguousarray(data)
        if self._data.dtype.name not in ("float32", "float64"):
            raise DtypeError(f"Parameter: expected float32 or float64 numbers, got {self._data.dtype}")
        self._grad: Array | None = None
        self._marks, self._mark = bytearray(1), 0       # whether it has a gradient: byte `_mark` of what neighbours share
        self._requires_grad, self.name = bool(requires_grad), "?"
        self.plans: OrderedDict[Any, Any] = OrderedDict()       # of graphs whose first parameter this is: they go with it

    @property
    def data(self) -> Array:
        """The numbers, a view into the model's flat array."""
        return self._data

    @data.setter
    def data(self, value: ArrayLike) -> None:
        value = np.asarray(value)
        if value.shape != self._data.shape:
            raise ShapeError(f"parameter '{self.name}': expected shape {self._data.shape}, got {value.shape}")
        self._data[...] = value

    @property
    def has_grad(self) -> bool:
        """Whether there is a gradient."""
        return self._marks[self._mark] == 1

    @has_grad.setter
    def has_grad(self, flag: bool) -> None:
        self._marks[self._mark] = bool(flag)

    @property
    def grad(self) -> Array | None:
        """The gradient, a view; None before backward() and after zero_grad()."""
        return self._grad if self.has_grad else None

    @grad.setter
    def grad(self, value: ArrayLike | None) -> None:
        if value is None:
            self.has_grad = False
        else:
            self.storage_grad()[...] = value
            self.has_grad = True

    @property
    def requires_grad(self) -> bool:
        """Whether backward() computes a gradient for it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self._requires_grad = bool(flag)
        self.has_grad = False
        forget_plans()

    @property
    def shape(self) -> Shape:
        """The shape of the numbers."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The number type."""
        return self._data.dtype

    def storage_grad(self) -> Array:
        """The memory of the gradient, whether or not there is one."""
        if self._grad is None:
            self._grad = np.zeros_like(self._data)
        return self._grad

    def move(self, data: Array, grad: Array, marks: bytearray, mark: int) -> None:
        """Take views of other memory, with the numbers copied there."""
        data[...] = self._data
        grad[...] = self._grad if self.has_grad else 0
        marks[mark] = self.has_grad
        self._data, self._grad, self._marks, self._mark = data, grad, marks, mark
        forget_plans()

    def cast(self, dtype: DTypeLike) -> None:
        """Another number type, in memory of its own."""
        if self._data.dtype != dtype:
            self.has_grad = False
            self._data, self._grad = self._data.astype(dtype), None
            forget_plans()

    def __getstate__(self) -> dict[str, Any]:
        # For copy.deepcopy and pickle: the numbers in memory of their own, without plans, which hold addresses.
        return {**self.__dict__, "_grad": self.grad, "_marks": bytearray([self.has_grad]), "_mark": 0, "plans": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, plans=OrderedDict())

    def numpy(self) -> Array:
        """The numbers."""
        return self._data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self._data, dtype)

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self.dtype})"


class Buffer:
    """An array that belongs to a module's state and is not trained: running statistics. `.data` is a NumPy view."""

    def __init__(self, data: ArrayLike) -> None:
        self._data = np.ascontiguousarray(data).reshape(np.shape(data))

    @property
    def data(self) -> Array:
        """The numbers."""
        return self._data

    @data.setter
    def data(self, value: ArrayLike) -> None:
        value = np.asarray(value)
        if value.shape != self._data.shape:
            raise ShapeError(f"a buffer expected shape {self._data.shape}, got {value.shape}")
        self._data[...] = value

    @property
    def shape(self) -> Shape:
        """The shape of the numbers."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The number type."""
        return self._data.dtype

    def cast(self, dtype: DTypeLike) -> None:
        """Another number type for floating-point numbers; counts stay."""
        if self._data.dtype.kind == "f" and self._data.dtype != dtype:
            self._data = self._data.astype(dtype)
            forget_plans()

    def numpy(self) -> Array:
        """The numbers."""
        return self._data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self._data, dtype)

    def __repr__(self) -> str:
        return f"Buffer({self._data!r})"


def aligned(size: int, dtype: DTypeLike) -> Array:
    """A zeroed 1-D array that starts on a cache line."""
    dtype = np.dtype(dtype)
    raw = np.zeros(size * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start:start + size * dtype.itemsize].view(dtype)


def flatten(params: Sequence[Parameter]) -> tuple[Array, Array]:
    """Move parameters side by side into one flat array, their gradients into another: (data, grad)."""
    size, dtype = sum(p.data.size for p in params), params[0].data.dtype
    if any(p.data.dtype != dtype for p in params):
        raise DtypeError("an optimizer's group expected parameters of one number type, got float32 and float64")
    data, grad, marks, at = aligned(size, dtype), aligned(size, dtype), bytearray(len(params)), 0
    for i, p in enumerate(params):
        end = at + p.data.size
        p.move(data[at:end].reshape(p.shape), grad[at:end].reshape(p.shape), marks, i)
        at = end
    return data, grad
