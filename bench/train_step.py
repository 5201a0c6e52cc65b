"""Training steps of lanewise and of every peer that is installed, in one run.

    python bench/train_step.py                                   # all networks, 1 thread and all of them
    python bench/train_step.py --network lenet5 --batch 128 --threads 2
    python bench/train_step.py --python tensorflow=/path/to/venv/bin/python --python jax=/path/to/venv/bin/python
    python bench/train_step.py --peer torch --peer torch-compile --yardstick ./lenet

A step is zero_grad, forward, cross-entropy, backward, Adam, on a batch that lies in memory (for lanewise: NumPy arrays, the
plain loop). Every library runs in a process of its own (bench/workers.py), with threads pinned by environment variables, CPU
affinity and the library's own call before it is imported. The processes take turns, lanewise first in every round, and only
one computes at a time; a round's figure is the median of its steps, a contestant's the median of its rounds, and the
ratio is between two such medians of one run. A peer that is not installed is said to be so. GFLOP/s counts the multiply-adds
that the textbook counts, the same for everyone, and the peak is measured in between.

Prints a table, and writes bench/results/train_step.json and .png.
"""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import table
from networks import NETWORKS, step_flops

PEERS = ("torch", "torch-bf16", "tensorflow", "jax")
NAMES = {"lanewise": "lanewise", "torch": "PyTorch channels_last", "torch-bf16": "PyTorch bf16 channels_last",
         "torch-compile": "PyTorch torch.compile", "tensorflow": "TensorFlow graph", "jax": "JAX jit",
         "yardstick": "C yardstick"}
HEAD = ["step of", "by", "batch", "threads", "ms", "images/s", "lanewise/it", "GFLOP/s", "of peak"]
REST = 0.3                      # seconds between two contestants: the last one's threads stop spinning


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

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.said.close()


def yardstick(program, batch, threads):
    """Seconds of a step by a program that prints `B=128 T=2: 1.256 ms ...`."""
    done = subprocess.run([program, str(batch), str(threads)], capture_output=True, text=True)
    found = re.search(r"B=\d+ T=\d+: ([\d.]+) ms", done.stdout)
    if found is None:
        raise click.ClickException(f"{program} {batch} {threads} printed no line 'B=.. T=..: .. ms': {done.stdout[:200]!r}")
    return float(found[1]) / 1e3


def contest(workers, network, batch, threads, rounds, seconds, program):
    """Seconds of a step by every contestant, and the FMA peak: medians over rounds in which they take turns."""
    for worker in workers.values():
        worker.ask(network=network, batch=batch)
    times = {name: [] for name in workers}
    peaks = []
    for _ in range(rounds):
        for name, worker in workers.items():
            time.sleep(REST)
            times[name].append(statistics.median(worker.ask(seconds=seconds)["times"]))
        if program and network == "lenet5":
            time.sleep(REST)
            times.setdefault("yardstick", []).append(yardstick(program, batch, threads))
        peaks.append(workers["lanewise"].ask(peak=True)["gflops"])
    return {name: statistics.median(t) for name, t in times.items()}, statistics.median(peaks), times


def measure(networks, batches, threads, peers, pythons, rounds, seconds, program):
    """A list of results, one for each network, batch, number of threads and contestant; versions of the contestants."""
    results, versions = [], {}
    for n in threads:
        workers = {}
        try:
            for name in ("lanewise", *peers):
                worker = Worker(name, n, pythons.get(name, sys.executable))
                if "missing" in worker.hello:
                    worker.close()
                    if name not in versions:
                        click.echo(f"{NAMES[name]}: not installed ({worker.hello['missing']})", err=True)
                    versions[name] = None
                else:
                    versions[name], workers[name] = worker.hello["version"], worker
            if "lanewise" not in workers:
                raise click.ClickException("lanewise itself is not installed")
            for network in networks:
                for batch in batches or NETWORKS[network][2]:
                    click.echo(f"{network}, batch {batch}, {n} threads: {', '.join(workers)}", err=True)
                    medians, peak, rounds_ = contest(workers, network, batch, n, rounds, seconds, program)
                    flops = step_flops(network) * batch / 1e9
                    results += [dict(network=network, batch=batch, threads=n, by=name, seconds=t, images_per_second=batch / t,
                                     lanewise_ratio=t / medians["lanewise"], gflops=flops / t, peak_gflops=peak,
                                     of_peak=flops / t / peak, rounds=rounds_[name]) for name, t in medians.items()]
        finally:
            for worker in workers.values():
                worker.close()
    return results, versions


def rows(results):
    """The results as rows of strings, and where a new network or batch begins."""
    order = sorted(results, key=lambda r: (list(NETWORKS).index(r["network"]), r["batch"], r["threads"]))
    out, breaks, last = [], [], None
    for r in order:
        if last is not None and (r["network"], r["batch"], r["threads"]) != last:
            breaks.append(len(out))
        last = r["network"], r["batch"], r["threads"]
        out.append([r["network"], NAMES[r["by"]], str(r["batch"]), str(r["threads"]), f"{1e3 * r['seconds']:.3f}",
                    f"{r['images_per_second']:,.0f}", "" if r["by"] == "lanewise" else f"{r['lanewise_ratio']:.2f}x",
                    table.digits(r["gflops"]), table.percent(r["of_peak"])])
    return out, breaks


def scaling(results):
    """Lines: what more threads give lanewise."""
    own = {(r["network"], r["batch"], r["threads"]): r["images_per_second"] for r in results if r["by"] == "lanewise"}
    return [f"lanewise {network}, batch {batch}: {n} threads give {own[network, batch, n] / own[network, batch, 1]:.2f}x of one"
            for network, batch, n in sorted(own) if n > 1 and (network, batch, 1) in own]


def chart(results, path):
    """Images/s as bars, one panel for each network and batch, at the most threads measured."""
    from matplotlib.figure import Figure
    most = max(r["threads"] for r in results)
    panels = sorted({(list(NETWORKS).index(r["network"]), r["network"], r["batch"]) for r in results})
    figure = Figure(figsize=(9, 1.0 + 0.34 * sum(r["threads"] == most for r in results) + 0.5 * len(panels)),
                    layout="constrained")
    shown = [[r for r in results if (r["network"], r["batch"], r["threads"]) == (network, batch, most)]
             for _, network, batch in panels]
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[len(s) + 1 for s in shown])[:, 0]
    for ax, group, (_, network, batch) in zip(axes, shown, panels):
        group = sorted(group, key=lambda r: r["images_per_second"])
        speeds = [r["images_per_second"] for r in group]
        bars = ax.barh([NAMES[r["by"]] for r in group], speeds,
                       color=["#d1495b" if r["by"] == "lanewise" else "#8d99ae" for r in group])
        ax.bar_label(bars, [f"{v:,.0f}" + ("" if r["by"] == "lanewise" else f"  (lanewise {table.ratio(r['lanewise_ratio'])})")
                            for v, r in zip(speeds, group)], padding=4, fontsize=8)
        ax.set_xlim(0, 1.3 * max(speeds))
        ax.set_title(f"{network}, batch {batch}", loc="left", fontsize=10)
        ax.tick_params(labelsize=8)
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(f"images/s in training steps (Adam), {most} threads", fontsize=9)
    figure.savefig(path, dpi=130)
    return path


@click.command(context_settings=dict(help_option_names=["-h", "--help"]))
@click.option("--network", "networks", multiple=True, type=click.Choice(list(NETWORKS)), help="Default: all.")
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1), help="Default: the network's own list.")
@click.option("--threads", multiple=True, type=click.IntRange(1), help="Default: 1, and all CPUs of this process.")
@click.option("--peer", "peers", multiple=True, type=click.Choice([n for n in NAMES if n not in ("lanewise", "yardstick")]),
              help="Default: all but torch-compile.")
@click.option("--python", "pythons", multiple=True, metavar="PEER=PATH", help="The interpreter that has a peer (or lanewise).")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Turns that each contestant takes.")
@click.option("--seconds", default=0.5, show_default=True, help="Length of a turn.")
@click.option("--yardstick", "program", type=click.Path(exists=True, dir_okay=False, resolve_path=True),
              help="A program that takes BATCH THREADS and prints 'B=128 T=2: 1.256 ms': a LeNet-5 step to compare with.")
def main(networks, batches, threads, peers, pythons, rounds, seconds, program):
    """Training steps of lanewise and its peers, interleaved."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    interpreters = {}
    for pair in pythons:
        name, _, path = pair.partition("=")
        if name not in NAMES or not os.access(path, os.X_OK):
            raise click.BadParameter(f"expected PEER=PATH of an interpreter, got {pair!r}", param_hint="--python")
        interpreters[name] = path
        if name == "torch":
            interpreters.update({n: path for n in ("torch-bf16", "torch-compile") if n not in interpreters})
    results, versions = measure(networks or NETWORKS, batches, sorted(set(threads or (1, cpus))), peers or PEERS, interpreters,
                                rounds, seconds, program)
    body, breaks = rows(results)
    lines = table.text(HEAD, body, 2, breaks)
    peaks = {r["threads"]: r["peak_gflops"] for r in results}
    lines += ["", *scaling(results), *(f"FMA peak, {n} threads: {p:.0f} GFLOP/s" for n, p in sorted(peaks.items())),
              *(f"{NAMES[n]}: {v or 'not installed'}" for n, v in versions.items())]
    click.echo("\n".join(lines))
    paths = [table.save("train_step.json", dict(versions=versions, rounds=rounds, seconds=seconds, results=results))]
    try:
        paths.append(chart(results, table.RESULTS / "train_step.png"))
    except ImportError:
        click.echo("no chart: matplotlib is not installed", err=True)
    click.echo("written: " + ", ".join(str(p) for p in paths))


if __name__ == "__main__":
    main()
