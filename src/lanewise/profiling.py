"""Where a training step's time and memory go: layer by layer, and around the layers."""
from __future__ import annotations

import dataclasses
import inspect
import math
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from . import _isa, threads
from .graph import Value, as_value, merge, topological
from .loss import Loss
from .plan import MOST_SLOTS, REDUCE
from .rng import as_rng
from .summary import aligned, bytes_text, multiply_adds, shape_text, trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ._types import Data, LossFn, Shape
    from .nn.module import Module
    from .optim.optimizer import Optimizer

SHARD = ("forward", "backward")                 # blocks that run shard by shard
BLOCKS = (*SHARD, "join", "reduce")
TURN = 2e-4                     # seconds of one turn of an instruction
NOTHING = dict(forward=0.0, dx=0.0, dw=0.0, flops=0.0, bytes=0)
# Instructions of the way back that are there for the parameters; the others lead to the input, or serve both.
FOR_WEIGHTS = frozenset(("conv_dw_lanes", "conv_dw_pixels", "conv_dw_square", "conv_dw_pool", "channel_sums", "depthwise_dw", "stash", "constant_grad",
                         "embedding_stash"))


@dataclasses.dataclass(frozen=True)
class Row:
    """A layer with what the plan fused into it, or a part of the step that is no layer's; times in seconds of a step."""
    name: str                               # as in state_dict; "" for operations of the model itself and for what is no layer
    kind: str
    fused: tuple[str, ...]                  # kinds of the layers that are computed in the same instructions
    output_shape: Shape | None              # of a sample, after what is fused; None for what is no layer
    parameters: int                         # counted where they are used first
    multiply_adds: int                      # of a sample's forward pass, as the textbook counts them
    forward: float
    dx: float                               # the way back to the input
    dw: float                               # towards the weights, up to the gradient slots
    seconds: float                          # forward + dx + dw for a layer
    share: float                            # of the step
    gflops: float | None                    # of one core while it is here, counting what the kernels are asked to do
    of_peak: float | None
    bytes: int                              # of an arena that the row is the first to write, before places are shared


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of the plan, repeated alone on one core; `seconds` of one shard, or of the batch outside shards."""
    block: str
    index: int
    name: str
    seconds: float
    gflops: float | None
    of_peak: float | None


@dataclasses.dataclass(frozen=True)
class Profile:
    """Rows whose times add up to the measured step; print it for a table."""
    rows: list[Row]
    instructions: list[Instruction]
    samples: int                            # of a step
    lanes: int
    threads: int
    step: float                             # seconds, the fastest
    peak_gflops: float                      # of one core, measured before and after
    memory: dict[str, int]                  # {what: bytes}

    @property
    def bytes(self) -> int:
        """Peak bytes of a step: arenas, packed weights, gradient slots, stash, statistics, outputs, the batch, parameters."""
        return sum(self.memory.values())

    def to_dict(self) -> dict[str, Any]:
        """Everything in what JSON can say."""
        return {**dataclasses.asdict(self), "bytes": self.bytes}

    def table(self) -> str:
        """The rows as text."""
        head = ["Layer", "Type", "Output", "Forward", "dX", "dW", "us", "Share", "GFLOP/s", "Of peak", "Arena"]
        lines = [[r.name, " + ".join((r.kind, *r.fused)), shape_text(r.output_shape) if r.output_shape is not None else "",
                  *(_us(t) if r.output_shape is not None else "" for t in (r.forward, r.dx, r.dw)), _us(r.seconds),
                  f"{100 * r.share:.1f} %", "" if r.gflops is None else f"{r.gflops:.0f}",
                  "" if r.of_peak is None else f"{100 * r.of_peak:.0f} %", bytes_text(r.bytes) if r.bytes else ""]
                 for r in self.rows]
        total = ["Step", "", "", *(_us(sum(getattr(r, k) for r in self.rows)) for k in ("forward", "dx", "dw")),
                 _us(self.step), "100.0 %", "", "", ""]
        head, *lines, total = aligned([head, *lines, total], 3)
        rule, layers = "-" * len(head), sum(r.output_shape is not None for r in self.rows)
        memory = ", ".join(f"{what} {bytes_text(n)}" for what, n in self.memory.items() if n)
        return "\n".join([
            head, rule, *lines[:layers], rule, *lines[layers:], rule, total,
            f"Microseconds of a step of {self.samples} samples on {self.threads} thread{'s' * (self.threads > 1)}: "
            f"{self.samples / self.step:,.0f} samples/s. Instructions work on {self.lanes} samples, are measured alone,",
            f"and count as often as the busiest thread runs them. GFLOP/s are those of one core, whose FMA peak is "
            f"{self.peak_gflops:.0f}; they count",
            "the direct sum's operations, so that Winograd may pass the peak.",
            f"Memory of a step {bytes_text(self.bytes)}: {memory}."])

    __str__ = table


def _us(seconds: float) -> str:
    us = 1e6 * seconds
    return "" if us == 0 else f"{us:,.0f}" if abs(us) >= 99.5 else f"{us:.1f}"


def fma_peak(n_threads: int = 1, repeats: int = 20, dtype: str = "float32") -> float:
    """GFLOP/s of independent multiply-adds in registers, the build of the kernels that is in use; the best run."""
    from concurrent.futures import ThreadPoolExecutor
    engine = _isa.engine(dtype)
    # one thread: 0.3 ms, as beside busy processes some of such turns are not interrupted (118 GFLOP/s, where 3 ms gave 50);
    # several start some 50 us apart, and take 3 ms
    times = 100_000 if n_threads == 1 else 1_000_000
    flops = 2 * 12 * engine.lanes * times * n_threads

    def turn(pool: ThreadPoolExecutor) -> float:
        start = time.perf_counter()
        if n_threads == 1:
            engine.fma_peak(times)
        else:
            list(pool.map(lambda _: engine.fma_peak(times), range(n_threads)))
        return time.perf_counter() - start
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda _: time.sleep(0.001), range(n_threads)))           # the threads exist
        return max(flops / turn(pool) for _ in range(repeats)) / 1e9


def profile(model: Module, data: Data | Sequence[int], loss: LossFn | None = None, optimizer: Optimizer | None = None,
            batch_size: int = 128, repeats: int = 20) -> Profile:
    """The Profile of a training step of `batch_size` samples (of all, where the data are fewer).

    `data`: (x, y) arrays, a Dataset, or the shape (C, H, W) of a sample for random numbers and labels; `loss`: nn's
    CrossEntropyLoss by default. Without an optimizer the step ends with the gradients. Of `repeats` whole steps the fastest
    counts; an instruction is then repeated alone, where a step leaves its data, in so many turns, and the fastest counts: it
    finds its data in cache, and what that and waiting threads cost is the row "waiting, caches". Trains nothing: weights,
    statistics, gradients, the optimizer and the random numbers are afterwards what they were. ValueError or TypeError for
    arguments that do not fit; what the model and the loss raise."""
    for name, value in (("batch_size", batch_size), ("repeats", repeats)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"profile: expected {name} of 1 or more, got {value!r}")
    if loss is None:
        from .nn import CrossEntropyLoss
        loss = CrossEntropyLoss()
    with _unchanged(model, optimizer):
        data = _data(model, loss, data, int(batch_size))
        return _Measurement(model, data, loss, optimizer, min(int(batch_size), len(data)), int(repeats)).profile()


def _measurable(data: Data, dtype: Any) -> Any:
    # What can be asked for its first batch and its size.
    from .data.sources import Batches, as_source
    source = as_source(data, dtype)
    if isinstance(source, Batches):
        raise TypeError(f"profile: expected (x, y) arrays or a Dataset, got {type(data).__name__}")
    return source


def _data(model: Module, loss: Any, data: Data, n: int) -> Any:
    from .data.sources import number_type
    number = number_type(model)
    if not isinstance(data, (tuple, list)) or not data or not all(isinstance(d, (int, np.integer)) for d in data):
        return _measurable(data, number)
    if min(data) < 1:
        raise ValueError(f"profile: expected the shape of a sample, (C, H, W), got {tuple(data)}")
    rng = np.random.default_rng(0)
    try:
        x = rng.standard_normal((n, *data), number)
    except (MemoryError, ValueError):                   # NumPy's, for more than it can count
        raise MemoryError(f"profile: expected a batch_size whose samples fit into memory, got {n:,} of shape {tuple(data)}, "
                          f"{bytes_text(n * math.prod(data) * number.itemsize)}") from None
    out = model(x)
    shape: Any = getattr(out, "shape", ())
    try:
        y = rng.integers(0, shape[1], (n, *shape[2:]))
        loss(out, y)
    except (IndexError, TypeError, ValueError) as error:
        raise ValueError(f"profile: expected data (x, y) where labels of classes do not fit the loss, got the shape "
                         f"{tuple(data)}: {error}") from None
    return _measurable((x, y), number)


@contextmanager
def _unchanged(model: Module, optimizer: Optimizer | None) -> Iterator[None]:
    # Training mode inside, and nothing trained: the learning rate is 0, and all state is put back.
    if optimizer is not None and any(a.default is a.empty for a in inspect.signature(optimizer.step).parameters.values()):
        raise TypeError(f"profile: expected an optimizer whose step() takes nothing, got {type(optimizer).__name__}")
    modes, rng = [(m, m.training) for m in model.modules()], as_rng()
    params, buffers = list(model.parameters()), [(b, b.data.copy()) for b in model.buffers()]
    owned = {id(p): p for p in params}
    for group in optimizer.param_groups if optimizer is not None else ():
        owned.update((id(p), p) for p in group["params"])
    kept = [(p, p.data.copy(), None if p.grad is None else p.grad.copy()) for p in owned.values()]
    state = None if optimizer is None else optimizer.state_dict()
    rates, drawn = [g["lr"] for g in optimizer.param_groups] if optimizer is not None else [], rng.bit_generator.state
    for group in optimizer.param_groups if optimizer is not None else ():
        group["lr"] = 0.0
    model.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for p, numbers, grad in kept:
            p.data, p.grad = numbers, grad
        for buffer, numbers in buffers:
            buffer.data = numbers
        if optimizer is not None:
            optimizer.load_state_dict(state)            # type: ignore[arg-type]
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate
        rng.bit_generator.state = drawn


class _Clock:
    """A program whose runs are timed."""

    def __init__(self, program: Any) -> None:
        self.program, self.seconds = program, 0.0

    def run(self, *args: Any) -> Any:
        start = time.perf_counter()
        try:
            return self.program.run(*args)
        finally:
            self.seconds += time.perf_counter() - start


class _Measurement:
    """One model, one batch size: its plan, what of it belongs to which layer, and the clock."""

    def __init__(self, model: Module, data: Any, loss_fn: LossFn, optimizer: Optimizer | None, n: int, repeats: int) -> None:
        self.model, self.loss_fn, self.optimizer, self.n, self.repeats = model, loss_fn, optimizer, n, repeats
        self.data, self.threads = data, threads.get_num_threads()
        self.batches = self._endless()
        x, y = next(self.batches)
        leaf = as_value(x)
        out, self.calls = trace(model, [leaf])
        loss = loss_fn(out, y)
        if not isinstance(loss, Loss):
            raise TypeError(f"profile: expected a loss that is one number, got {type(loss).__name__}")
        if not isinstance(out, Value):
            raise TypeError(f"profile: expected a model with one output, got {type(out).__name__}")
        loss.backward()
        self.plan, self.leaf = loss._plan, leaf
        self.order = topological(merge([v for _, _, v, _ in loss.terms])[0])
        self.kinds = {n: type(n.op).__name__ for n in self.order}

    def _endless(self) -> Any:
        while True:
            yield from (b for b in self.data.batches(self.n, rng=0) if len(b[1]) == self.n)

    def profile(self) -> Profile:
        """Everything measured, in the order that leaves the caches to the steps."""
        peak = fma_peak(dtype=self.plan.dtype.name)
        step, python, update = self._steps()
        times = [self._turns(partial(self.plan.program.repeat, w.block, w.index)) for w in self.plan.work]
        reduction = self._reduction()
        peak = max(peak, fma_peak(dtype=self.plan.dtype.name))
        rows = self._layers(times, step, peak)
        packing = sum(self._turns(partial(self.plan.program.repeat, "pack", i)) for i in range(self.plan.packs))
        products = sum(t for w, t in zip(self.plan.work, times) if w.block == "reduce" and w.flops)
        around = [("packing weights", packing / self.threads),
                  ("reducing gradients", max(0.0, reduction - products / self.threads)), ("optimizer", update),
                  ("Python", python)]
        around.append(("waiting, caches", step - sum(r.seconds for r in rows) - sum(t for _, t in around)))
        rows += [Row("", kind, (), None, 0, 0, 0.0, 0.0, 0.0, t, t / step, None, None, 0) for kind, t in around]
        instructions = []
        for w, t in sorted(zip(self.plan.work, times), key=lambda pair: BLOCKS.index(pair[0].block)):
            rate = w.flops * (self.plan.lanes if w.block in SHARD else self.n) / t / 1e9 if w.flops else None
            instructions.append(Instruction(w.block, w.index, w.name, t, rate, rate and rate / peak))
        return Profile(rows, instructions, self.n, self.plan.lanes, self.threads, step, peak, self._memory())

    def _steps(self) -> Any:
        # The fastest step: all of it, what is neither the engine nor the optimizer, the optimizer.
        clock, times = _Clock(self.plan.program), []
        self.plan.program = clock
        try:
            for _ in range(self.repeats + 3):
                clock.seconds, start = 0.0, time.perf_counter()
                x, y = next(self.batches)
                (self.model if self.optimizer is None else self.optimizer).zero_grad()
                self.loss = self.loss_fn(self.model(x), y)
                self.loss.backward()
                before = time.perf_counter()
                if self.optimizer is not None:
                    self.optimizer.step()
                update = time.perf_counter() - before if self.optimizer is not None else 0.0
                self.loss.item()
                total = time.perf_counter() - start
                times.append((total, total - clock.seconds - update, update))
        finally:
            self.plan.program = clock.program
        return min(times[3:])

    def _turns(self, call: Any) -> Any:
        # Seconds of call(1): the fastest turn of call(times).
        def turn(times: int) -> float:
            start = time.perf_counter()
            call(times)
            return time.perf_counter() - start
        times, best = 1, turn(1)
        while best < TURN:
            times *= 2
            best = turn(times)
        return min(best, *(turn(times) for _ in range(self.repeats))) / times

    def _reduction(self) -> Any:
        def call(times: int) -> None:
            for _ in range(times):
                self.plan.program.run(0, [], REDUCE, False, self.threads)
        return self._turns(call)

    def _busiest(self) -> Any:
        # Shards on the thread that has most: whole slots are taken in turn.
        shards = -(-self.n // self.plan.lanes)
        slots = min(shards, MOST_SLOTS)
        loads = [0] * self.threads
        for s in range(slots):
            loads[loads.index(min(loads))] += shards * (s + 1) // slots - shards * s // slots
        return max(loads)

    def _layers(self, times: Any, step: Any, peak: Any) -> Any:
        # Calls that one instruction computes together are one row, under the name of the one with parameters.
        place = {n: i for i, n in enumerate(self.order)}
        home: dict[int, list[Any]] = {}
        groups = [[("", "Input", [self.leaf.node], [self.leaf.node])]]
        groups += [[c] for c in self.calls if any(n in place for n in c[2])]
        for g in groups:
            home.update((place[n], g) for n in g[0][2] if n in place)
        for i, node in enumerate(self.order):           # operations of the loss
            if i not in home:
                home[i] = [("", self.kinds[node], [node], [node])]
        tail: list[Any] = [("", getattr(self.loss_fn, "__name__", type(self.loss_fn).__name__), [], [])]
        for w in self.plan.work:
            for p in (w.places or ())[1:]:
                first, other = home[w.places[0]], home[p]
                if first is not other:
                    first.extend(other)
                    home.update((q, first) for q, g in home.items() if g is other)
        sums: dict[int, Any] = {}
        busiest = self._busiest()
        for w, t in zip(self.plan.work, times):
            if w.block == "reduce" and not w.flops:
                continue
            g = tail if w.places is None else home[w.places[-1]]
            inside = w.block in SHARD
            column = "forward" if w.block == "forward" or w.name == "batch_norm_join" else \
                "dw" if w.name in FOR_WEIGHTS or w.block == "reduce" else "dx"
            s = sums.setdefault(id(g), dict(NOTHING))
            s[column] += t * busiest if inside else t / self.threads
            s["flops"] += w.flops * (self.plan.lanes * busiest if inside else self.n / self.threads)
            s["bytes"] += w.bytes
        rows, seen, done = [], set(), set()
        for g in (*(g for _, g in sorted(home.items())), tail):
            nodes = [n for c in g for n in c[2] if n in place]
            params = [p for n in nodes for p in n.op.params]
            if id(g) in done or not (id(g) in sums or params):
                continue
            done.add(id(g))
            head = next((c for c in g if any(n.op.params for n in c[2])), g[0])
            s = sums.get(id(g), NOTHING)
            seconds = s["forward"] + s["dx"] + s["dw"]
            rate = s["flops"] / seconds / 1e9 if s["flops"] else None
            fresh = [p for p in params if not (id(p) in seen or seen.add(id(p)))]  # type: ignore[func-returns-value]
            last = max(nodes, key=place.__getitem__) if nodes else None
            rows.append(Row(head[0], head[1], tuple(c[1] for c in g if c is not head), last.shape if last else (),
                            sum(p.data.size for p in fresh), sum(map(multiply_adds, nodes)), s["forward"], s["dx"], s["dw"],
                            seconds, seconds / step, rate, rate and rate / peak, s["bytes"]))
        return rows

    def _memory(self) -> Any:
        node, itemsize = self.leaf.node, self.plan.dtype.itemsize
        size = {"uint8": 1, "float32": 4}.get(node.op.kind, 8)
        numbers = sum(p.data.size * (1 + (p._grad is not None)) for p in self.model.parameters())
        if self.optimizer is not None:
            numbers += sum(m.size for flat in self.optimizer._flat for m in flat.moments)
        return {**self.plan.bytes(self.n, self.threads), "the batch": self.n * math.prod(node.shape) * size,
                "parameters, gradients, moments": numbers * itemsize}
