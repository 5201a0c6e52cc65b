"""What every operation shares, and the layouts that instructions address."""


class Op:
    """An operation on per-sample arrays. `key()` identifies it in the plan cache."""
    params = ()
    asks_again = False                  # whether backward() reads its inputs by Builder.again(), never as they were left
    takes_integers = False              # whether its input may be an array of indices

    def key(self):
        """Class and attributes: two ops with equal keys run alike."""
        return (type(self).__name__, *self.__dict__.values())

    def borders(self, node):
        """For each input, the zero border (top, left, bottom, right) that forward() reads around it."""
        return ((0, 0, 0, 0),) * len(node.inputs)

    def grad_border(self, node):
        """The zero border that backward() reads around the gradient of the result."""
        return (0, 0, 0, 0)


OWN = 1 << 40                       # added to an address in the arena's terms that lies in a thread's own memory: kernels/lanes.h


class Buffer:
    """A piece of the arena, in lanes; `row`: of them between the rows of an image. `fixed`: never shared, so that its border stays
    zero. `own`: for one instruction alone, in the memory of the thread that runs it. `passing`: no number in it outlives a
    segment."""

    def __init__(self, size, fixed=False, own=False, row=0):
        self.size, self.fixed, self.own, self.row, self.passing, self.offset = size, fixed, own, row, False, None


class Ref:
    """An address in a buffer, a number once the arena is laid out."""
    __slots__ = ("buffer", "offset")

    def __init__(self, buffer, offset):
        self.buffer, self.offset = buffer, offset

    def __add__(self, lanes):
        return Ref(self.buffer, self.offset + lanes)


WAY = 64                            # lanes that pass through all sets of an L1 of 4 KB a way


class Layout:
    """Where a value lies: an image [rows][cols][channels] with a border, anything else flat as 1 x 1 x size. `staggered`: long
    rows lie an odd number of lanes apart, so that a column of pixels does not fall into a few sets of L1."""

    def __init__(self, shape, border=(0, 0, 0, 0), own=False, staggered=False):
        top, left, bottom, right = border
        self.channels, self.rows, self.cols = shape if len(shape) == 3 else (_product(shape), 1, 1)
        self.row = (self.cols + left + right) * self.channels
        if staggered and self.rows > 1 and self.row >= WAY and self.row % 2 == 0:
            self.row += 1
        self.buffer = Buffer((self.rows + top + bottom) * self.row, any(border), own, self.row)
        self.start = Ref(self.buffer, top * self.row + left * self.channels)

    def at(self, row=0, col=0, channel=0):
        """The address of a lane; outside the image it is in the border."""
        return self.start + (row * self.row + col * self.channels + channel)


def _product(shape):
    size = 1
    for d in shape:
        size *= d
    return size


def loops(y, a, b=None, c=None, shape=None, ys=None, as_=None, bs=None, cs=None, add=0, alpha=1.0, beta=0.0):
    """The fields of an elementwise instruction. Layouts without strides are walked row by row, in parallel."""
    def walk(layout, strides):
        if isinstance(layout, Layout):
            return layout.start, strides or (layout.row, 0, 1)
        return layout, strides
    n = shape or (y.rows, 1, y.cols * y.channels)
    y, ys = walk(y, ys)
    a, as_ = walk(a, as_)
    b, bs = walk(b, bs) if b is not None else (0, (0, 0, 0))
    c, cs = walk(c, cs) if c is not None else (0, (0, 0, 0))
    return dict(n0=n[0], n1=n[1], n2=n[2], y=y, y0=ys[0], y1=ys[1], y2=ys[2], a=a, a0=as_[0], a1=as_[1], a2=as_[2],
                b=b, b0=bs[0], b1=bs[1], b2=bs[2], c=c, c0=cs[0], c1=cs[1], c2=cs[2], add=add, alpha=alpha, beta=beta)
