"""Module: parameters, submodules, state, and calling a network on arrays."""
from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from .._kernels.step import pass_through
from ..errors import ShapeError, WeightsError
from ..graph import Feed, Input, Node, Value, as_value, between, leaf
from ..parameter import Buffer, Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any
    from typing_extensions import Self

    from numpy.typing import ArrayLike

    from .._types import Array, Operand

MOST_TRACES = 64        # kept by a module
_structure = 0          # grows when any module changes: what was traced before may be stale
# called with (module, inputs, output) after every traced call: summary()
_watchers: list[Callable[[Module, Any, Any], None]] = []


def _array(name: str, value: Any) -> Array:
    """A NumPy array of what stands for one in a state; a tensor without its gradient, from wherever it lies."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value       # which NumPy lacks
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"the weights do not belong to this model: '{name}' expected an array, got "
                           f"{type(value).__name__} ({str(error).splitlines()[0]})") from None
    if found.dtype.kind not in "fiub":
        raise WeightsError(f"the weights do not belong to this model: '{name}' expected an array of numbers, got "
                           f"{type(value).__name__}")
    return found


class Module:
    """The base of every layer and network: subclass it, make layers in __init__, write forward(x).

    Calling it on an array (N, ...) gives a Value: a handle whose numbers are computed when asked for."""

    training: bool
    _parameters: OrderedDict[str, Parameter]
    _buffers: OrderedDict[str, Buffer]
    _modules: OrderedDict[str, Module]
    _traces: dict[Any, Any]

    def __init__(self) -> None:
        self.training = True

    def __setattr__(self, name: str, value: Any) -> None:
        global _structure
        _structure += 1
        members = self.__dict__
        if "_modules" not in members:
            members.update(_parameters=OrderedDict(), _buffers=OrderedDict(), _modules=OrderedDict(), _traces={})
        members["_modules"].pop(name, None)
        members["_parameters"].pop(name, None)
        members["_buffers"].pop(name, None)
        if isinstance(value, Module):
            members["_modules"][name] = value
        elif isinstance(value, Parameter):
            members["_parameters"][name] = value
            value.name = name
        elif isinstance(value, Buffer):
            members["_buffers"][name] = value
        members[name] = value

    def __getstate__(self) -> dict[str, Any]:
        # For copy.deepcopy and pickle: traces hold the parameters' graphs and plans.
        return {**self.__dict__, "_traces": {}}

    if TYPE_CHECKING:
        forward: Callable[..., Any]                     # a subclass's takes what it needs
    else:
        def forward(self, x: Any) -> Any:
            """The network: traced values in, traced values out."""
            raise TypeError(f"{type(self).__name__} expected a forward() method, and its class has none")

    @property
    def _static(self) -> bool:
        # Whether forward() depends on attributes alone, so that a trace can be kept: true of lanewise's own layers and models.
        own = type(self).__module__.startswith(("lanewise.nn", "lanewise.models"))
        return own and all(m._static for m in self._modules.values())

    def __call__(self, *inputs: Operand) -> Value:
        if len(inputs) != 1:
            return self._traced(*map(as_value, inputs))
        x, = inputs
        if isinstance(x, Value):
            return self._call_on_value(x)
        signature, feed = leaf(x)
        found = self._traces.get((signature, _structure))           # (input, output or None: forward() has to say)
        if found is None or found[1] is None:
            return self._call_on_array(signature, feed, found and found[0])
        return Value(found[1], {found[0]: feed}, feed.n, self.training)

    def _traced(self, *values: Value) -> Any:
        try:
            out = self.forward(*values)
        except ShapeError as error:
            if error.layer is None:
                error.layer, error.owner = type(self).__name__, self
            # each module on the way out puts the path as it sees it; the outermost is the last
            error.path = next((n for n, m in self.named_modules() if m is error.owner), error.path)
            raise
        for watcher in _watchers:
            watcher(self, values, out)
        return out

    def _keep(self, key: Any, found: Any) -> None:
        # `key` ends in the structure that the trace is of.
        if len(self._traces) >= MOST_TRACES or any(k[-1] != _structure for k in self._traces):
            self._traces.clear()
        self._traces[key] = found

    def _call_on_array(self, signature: Any, feed: Feed, found: Node | None) -> Any:
        # found: the input, where forward() has been seen to need its own way each time.
        node = found or Node(Input(*signature), (), True)
        out = self._traced(Value(node, {node: feed}, feed.n, self.training))
        if found is None:
            static = self._static and isinstance(out, Value)
            self._traces.clear()
            self._keep((signature, _structure), (node, out.node if static else None))
            if static:
                return Value(out.node, {node: feed}, feed.n, self.training)
        return out

    def _call_on_value(self, x: Value) -> Any:
        # Of a node that is kept, inside a network that is not: a static module does what it did, unless this call has been
        # in some of it already.
        node = x.node
        if node.made is None or _watchers:
            return self._traced(x)
        key = (node, x.train, _structure)
        found = self._traces.get(key)                   # (output, its train, the nodes in between), or () where none is kept
        if found:
            if pass_through(found[2], x.feeds):
                return x if found[0] is node else Value(found[0], x.feeds, x.n, found[1])
            return self._traced(x)
        out = self._traced(x)
        if found is None:
            known: Any = ()
            if self._static and isinstance(out, Value) and out.feeds == x.feeds and out.n == x.n:
                known = (out.node, out.train, between({node}, [out.node]))
                pass_through(known[2], x.feeds)
            self._keep(key, known)
        return out

    # -- parameters and submodules --------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(path, module) of this module and everything in it; a shared module once."""
        seen, stack = set(), [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack.extend((f"{path}.{n}" if path else n, m) for n, m in reversed(module._modules.items()))

    def modules(self) -> Iterator[Module]:
        """This module and everything in it."""
        return (m for _, m in self.named_modules())

    def children(self) -> Iterator[Module]:
        """The modules directly in this one."""
        return iter(self._modules.values())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), each parameter once, in the order of definition."""
        seen = set()
        for path, module in self.named_modules():
            for name, p in module._parameters.items():
                if id(p) not in seen:
                    seen.add(id(p))
                    p.name = f"{path}.{name}" if path else name
                    yield p.name, p

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(path, buffer), each once: state that is not trained."""
        seen = set()
        for path, module in self.named_modules():
            for name, b in module._buffers.items():
                if id(b) not in seen:
                    seen.add(id(b))
                    yield f"{path}.{name}" if path else name, b

    def buffers(self) -> Iterator[Buffer]:
        """All buffers, each once."""
        return (b for _, b in self.named_buffers())

    def register_buffer(self, name: str, array: ArrayLike) -> None:
        """Keep an array as `self.name`, in state_dict() and not trained."""
        setattr(self, name, Buffer(array))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = None

    def requires_grad_(self, flag: bool = True) -> Self:
        """Train the parameters, or leave them as they are."""
        for p in self.parameters():
            p.requires_grad = flag
        return self

    def train(self, mode: bool = True) -> Self:
        """Training mode, for this module and all in it."""
        for m in self.modules():
            m.training = bool(mode)
        return self

    def eval(self) -> Self:
        """Evaluation mode: a loss on it runs forward only."""
        return self.train(False)

    def double(self) -> Self:
        """Parameters to float64: training runs on the float64 build."""
        return self._cast(np.float64)

    def float(self) -> Self:
        """Parameters to float32."""
        return self._cast(np.float32)

    def _cast(self, dtype: Any) -> Self:
        for p in self.parameters():
            p.cast(dtype)
        for b in self.buffers():
            b.cast(dtype)
        return self

    # -- state --------------------------------------------------------------------------------------------------------

    def _named_state(self) -> list[tuple[str, Parameter | Buffer]]:
        # every path, also the second one of a shared parameter: as PyTorch's keys
        stack: list[tuple[str, Module]] = [("", self)]
        out: list[tuple[str, Parameter | Buffer]] = []
        while stack:
            path, module = stack.pop()
            out.extend((f"{path}{n}", p) for n, p in module._parameters.items())
            out.extend((f"{path}{n}", b) for n, b in module._buffers.items())
            stack.extend((f"{path}{n}.", m) for n, m in reversed(module._modules.items()))
        return out

    def state_dict(self) -> OrderedDict[str, Array]:
        """{path: copy of the numbers}, PyTorch's keys and layouts."""
        return OrderedDict((name, p.data.copy()) for name, p in self._named_state())

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take numbers by path: arrays, or another library's tensors, such as PyTorch's state_dict() as it is. WeightsError if
        a name is missing or unknown (strict), a shape differs or something is no array, and then nothing is changed."""
        own = dict(self._named_state())
        arrays = {k: _array(k, v) for k, v in state.items()}
        missing = [k for k in own if k not in arrays]
        unknown = [k for k in arrays if k not in own]
        if strict and (missing or unknown):
            raise WeightsError("the weights do not belong to this model: " + "; ".join(
                f"{what} {', '.join(repr(n) for n in names[:3])}{' and others' if len(names) > 3 else ''}"
                for what, names in (("missing", missing), ("unknown", unknown)) if names))
        for k, a in arrays.items():
            if k in own and a.shape != own[k].shape:
                raise WeightsError(f"the weights do not belong to this model: '{k}' expected shape {own[k].shape}, "
                                   f"got {a.shape}")
            if k in own and own[k].dtype.kind == "f" and a.dtype.kind != "f":
                raise WeightsError(f"the weights do not belong to this model: '{k}' expected floating-point numbers, "
                                   f"got {a.dtype}")
        for k, a in arrays.items():
            if k in own:
                own[k].data = a

    def config(self) -> dict[str, Any]:
        """The constructor's arguments that make another of the kind: a module keeps each as an attribute of its name, as it is
        now. An argument whose attribute is a Parameter or None says whether there is one; `rng` is left out."""
        from inspect import signature
        found = {}
        for name, argument in signature(type(self)).parameters.items():
            if name != "rng":
                value = self.__dict__[name]
                optional = isinstance(value, Parameter) or (value is None and argument.default is True)
                found[name] = value is not None if optional else value
        return found

    def extra_repr(self) -> str:
        """A layer's arguments, for repr()."""
        return ""

    def __repr__(self) -> str:
        inner = "\n".join("  " + line for n, m in self._modules.items() for line in f"({n}): {m!r}".split("\n"))
        return f"{type(self).__name__}({self.extra_repr()}" + (f"\n{inner}\n)" if inner else ")")


class Sequential(Module):
    """Modules one after the other: Sequential(a, b, ...) or Sequential(OrderedDict(name=module))."""

    def __init__(self, *modules: Module | dict[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            named = modules[0].items()
        else:
            named = ((str(i), m) for i, m in enumerate(modules))
        for name, module in named:
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: expected modules, got {type(module).__name__} as '{name}'")
            setattr(self, name, module)

    def config(self) -> dict[str, Any]:
        """Nothing: the modules are its own."""
        return {}

    def forward(self, x: Value) -> Value:
        """The modules in turn."""
        for module in self._modules.values():
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, i: Any) -> Any:
        modules = list(self._modules.values())
        return Sequential(*modules[i]) if isinstance(i, slice) else modules[i]

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        setattr(self, str(len(self)), module)
        return self
