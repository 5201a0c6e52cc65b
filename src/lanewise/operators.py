"""The operators and methods of Values and Parameters: the functions of arithmetic.py."""
from __future__ import annotations


if TYPE_CHECKING:
    from typing import Any
from typing import TYPE_CHECKING


def _method(name: str, reflected: bool = False) -> Any:
    def method(self: Any, *args: Any, **kw: Any) -> Any:
        from . import arithmetic                        # which needs Value and Parameter
        function = getattr(arithmetic, name)
        return function(*args, self) if reflected else function(self, *args, **kw)
    method.__name__, method.__doc__ = name, f"lanewise.arithmetic.{name} of this value."
    return method


class Arithmetic:
    """`+ - * / @ **`, functions, reductions and permutations."""
    __array_priority__ = 1000                           # array * value is the value's, not NumPy's, to compute
    __add__ = __radd__ = _method("add")
    __mul__ = __rmul__ = _method("multiply")
    __sub__, __rsub__ = _method("subtract"), _method("subtract", True)
    __truediv__, __rtruediv__ = _method("divide"), _method("divide", True)
    __matmul__, __rmatmul__ = _method("matmul"), _method("matmul", True)
    __pow__, __neg__, __abs__, __getitem__ = _method("power"), _method("negative"), _method("abs"), _method("index")
    exp, log, sqrt, abs, relu, matmul = map(_method, ("exp", "log", "sqrt", "abs", "relu", "matmul"))
    sum, mean, max, min = map(_method, ("sum", "mean", "max", "min"))
    permute, transpose = map(_method, ("permute", "transpose"))
