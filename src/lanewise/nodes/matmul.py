"""Products of matrices that are values: the instruction of kernels/matmul.pxi."""
import math

from ..errors import ShapeError
from .base import Op
from .walk import strides


class MatMul(Op):
    """y = a b, the last two per-sample dimensions the matrices', those before equal; da = dy b^T, db = a^T dy."""

    def shape(self, a, b):
        if len(a) < 2 or len(a) != len(b) or a[:-2] != b[:-2] or a[-1] != b[-2]:
            raise ShapeError(f"@: expected matrices (N, ..., T, F) and (N, ..., F, G), got (N, {', '.join(map(str, a))}) and "
                             f"(N, {', '.join(map(str, b))})")
        return (*a[:-1], b[-1])

    @staticmethod
    def _matrix(layout, shape):
        # (start, strides of matrices, rows, columns)
        own = strides(layout, shape)
        return layout.start, own[-3] if len(own) > 2 else 0, own[-2], own[-1]

    def _emit(self, b, block, y, left, right, shape, reds, add=0):
        (a, a_mat, a_row, a_red), (w, b_mat, b_red, b_col), (y, y_mat, y_row, y_col) = left, right, y
        mats, rows, cols = math.prod(shape[:-2]), *shape[-2:]
        b.flops(2 * mats * rows * cols * reds)
        b.emit(block, "matmul", a=a, a_mat=a_mat, a_row=a_row, a_red=a_red, b=w, b_mat=b_mat, b_red=b_red, b_col=b_col,
               y=y, y_mat=y_mat, y_row=y_row, y_col=y_col, mats=mats, rows=rows, cols=cols, reds=reds, add=add)

    def forward(self, b, node):
        left, right = (self._matrix(b.value(x), x.shape) for x in node.inputs)
        self._emit(b, "forward", self._matrix(b.value(node), node.shape), left, right, node.shape, node.inputs[0].shape[-1])

    def backward(self, b, node, dy):
        def turned(matrix):
            return *matrix[:2], matrix[3], matrix[2]
        first, second = node.inputs
        left, right = (self._matrix(b.value(x), x.shape) for x in node.inputs)
        dy = self._matrix(dy, node.shape)
        if b.wants(first):
            dx, add = b.into(first)
            self._emit(b, "backward", self._matrix(dx, first.shape), dy, turned(right), first.shape, node.shape[-1], add)
        if b.wants(second):
            dx, add = b.into(second)
            self._emit(b, "backward", self._matrix(dx, second.shape), turned(left), dy, second.shape, node.shape[-2], add)
