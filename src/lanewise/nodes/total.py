"""A loss that arithmetic has made: the instruction of kernels/total.pxi."""
from .loss import LossOp


class Total(LossOp):
    """One number a sample, a mean or a sum over the batch; it has no target."""
    instruction = "total"

    def __init__(self, reduction):
        super().__init__("total", reduction)

    def rows(self, shape):
        """It binds nothing."""
        return []

    def out_shape(self, shape):
        """One number a sample."""
        return ()

    def emit(self, b, node, bound, out, hits, weight):
        """The instruction, and the gradient it leaves."""
        dx, add = b.into(node) if b.wants(node) else (None, 0)
        b.emit("forward", "total", x=b.value(node).start, dx=dx.start if dx else -1, out=out, add=add,
               mean=int(self.reduction == "mean"), weight=float(weight))
