"""Plans: a graph becomes instruction lists over one arena. Built once, run every step."""
import math
from collections import OrderedDict

import numpy as np

from . import _isa
from ._kernels.step import Marks, Runner, remember, storage_version
from .arena import cut, lay_out
from .bands import in_bands
from .builder import Builder
from .errors import ShapeError
from .fuse import fuse
from .graph import Input, run_dtype, topological

FORWARD, BACKWARD, REDUCE = 1, 2, 4     # phases of a run, as in kernels/engine.pyx
MOST_SLOTS = 16                         # gradient slots of a run, as in kernels/engine.pyx
MOST_PLANS = 32                         # kept by a model's first parameter, or here without one; the oldest in use goes
_plans = OrderedDict()


def kept(nodes, local, feeds, make, *args):
    """What make(nodes, feeds, *args) makes of a graph that is new, built or found in one like it, and the feeds in its order;
    local: what it depends on beside the graph."""
    order, version = topological(nodes), storage_version()
    place = {id(n): i for i, n in enumerate(order)}
    key = (local, version, _isa.isa, _isa.VBMI, tuple(place[id(n)] for n in nodes), tuple(
        (n.op.key(), tuple(place[id(i)] for i in n.inputs), tuple(p.requires_grad for p in n.op.params)) for n in order))
    plans = next((p.plans for n in order for p in n.op.params), _plans)
    plan = plans.get(key)
    if plan is None:
        plan = plans[key] = make(nodes, feeds, *args)
        while len(plans) > MOST_PLANS:
            plans.popitem(last=False)
    else:
        plans.move_to_end(key)
    inputs = [n for n in order if isinstance(n.op, Input)]
    if version == storage_version():        # else another thread moved memory meanwhile: stale, for this run alone
        remember(nodes, local, plan, inputs)
    return plan, [feeds[i] for i in inputs]


def planned(nodes, feeds, losses, backward):
    """A Plan, for kept()."""
    return Plan(nodes, losses, backward, run_dtype(nodes, feeds))


class Plan(Runner):
    """One network's program: bind arrays, run it, finish the gradients."""

    def __init__(self, nodes, losses, backward, dtype):
        self.dtype, self.double, self.backward, self.losses = np.dtype(dtype), dtype == "float64", backward, losses
        fused, covers = fuse(nodes)
        b = Builder(fused, losses, backward, dtype, covers)
        b.lists, b.work, b.joins = in_bands(b.lists, b.work, b.joins, b.lane_bytes)
        b.lists, b.work, arena, own = lay_out(b.lists, b.work, b.joins, b.lane_bytes)
        self.arena_bytes, self.own_bytes = arena * b.lane_bytes, own * b.lane_bytes
        self.params, self.marks = b.updated, Marks(b.updated)
        self.work, self.lanes, self.packs = b.work, b.lanes, len(b.lists["pack"])
        self.results = ([shape for _, shape in b.outputs], b.losses, [()] * any(op.counts for _, op in losses),
                         [shape for _, shape in b.input_grads])
        self._limits = sorted(set(b.limits))
        self.alone, self.buffers, self.random = b.alone, b.buffers, b.random > 0
        self.numbers = [op.numbers for _, op in losses]
        self.checked = bool(self._limits or self.alone)
        segments = cut(b.lists, b.joins)
        self._cut, self._sizes = len(segments) > 1, (b.packed, b.slot_bytes, b.stash_row, b.stat_row)
        self.program = b.engine.Program(
            b.lists, segments, arena, own, b.packed, b.slot_bytes, b.stash_row, b.stat_row, b.rows,
            [(p.storage_grad().ctypes.data, p.data.size) for p in self.params], b.keep)

    def _check(self, feeds, n, targets):
        for position, limit in self._limits:
            feeds[position].require_below(limit)
        if self.alone and n == 1:
            raise ShapeError(f"{self.alone}: expected more than one number a channel in training, got a single sample")
        for (_, op), arrays in zip(self.losses, targets):
            op.check(arrays, self.dtype)

    def bytes(self, n, n_threads):
        """{what: bytes} that a run of n samples on so many threads needs. One arena a thread, or one a shard where the plan is
        cut; at most 16 gradient slots; the stash has a row for every sample: linear in n for a given number of threads."""
        packed, slot, stash, stats = self._sizes
        shards, size = -(-n // self.lanes), self.dtype.itemsize
        numbers = sum(math.prod(shape) for shapes in self.results for shape in shapes)
        return {"arenas": (shards if self._cut else n_threads) * self.arena_bytes + n_threads * self.own_bytes,
                "packed weights": packed * size,
                "gradient slots": min(shards, MOST_SLOTS) * slot if self.backward else 0,
                "stash": shards * self.lanes * stash * size if self.backward else 0,
                "statistics": shards * stats * size, "outputs": n * numbers * size}
