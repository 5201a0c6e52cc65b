"""Contests between libraries, each in a process of its own (workers.py): what train_step.py, inference.py and scale.py share.

Threads are pinned by environment variables, CPU affinity and the library's own call before it is imported. All build the same
network from the same weights; before the clock starts, a library whose number of parameters is not lanewise's, or whose
answer (the first step's loss; the scores of the batch's last sample) is off by more than TOLERANCE of the largest number in
lanewise's, ends the run with an error.

What is computed:
- A round: every contestant has one turn of so many seconds, lanewise first; one computes at a time, with REST seconds before
  each turn. A turn's figure is the median of its steps. REST after the round, lanewise's process measures the FMA peak of all n
  threads (the best of 20 short runs).
- A round is disturbed if its peak is below QUIET of the best peak that n threads had in this run: the system had two threads
  on one core then, or gave its time to others. Rounds are taken until as many as asked for are undisturbed, or until
  twice as many have been taken.
- At the end all rounds are judged again by the best peak of the whole run. A contestant's time is the median over the
  undisturbed rounds of a contest; where none is left, over all of them. Its best time is the smallest figure of all rounds,
  disturbed or not. "lanewise/it" is its time over lanewise's, "best/it" its best time over lanewise's best; each of
  the two is between figures of one run. The peak of "of peak" is the median over the same rounds.
- All rounds are kept in the JSON (`rounds`, seconds; `peaks`; `disturbed`), and the disturbed ones are counted and printed.

GFLOP/s counts the multiply-adds that the textbook counts, the same for everyone.
"""
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import table
from networks import NETWORKS

NAMES = {"lanewise": "lanewise", "torch": "PyTorch channels_last", "torch-bf16": "PyTorch bf16 channels_last",
         "torch-compile": "PyTorch torch.compile", "torch-jit": "PyTorch frozen torch.jit", "tensorflow": "TensorFlow graph",
         "jax": "JAX jit", "onnxruntime": "ONNX Runtime", "yardstick": "C yardstick"}
REST = 0.3                      # seconds between two contestants: the last one's threads stop spinning
QUIET = 0.85
TOLERANCE = {"torch-bf16": 0.05}
FLOAT32 = 1e-3                  # of all others
HEAD = ["by", "batch", "threads", "ms", "images/s", "lanewise/it", "best ms", "best/it", "GFLOP/s", "of peak"]
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


class Worker:
    """A library's process, and the requests to it."""

    def __init__(self, library, threads, python):
        self.said = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([python, Path(__file__).with_name("workers.py"), library, str(threads)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said)
        self.hello = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.said.seek(0)
            raise click.ClickException("a worker stopped: " + (self.said.read() or "no message").strip()[-2000:])
        return json.loads(line)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def turn(self, batch, seconds):
        """The median of the steps of one turn."""
        return statistics.median(self.ask(batch=batch, seconds=seconds)["times"])

    def peak(self):
        return self.ask(peak=True)["gflops"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.said.close()


def interpreters(context, option, pairs):
    """{library: path} of PEER=PATH options; torch's is that of its other forms too."""
    found = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        if name not in NAMES or not os.access(path, os.X_OK):
            raise click.BadParameter(f"expected PEER=PATH of an interpreter, got {pair!r}")
        found[name] = path
    return {**{n: found["torch"] for n in NAMES if n.startswith("torch-") and "torch" in found}, **found}


def program(networks, threads, peers, optional=()):
    """A decorator: the click command of a benchmark with the options that all have.

    It is called as main(networks, libraries, settings, ...), settings a dict of threads, pythons, rounds and seconds.
    `networks`, `threads`, `peers`: those without options; `optional`: more peers that may be asked for."""
    rest = f" but {', '.join(optional)}" if optional else ""
    add = [click.option("--network", "chosen", multiple=True, type=click.Choice(list(NETWORKS)),
                        help=f"Default: {', '.join(networks)}."),
           click.option("--threads", "counts", multiple=True, type=click.IntRange(1),
                        help=f"Default: {' and '.join(map(str, sorted(set(threads))))}."),
           click.option("--peer", "others", multiple=True, type=click.Choice([*peers, *optional]),
                        help=f"Default: {'all' + rest if peers else 'none'}."),
           click.option("--python", "pythons", multiple=True, metavar="PEER=PATH", callback=interpreters,
                        help="The interpreter that has a peer (or lanewise)."),
           click.option("--rounds", default=7, show_default=True, type=click.IntRange(1),
                        help="Undisturbed turns of each contestant; at most twice as many are taken."),
           click.option("--seconds", default=0.5, show_default=True, help="Length of a turn.")]

    def decorate(main):
        @functools.wraps(main)
        def run(chosen, counts, others, pythons, rounds, seconds, **more):
            main(chosen or networks, others or peers, dict(threads=sorted(set(counts or threads)), pythons=pythons,
                                                           rounds=rounds, seconds=seconds), **more)
        for option in reversed(add):
            run = option(run)
        return click.command(context_settings=dict(help_option_names=["-h", "--help"]))(run)
    return decorate


@contextmanager
def hired(libraries, threads, pythons, versions):
    """{library: its Worker} of those that are installed; `versions` takes theirs, None for one that is not."""
    with ExitStack() as stack:
        workers = {}
        for name in libraries:
            worker = Worker(name, threads, pythons.get(name, sys.executable))
            stack.callback(worker.close)
            if "missing" not in worker.hello:
                versions[name], workers[name] = worker.hello["version"], worker
            elif name not in versions:
                versions[name] = None
                click.echo(f"{NAMES[name]}: not installed ({worker.hello['missing']})", err=True)
        if "lanewise" not in workers:
            raise click.ClickException("lanewise itself is not installed")
        yield workers


def agree(network, found):
    """ClickException unless all have the parameters and answers of lanewise; `found`: {library: what its worker said}."""
    own = found["lanewise"]
    for name, other in found.items():
        if other["parameters"] != own["parameters"]:
            raise click.ClickException(f"{network}: {NAMES[name]} has {other['parameters']:,} parameters, expected "
                                       f"lanewise's {own['parameters']:,}")
        for a, b in zip(own["answers"], other["answers"]):
            most = TOLERANCE.get(name, FLOAT32) * max(map(abs, a))
            if not max(abs(u - v) for u, v in zip(a, b)) <= most:           # NaN is refused too
                raise click.ClickException(f"{network}: {NAMES[name]} answers {b}, expected lanewise's {a}")


def disturbed(peaks, best):
    """For every round whether it was, by its peak."""
    return [p < QUIET * best for p in peaks]


def contest(turns, peak, rounds, seen):
    """({contestant: seconds of every round}, [FMA peak of every round]).

    `turns`: {contestant: function of its turn}; `seen`: all peaks of the run so far, to which this one's are added."""
    times, peaks = {who: [] for who in turns}, []
    while len(peaks) < 2 * rounds and disturbed(peaks, max(seen)).count(False) < rounds:
        for who, turn in turns.items():
            time.sleep(REST)
            times[who].append(turn())
        time.sleep(REST)
        peaks.append(peak())
        seen.append(peaks[-1])
    return times, peaks


def results_of(network, threads, times, peaks, best, flops):
    """A dict for every contestant (batch, library) of a contest."""
    marks = disturbed(peaks, best)
    used = [i for i, mark in enumerate(marks) if not mark] or range(len(marks))
    median, least = ({who: f(t) for who, t in times.items()} for f in (
        lambda t: statistics.median(t[i] for i in used), min))
    peak = statistics.median(peaks[i] for i in used)
    out = []
    for (batch, name), t in median.items():
        own, speed = (batch, "lanewise"), flops * batch / 1e9 / t
        out.append(dict(network=network, batch=batch, threads=threads, by=name, seconds=t, images_per_second=batch / t,
                        lanewise_ratio=t / median[own], best_seconds=least[batch, name],
                        best_ratio=least[batch, name] / least[own], gflops=speed, peak_gflops=peak, of_peak=speed / peak,
                        rounds=times[batch, name], peaks=peaks, disturbed=marks))
    return out


def measure(work, plan, flops, libraries, settings, guests=lambda network, batch, threads: {}):
    """(results, versions): a contest of `work`, "train" or "infer", for every (network, batches that take turns too) of
    `plan` and every number of threads; flops(network) is a sample's; `guests`: {name: function of a turn} of others."""
    results, versions = [], {}
    for n in settings["threads"]:
        with hired(("lanewise", *libraries), n, settings["pythons"], versions) as workers:
            seen, held = [workers["lanewise"].peak()], []
            for network, batches in plan:
                click.echo(f"{network}, batch {', '.join(map(str, batches))}, {n} threads: {', '.join(workers)}", err=True)
                agree(network, {name: w.ask(work=work, network=network, batches=batches) for name, w in workers.items()})
                turns = {}
                for batch in batches:
                    turns |= {(batch, name): functools.partial(w.turn, batch, settings["seconds"])
                              for name, w in workers.items()}
                    turns |= {(batch, name): turn for name, turn in guests(network, batch, n).items()}
                held.append((network, *contest(turns, workers["lanewise"].peak, settings["rounds"], seen)))
        for network, times, peaks in held:
            results += results_of(network, n, times, peaks, max(seen), flops(network))
    return results, versions


def ordered(results, *keys):
    """The results by network and `keys`, and where each group of these begins but the first."""
    def group(r):
        return list(NETWORKS).index(r["network"]), *(r[key] for key in keys)
    rows = sorted(results, key=group)
    return rows, [i for i in range(1, len(rows)) if group(rows[i]) != group(rows[i - 1])]


def lines(what, results):
    """The table of results, its first column headed `what`."""
    rows, breaks = ordered(results, "batch", "threads")
    body = []
    for r in rows:
        ratios = ["" if r["by"] == "lanewise" else f"{r[key]:.2f}x" for key in ("lanewise_ratio", "best_ratio")]
        body.append([r["network"], NAMES[r["by"]], str(r["batch"]), str(r["threads"]), f"{1e3 * r['seconds']:.3f}",
                     f"{r['images_per_second']:,.0f}", ratios[0], f"{1e3 * r['best_seconds']:.3f}", ratios[1],
                     table.digits(r["gflops"]), table.percent(r["of_peak"])])
    return table.text([what, *HEAD], body, 2, breaks)


def notes(results, versions):
    """Lines: disturbed rounds, the peak, versions."""
    contests = {}
    for r in results:
        contests.setdefault((r["network"], r["threads"], tuple(r["peaks"])), []).append(r)
    taken, bad = (sum(f(c[0]["disturbed"]) for c in contests.values()) for f in (len, sum))
    lines = [f"disturbed rounds: {bad} of {taken} (FMA peak after the round below {100 * QUIET:.0f} % of the run's best)"]
    for (network, threads, _), members in contests.items():
        marks = members[0]["disturbed"]
        if any(marks):
            batches = ", ".join(map(str, sorted({r["batch"] for r in members})))
            lines.append(f"  {network}, batch {batches}, {threads} threads: {sum(marks)} of {len(marks)}"
                         + (", so all of them count" if all(marks) else ""))
    best = {}
    for r in results:
        best[r["threads"]] = max([best.get(r["threads"], 0), *r["peaks"]])
    for n, p in sorted(best.items()):
        beside = f", {p / best[1]:.2f}x of one thread's" if n > 1 and 1 in best else ""
        lines.append(f"best FMA peak, {n} threads: {p:.0f} GFLOP/s{beside}")
    return lines + [*(f"{NAMES[n]}: {v or 'not installed'}" for n, v in versions.items())]


def chart(results, title, path):
    """Images/s as bars, one panel for each network and batch, at the most threads measured."""
    from matplotlib.figure import Figure
    most = max(r["threads"] for r in results)
    shown, breaks = ordered([r for r in results if r["threads"] == most], "batch")
    groups = [shown[a:b] for a, b in zip([0, *breaks], [*breaks, len(shown)])]
    figure = Figure(figsize=(9, 1.0 + 0.34 * len(shown) + 0.5 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 1, squeeze=False, height_ratios=[len(g) + 1 for g in groups])[:, 0]
    for ax, group in zip(axes, groups):
        ax.set_title(f"{group[0]['network']}, batch {group[0]['batch']}", loc="left", fontsize=10)
        group = sorted(group, key=lambda r: r["images_per_second"])
        speeds = [r["images_per_second"] for r in group]
        bars = ax.barh([NAMES[r["by"]] for r in group], speeds,
                       color=["#d1495b" if r["by"] == "lanewise" else "#8d99ae" for r in group])
        ax.bar_label(bars, [f"{v:,.0f}" + ("" if r["by"] == "lanewise" else f"  (lanewise {table.ratio(r['lanewise_ratio'])})")
                            for v, r in zip(speeds, group)], padding=4, fontsize=8)
        ax.set_xlim(0, 1.3 * max(speeds))
        ax.tick_params(labelsize=8)
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(f"images/s {title}, {most} threads", fontsize=9)
    figure.savefig(path, dpi=130)
    return path


def report(name, found, settings, lines, title=None):
    """Print the lines, write results/NAME.json and, with a title, the chart NAME.png, and say where."""
    results, versions = found
    click.echo("\n".join([*lines, *notes(results, versions)]))
    paths = [table.save(f"{name}.json", dict(versions=versions, rounds=settings["rounds"], seconds=settings["seconds"],
                                             quiet=QUIET, results=results))]
    if title:
        try:
            paths.append(chart(results, title, table.RESULTS / f"{name}.png"))
        except ImportError:
            click.echo("no chart: matplotlib is not installed", err=True)
    click.echo("written: " + ", ".join(str(p) for p in paths))
