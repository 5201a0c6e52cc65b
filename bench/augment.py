"""What augmentation costs: each change of a batch's images, in microseconds an image and as a share of a training step.

    python bench/augment.py
    python bench/augment.py --network lenet5 --turns 1000

One thread, uint8 images of random pixels, batches of 128. A turn calls the gather alone (a network that returns the batch)
without a change and with each, and then a training step (next batch, zero_grad, forward, cross-entropy, backward, Adam) of one
network likewise, each twice, of which the second is timed; figures are medians over turns. "us" is what a gather takes more
than the one without a change, "of a step" that as a share of a step without, "step" how much longer the step with the change
took, with all of Python's part. "none again" is the one without once more: what of the last column is chance, and where the
memory of a plan came to lie.

Prints a table, and writes bench/results/augment.json.
"""
import statistics
import time

import click
import machine
import table

machine.pin(1)

import networks                                         # noqa: E402: NumPy after the threads are pinned
import numpy as np                                      # noqa: E402

from lanewise import manual_seed, nn, optim, set_num_threads    # noqa: E402
from lanewise.data import Augment, Dataset              # noqa: E402

BATCH = 128
IMAGES = 4096
CHANGES = {
    "none": None, "none again": None, "rotate, scale": dict(rotate=15, scale=(0.9, 1.1)),
    "rotate, scale, reflect": dict(rotate=15, scale=(0.9, 1.1), pad="reflect"), "flip": dict(flip=True), "shift": dict(shift=2),
    "cutout": dict(cutout=8), "brightness, contrast": dict(brightness=0.2, contrast=0.2), "mixup": dict(mixup=0.4),
    "shift, flip": dict(shift=2, flip=True), "all together": dict(shift=2, flip=True, rotate=15, scale=(0.9, 1.1), cutout=8,
                                                                  brightness=0.2, contrast=0.2, mixup=0.4)}
HEAD = ["network", "change", "us", "of a step", "step"]


def batches(name):
    """{change: function that gives the next (Batch, targets)} of the same rows of the same images, without end."""
    rng = np.random.default_rng(7)
    ds = Dataset(rng.integers(0, 256, (IMAGES, *networks.NETWORKS[name][1]), np.uint8),
                 rng.integers(0, networks.CLASSES, IMAGES), 0.3, 0.3)
    def endless(changed):
        rng = np.random.default_rng(1)
        while True:
            yield from changed.batches(BATCH, rng=rng)
    return {change: endless(ds.augmented(kw and Augment(**kw))).__next__ for change, kw in CHANGES.items()}


def trained(name):
    """step(x, y) of the network."""
    manual_seed(0)
    model, loss_fn = networks.build(nn, networks.NETWORKS[name][0]), nn.CrossEntropyLoss()
    opt = optim.Adam(model.parameters())

    def step(batch):
        x, y = batch()
        opt.zero_grad()
        loss_fn(model(x), y).backward()
        opt.step()
    return step


def measure(name, turns):
    """A dict for each change: seconds of a gather, of a step."""
    step, found, identity = trained(name), batches(name), nn.Identity()
    calls = {("gather", change): lambda x=batch()[0]: identity(x).numpy() for change, batch in found.items()}
    calls.update({("step", change): lambda batch=batch: step(batch) for change, batch in found.items()})
    times = {key: [] for key in calls}
    for call in calls.values():                         # plans are built
        call()
    for _ in range(turns):
        for key, call in calls.items():
            call()                                      # caches are then as it leaves them, not as another does
            start = time.perf_counter()
            call()
            times[key].append(time.perf_counter() - start)
    found = {key: statistics.median(v) for key, v in times.items()}
    plain, whole = found["gather", "none"], found["step", "none"]
    return [dict(network=name, change=change, gather_seconds=found["gather", change], step_seconds=found["step", change],
                 image_seconds=(found["gather", change] - plain) / BATCH, share=(found["gather", change] - plain) / whole,
                 step_more=found["step", change] / whole - 1) for change in CHANGES]


@click.command(context_settings=dict(help_option_names=["-h", "--help"]))
@click.option("--network", "names", multiple=True, default=("lenet5", "cifar_cnn"), show_default=True,
              type=click.Choice(list(networks.NETWORKS)))
@click.option("--turns", default=200, show_default=True, type=click.IntRange(1))
def main(names, turns):
    """Time of every change of a batch's images, an image and as a share of a training step."""
    set_num_threads(1)
    results = [r for name in names for r in measure(name, turns)]
    body = [[r["network"], r["change"], f"{1e6 * r['image_seconds']:.3f}", f"{100 * r['share']:.1f} %",
             f"{100 * r['step_more']:+.1f} %"] if r["change"] != "none" else
            [r["network"], "a step without", f"{1e6 * r['step_seconds'] / BATCH:.2f}", "", ""] for r in results]
    breaks = [i for i in range(1, len(body)) if body[i][0] != body[i - 1][0]]
    click.echo("\n".join(table.text(HEAD, body, 2, breaks)))
    path = table.save("augment.json", dict(batch=BATCH, turns=turns, machine=machine.describe(1), changes=results))
    click.echo(f"written: {path}")


if __name__ == "__main__":
    main()
