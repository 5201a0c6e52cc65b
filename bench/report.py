"""What the suite found, for people: a table for the terminal, JSON, Markdown and charts in bench/results/."""
import importlib.util
import statistics
import textwrap

import table
from machine import sentence

OTHERS = {"naive": "naive", "numba": "Numba", "numpy": "NumPy", "torch": "PyTorch"}
SHORT = {"forward": "fwd  ", "backward": "bwd  ", "": ""}
COLOURS = {"naive": "#9a9a9a", "numba": "#30638e", "numpy": "#edae49", "torch": "#d1495b", "lanewise": "#003d5b"}
MARKS = {"naive": "x", "numba": "s", "numpy": "^", "torch": "o"}


def record(contest, name, shape, seconds, machine):
    """A contest's result as a dict that JSON can say. `ratios`: how many times lanewise's time the others take."""
    mine = seconds["lanewise"]
    compute = bool(contest.flops)
    rate = (contest.flops or contest.bytes) / mine / 1e9
    return dict(op=contest.op, direction=contest.direction, name=name, shape=shape, seconds=seconds,
                ratios={n: t / mine for n, t in seconds.items() if n != "lanewise"}, rate=rate,
                unit="GFLOP/s" if compute else "GB/s", of_peak=rate / machine["peak_gflops" if compute else "memory_gbs"],
                images_per_second=contest.images / mine if contest.images else None)


def _cells(r, everybody=True):
    times = [table.seconds(r["seconds"].get(n)) for n in ((*OTHERS, "lanewise") if everybody else ("lanewise",))]
    ratios = [table.ratio(r["ratios"].get(n)) for n in OTHERS]
    return [*times, *ratios, f"{table.digits(r['rate'])} {r['unit'].replace('GFLOP', 'GF')}", table.percent(r["of_peak"])]


def _head(everybody=True):
    return [*((*OTHERS.values(), "lanewise") if everybody else ("lanewise",)), *(f"/{n}" for n in OTHERS.values()), "rate",
            "of peak"]


def _what(r):
    if r["images_per_second"]:
        return f"{r['name']} {r['shape']}, {r['images_per_second']:,.0f} images/s"
    return r["shape"]


def ordered(records):
    """The ops in the order they came in, forward before backward."""
    ops = list(dict.fromkeys(r["op"] for r in records))
    return sorted(records, key=lambda r: (ops.index(r["op"]), r["direction"] != "forward"))


def lines(records, machine, width):
    """The terminal's table, ops as headings: times are medians, /NumPy says how many times NumPy's time is lanewise's.
    Where `width` columns are too few, the others' times are left out, and their ratios stay."""
    rows, heads, op = [], {}, None
    records = ordered(records)
    for i, r in enumerate(records):
        if r["op"] != op:
            op = r["op"]
            heads[i] = op
        rows.append(f"  {SHORT[r['direction']]}{_what(r)}")
    for everybody in (True, False):
        body = table.text(["op and shape", *_head(everybody)], [[w, *_cells(r, everybody)] for w, r in zip(rows, records)])
        if len(body[1]) <= width:
            break
    out = body[:2]
    for i, line in enumerate(body[2:]):
        out += [heads[i]] if i in heads else []
        out.append(line)
    return [*out, "", *(part for note in notes(records, machine) for part in textwrap.wrap(note, min(width, 128)))]


def notes(records, machine):
    """What the numbers mean, and their summary."""
    absent = [n for n in ("torch", "numba") if importlib.util.find_spec(n) is None]
    out = ["Times are medians of one call; /NumPy is how many times as long NumPy takes (so for the others). naive: the loops "
           "in Python, on small shapes; Numba: the same loops compiled, one thread. Rate and share of the peak are lanewise's; "
           "GB/s counts each array once, and a share above 100 % means arrays that lie in cache.", sentence(machine)]
    for direction in ("forward", "backward"):
        medians = [f"{label} {table.ratio(statistics.median(found))} ({sum(v >= 1 for v in found)} of {len(found)})"
                   for n, label in OTHERS.items()
                   if (found := [r["ratios"][n] for r in records if n in r["ratios"] and r["direction"] == direction])]
        if medians:
            out.append(f"{direction}, median ratio (and where lanewise is as fast or faster): {', '.join(medians)}")
    return out + [f"not installed: {n}" for n in absent]


def markdown(records, machine):
    """The whole table in Markdown."""
    head = ["op", "", "shape", *_head()]
    rows = [[f"`{r['op']}`" if r["direction"] else r["op"], r["direction"], f"{r['name']}: {_what(r)}" if r["direction"] else
             _what(r), *_cells(r)] for r in ordered(records)]
    return [*table.markdown(head, rows, 3), *(part for note in notes(records, machine) for part in ("", note))]


def save(records, machine):
    """Write ops.json, ops.md and, with matplotlib, the charts: the paths."""
    paths = [table.save("ops.json", dict(machine=machine, results=records)),
             table.save("ops.md", markdown(records, machine))]
    try:
        import matplotlib.figure                        # noqa: F401
    except ImportError:
        return paths
    for direction in ("forward", "backward"):
        chosen = [r for r in records if r["direction"] == direction and r["ratios"]]
        if chosen:
            paths.append(chart_ratios(chosen, direction, table.RESULTS / f"ops-{direction}.png"))
    ops = [r for r in records if r["direction"]]
    if ops:
        paths.append(chart_rates(ops, machine, table.RESULTS / "ops-rates.png"))
    steps = [r for r in records if r["images_per_second"]]
    if steps:
        paths.append(chart_steps(steps, table.RESULTS / "ops-steps.png"))
    return paths


def _clean(ax):
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    ax.grid(axis="x", which="major", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)


def chart_ratios(records, direction, path):
    """Everybody's time as a multiple of lanewise's, a row a shape, on a logarithmic axis; PyTorch's worst case on top."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter
    records = sorted(records, key=lambda r: r["ratios"].get("torch") or min(r["ratios"].values()))
    figure = Figure(figsize=(10, 1.6 + 0.21 * len(records)), layout="constrained")
    ax = figure.subplots()
    rows = range(len(records))
    for n, label in OTHERS.items():
        at = [(r["ratios"][n], i) for i, r in enumerate(records) if n in r["ratios"]]
        if at:
            ax.scatter(*zip(*at), s=26, marker=MARKS[n], color=COLOURS[n], label=label, zorder=3)
    ax.axvline(1, color=COLOURS["lanewise"], linewidth=1.4)
    ax.annotate("lanewise", (1, 1), (3, 3), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8,
                color=COLOURS["lanewise"])
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}x" if v < 1000 else f"{v:,.0f}x"))
    ax.set_yticks(rows, [f"{r['op']}  {r['shape']}" for r in records])
    ax.set_ylim(len(records) - 0.3, -0.7)
    _clean(ax)
    ax.grid(axis="y", color="#eeeeee", linewidth=0.5)
    ax.set_xlabel(f"time as a multiple of lanewise's, {direction} (right of the line: lanewise is faster)", fontsize=9)
    figure.legend(loc="outside upper right", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, dpi=120)
    return path


def chart_rates(records, machine, path):
    """lanewise's GFLOP/s beside the FMA peak, and GB/s beside the memory's, sorted."""
    from matplotlib.figure import Figure
    panels = [(unit, what, sorted((r for r in records if r["unit"] == unit), key=lambda r: r["rate"]), top)
              for unit, what, top in (("GFLOP/s", "FMA peak", machine["peak_gflops"]),
                                      ("GB/s", "memory", machine["memory_gbs"]))]
    panels = [p for p in panels if p[2]]
    sizes = [len(p[2]) + 4 for p in panels]
    figure = Figure(figsize=(10, 0.19 * sum(sizes) + 0.5), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for ax, (unit, what, group, top) in zip(axes, panels):
        bars = ax.barh(range(len(group)), [r["rate"] for r in group],
                       color=[COLOURS["numba"] if r["direction"] == "forward" else COLOURS["numpy"] for r in group])
        ax.bar_label(bars, [f"{table.digits(r['rate'])}, {table.percent(r['of_peak'])}" for r in group], padding=3, fontsize=7)
        ax.set_yticks(range(len(group)), [f"{r['op']} {r['direction']}  {r['shape']}" for r in group])
        ax.axvline(top, color=COLOURS["torch"], linewidth=1.2)
        ax.annotate(f"{what} {table.digits(top)}", (top, 1), (0, 3), xycoords=("data", "axes fraction"), ha="center",
                    textcoords="offset points", fontsize=8, color=COLOURS["torch"])
        ax.set_ylim(-0.7, len(group) - 0.3)
        ax.set_xlim(0, 1.15 * max(top, group[-1]["rate"]))
        ax.set_xlabel(f"{unit} (blue: forward, yellow: backward)", fontsize=9)
        _clean(ax)
        ax.tick_params(axis="y", labelsize=7)
    figure.savefig(path, dpi=120)
    return path


def chart_steps(records, path):
    """Images/s in training steps of lanewise and PyTorch, and the ratio at the right."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 1.2 + 0.6 * len(records)), layout="constrained")
    ax = figure.subplots()
    for offset, n, label in ((-0.19, "lanewise", "lanewise"), (0.19, "torch", "PyTorch, channels_last, fused Adam")):
        at = [(i + offset, r["images_per_second"] * r["seconds"]["lanewise"] / r["seconds"][n])
              for i, r in enumerate(records) if n in r["seconds"]]
        if at:
            bars = ax.barh(*zip(*at), height=0.36, color=COLOURS[n], label=label)
            ax.bar_label(bars, [f"{v:,.0f}" for _, v in at], padding=3, fontsize=8)
    for i, r in enumerate(records):
        if "torch" in r["ratios"]:
            ax.annotate(table.ratio(r["ratios"]["torch"]), (1, i), (-4, 0), xycoords=("axes fraction", "data"), fontsize=9,
                        textcoords="offset points", ha="right", va="center", color=COLOURS["lanewise"])
    ax.set_yticks(range(len(records)), [f"{r['name']}, {r['shape']}" for r in records])
    ax.set_xscale("log")
    ax.margins(x=0.3)
    ax.invert_yaxis()
    _clean(ax)
    ax.set_xlabel("images/s in training steps (Adam), logarithmic", fontsize=9)
    figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, dpi=120)
    return path
