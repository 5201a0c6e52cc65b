"""How the time of an image changes with the batch: training steps of lanewise, at batches from 64 to 4096.

    python bench/scale.py                                       # lenet5 and cifar_cnn, all threads
    python bench/scale.py --network resnet20 --batch 128 --batch 256
    python bench/scale.py --peer torch --network lenet5

The step is that of train_step.py. All batches of a network take turns in every round, so that they meet the same machine;
turns.py says which rounds count. "to the best" is the time of an image over that of the contestant's fastest batch, from
the medians and from the best rounds.

Prints a table, and writes bench/results/scale.json.
"""
import click
import table
import turns
from networks import step_flops

HEAD = ["step of", "by", "batch", "threads", "us/image", "to the best", "best us/image", "to the best", "GFLOP/s", "of peak"]


def lines(results):
    """The table of the time of an image."""
    rows, breaks = turns.ordered(results, "threads", "by")
    groups, body = [rows[a:b] for a, b in zip([0, *breaks], [*breaks, len(rows)])], []
    for group in groups:
        times = [[r[key] / r["batch"] for r in group] for key in ("seconds", "best_seconds")]
        for i, r in enumerate(group):
            shown = [cell for t in times for cell in (f"{1e6 * t[i]:.2f}", f"{t[i] / min(t):.2f}x")]
            body.append([r["network"], turns.NAMES[r["by"]], str(r["batch"]), str(r["threads"]), *shown,
                         table.digits(r["gflops"]), table.percent(r["of_peak"])])
    return table.text(HEAD, body, 2, breaks)


@turns.program(["lenet5", "cifar_cnn"], (turns.CPUS,), (), ("torch", "torch-bf16", "tensorflow", "jax"))
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1), default=[64 << i for i in range(7)],
              show_default=True)
def main(networks, libraries, settings, batches):
    """The time of an image in a training step, by batch."""
    found = turns.measure("train", [(network, batches) for network in networks], step_flops, libraries, settings)
    turns.report("scale", found, settings, [*lines(found[0]), ""])


if __name__ == "__main__":
    main()
