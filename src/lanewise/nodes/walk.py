"""Elementwise instructions over values of any rank: dimensions in torch's order, each with its stride in lanes, become the
three loops of kernels/elementwise.pxi."""
import math
from itertools import product

from ..errors import ShapeError


def strides(layout, shape):
    """Lanes between neighbours along each per-sample dimension: an image lies channels-last, everything else in order."""
    if len(shape) == 3:
        return 1, layout.row, layout.channels
    return tuple(math.prod(shape[a + 1:]) for a in range(len(shape)))


def spread(layout, shape, to):
    """(start, strides) of a value of `shape` that is read, or summed into, along the larger shape `to`."""
    own, missing = strides(layout, shape), len(to) - len(shape)
    return layout.start, (0,) * missing + tuple(0 if d == 1 else s for d, s in zip(shape, own))


def broadcast(what, a, b):
    """The common per-sample shape under NumPy's rules, or one sentence."""
    long, short = (a, b) if len(a) >= len(b) else (b, a)
    padded = (1,) * (len(long) - len(short)) + tuple(short)
    if any(d != e and 1 not in (d, e) for d, e in zip(long, padded)):
        raise ShapeError(f"{what}: expected shapes that broadcast, got (N, {', '.join(map(str, a))}) and "
                         f"(N, {', '.join(map(str, b))})")
    return tuple(max(d, e) for d, e in zip(long, padded))


def walk(b, block, name, sizes, y, *operands, add=0, alpha=1.0, beta=0.0, inner=None):
    """Emit instruction `name` over `sizes`; y and each operand: (start, strides). Where y's stride is 0 the results are summed
    into it. `inner`: the dimension that must be the innermost loop."""
    moves = [y[1], *(o[1] for o in operands)]
    dims = [(n, tuple(m[a] for m in moves)) for a, n in enumerate(sizes) if n > 1 and a != inner]
    dims.sort(key=lambda d: (d[1][0] == 0, *(-s for s in d[1])))
    merged = []
    for n, steps in dims:
        if merged and all(s == t * n for s, t in zip(merged[-1][1], steps)):
            n *= merged.pop()[0]
        merged.append((n, steps))
    if inner is not None:
        merged.append((sizes[inner], tuple(m[inner] for m in moves)))
    elif sum(steps[0] == 0 for _, steps in merged) > 1:     # the innermost loop is summed in a register, others in memory
        if not add:
            kept = [(n, steps[:1]) for n, steps in merged if steps[0]]
            walk(b, block, "fill", [n for n, _ in kept], (y[0], [s for _, (s,) in kept]))
        add = 1
    # more than three loops: one instruction for each step of the shortest
    outer = sorted(range(len(merged) - 1), key=lambda i: merged[i][0])[:max(0, len(merged) - 3)]
    loops = [d for i, d in enumerate(merged) if i not in outer]
    loops = [(1, (0,) * len(moves))] * (3 - len(loops)) + loops
    for at in product(*(range(merged[i][0]) for i in outer)):
        fields = dict(n0=loops[0][0], n1=loops[1][0], n2=loops[2][0], add=add, alpha=alpha, beta=beta)
        for k, field in enumerate("yabc"):
            start = (y, *operands)[k][0] if k < len(moves) else 0
            fields[field] = start + sum(i * merged[o][1][k] for i, o in zip(at, outer)) if at and k < len(moves) else start
            fields.update({f"{field}{l}": loops[l][1][k] if k < len(moves) else 0 for l in range(3)})
        b.emit(block, name, **fields)
