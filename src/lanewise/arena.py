"""The arena of a plan: where every buffer lies, and which instruction needs it first; and where the plan is cut."""
from collections import OrderedDict
from typing import NamedTuple, Optional

from .nodes.base import OWN, Ref


class Work(NamedTuple):
    """An instruction: its place in the program, and what it is there for."""
    block: str                      # "forward", "backward", "reduce", or "join": between segments, numbered throughout
    index: int
    name: str
    flops: int                      # floating-point operations a sample, 0 for what does not multiply and add
    places: Optional[tuple]         # the nodes it computes, numbers in topological(nodes) of the plan's outputs; None: a loss
    bytes: int                      # of the arena: what it is the first to write, before places are shared


def _warmest(placed, size, first, last):
    # Of the gaps between what lives from `first` to `last` the one whose numbers were used last, which are in a cache; the end
    # where all are too small. placed: (start, end, first, last).
    at, found, when = 0, None, -1
    for start, end, f, l in sorted((p for p in placed if p[2] <= last and first <= p[3]), key=lambda p: p[0]):
        if at + size <= start:
            used = max((p[3] for p in placed if p[0] < at + size and at < p[1] and p[3] < first), default=-1)
            if found is None or used > when:
                found, when = at, used
        at = max(at, end)
    return at if found is None else found


def _pieces(lists, joins):
    # Of every forward and backward instruction, which piece between two joins it is in; the last forward piece is the first
    # backward one.
    found, before = [], 0
    for block in ("forward", "backward"):
        cuts = [at for at, _, _ in joins[block]]
        found += [before + sum(at <= i for at in cuts) for i in range(len(lists[block]))]
        before += len(cuts)
    return found


def lay_out(lists, work, joins, lane_bytes):
    """Give every buffer of the instructions {block: [(name, fields)]} its place: two may share one when the last instruction
    that mentions the first comes before the first that mentions the second. Where the plan is cut, what lives within a piece is
    in the thread's own memory: it stays in a cache from one shard to the next. (The lists with all addresses made numbers, the
    Work with its bytes, the sizes in lanes of the arena and of a thread's own memory.)"""
    spans, made, pieces = OrderedDict(), {}, _pieces(lists, joins)
    sequence = [fields for block in ("forward", "backward") for _, fields in lists[block]]
    for time, fields in enumerate(sequence):
        for part in (fields, *(f for f in fields.values() if isinstance(f, dict))):
            for ref in part.values():
                if isinstance(ref, Ref):
                    if ref.buffer not in spans:
                        made[time] = made.get(time, 0) + ref.buffer.size * lane_bytes
                    first, _ = spans.get(ref.buffer, (time, time))
                    spans[ref.buffer] = (first, time)
    placed, tops = {False: [], True: []}, {False: 0, True: 0}       # of the arena, and of a thread's own memory
    for buffer, (first, last) in spans.items():
        own = buffer.own or len(set(pieces)) > 1 and (buffer.passing or pieces[first] == pieces[last])
        if buffer.fixed:
            first, last = 0, len(sequence)
        at = _warmest(placed[own], buffer.size, first, last)
        buffer.offset = at if own == buffer.own else OWN + at
        placed[own].append((at, at + buffer.size, first, last))
        tops[own] = max(tops[own], at + buffer.size)

    def number(fields):
        return {k: number(v) if isinstance(v, dict) else v.buffer.offset + v.offset if isinstance(v, Ref) else v
                for k, v in fields.items()}
    start = {"forward": 0, "backward": len(lists["forward"])}
    lists = {block: [(name, number(fields)) for name, fields in items] if block in start else items
             for block, items in lists.items()}
    work = [w._replace(bytes=made.get(start[w.block] + w.index, 0)) if w.block in start else w for w in work]
    return lists, work, tops[False], tops[True]


def cut(lists, joins):
    """(forward, stop, backward, stop, joins) of each piece between two joins, {block: [(where in it, name, fields)]}; the last
    forward and the first backward piece are one."""
    cuts = []
    for block in ("forward", "backward"):
        start = 0
        pieces = []
        for at, name, fields in joins[block]:
            if pieces and at == start:
                pieces[-1][2].append((name, fields))
            else:
                pieces.append((start, at, [(name, fields)]))
                start = at
        cuts.append((*pieces, (start, len(lists[block]), [])))
    forward, backward = cuts
    return [(*f[:2], 0, 0, f[2]) for f in forward[:-1]] + [(*forward[-1][:2], *backward[0])] + [
        (0, 0, *b) for b in backward[1:]]
