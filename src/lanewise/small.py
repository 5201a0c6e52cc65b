"""The forward pass of a few samples, vectors over pixels and outputs: in the engine most lanes would be empty. One compiled
call of kernels/small_pass.pxi."""
import math

import numpy as np

from . import _isa, threads
from .fuse import fuse
from .graph import Input, run_dtype, topological
from .nodes import batchnorm, conv, dense, depthwise, elementwise, pool, resample, reshape, softmax
from ._kernels.step import recall
from .plan import kept

PART = 4                # a batch goes this way that fills no more than a quarter of the lanes. us of 1 and of 4 samples, and in
                        # lanes (one thread, AVX-512): 4-16-3 4.2, 4.5, 7.6; MLP 784-256-128-10 18, 47, 79; LeNet-5 13, 39, 74;
                        # CIFAR CNN 126, 448, 1086
SHARED = 1 << 24        # multiply-adds of a pass from which threads share its tasks, about 0.2 ms of one
POINTS_FROM = 8         # input channels from which Winograd's products pay


class _Room:
    """A place in the memory, and how many still read it; `at` -1: none."""
    __slots__ = ("at", "size", "readers")

    def __init__(self, at, size):
        self.at, self.size, self.readers = at, size, 0


class _Builder:
    """Lays out the memory and lists the tasks, [(method of Pass, arguments)], for n samples."""

    def __init__(self, output, dtype, n):
        self.kernels, self.dtype, self.n = _isa.kernels("arrays", dtype.name), dtype, n
        self.calls, self.top, self._free, self._rooms = [], 0, [], {}
        order = topological([output])
        self._reads = {node: 0 for node in order}
        for node in order:
            for i in node.inputs:
                self._reads[i] += 1
        self._reads[output] += 1
        self.folded = {node.inputs[node.op.term] for node in order if self._folds(node)}
        for node in order:
            if isinstance(node.op, Input):
                self._input(node)
            elif node not in self.folded:
                FORMS[type(node.op)](self, node)
            else:
                continue
            for i in self.read(node):
                self.release(self._rooms[i])
        self.result = self._rooms[output].at, n * math.prod(output.shape)

    def _folds(self, node):
        # Batch normalisation of a convolution that nothing else reads: what follows the sums.
        before = node.inputs[node.op.term] if type(node.op) is batchnorm.BatchNorm else None
        return before is not None and type(before.op) in CONVOLUTIONS and not before.op.relu and self._reads[before] == 1

    def read(self, node):
        """The nodes whose numbers a node's tasks read."""
        return [i for j in node.inputs for i in (j.inputs if j in self.folded else (j,))]

    def room(self, size):
        """A place for `size` numbers: in one that is free again, or at the end."""
        size = -(-size // self.kernels.lanes) * self.kernels.lanes + 2 * self.kernels.lanes
        fits = min((r for r in self._free if r[1] >= size), key=lambda r: r[1], default=None)
        if fits is None:
            self.top += size
            return _Room(self.top - size, size)
        self._free.remove(fits)
        if fits[1] > size:
            self._free.append((fits[0] + size, fits[1] - size))
        return _Room(fits[0], size)

    def release(self, room):
        """One reader less; without any the place is free."""
        room.readers -= 1
        if room.readers > 0:
            return
        at, size = room.at, room.size
        for start, length in sorted(self._free):            # joined with its neighbours
            if start + length == at or at + size == start:
                self._free.remove((start, length))
                at, size = min(at, start), size + length
        self._free.append((at, size))

    def value(self, node):
        """Where a node's numbers go, (N, ...)."""
        room = self._rooms[node] = self.room(self.n * math.prod(node.shape))
        room.readers = self._reads[node]
        return room.at

    def same(self, node, like):
        """The node has the numbers of another, where they are."""
        room = self._rooms[node] = self._rooms[like]
        room.readers += self._reads[node]

    def of(self, node):
        """Where a node's numbers are."""
        return self._rooms[node].at

    def emit(self, name, *args):
        """A task more."""
        self.calls.append((name, args))

    def _input(self, node):
        op, size = node.op, self.n * math.prod(node.shape)
        channels = len(op.scale) // 2 if op.kind == "uint8" else 1
        scale = np.array(op.scale, self.dtype) if op.kind == "uint8" else None
        self.emit("input", self.value(node), size, scale, channels, math.prod(node.shape) // channels)

    def program(self):
        """A Pass of its own memory."""
        program = self.kernels.Pass(self.top, *self.result)
        for name, args in self.calls:
            getattr(program, name)(*args)
        return program


def _data(p):
    return None if p is None else p.data


def _statistics(op):
    return op.running[0].data, op.running[1].data, _data(op.weight), _data(op.bias), op.eps


def _by_points(op, result, lanes):
    # Whether Winograd's products along rows pay: 6 for 12, and one vector in twelve of the sums for the weights.
    pixels = math.prod(result[1:])
    if op.points(result) not in (conv.TILE + 2, conv.SQUARE) or result[2] % conv.TILE or op.weight.shape[1] < POINTS_FROM:
        return False
    return 6 * -(-pixels // conv.TILE // lanes) + 2 < 3 * -(-pixels // lanes)


def _convolve(b, y, x, op, shape, relu, norm=None, added=None):
    # A convolution of the node x, with what follows it, into the place y; shape: its result's.
    (_, h, w), (outs, rows, cols), (_, ins, kh, kw), n = x.shape, shape, op.weight.shape, b.n
    geometry, held = (h, w, rows, cols, kh, kw, *op.stride, *op.dilation, *op.padding[:2]), []

    def room(size):
        if not size:
            return -1
        held.append(b.room(size))
        return held[-1].at
    scale = shift = weights = products = -1
    if norm is not None:
        scale, shift = room(outs), room(outs)
        b.emit("scale", scale, shift, *_statistics(norm), outs)
    if _by_points(op, shape, b.kernels.lanes):
        staged, weights, products = b.kernels.points(geometry, ins, outs)
        staged, weights, products = room(n * staged), room(weights), room(n * products)
    else:
        staged = room(n * x.shape[0] * b.kernels.staged(geometry, outs // op.groups, False))
    b.emit("conv", b.of(x), staged, y, op.weight.data, _data(op.bias), scale, shift, -1 if added is None else b.of(added),
           geometry, n, op.groups, relu, weights, products)
    for r in held:
        b.release(r)


def _conv(b, node):
    _convolve(b, b.value(node), node.inputs[0], node.op, node.shape, node.op.relu)


def _conv_max_pool(b, node):
    op = node.op
    before = op.output(node)
    y = b.room(b.n * math.prod(before))
    _convolve(b, y.at, node.inputs[0], op, before, op.pool_relu)
    _pool(b, "max", op.pool, y.at, before, b.value(node), node.shape)
    b.release(y)


def _linear(b, node):
    op, x = node.op, node.inputs[0]
    rows = b.n * math.prod(x.shape[:-1])
    b.emit("product" if op.transposed else "dense", b.of(x), b.value(node), op.weight.data, _data(op.bias), rows, op.relu)


def _batch_norm(b, node):
    op = node.op
    x, others = node.inputs[op.term], [i for k, i in enumerate(node.inputs) if k != op.term]
    if x in b.folded:
        _convolve(b, b.value(node), x.inputs[0], x.op, x.shape, op.relu, op, others[0] if others else None)
        return
    y, size = b.value(node), b.n * math.prod(node.shape)
    b.emit("norm", b.of(x), y, *_statistics(op), b.n, x.shape[0], math.prod(x.shape[1:]))
    if others:
        b.emit("affine", y, b.of(others[0]), y, size, 1.0, 0.0)
    if op.relu:
        b.emit("elementwise", "relu", y, y, size)


def _unary(b, node):
    op, x, size = node.op, b.of(node.inputs[0]), b.n * math.prod(node.shape)
    if op.name == "affine":
        b.emit("affine", x, -1, b.value(node), size, op.alpha, op.beta)
    else:
        b.emit("elementwise", op.name, x, b.value(node), size)


def _add(b, node):
    x, added = map(b.of, node.inputs)
    b.emit("affine", x, added, b.value(node), b.n * math.prod(node.shape), 1.0, 0.0)


def _pool(b, name, op, x, before, y, after, count_pad=False):
    geometry = (*before[1:], *after[1:], *op.kernel, *op.stride, 1, 1, *op.padding)
    b.emit("pool", name, x, y, b.n * before[0], geometry, count_pad)


def _window(name):
    def form(b, node):
        x, op = node.inputs[0], node.op
        _pool(b, name, op, b.of(x), x.shape, b.value(node), node.shape, op.count_include_pad)
    return form


def _adaptive(b, node):
    x = node.inputs[0]
    geometry = (*x.shape[1:], *node.shape[1:], 1, 1, 1, 1, 1, 1, 0, 0)
    b.emit("pool", "adaptive", b.of(x), b.value(node), b.n * x.shape[0], geometry, False)


def _concat(b, node):
    axis, y, pitch = node.op.axis, b.value(node), math.prod(node.shape[node.op.axis:])
    for x in node.inputs:
        row = math.prod(x.shape[axis:])
        b.emit("copy", b.of(x), y, b.n * math.prod(x.shape[:axis]), row, pitch)
        y += row


def _softmax(log):
    def form(b, node):
        axis, shape = node.op.axis, node.shape
        b.emit("softmax", b.of(node.inputs[0]), b.value(node), b.n * math.prod(shape[:axis]), shape[axis],
               math.prod(shape[axis + 1:]), log)
    return form


CONVOLUTIONS = conv.Conv2d, depthwise.DepthwiseConv2d
UNARY = "relu", "sigmoid", "tanh", "affine"

# the operations that a pass may have; each gives what the engine gives, to rounding
FORMS = {
    conv.Conv2d: _conv, depthwise.DepthwiseConv2d: _conv, pool.ConvMaxPool: _conv_max_pool, dense.Linear: _linear,
    batchnorm.BatchNorm: _batch_norm, elementwise.ReLU: _unary, elementwise.Unary: _unary, elementwise.Affine: _unary,
    elementwise.Add: _add, pool.MaxPool2d: _window("max"), pool.AvgPool2d: _window("avg"), resample.Resample: _adaptive,
    reshape.Reshape: lambda b, node: b.same(node, node.inputs[0]), reshape.Concat: _concat,
    softmax.Softmax: _softmax(False), softmax.LogSoftmax: _softmax(True),
}


def _fits(node):
    op = node.op
    if isinstance(op, Input):
        return op.kind in ("float32", "float64", "uint8") and op.augment is None
    if type(op) is batchnorm.BatchNorm and (op.batch or op.running is None):
        return False
    if isinstance(op, elementwise.Unary) and op.name not in UNARY:
        return False
    if type(op) is elementwise.Add and len({i.shape for i in node.inputs}) > 1:
        return False
    if type(op) is resample.Resample and op.how is not resample.adaptive:
        return False
    return type(op) in FORMS


def _multiply_adds(node):
    op = node.op
    if isinstance(op, conv.Conv2d):
        return op.weight.data.size * math.prod(node.shape[1:])
    return op.weight.data.size if isinstance(op, dense.Linear) else 0


class Small:
    """The passes of n samples through a graph: one for every thread that is in a call at the same time."""

    def __init__(self, output, dtype, n):
        self.shape, self.dtype = (n, *output.shape), dtype
        self._builder, self._idle = _Builder(fuse([output])[0][0], dtype, n), []
        self._shared = n * sum(map(_multiply_adds, topological([output]))) >= SHARED

    def run(self, feeds):
        """The numbers (n, ...) for what is bound to the inputs."""
        y = np.empty(self.shape, self.dtype)
        try:
            program = self._idle.pop()
        except IndexError:
            program = self._builder.program()
        try:
            program.run([f.array if f.index is None else f.array[f.index] for f in feeds], y,
                        threads.get_num_threads() if self._shared else 1)
        finally:
            self._idle.append(program)
        return y


def _made(nodes, feeds, n):
    # The Small of a node's graph for n samples; False where it is one for the engine.
    order, dtype = topological(nodes), np.dtype(run_dtype(nodes, feeds))
    kernels = _isa.kernels("arrays", dtype.name)
    fits = n * PART <= kernels.lanes and len(feeds) <= kernels.pass_inputs and all(map(_fits, order))
    return Small(nodes[0], dtype, n) if fits else False


def forward(node, feeds, n):
    """The numbers (n, ...) of a node for what is bound to its inputs, None where the engine has to give them."""
    small, bound = recall([node], ("small", n), feeds) or kept([node], ("small", n), feeds, _made, n)
    return small.run(bound) if small else None
