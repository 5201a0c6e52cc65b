"""Bands: instructions that pass over the same images one after the other go together, some rows at a time, so that each finds
in L2 what the one before it wrote. It is done where a plan is cut: an image of batch normalisation is read twice and written once
on its way to a convolution, and of all shards' images the first part is back in memory when the last has been written."""
from .nodes.base import Ref
from .nodes.batchnorm import BEGIN, END
from .nodes.conv import SQUARE, TILE

L2 = 256 * 1024                         # bytes of all images that a band may take
# {instruction: {where an image lies: the lanes between its rows}}, those it reads and those it writes
READS = {"batch_norm_apply": {"x": "x0", "r": "r0"}, "batch_norm_partial": {"x": "x0"},
         "batch_norm_partial_backward": {"x": "x0", "y": "y0"}, "batch_norm_backward": {"x": "x0", "dy": "d0"},
         "conv": {"x": "x_row"}, "depthwise": {"x": "x_row"}}
WRITES = {"batch_norm_apply": {"y": "y0"}, "batch_norm_partial": {}, "batch_norm_partial_backward": {"dy": "d0", "r": "r0"},
          "batch_norm_backward": {"dx": "g0"}, "conv": {"y": "y_row"}, "depthwise": {"y": "y_row"}}
WINDOWS = ("conv", "depthwise")         # which read rows above and below their own
LATE = ("conv_dw_square", "conv_dw_pixels", "conv_dw_lanes", "depthwise_dw", "channel_sums")    # whose results nobody waits for


class _Banded:
    # An instruction that can run some rows at a time.
    def __init__(self, name, fields, work):
        self.name, self.fields, self.work, self.rows, self.done = name, fields, work, fields["rows"], 0
        self.reads = {fields[k].buffer for k in READS[name] if isinstance(fields[k], Ref)}
        self.writes = {fields[k].buffer for k in WRITES[name] if isinstance(fields[k], Ref)}
        self.windows, self.square = name in WINDOWS, fields.get("points") == SQUARE
        self.step = TILE if self.square or name == "depthwise" else 1

    @staticmethod
    def fits(name, fields):
        """Whether an instruction can: its rows are its images' own, one after the other."""
        steps = {**READS.get(name, {}), **WRITES.get(name, {})}
        steps.pop("x" if name in WINDOWS else None, None)
        return name in READS and fields["rows"] > 1 and fields.get("points", 0) in (0, SQUARE) and all(
            fields[step] == fields[k].buffer.row for k, step in steps.items() if isinstance(fields[k], Ref))

    def needs(self, rows, before):
        """How many rows an earlier instruction must have done when this one has done so many."""
        f, need = self.fields, 0
        if self.reads & before.writes:
            need = rows if not self.windows else (
                f["first"] + rows + 2 if self.square else
                (rows - 1) * f["stride"] + 3 if self.name == "depthwise" else
                f["first"] + (rows - 1) * f["row_step"] + (f["taps"] - 1) * f["tap_step"] + 1)
        if self.writes & (before.reads | before.writes):
            need = max(need, rows)
        return min(max(need, 0), before.rows)

    def follows(self, before):
        """Whether it may run on rows that an earlier instruction has done: it changes nothing that one reads in windows."""
        return not before.windows or not (self.writes & before.reads or self.windows)

    def up_to(self, rows):
        """(instruction, its Work) for the rows from where it is."""
        f, start, n = dict(self.fields), self.done, rows - self.done
        moved = {**READS[self.name], **WRITES[self.name]}
        for k, step in moved.items():
            if isinstance(f[k], Ref) and not (k == "x" and self.square):
                f[k] += start * f[step] * (f["stride"] if k == "x" and self.name == "depthwise" else 1)
        if self.name == "conv":
            f["first"] += start * f["row_step"]
        if "part" in f:
            f["part"] = (BEGIN if start == 0 else 0) | (END if rows == self.rows else 0)
        f["rows"], self.done = n, rows
        return (self.name, f), self.work._replace(flops=self.work.flops * n // self.rows)


def _in_turn(group, late, lane_bytes):
    # The instructions of a group in bands, then those that can wait; as they stand where a band would hold all rows.
    images = {b for one in group for b in one.reads | one.writes}
    last = group[-1].rows
    step = max(one.step for one in group)
    rows = max(L2 * last // (sum(b.size for b in images) * lane_bytes) // step, 1) * step
    ends = range(rows, last + rows, rows) if len(group) > 1 and rows < last else [last]
    for end in ends:
        targets = []
        for i in range(len(group) - 1, -1, -1):
            one = group[i]
            own = -(-min(end, last) * one.rows // last)
            own = max([own, *(later.needs(target, one) for later, target in zip(group[:i:-1], targets))])
            targets.append(min(-(-own // one.step) * one.step, one.rows))
        for one, target in zip(group, reversed(targets)):
            if target > one.done:
                yield one.up_to(target)
    yield from late


def _banded(items, lane_bytes):
    # [((name, fields), Work)] of a piece between two joins, in bands.
    group, late = [], []
    for (name, fields), work in items:
        if group and name in LATE:
            late.append(((name, fields), work))
            continue
        one = _Banded(name, fields, work) if _Banded.fits(name, fields) else None
        waiting = {v.buffer for (_, f), _ in late for v in f.values() if isinstance(v, Ref)}
        if group and (one is None or one.writes & waiting or not all(one.follows(before) for before in group)):
            yield from _in_turn(group, late, lane_bytes)
            group, late = [], []
        if one is None:
            yield (name, fields), work
        else:
            group.append(one)
    if group:
        yield from _in_turn(group, late, lane_bytes)


def in_bands(lists, work, joins, lane_bytes):
    """The forward and backward instructions {block: [(name, fields)]} in bands where a plan is cut, their Work, and where the
    joins then are."""
    if not joins["forward"]:
        return lists, work, joins
    found = {(w.block, w.index): w for w in work}
    others, lists, joins = [w for w in work if w.block not in joins], dict(lists), dict(joins)
    banded = []
    for block in joins:
        cuts, at, new = [c for c, _, _ in joins[block]], 0, []
        items = [(item, found[block, i]) for i, item in enumerate(lists[block])]
        moved = []
        for c in (*cuts, len(items)):
            new += _banded(items[at:c], lane_bytes)
            at = c
            moved.append(len(new))
        lists[block] = [item for item, _ in new]
        joins[block] = [(m, name, fields) for m, (_, name, fields) in zip(moved, joins[block])]
        banded += [w._replace(index=i) for i, (_, w) in enumerate(new)]
    return lists, banded + others, joins
