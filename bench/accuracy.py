"""Time to accuracy by the plain loop, from the start of a process to its end.

    python bench/accuracy.py                    # MNIST and CIFAR-10
    python bench/accuracy.py mnist --torch      # the same recipe in PyTorch after it, in its own process

A recipe: 5 epochs, batches of 128, Adam, a one-cycle rate. The clock runs from before the interpreter starts until it has
ended, so imports, reading the files, building plans, training and the test are all in it. Full data sets are found
as `lanewise.data.load` finds them. PyTorch reads the same files and gets its batches from tensors in memory, channels_last.

Prints a table, and writes bench/results/accuracy.json.
"""
import json
import os
import subprocess
import sys
import time

import click
import machine
import table

EPOCHS, BATCH = 5, 128
# data set: (network, top of the one-cycle rate, test accuracy to reach)
RECIPES = {"mnist": ("lenet5", 6e-3, 0.990), "cifar-10": ("cifar_cnn", 4e-3, 0.740)}
HEAD = ["data", "network", "by", "threads", "accuracy", "goal", "seconds"]


def lanewise(name, threads, seed):
    """The recipe in lanewise: test accuracy."""
    import lanewise as lw
    import networks
    import numpy as np
    from lanewise import nn, optim
    network, rate, _ = RECIPES[name]
    lw.set_num_threads(threads)
    lw.manual_seed(seed)
    training, test = lw.data.load(name)
    model, loss_fn = networks.build(nn, networks.NETWORKS[network][0]), nn.CrossEntropyLoss()
    opt = optim.Adam(model.parameters(), lr=rate)
    schedule = optim.OneCycleLR(opt, rate, total_steps=EPOCHS * -(-len(training) // BATCH))
    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        for x, y in training.batches(BATCH, rng=rng):
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            schedule.step()
    model.eval()
    hits = sum(int((model(x).numpy().argmax(1) == y).sum()) for x, y in test.batches(4096, shuffle=False))
    return hits / len(test)


def torch(name, threads, seed):
    """The recipe in PyTorch: test accuracy."""
    import lanewise as lw
    import networks
    import numpy as np
    import torch
    network, rate, _ = RECIPES[name]
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    (x, y), (xt, yt) = (
        (torch.from_numpy(np.asarray(images)).contiguous(memory_format=torch.channels_last), torch.from_numpy(labels))
        for images, labels in (part.batch() for part in lw.data.load(name)))
    model = networks.build(torch.nn, networks.NETWORKS[network][0]).to(memory_format=torch.channels_last)
    opt, loss_fn = torch.optim.Adam(model.parameters(), rate, fused=True), torch.nn.CrossEntropyLoss()
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, rate, total_steps=EPOCHS * -(-len(x) // BATCH))
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(BATCH):
            opt.zero_grad()
            loss = loss_fn(model(x[index]), y[index])
            loss.backward()
            opt.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        hits = sum(int((model(a).argmax(1) == b).sum()) for a, b in zip(xt.split(4096), yt.split(4096)))
    return hits / len(xt)


LIBRARIES = {"lanewise": lanewise, "torch": torch}


def run(library, name, threads, seed, python):
    """(accuracy, seconds) of a process that does the recipe; None where the library is not installed."""
    start = time.perf_counter()
    done = subprocess.run([python, __file__, "--worker", library, "--threads", str(threads), "--seed", str(seed), name],
                          capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if last.startswith("ModuleNotFoundError"):
            return None
        raise click.ClickException(f"{library} on {name}: {last}")
    return json.loads(done.stdout)["accuracy"], seconds


@click.command(context_settings=dict(help_option_names=["-h", "--help"]))
@click.argument("names", nargs=-1, type=click.Choice(list(RECIPES)))
@click.option("--torch", "with_torch", is_flag=True, help="The same recipe in PyTorch as well.")
@click.option("--python", "python", default=sys.executable, help="The interpreter for PyTorch (it needs lanewise to read).")
@click.option("--threads", type=click.IntRange(1), help="Default: all CPUs of this process.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--worker", type=click.Choice(list(LIBRARIES)), hidden=True)
def main(names, with_torch, python, threads, seed, worker):
    """Test accuracy and seconds from process start to end, for NAMES or both data sets."""
    threads = threads or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    if worker:
        machine.pin(threads)
        print(json.dumps(dict(accuracy=LIBRARIES[worker](names[0], threads, seed))))
        return
    results = []
    for name in names or RECIPES:
        network, _, goal = RECIPES[name]
        for library in LIBRARIES if with_torch else ["lanewise"]:
            click.echo(f"{library} on {name} ...", err=True)
            found = run(library, name, threads, seed, python if library == "torch" else sys.executable)
            if found is None:
                click.echo(f"{library}: not installed", err=True)
            else:
                results.append(dict(data=name, network=network, by=library, threads=threads, accuracy=found[0], goal=goal,
                                    seconds=found[1]))
    body = [[r["data"], r["network"], r["by"], str(r["threads"]), f"{100 * r['accuracy']:.2f} %", f"{100 * r['goal']:.1f} %",
             f"{r['seconds']:.2f}"] for r in results]
    click.echo("\n".join(table.text(HEAD, body, 3)))
    click.echo(f"written: {table.save('accuracy.json', dict(epochs=EPOCHS, batch=BATCH, seed=seed, results=results))}")


if __name__ == "__main__":
    main()
