"""A function of the user's: the instruction of kernels/own.pxi."""
from .base import Op


class Own(Op):
    """y = f(x) or f(a, b), of one shape; `spec` gives the addresses of f and its derivatives, compiled for a number type."""

    def __init__(self, spec):
        self.spec = spec

    def shape(self, *shapes):
        return shapes[0]

    @staticmethod
    def _emit(b, block, function, y, a, w, c, add=0):
        fields = {"y": y, "a": a, "b": w, "c": c}
        b.emit(block, "own", function=function, rows=y.rows, size=y.cols * y.channels, add=add,
               **{k: v.start for k, v in fields.items()}, **{f"{k}_row": v.row for k, v in fields.items()})

    def _operands(self, b, node):
        b.keep.append(self.spec)                        # the machine code stays as long as the program
        x = [b.value(i) for i in node.inputs]
        return x[0], x[-1], self.spec.addresses("float32" if b.real_bytes == 4 else "float64")

    def forward(self, b, node):
        first, second, (function, *_) = self._operands(b, node)
        self._emit(b, "forward", function, b.value(node), first, second, first)

    def backward(self, b, node, dy):
        first, second, (_, *slopes) = self._operands(b, node)
        for x, slope in zip(node.inputs, slopes):
            if b.wants(x):
                dx, add = b.into(x)
                self._emit(b, "backward", slope, dx, first, second, dy, add)
