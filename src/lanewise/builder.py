"""What a plan is built with: operations emit their instructions, and ask where values, gradients and weights lie."""
import math

import numpy as np

from . import _isa
from .arena import Work
from .graph import Input, refuse_indices, topological
from .nodes.base import Buffer, Layout, Ref


class Builder:
    """What operations emit their instructions to."""

    def __init__(self, nodes, losses, backward, dtype, covers):
        self.engine = _isa.engine(dtype)
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
        self._readers = {}
        for node in order:
            for i in node.inputs:
                self._readers.setdefault(i, []).append(node)
        self._next, self._outputs, self._passing = dict(zip(order, order[1:])), set(nodes), set()
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

    def pass_on(self, node):
        """A value that can be computed again need not be kept for the way back, if the next node is its only reader and asks
        for it by again()."""
        after = self._next.get(node)
        if after and self._readers.get(node) == [after] and after.op.asks_again and node not in self._outputs:
            self._passing.add(node)

    def again(self, node):
        """Where the value of a node lies on the way back: computed once more by its compute() if it was not kept."""
        if node not in self._passing:
            return self.value(node)
        at, self._at, layout = self._at, node, Layout(node.shape, staggered=True)
        if any(self._borders.get(node, ())):            # whose zeros are nobody else's
            layout = self.values[node]
            layout.buffer.passing = True
        node.op.compute(self, node, "backward", layout)
        self._at = at
        return layout

    def wants(self, node):
        """Whether the gradient of a node is needed."""
        return self._wants[node]

    def into(self, node):
        """Where to leave a gradient of a node: (layout, 1 if it must be added to what is there)."""
        add = int(node in self.written)
        self.written.add(node)
        if node not in self.grads:
            self.grads[node] = Layout(node.shape, node.op.grad_border(node) if node.inputs else (0, 0, 0, 0), staggered=True)
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
            room, how = node.op.augment.layout(node.shape, node.op.kind, self.real_bytes, self.lanes,
                                               self.engine.tiles and _isa.VBMI)
            self.emit("forward", "gather_augmented", gather=fields, work=Ref(Buffer(room, own=True), 0), **how)

    def bring(self, bound, shape):
        """A bound array (N, ...) in lanes: where it lies."""
        x = Layout(shape)
        self.emit("forward", "gather", **self._moved(x, len(shape) == 3), bound=bound, scale=0)
        return x

    def send(self, block, layout, shape, bound):
        """Write a value's numbers to a bound array (N, ...)."""
        self.emit(block, "scatter", **self._moved(layout, len(shape) == 3), bound=bound, scale=0)

    def bound_rows(self, node):
        """Which bound array has the numbers of a node, an input, as a stash would: in their order, rows of its pitch; or -1."""
        plain = isinstance(node.op, Input) and len(node.shape) == 1 and not node.op.scale and not node.op.augment
        return self._bound[node] if plain and self.pitch(node.shape[0]) == node.shape[0] else -1

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
