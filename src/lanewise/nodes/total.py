"""A loss that arithmetic has made: the instruction of kernels/total.pxi."""
from .._isa import engine


class Total:
    """One number a sample, a mean or a sum over the batch; it has no target."""
    instruction, counts, target = "total", False, None

    def __init__(self, reduction):
        self.reduction = reduction

    def key(self):
        return ("total", self.reduction)

    def total(self, losses):
        """The loss of the batch from those of its samples, summed in float64."""
        s = engine(losses.dtype).total(losses)
        return s / len(losses) if self.reduction == "mean" else s
