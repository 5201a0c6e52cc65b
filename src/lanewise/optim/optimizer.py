"""What all optimizers share: parameter groups in flat arrays, state, and a step that is one pass over each array."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import threads
from .._isa import engine
from .._kernels.step import Marks, storage_version
from ..parameter import Parameter, aligned, flatten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._types import Array, Params


def number(owner: str, name: str, value: Any, low: float = 0.0, high: float = np.inf) -> float:
    """A float in [low, high], or one sentence."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)) or not low <= value <= high:
        raise ValueError(f"{owner}: expected {name} to be a number of {low:g} {'or more' if high == np.inf else f'to {high:g}'}"
                         f", got {value!r}")
    return float(value)


class Group(dict[str, Any]):
    """A parameter group: `params`, and the optimizer's settings, to be read and set between steps."""


class Flat:
    """A group's parameters side by side in one array, their gradients and the optimizer's moments in others like it."""

    def __init__(self, params: list[Parameter], moments: int) -> None:
        self.params = params
        self.data, self.grad = flatten(params)
        self.moments = [aligned(self.data.size, self.data.dtype) for _ in range(moments)]
        self.sizes, self.steps = [p.data.size for p in params], [0] * len(params)
        self.addresses = [a.ctypes.data for a in (self.data, self.grad, *self.moments)]
        self.bytes, self.dtype = self.data.itemsize, self.data.dtype.name
        self.version: int | None = None
        self.marks = Marks(params)
        self._parts: dict[tuple[int, int, int], Any] = {}
        self.update = engine(self.dtype).update

    def check(self, version: int) -> None:
        """RuntimeError if the parameters are no longer in these arrays."""
        at = list(self.addresses[:2])
        for p, size in zip(self.params, self.sizes):
            if p._grad is None or [a.__array_interface__["data"][0] for a in (p._data, p._grad)] != at:
                raise RuntimeError("the parameters were moved after this optimizer was made (model.double(), or a newer "
                                   "optimizer on them): make the optimizer last")
            at = [a + size * self.bytes for a in at]
        self.version = version

    def stretches(self) -> list[tuple[int, int, int]]:
        """Count a step for every parameter with a gradient: (first number, end, step count) of the longest stretches of
        such parameters that have done equally many."""
        steps, t = self.steps, self.steps[0]
        if self.marks.all() and steps.count(t) == len(steps):         # all of them, as ever
            steps[:] = [t + 1] * len(steps)
            return [(0, self.data.size, t + 1)]
        at, found, first, last = 0, [], 0, 0
        for i, p in enumerate(self.params):
            end = at + self.sizes[i]
            t = 0
            if p.has_grad:
                t = steps[i] = steps[i] + 1
            if t != last:
                if last:
                    found.append((first, at, last))
                first, last = at, t
            at = end
        if last:
            found.append((first, at, last))
        return found

    def parts(self, first: int, end: int, threads: int) -> tuple[int, int, int]:
        """(address, threads, ranges) of an int64 array (threads, ranges, 2): the chunks of first .. end that each thread
        updates, its share of every parameter."""
        found = self._parts.get((first, end, threads))
        if found is None:
            chunk, stops = engine(self.dtype).chunk, np.cumsum(self.sizes)
            middle = np.minimum(first + np.arange(0, end - first, chunk) + chunk // 2, end - 1)
            inside = np.searchsorted(stops, middle, side="right")
            size = np.array(self.sizes)[inside]
            owner = (middle - (stops[inside] - size)) * min(threads, len(middle)) // size
            starts = np.flatnonzero(np.diff(owner, prepend=-1))
            ranges = list(zip(owner[starts], starts, (*starts[1:], len(middle))))
            own = [[r[1:] for r in ranges if r[0] == t] for t in range(owner.max() + 1)]
            most = max(map(len, own))
            array = np.array([r + [(0, 0)] * (most - len(r)) for r in own], np.int64)
            found = self._parts[first, end, threads] = (array.ctypes.data, *array.shape[:2]), array
        return found[0]

    def pieces(self) -> Iterator[tuple[Parameter, int, list[Array]]]:
        """(parameter, its number in the group, its part of every moment)."""
        at = 0
        for i, p in enumerate(self.params):
            end = at + self.sizes[i]
            yield p, i, [m[at:end].reshape(p.shape) for m in self.moments]
            at = end


class Optimizer:
    """Holds parameters in groups, each moved into one flat array; step() is one pass over it.

    `params`: parameters, or dicts {"params": ..., setting: ...} as in PyTorch. A subclass names its `moments` (PyTorch's
    names in state_dict()), the kernel's `rule`, and gives constants(group, t). `made`: each group's settings at first."""
    moments: tuple[str, ...] = ()               # flat arrays of state that a parameter group needs
    rule: str | None = None                     # of kernels/optimizer.pxi

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        groups: Any = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: expected parameters, got none")
        groups = groups if isinstance(groups[0], dict) else [{"params": groups}]
        self.param_groups: list[Group] = []
        seen: set[int] = set()
        for group in groups:
            unknown = set(group) - set(defaults) - {"params"}
            if unknown:
                raise ValueError(f"{type(self).__name__}: unknown setting '{sorted(unknown)[0]}' in a parameter group, "
                                 f"expected {', '.join(defaults)}")
            group = Group({**defaults, **group})
            group["params"] = [group["params"]] if isinstance(group["params"], Parameter) else list(group["params"])
            for p in group["params"]:
                if not isinstance(p, Parameter):
                    raise TypeError(f"{type(self).__name__}: expected Parameters, got {type(p).__name__}")
                if id(p) in seen:
                    raise ValueError(f"{type(self).__name__}: parameter '{p.name}' appears twice")
                seen.add(id(p))
            self.check(group)
            self.param_groups.append(group)
        self.made = [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups]
        self._flat = [Flat(group["params"], len(self.moments)) for group in self.param_groups]

    def __getstate__(self) -> dict[str, Any]:
        # For copy.deepcopy and pickle, together with the model: the arrays' addresses are not a copy's.
        return {**self.__dict__, "_flat": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _flat=[Flat(group["params"], len(self.moments)) for group in state["param_groups"]])
        self.load_state_dict(state["_flat"])

    def check(self, group: Group) -> None:
        """ValueError for settings out of range."""

    def _ranges(self, group: Group, *names: str) -> None:
        for name in names:
            number(type(self).__name__, name, group[name])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients (or set them to zero)."""
        for flat in self._flat:
            if set_to_none:
                flat.marks.set(False)
            else:
                for p in flat.params:
                    p.grad = 0

    def step(self) -> Any:
        """Update every parameter that has a gradient."""
        n_threads, version = threads.get_num_threads(), storage_version()
        for group, flat in zip(self.param_groups, self._flat):
            if flat.version != version:
                flat.check(version)
            for first, end, t in flat.stretches():
                constants, mode = self.constants(group, t)
                flat.update(self.rule, flat.addresses, first, end - first, constants, mode, *flat.parts(first, end, n_threads))

    def constants(self, group: Group, t: int) -> tuple[tuple[float, ...], int]:
        """(the rule's constants, its mode) at step t, from 1."""
        raise TypeError(f"{type(self).__name__} expected a constants() method")

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's layout: {"state": {number of the parameter: {"step": count, moment: array}}, "param_groups": [settings,
        with "params" as numbers]}. Parameters without a step have no state. save_checkpoint() writes it to a file."""
        state: dict[int, dict[str, Any]] = {}
        groups, first = [], 0
        for group, flat in zip(self.param_groups, self._flat):
            for _, i, arrays in flat.pieces():
                if flat.steps[i]:
                    state[first + i] = {"step": flat.steps[i], **{k: a.copy() for k, a in zip(self.moments, arrays)}}
            numbers = list(range(first, first + len(flat.params)))
            groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": numbers})
            first += len(flat.params)
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave; ValueError if it is of another optimizer or other parameters, and then nothing is
        changed."""
        name, groups, entries, first = type(self).__name__, state["param_groups"], state["state"], 0
        if [len(g["params"]) for g in groups] != [len(f.params) for f in self._flat]:
            raise ValueError(f"{name}: the state does not belong to these parameters: expected groups of "
                             f"{[len(f.params) for f in self._flat]} parameters, got {[len(g['params']) for g in groups]}")
        for flat in self._flat:
            for p, i, _ in flat.pieces():
                entry = entries.get(first + i)
                if entry is not None and (set(entry) != {"step", *self.moments} or any(
                        np.shape(entry[m]) != p.shape for m in self.moments)):
                    raise ValueError(f"{name}: the state does not belong to these parameters: '{p.name}' expected "
                                     f"{', '.join(('step', *self.moments))} of shape {p.shape}, got "
                                     f"{', '.join(f'{k} {np.shape(v)}' for k, v in entry.items())}")
            first += len(flat.params)
        first = 0
        for group, flat, settings in zip(self.param_groups, self._flat, groups):
            group.update({k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k != "params"})
            for p, i, arrays in flat.pieces():
                entry = entries.get(first + i)
                flat.steps[i] = int(entry["step"]) if entry else 0
                for moment, array in zip(self.moments, arrays):
                    array[...] = entry[moment] if entry else self.fresh(group)
            first += len(flat.params)

    def fresh(self, group: Group) -> float:
        """What moments hold before the first step."""
        return 0
