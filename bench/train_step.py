"""Training steps of lanewise and of every peer that is installed, in one run.

    python bench/train_step.py                                   # all networks, 1 thread and all of them
    python bench/train_step.py --network lenet5 --batch 128 --threads 2
    python bench/train_step.py --python tensorflow=/path/to/venv/bin/python --python jax=/path/to/venv/bin/python
    python bench/train_step.py --peer torch --peer torch-compile --yardstick ./lenet

A step is zero_grad, forward, cross-entropy, backward, Adam, on a batch that lies in memory (for lanewise: NumPy arrays, the
plain loop); BatchNorm's running statistics move with it. The processes take turns: turns.py says how, which rounds count, and
what the columns are. A peer that is not installed is said to be so.

Prints a table, and writes bench/results/train_step.json and .png.
"""
import re
import subprocess

import click
import turns
from networks import NETWORKS, step_flops

PEERS = ("torch", "torch-bf16", "tensorflow", "jax")


def yardstick(program, batch, threads):
    """Seconds of a step by a program that prints `B=128 T=2: 1.256 ms ...`."""
    done = subprocess.run([program, str(batch), str(threads)], capture_output=True, text=True)
    found = re.search(r"B=\d+ T=\d+: ([\d.]+) ms", done.stdout)
    if found is None:
        raise click.ClickException(f"{program} {batch} {threads} printed no line 'B=.. T=..: .. ms': {done.stdout[:200]!r}")
    return float(found[1]) / 1e3


def scaling(results):
    """Lines: what more threads give lanewise."""
    own = {(r["network"], r["batch"], r["threads"]): r["images_per_second"] for r in results if r["by"] == "lanewise"}
    return [f"lanewise {network}, batch {batch}: {n} threads give {own[network, batch, n] / own[network, batch, 1]:.2f}x of one"
            for network, batch, n in sorted(own) if n > 1 and (network, batch, 1) in own]


@turns.program(list(NETWORKS), (1, turns.CPUS), PEERS, ("torch-compile",))
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1), help="Default: the network's own list.")
@click.option("--yardstick", "program", type=click.Path(exists=True, dir_okay=False, resolve_path=True),
              help="A program that takes BATCH THREADS and prints 'B=128 T=2: 1.256 ms': a LeNet-5 step to compare with.")
def main(networks, libraries, settings, batches, program):
    """Training steps of lanewise and its peers, interleaved."""
    def guests(network, batch, threads):
        return {"yardstick": lambda: yardstick(program, batch, threads)} if program and network == "lenet5" else {}
    plan = [(network, [batch]) for network in networks for batch in batches or NETWORKS[network][2]]
    found = turns.measure("train", plan, step_flops, libraries, settings, guests)
    turns.report("train_step", found, settings, [*turns.lines("step of", found[0]), "", *scaling(found[0])],
                 "in training steps (Adam)")


if __name__ == "__main__":
    main()
