"""Functions of the user's as operations: scalar Python, which Numba compiles to a loop over lanes that the engine calls."""
from __future__ import annotations

import dis
import hashlib
import inspect
import math
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from . import graph, own_math
from .checks import numerical_gradient
from .errors import GradientError, ShapeError
from .nn.module import Module
from .nodes.move import Expand
from .nodes.own import Own
from .nodes.walk import broadcast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .graph import Value

    Derivative = Callable[..., float] | Sequence[Callable[..., float]]

FAST = ("exp", "expm1", "log", "log1p", "tanh")
OPTIONS = dict(nopython=True, error_model="numpy", fastmath={"contract"})


@overload
def elementwise(function: Callable[..., float], *, derivative: Derivative,
                check: bool | tuple[float, float] = False) -> Elementwise: ...
@overload
def elementwise(function: None = None, *, derivative: Derivative,
                check: bool | tuple[float, float] = False) -> Callable[[Callable[..., float]], Elementwise]: ...
def elementwise(function: Callable[..., float] | None = None, *, derivative: Derivative,
                check: bool | tuple[float, float] = False) -> Elementwise | Callable[[Callable[..., float]], Elementwise]:
    """An operation from a scalar Python function f(x) or f(x, y), for use in any Module, Sequential or loss:

        @lw.elementwise(derivative=lambda x: 1 / (1 + math.exp(-x)))
        def softplus(x):
            return math.log1p(math.exp(x))

    `derivative`: df/dx, of the same arguments; for f(x, y) the two, (df/dx, df/dy). Numba compiles them when a plan first needs
    them, for float32 and float64, and keeps the machine code on disk ($LANEWISE_OPS, or ~/.cache/lanewise/ops). Numbers in the
    functions take the type of x; `math.exp`, `expm1`, `log`, `log1p` and `tanh` (and NumPy's) become vector code; a division by
    zero gives inf or NaN. Two inputs broadcast. `check`: compare the derivative with differences at once, at 200 points from -2 to
    2, or between `check=(low, high)`; GradientError if it is wrong. ImportError, when it is first called, without Numba."""
    def make(f: Callable[..., float]) -> Elementwise:
        return Elementwise(f, derivative if isinstance(derivative, (tuple, list)) else (derivative,), check)
    return make if function is None else make(function)


class Elementwise(Module):
    """What `elementwise` makes: call it on Values or arrays. `.function`: the Python function."""

    def __init__(self, function: Callable[..., float], derivatives: Sequence[Callable[..., float]],
                 check: bool | tuple[float, float]) -> None:
        super().__init__()
        self.function, self.derivatives = function, tuple(derivatives)
        self.__name__, self.__qualname__, self.__module__ = function.__name__, function.__qualname__, function.__module__
        self.__doc__ = function.__doc__
        self.inputs = len(inspect.signature(function).parameters)
        if self.inputs not in (1, 2) or len(self.derivatives) != self.inputs:
            raise TypeError(f"elementwise '{self.__name__}': expected a function of one or two numbers and a derivative for each, "
                            f"got {self.inputs} and {len(self.derivatives)}")
        for d in self.derivatives:
            if len(inspect.signature(d).parameters) != self.inputs:
                raise TypeError(f"elementwise '{self.__name__}': expected a derivative of {self.inputs} numbers, got {d}")
        self._compiled: dict[str, Any] = {}
        if check:
            self.check(*(check if isinstance(check, (tuple, list)) else (-2.0, 2.0)))

    def forward(self, *x: Value) -> Value:
        """Same shape as the input, or as two broadcast."""
        if len(x) != self.inputs:
            raise TypeError(f"'{self.__name__}': expected {self.inputs} values, got {len(x)}")
        _numba(self.__name__)
        if self.inputs == 2:
            if None not in (x[0].n, x[1].n) and x[0].ndim != x[1].ndim:
                raise ShapeError(f"'{self.__name__}': expected two values of as many dimensions, got {x[0].shape} and {x[1].shape}")
            to = broadcast(f"'{self.__name__}'", x[0].node.shape, x[1].node.shape)
            x = tuple(v if v.node.shape == to else graph.apply(Expand(to), v) for v in x)
        return graph.apply(Own(self), *x)

    def check(self, low: float = -2.0, high: float = 2.0, tolerance: float = 1e-5) -> float:
        """The largest relative error of the derivatives against central differences of the Python function at 200 points;
        GradientError above `tolerance`. A kink between two points of a difference counts as an error."""
        points, worst = np.random.default_rng(0).uniform(low, high, (200, self.inputs)), 0.0
        for at in points:
            slopes = numerical_gradient(lambda v: self.function(*v.tolist()), at)
            for d, slope, which in zip(self.derivatives, slopes, "xy"):
                own = float(d(*at.tolist()))
                error = abs(own - slope) / max(1.0, abs(own), abs(slope))
                if not error <= tolerance:
                    raise GradientError(f"the derivative of '{self.__name__}' by {which} is wrong: at {tuple(at.tolist())} it gives "
                                        f"{own:.6g}, differences {slope:.6g}")
                worst = max(worst, error)
        return worst

    def addresses(self, kind: str) -> tuple[int, ...]:
        """(of the forward span, of each derivative's) for "float32" or "float64"; compiled once."""
        if kind not in self._compiled:
            spans = [_compile(self.function, "forward", self.inputs, kind)]
            spans += [_compile(d, "backward", self.inputs, kind) for d in self.derivatives]
            self._compiled[kind] = spans, tuple(s.address for s in spans)
        return self._compiled[kind][1]

    def __deepcopy__(self, memo: Any) -> Elementwise:
        return self

    def __reduce__(self) -> Any:
        return self.__qualname__                        # by name, as functions are

    def extra_repr(self) -> str:
        """The function's name."""
        return self.__name__


def _numba(name):
    try:
        import numba
    except ImportError:
        raise ImportError(f"the operation '{name}' is compiled by Numba, which is not installed: install lanewise[numba]") from None
    return numba


def _power_before(instructions, i):
    # Whether the constant that instruction i loads is an exponent: Numba multiplies for whole exponents.
    after = instructions[i + 1] if i + 1 < len(instructions) else None
    return after is not None and (after.opname == "BINARY_POWER" or (after.opname == "BINARY_OP" and after.argrepr == "**"))


def _retyped(code, real):
    """Code whose constants are of the number type: 0.1 * x of a float32 would else be computed in float64. Whole exponents stay
    whole, and whole numbers in a function with a loop, which may count its turns."""
    instructions = [i for i in dis.get_instructions(code) if i.opname != "CACHE"]
    counts = any(i.opname == "FOR_ITER" for i in instructions)
    consts, raw = list(code.co_consts), bytearray(code.co_code)
    for at, i in enumerate(instructions):
        value = i.argval
        if i.opname not in ("LOAD_CONST", "RETURN_CONST", "LOAD_SMALL_INT") or type(value) not in (int, float) or len(consts) > 254:
            continue
        if type(value) is int and (counts or _power_before(instructions, at)):
            continue
        if i.opname == "LOAD_SMALL_INT":
            raw[i.offset] = dis.opmap["LOAD_CONST"]
        raw[i.offset + 1] = len(consts)
        consts.append(real(value))
    return code.replace(co_consts=tuple(consts), co_code=bytes(raw)), counts


class _Types:
    """One number type's versions of what a function refers to."""

    def __init__(self, kind):
        import numba
        self.numba, self.real, self.done = numba, np.dtype(kind).type, {}
        space = own_math.namespace(kind)
        for name in ("exp_series", "log_series"):
            made = dict(space)
            exec(compile(space[name], f"<lanewise {name}>", "exec"), made)
            space[name] = self.jit(made["series"])
        for name in ("parts", *FAST):
            f = getattr(own_math, name)
            space[name] = self.jit(types.FunctionType(f.__code__, space, name))
        self.fast = {name: space[name] for name in FAST}

    def jit(self, function):
        return self.numba.njit(inline="always", **{k: v for k, v in OPTIONS.items() if k != "nopython"})(function)

    def module(self, module):
        """math or NumPy, with fast functions and constants of the number type."""
        twin = types.ModuleType(module.__name__)
        twin.__dict__.update({k: v for k, v in vars(module).items() if k[0] != "_"})
        twin.__dict__.update(self.fast, **{k: self.real(v) for k, v in vars(module).items() if type(v) is float})
        return twin

    def value(self, v, counts=False):
        """What stands for a global or a cell."""
        if type(v) is float or (type(v) is int and not counts):
            return self.real(v)
        if v is math or v is np:
            return self.module(v)
        if isinstance(v, types.BuiltinFunctionType) and v.__module__ == "math" or isinstance(v, np.ufunc):
            return self.fast.get(v.__name__, v)
        return self.function(getattr(v, "py_func", v)) if isinstance(getattr(v, "py_func", v), types.FunctionType) else v

    def function(self, f):
        """The function with numbers of the type, compiled into its caller."""
        if f not in self.done:
            code, counts = _retyped(f.__code__, self.real)
            used = {n: self.value(f.__globals__[n], counts) for n in code.co_names if n in f.__globals__}
            cells = tuple(types.CellType(self.value(c.cell_contents, counts)) for c in f.__closure__ or ())
            self.done[f] = self.jit(types.FunctionType(code, {**f.__globals__, **used, "__name__": __name__}, f.__name__, f.__defaults__, cells))
        return self.done[f]


_types: dict[str, Any] = {}


def _content(value, seen):
    """What a function's machine code depends on, as text; None where it cannot be told."""
    value = getattr(value, "py_func", value)
    if isinstance(value, types.FunctionType):
        if value in seen:
            return "again"
        seen.add(value)
        code = value.__code__
        parts = [code.co_code.hex(), *(_content(c, seen) for c in code.co_consts), repr(code.co_names), repr(code.co_varnames)]
        parts += [_content(value.__globals__[n], seen) for n in code.co_names if n in value.__globals__]
        parts += [_content(c.cell_contents, seen) for c in value.__closure__ or ()]
        parts.append(repr(value.__defaults__))
        return None if None in parts else repr(parts)
    if value is None or isinstance(value, (bool, int, float, str, np.number)):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, (types.ModuleType, types.BuiltinFunctionType, type, np.ufunc)):
        return f"{type(value).__name__} {value.__name__}"
    if isinstance(value, tuple):
        parts = [_content(v, seen) for v in value]
        return None if None in parts else repr(parts)
    return None


def home() -> Path:
    """Where compiled operations are kept: $LANEWISE_OPS, or ~/.cache/lanewise/ops."""
    return Path(os.environ.get("LANEWISE_OPS") or Path.home() / ".cache" / "lanewise" / "ops")


def _source(block, inputs):
    # What the engine calls: y and up to three operands (c is dy), n numbers, and whether to add to y.
    value = "f(a[i])" if inputs == 1 else "f(a[i], b[i])"
    if block == "forward":
        return f"def span(y, a, b, c, n, add):\n    for i in range(n):\n        y[i] = {value}\n"
    loop = "        for i in range(n):\n            y[i] ="
    return f"def span(y, a, b, c, n, add):\n    if add:\n{loop} y[i] + c[i] * {value}\n    else:\n{loop} c[i] * {value}\n"


def _file(function, block, inputs, kind):
    """A source file of the span whose name says what it depends on, for Numba to keep the machine code beside; None where
    there can be none."""
    from . import __version__
    content = _content(function, set())
    if content is None:
        return None
    text = _source(block, inputs)
    import numba
    library = inspect.getsource(own_math) + inspect.getsource(sys.modules[__name__])
    name = hashlib.sha256("\n".join((content, text, kind, __version__, numba.__version__, sys.version, library)).encode()).hexdigest()
    path = home() / f"op_{name[:32]}.py"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
                file.write(text)
            os.replace(file.name, path)
    except OSError:
        return None
    return path


def _compile(function, block, inputs, kind):
    numba = _numba(function.__name__)
    if kind not in _types:
        _types[kind] = _Types(kind)
    path, pointer = _file(function, block, inputs, kind), numba.types.CPointer(getattr(numba.types, kind))
    # Numba imports the module of a function that it has kept
    space = {"f": _types[kind].function(function), "__name__": __name__}
    exec(compile(_source(block, inputs), str(path or f"<lanewise {function.__name__}>"), "exec"), space)
    signature = numba.types.void(*[pointer] * 4, numba.types.intp, numba.types.intp)
    return numba.cfunc(signature, cache=path is not None, **OPTIONS)(space["span"])
