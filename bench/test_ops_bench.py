"""Every array function, forward and backward, on every shape of shapes.py: `pytest --benchmark`."""
import pytest
import shapes
from contest import hold
from contests_dense import CONTESTS as DENSE
from contests_images import CONTESTS as IMAGES

CONTESTS = {**IMAGES, **DENSE}
CASES = [(op, direction, name, arguments) for op, entries in shapes.SHAPES.items() for name, arguments in entries
         for direction in shapes.directions(op)]


def label(case):
    """conv2d-forward-LeNet-5 conv 1 (128x1x28x28 ...)."""
    op, direction, name, arguments = case
    return f"{op}-{direction}-{name}, {shapes.text(arguments)}"


@pytest.mark.parametrize("case", CASES, ids=label)
def test_op(case, benchmark, arena):
    op, direction, name, arguments = case
    contest = next(c for c in CONTESTS[op](**arguments) if c.direction == direction)
    benchmark.group = f"{op} {direction}"
    arena.note(benchmark, contest, name, shapes.text(arguments), hold(benchmark, contest, contest.calls(), *arena.limits))
