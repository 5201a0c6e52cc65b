"""Batch normalisation: instructions of kernels/batchnorm.pxi. The plan is cut where the batch's statistics are needed."""
from ..errors import ShapeError
from .base import Buffer, Op, Ref


BEGIN, END = 1, 2                       # parts of an image, as kernels/batchnorm.pxi has them: its first rows, its last ones
WHOLE = BEGIN | END


class BatchNorm(Op):
    """y = (x - mean) / sqrt(var + eps) * w + b per channel; the batch's statistics, or the running ones (`batch` False).
    `running`: buffers (mean, var, count), without count where momentum is a number, or None; where the plan found them, a second
    input added (`plus`; x is the input `term`) and a ReLU after that."""

    def __init__(self, weight, bias, running, momentum, eps, batch, relu=False, plus=False, term=0):
        self.weight, self.bias, self.running, self.momentum, self.eps = weight, bias, running, momentum, eps
        self.batch, self.relu, self.plus, self.term = batch, relu, plus, term

    @property
    def params(self):
        return tuple(p for p in (self.weight, self.bias) if p is not None)

    def key(self):
        return ("batch_norm", id(self.weight), id(self.bias), tuple(map(id, self.running or ())), self.momentum, self.eps,
                self.batch, self.relu, self.plus, self.term)

    def with_relu(self):
        """The same with a ReLU after it."""
        return self._fused(True, self.plus, self.term)

    def with_sum(self, term):
        """The same as the input `term` of two, with the other one added."""
        return self._fused(False, True, term)

    def _fused(self, *how):
        return BatchNorm(self.weight, self.bias, self.running, self.momentum, self.eps, self.batch, *how)

    def shape(self, x, r=None):
        return x

    def _inputs(self, node):
        # What is normalised, and what is added.
        return node.inputs[self.term], node.inputs[1 - self.term] if self.plus else None

    @staticmethod
    def _walk(layout, shape):
        # (strides of rows, pixels, channels), (rows, pixels, channels)
        if len(shape) == 3:
            return (layout.row, layout.channels, 1), (layout.rows, layout.cols, layout.channels)
        pixels = 1
        for d in shape[1:]:
            pixels *= d
        return (0, 1, pixels), (1, pixels, shape[0])

    def _fields(self, b, node, x=None, y=None, dy=None, dx=None, r=None, add=0, **more):
        shape, fields = node.shape, {}
        for name, strides, layout in (("x", "x", x), ("y", "y", y), ("dy", "d", dy), ("dx", "g", dx), ("r", "r", r)):
            steps, sizes = self._walk(layout, shape) if layout else ((0, 0, 0), None)
            fields[name] = layout.start if layout else -1 if name == "r" else 0
            fields.update({f"{strides}{i}": step for i, step in enumerate(steps)})
        pixels, channels = 1, shape[0]
        for d in shape[1:]:
            pixels *= d
        rows = shape[1] if len(shape) == 3 else 1
        mean, var, count = (*(b.address(p) for p in self.running or ()), 0, 0, 0)[:3]
        stat, back = b.stat(("batch_norm", id(node)), 7 * channels), 4 * channels
        return dict(fields, rows=rows, cols=pixels // rows, channels=channels, all_rows=rows, part=WHOLE, sums=0, stat=stat, back=stat + back,
                    weight=b.address(self.weight), bias=b.address(self.bias), mean=mean, var=var, count=count,
                    grad_weight=0, grad_bias=0, add_weight=0, add_bias=0, add=add, relu=int(self.relu),
                    momentum=-1.0 if self.momentum is None else self.momentum, eps=self.eps,
                    **{"plus": int(self.plus), "masked": 0, "add_r": 0, **more})

    @staticmethod
    def _sums(node):
        return Ref(Buffer(3 * node.shape[0], own=True), 0)

    def compute(self, b, node, block, y):
        """The value, where the statistics are known."""
        image, added = self._inputs(node)
        b.emit(block, "batch_norm_apply", **self._fields(b, node, x=b.value(image), y=y, r=b.value(added) if added else None))

    def forward(self, b, node):
        if self.batch:
            fields = self._fields(b, node, x=b.value(self._inputs(node)[0]))
            b.emit("forward", "batch_norm_partial", **dict(fields, sums=self._sums(node)))
            b.join("forward", "batch_norm_join", **dict(fields, x=0))
            if self.running:
                b.running(self.running)
            if fields["rows"] * fields["cols"] == 1:
                b.needs_two("BatchNorm")
        else:
            b.emit("pack", "batch_norm_running", **self._fields(b, node))
        self.compute(b, node, "forward", b.value(node))
        if not self.plus:                               # of a sum the way back reads the result
            b.pass_on(node)

    def backward(self, b, node, dy):
        (image, added), r, add_r, more = self._inputs(node), None, 0, {}
        x = b.value(image)
        if self.plus:
            if b.wants(added):
                r, add_r = b.into(added)
            masked = self.relu and (r is None or add_r)
            more = dict(y=b.value(node) if self.relu else None, r=r, add_r=add_r, masked=int(masked))
        fields = self._fields(b, node, x=x, dy=dy, **more)
        b.emit("backward", "batch_norm_partial_backward", **dict(fields, sums=self._sums(node)))
        unbound = dict(x=0, y=0, dy=0, r=-1)
        if b.wants(image):
            if self.batch:
                b.join("backward", "batch_norm_join_backward", **dict(fields, **unbound))
            if self.plus:                               # dy is what ReLU lets through: its own place, or what was added's gradient
                more = dict(relu=0)
                dy = r if self.relu and not masked else dy
            dx, add = b.into(image)
            b.emit("backward", "batch_norm_backward", **dict(self._fields(b, node, x=x, dy=dy, dx=dx, add=add), **more))
        if any(p.requires_grad for p in self.params):
            b.emit("reduce", "batch_norm_grad", **dict(
                fields, **unbound, grad_weight=b.grad_address(self.weight), grad_bias=b.grad_address(self.bias),
                add_weight=b.used_before(self.weight), add_bias=b.used_before(self.bias)))


def check_channels(shape, count, dims):
    """ShapeError unless a normalised value's per-sample shape has `count` channels first and one of the ranks `dims` (with N)."""
    if 1 + len(shape) not in dims:
        raise ShapeError(f"expected an input of {' or '.join(map(str, dims))} dimensions, got {1 + len(shape)}: "
                         f"input (N, {', '.join(map(str, shape))})")
    if shape[0] != count:
        raise ShapeError(f"expected input with {count} {'features' if len(shape) == 1 else 'channels'}, got {shape[0]}: "
                         f"input (N, {', '.join(map(str, shape))})")
