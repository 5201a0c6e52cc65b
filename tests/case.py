"""One row of the table of operations: cases.py and arithmetic_cases.py."""
from dataclasses import dataclass, field
from typing import Callable

from lanewise import nn


@dataclass
class Case:
    """One operation at one shape."""
    name: str
    make: Callable
    shapes: list
    reference: Callable
    reduction: int = 1
    torch: tuple = None                 # (name in torch.nn, arguments, keywords)
    integers: bool = field(default=False)   # sums and products only: exact on integers


def plain(name, shapes, forward, reference, integers=False, reduction=4):
    """A case from functions: forward(values...) on traced values."""
    class Plain(nn.Module):
        def forward(self, *x):
            return forward(*x)
    return Case(name, Plain, shapes, reference, reduction, None, integers)
