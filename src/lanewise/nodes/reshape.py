"""Moving values: reshape and concat. An image lies channels-last in the arena, everything else in torch's order."""
from ..errors import ShapeError
from .base import Op, loops


def torch_order(layout, shape):
    """Strides that walk a value as (H, W, C) and as torch's flat (C, H, W): (loop sizes, strides here, flat strides)."""
    if len(shape) == 3:
        c, h, w = shape
        return (h, w, c), (layout.row, c, 1), (w, 1, h * w)
    return None


class Reshape(Op):
    """The same numbers in another per-sample shape, in torch's order."""

    def __init__(self, to):
        self.to = to

    def shape(self, x):
        return self.to

    def _copy(self, b, block, y, y_shape, x, x_shape, add=0):
        image_x, image_y = torch_order(x, x_shape), torch_order(y, y_shape)
        if image_x and image_y:                     # through a flat copy: the two walk in different orders
            flat = b.scratch(y.channels * y.rows * y.cols)
            b.emit(block, "affine", **loops(flat.start, x.start, shape=image_x[0], ys=image_x[2], as_=image_x[1]))
            b.emit(block, "affine", **loops(y.start, flat.start, shape=image_y[0], ys=image_y[1], as_=image_y[2], add=add))
        elif image_x:
            b.emit(block, "affine", **loops(y.start, x.start, shape=image_x[0], ys=image_x[2], as_=image_x[1], add=add))
        elif image_y:
            b.emit(block, "affine", **loops(y.start, x.start, shape=image_y[0], ys=image_y[1], as_=image_y[2], add=add))
        else:
            b.emit(block, "affine", **loops(y, x, add=add))

    def forward(self, b, node):
        x = node.inputs[0]
        self._copy(b, "forward", b.value(node), node.shape, b.value(x), x.shape)

    def backward(self, b, node, dy):
        x = node.inputs[0]
        dx, add = b.into(x)
        self._copy(b, "backward", dx, x.shape, dy, node.shape, add)


class Concat(Op):
    """Values side by side along per-sample dimension `axis`."""

    def __init__(self, axis):
        self.axis = axis

    def shape(self, *shapes):
        first = shapes[0]
        for s in shapes[1:]:
            if len(s) != len(first) or any(d != e for a, (d, e) in enumerate(zip(s, first)) if a != self.axis):
                raise ShapeError(f"concat: expected values that agree outside dimension {self.axis + 1}, got "
                                 f"(N, {', '.join(map(str, first))}) and (N, {', '.join(map(str, s))})")
        return tuple(sum(s[a] for s in shapes) if a == self.axis else d for a, d in enumerate(first))

    def _pieces(self, node, whole):
        """(input, loop sizes, start in `whole`, strides there, strides of the input) for each input."""
        at = 0
        for x in node.inputs:
            if len(node.shape) == 3:
                c, h, w = x.shape
                place = [0, 0, 0]
                place[self.axis] = at
                start = whole.at(place[1], place[2], place[0])
                yield x, (h, w, c), start, (whole.row, whole.channels, 1), lambda l: (l.row, l.channels, 1)
            else:
                inner = 1
                for d in node.shape[self.axis + 1:]:
                    inner *= d
                size, outer = x.shape[self.axis] * inner, 1
                for d in node.shape[:self.axis]:
                    outer *= d
                yield (x, (outer, 1, size), whole.start + at * inner, (node.shape[self.axis] * inner, 0, 1),
                       lambda l, size=size: (size, 0, 1))
            at += x.shape[self.axis]

    def forward(self, b, node):
        for x, shape, start, strides, own in self._pieces(node, b.value(node)):
            a = b.value(x)
            b.emit("forward", "affine", **loops(start, a.start, shape=shape, ys=strides, as_=own(a)))

    def backward(self, b, node, dy):
        for x, shape, start, strides, own in self._pieces(node, dy):
            if b.wants(x):
                dx, add = b.into(x)
                b.emit("backward", "affine", **loops(dx.start, start, shape=shape, ys=own(dx), as_=strides, add=add))
