"""Plans: a graph becomes instruction lists over one arena. Built once, run every step."""
import math
import threading
from collections import OrderedDict

import numpy as np

from . import _isa, threads
from ._isa import engine
from .arena import Work, cut, lay_out
from .errors import NonFiniteError, ShapeError
from .fuse import fuse
from .graph import Input, refuse_indices, run_dtype, topological
from .nodes.base import Buffer, Layout, Ref
from .parameter import storage_version

FORWARD, BACKWARD, REDUCE = 1, 2, 4
MOST_SLOTS = 16                         # gradient slots of a run, as in kernels/engine.pyx
MOST_PLANS = 32                         # kept by a model's first parameter, or here without one; the oldest in use goes
_plans = OrderedDict()


def kept(nodes, local, feeds, make):
    """What `make` makes of a graph, built or found, and the feeds in its order; local: what it depends on beside the graph."""
    local = (*local, storage_version(), _isa.isa)
    if len(nodes) == 1:
        found = nodes[0].plans.get(local)
        if found is not None:
            return found[0], [feeds[i] for i in found[1]]
    order = topological(nodes)
    place = {id(n): i for i, n in enumerate(order)}
    key = (local, tuple(place[id(n)] for n in nodes), tuple(
        (n.op.key(), tuple(place[id(i)] for i in n.inputs), tuple(p.requires_grad for p in n.op.params)) for n in order))
    plans = next((p.plans for n in order for p in n.op.params), _plans)
    plan = plans.get(key)
    if plan is None:
        plan = plans[key] = make()
        while len(plans) > MOST_PLANS:
            plans.popitem(last=False)
    else:
        plans.move_to_end(key)
    inputs = [n for n in order if isinstance(n.op, Input)]
    if len(nodes) == 1:
        nodes[0].plans[local] = plan, inputs
    return plan, [feeds[i] for i in inputs]


def plan_for(nodes, losses, backward, feeds):
    """The plan that computes `nodes`, and the losses [(weight, op)] on them, built or found; and the feeds in its order."""
    local = (tuple((w, op.key()) for w, op in losses), backward)
    return kept(nodes, local, feeds, lambda: Plan(nodes, losses, backward, run_dtype(nodes, feeds)))


class Builder:
    """What operations emit their instructions to."""

    def __init__(self, nodes, losses, backward, dtype, covers):
        self.engine = engine(dtype)
        self.lanes, self.real_bytes = self.engine.lanes, self.engine.real_bytes
        self.lane_bytes = self.lanes * self.real_bytes
        self.lists = {"pack": [], "forward": [], "backward": [], "reduce": []}
        self.work, self._covers, self._at = [], covers, None    # instructions as Work; the node that emits
        self.packed = self.slot_bytes = self.stash_row = 0
        self.rows, self.keep = [], []                   # bound arrays; what the addresses point into
        self.limits, self._bound = [], {}               # (bound array, rows of the table it indexes); where inputs are bound
        self.values, self.grads, self.written, self._packs, self._saved = {}, {}, set(), {}, {}
        self.updated, self._flops = [], 0
        self.outputs, self.input_grads = [], []
        self.joins = {"forward": [], "backward": []}    # (where in the block, name, fields): the plan is cut there
        self.stat_row, self._stats, self.masks, self.random = 0, {}, {}, 0
        self.buffers, self.alone = [], None             # running statistics; who needs more than one sample
        self._emit_all(nodes, losses, backward)

    def _emit_all(self, nodes, losses, backward):
        order = topological(nodes)
        self._borders = {}
        for node in order:
            for i, border in zip(node.inputs, node.op.borders(node)):
                self._borders[i] = tuple(map(max, self._borders.get(i, border), border))
        self._wants = {}
        for node in order:
            own = node.op.wants_grad if isinstance(node.op, Input) else any(p.requires_grad for p in node.op.params)
            self._wants[node] = backward and (own or any(self._wants[i] for i in node.inputs))
        for node in order:
            self._at = node
            if isinstance(node.op, Input):
                self.gather(node)
            else:
                node.op.forward(self, node)
        for node in nodes:
            self._at = node
            self.scatter("forward", self.value(node), node.shape, self.outputs)
        self._at = None
        targets = [[self.bind(row) for row in op.rows(node.shape)] for (_, op), node in zip(losses, nodes)]
        self.losses = [op.out_shape(node.shape) if op.reduction == "none" else () for (_, op), node in zip(losses, nodes)]
        outs = [self.bind(math.prod(shape), True) for shape in self.losses]
        first = next((k for k, (_, op) in enumerate(losses) if op.counts), None)
        hits = -1 if first is None else self.bind(1, True)
        for k, (weight, op) in enumerate(losses):
            op.emit(self, nodes[k], targets[k], outs[k], hits if k == first else -1, weight)
        for node in reversed(order):
            self._at = node
            if node in self.written and not isinstance(node.op, Input):
                node.op.backward(self, node, self.grads[node])
        for node in order:
            self._at = node
            if isinstance(node.op, Input) and node.op.wants_grad and backward:
                dx, _ = self.into(node) if node not in self.written else (self.grads[node], 0)
                self.scatter("backward", dx, node.shape, self.input_grads)

    # -- what operations ask for ---------------------------------------------------------------------------------

    def emit(self, block, name, **fields):
        """Append an instruction to "forward", "backward" or "reduce"."""
        self._note(block, len(self.lists[block]), name)
        self.lists[block].append((name, fields))

    def _note(self, block, index, name):
        if block != "pack":
            self.work.append(Work(block, index, name, self._flops, self._covers.get(self._at), 0))
            self._flops = 0

    def flops(self, n):
        """Floating-point operations a sample of the next instruction, for measurements."""
        self._flops = n

    def value(self, node):
        """Where the value of a node lies."""
        if node not in self.values:
            refuse_indices(node)
            self.values[node] = Layout(node.shape, self._borders.get(node, (0, 0, 0, 0)), staggered=True)
        return self.values[node]

    def wants(self, node):
        """Whether the gradient of a node is needed."""
        return self._wants[node]

    def into(self, node, over=None):
        """Where to leave a gradient of a node: (layout, 1 if it must be added to what is there). `over`: a gradient that may be
        written over, if it lies as this one would."""
        add = int(node in self.written)
        self.written.add(node)
        if node not in self.grads:
            border = node.op.grad_border(node) if node.inputs else (0, 0, 0, 0)
            own = Layout(node.shape, border, staggered=True)
            self.grads[node] = own if over is None or any(border) or not own.alike(over) else over
        return self.grads[node], add

    def saved(self, node, size=0):
        """A buffer that forward() of a node leaves for its backward()."""
        if node not in self._saved:
            self._saved[node] = Ref(Buffer(size), 0)
        return self._saved[node]

    def scratch(self, size):
        """A flat layout for one operation's own use."""
        return Layout((size,))

    def slot(self, size):
        """Bytes in every gradient slot."""
        at, self.slot_bytes = self.slot_bytes, self.slot_bytes + -(-size // 64) * 64
        return at

    def join(self, block, name, **fields):
        """Cut the plan: once every shard has come this far, the instruction runs on the whole batch, split over threads."""
        self._note("join", sum(map(len, self.joins.values())), name)
        self.joins[block].append((len(self.lists[block]), name, fields))

    def stat(self, key, size):
        """Numbers in every shard's row of partial sums over the batch, and in the joint row."""
        if key not in self._stats:
            self._stats[key] = self.stat_row
            self.stat_row += -(-size // self.lanes) * self.lanes
        return self._stats[key]

    def running(self, buffers):
        """The run changes these buffers: (mean, variance, count of batches)."""
        self.buffers.extend(b for b in buffers if not any(b is c for c in self.buffers))

    def needs_two(self, layer):
        """A single sample is refused: `layer` would have one number a channel."""
        self.alone = layer

    def random_place(self):
        """A number of its own for each instruction that draws."""
        self.random += 1
        return self.random

    def pitch(self, size):
        """Row length for `size` numbers: an odd number of lane vectors, so that a column's rows do not share L1 sets."""
        return (-(-size // self.lanes) | 1) * self.lanes

    def stash(self, pitch):
        """Numbers in every sample's row of the stash."""
        at, self.stash_row = self.stash_row, self.stash_row + pitch
        return at

    def address(self, p):
        """The address of a parameter's numbers, 0 for none."""
        if p is None:
            return 0
        self.keep.append(p)
        return p.data.ctypes.data

    def grad_address(self, p):
        """The address of a parameter's gradient, 0 where none is wanted."""
        if p is None or not p.requires_grad:
            return 0
        self.keep.append(p)
        return p.storage_grad().ctypes.data

    def used_before(self, p):
        """1 where an earlier instruction of this step has written the parameter's gradient; the next waits for all threads."""
        if p is None or not p.requires_grad:
            return 0
        before = any(p is q for q in self.updated)
        if before:
            self.emit("reduce", "wait")
        else:
            self.updated.append(p)
        return int(before)

    def pack(self, key, p, widest, first, outs, groups, taps, runs, reds, points=0, **strides):
        """Pack a parameter's numbers for a kernel, once a run: where in the packed array they start."""
        if key not in self._packs:
            self._packs[key] = self.packed
            self.lists["pack"].append(("pack", dict(
                src=self.address(p) + first * self.real_bytes, dst=self.packed, groups=groups, outs=outs, taps=taps,
                runs=runs, reds=reds, widest=widest, points=points, **strides)))
            self.packed += -(-groups * outs * taps * (points or runs) * reds // self.lanes) * self.lanes
        return self._packs[key]

    # -- inputs and outputs -----------------------------------------------------------------------------------------

    def bind(self, row, writable=False):
        """The index of a new bound array, of `row` numbers a sample."""
        self.rows.append((row, writable))
        return len(self.rows) - 1

    def gather(self, node):
        """Bind an input and bring it into lanes; indices stay where they are."""
        self._bound[node] = len(self.rows)
        if node.op.kind == "int64":
            self.bind(int(np.prod(node.shape)))
            return
        x, scale = self.value(node), 0
        if node.op.scale:
            array = np.array(node.op.scale, np.float32 if self.real_bytes == 4 else np.float64)
            self.keep.append(array)
            scale = array.ctypes.data
        fields = dict(**self._moved(x, len(node.shape) == 3), scale=scale, bound=self.bind(x.rows * x.cols * x.channels))
        if node.op.augment is None:
            self.emit("forward", "gather", **fields)
        else:
            room, how = node.op.augment.layout(node.shape, node.op.kind, self.real_bytes, self.lanes)
            self.emit("forward", "gather_augmented", gather=fields, work=Ref(Buffer(room, own=True), 0), **how)

    def bring(self, bound, shape):
        """A bound array (N, ...) in lanes: where it lies."""
        x = Layout(shape)
        self.emit("forward", "gather", **self._moved(x, len(shape) == 3), bound=bound, scale=0)
        return x

    def send(self, block, layout, shape, bound):
        """Write a value's numbers to a bound array (N, ...)."""
        self.emit(block, "scatter", **self._moved(layout, len(shape) == 3), bound=bound, scale=0)

    def bound_index(self, node, limit):
        """Which bound array holds an input's indices; every run sees to it that they lie below `limit`."""
        self.limits.append((self._bound[node], limit))
        return self._bound[node]

    def scatter(self, block, layout, shape, into):
        """Bind an array (N, ...) that a value's numbers are written to."""
        bound = self.bind(layout.rows * layout.cols * layout.channels, True)
        into.append((bound, shape))
        self.send(block, layout, shape, bound)

    @staticmethod
    def _moved(x, image):
        if image:
            return dict(y=x.start, channels=x.channels, rows=x.rows, cols=x.cols, row=x.row, step=x.channels, zero=0)
        return dict(y=x.start, channels=1, rows=1, cols=x.channels, row=x.channels, step=1, zero=0)


class Plan:
    """One network's program: bind arrays, run it, finish the gradients."""

    def __init__(self, nodes, losses, backward, dtype):
        self.dtype, self.backward, self.losses = np.dtype(dtype), backward, losses
        fused, covers = fuse(nodes)
        b = Builder(fused, losses, backward, dtype, covers)
        b.lists, b.work, arena, own = lay_out(b.lists, b.work, b.lane_bytes)
        self.arena_bytes, self.own_bytes = arena * b.lane_bytes, own * b.lane_bytes
        self.params = b.updated
        self.work, self.lanes, self.packs = b.work, b.lanes, len(b.lists["pack"])
        self._outputs, self._input_grads, self._loss_shapes = b.outputs, b.input_grads, b.losses
        self._limits = sorted(set(b.limits))
        self._has_hits = any(op.counts for _, op in losses)
        self.alone, self.buffers, self.random = b.alone, b.buffers, b.random > 0
        self._numbers = [k for k, (_, op) in enumerate(losses) if op.numbers]      # whose targets have a number type to check
        segments = cut(b.lists, b.joins)
        self._cut, self._sizes = len(segments) > 1, (b.packed, b.slot_bytes, b.stash_row, b.stat_row)
        self.program = b.engine.Program(
            b.lists, segments, arena, own, b.packed, b.slot_bytes, b.stash_row, b.stat_row, b.rows,
            [(p.storage_grad().ctypes.data, p.data.size) for p in self.params], b.keep)
        self.runs = self.steps = 0
        self._before = ()
        self._lock = threading.Lock()

    def run(self, feeds, n, targets=(), reduce=False):
        """Forward, and backward up to the gradient slots where the plan has one, or (reduce) into the gradients themselves,
        which must be empty: (outputs, losses, hits). `targets`: the arrays that each loss binds."""
        empty, dtype = np.empty, self.dtype
        self._feeds = feeds
        if self._limits or self._numbers or self.alone:
            self._check(feeds, n, targets)
        outputs = [empty((n, *shape), dtype) for _, shape in self._outputs]
        losses = [empty((n, *shape), dtype) for shape in self._loss_shapes]
        hits = empty(n, dtype) if self._has_hits else None
        self._dx = [empty((n, *shape), dtype) for _, shape in self._input_grads]
        arrays = [f.array if f.index is None else (f.array, f.index, *f.draws) for f in feeds]
        arrays += outputs
        for bound in targets:
            arrays += bound
        arrays += losses
        if hits is not None:
            arrays.append(hits)
        arrays += self._dx
        phases = (FORWARD | BACKWARD | REDUCE if reduce else FORWARD | BACKWARD) if self.backward else FORWARD
        key = feeds[0].key() if self.random else 0
        with self._lock:
            if self.buffers:
                self._before = [b.data.copy() for b in self.buffers]
            finite = self.program.run(n, arrays, phases, False, threads.get_num_threads(), key)
            self.runs += 1
            for b in self.buffers:
                if b.dtype.kind == "i":
                    b.data += 1
        self._finite = finite if reduce else None       # None: the reduction is still to come
        return outputs, losses, hits

    def _check(self, feeds, n, targets):
        for position, limit in self._limits:
            feeds[position].require_below(limit)
        if self.alone and n == 1:
            raise ShapeError(f"{self.alone}: expected more than one number a channel in training, got a single sample")
        for k in self._numbers:
            self.losses[k][1].check(targets[k], self.dtype)

    def bytes(self, n, n_threads):
        """{what: bytes} that a run of n samples on so many threads needs. One arena a thread, or one a shard where the plan is
        cut; at most 16 gradient slots; the stash has a row for every sample: linear in n for a given number of threads."""
        packed, slot, stash, stats = self._sizes
        shards, size = -(-n // self.lanes), self.dtype.itemsize
        numbers = sum(math.prod(s) for s in (*(s for _, s in (*self._outputs, *self._input_grads)), *self._loss_shapes))
        return {"arenas": (shards if self._cut else n_threads) * self.arena_bytes + n_threads * self.own_bytes, "packed weights": packed * size,
                "gradient slots": min(shards, MOST_SLOTS) * slot if self.backward else 0,
                "stash": shards * self.lanes * stash * size if self.backward else 0,
                "statistics": shards * stats * size, "outputs": n * (numbers + self._has_hits) * size}

    @property
    def grads_empty(self):
        """Whether no parameter has a gradient yet."""
        for p in self.params:
            if p.has_grad:
                return False
        return True

    def finish(self, loss):
        """Leave the last run's gradients in `.grad`; NonFiniteError if the loss or a gradient is not a number."""
        step, self.steps = self.steps, self.steps + 1
        if not math.isfinite(loss):
            self._forget()
            raise NonFiniteError(f"the loss is {loss} at step {step}: its gradients were dropped and the weights are those "
                                 f"before it")
        finite = self._reduce() if self._finite is None else self._finite
        if not finite:
            self._forget()
            raise NonFiniteError(f"a gradient is not finite at step {step} (the loss is {loss}): the gradients were dropped "
                                 f"and the weights are those before it")
        for p in self.params:
            p.has_grad = True
        if self._dx:
            for tensor, dx in zip((f.tensor for f in self._feeds if f.tensor is not None), self._dx):
                tensor.grad = dx if tensor.grad is None else tensor.grad + dx

    def _reduce(self):
        accumulate = not self.grads_empty
        for p in self.params if accumulate else ():
            if not p.has_grad:
                p.storage_grad()[...] = 0
        with self._lock:
            return self.program.run(0, [], REDUCE, accumulate, threads.get_num_threads())

    def _forget(self):
        for p in self.params:
            p.has_grad = False
        for b, before in zip(self.buffers, self._before):
            b.data = before
