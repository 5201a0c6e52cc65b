"""Where a training step's time goes: every instruction of a model's plan, on one core.

    python bench/kernels.py lenet5
    python bench/kernels.py cifar_cnn --batch 128

Each instruction is repeated alone on one shard (LANES samples) whose data lie where the step leaves them; the figure is the
best of several turns, and the machine's FMA peak is measured in the same run. GFLOP/s counts what the kernel is asked to
do (a plan's `work`), which is more than the textbook's count where the input gradient of an unpadded convolution runs over
a border of zeros. Instructions without multiply-adds show their time alone. A repeated instruction finds its data in cache:
the sum of the times is compared with a shard of whole steps on one thread in the last line.

Prints a table, and writes bench/results/kernels-MODEL.json and .png.
"""
import statistics
import time

import click
import machine
import table

machine.pin(1)

import networks                                         # noqa: E402: NumPy after the threads are pinned

from lanewise import nn, optim, set_num_threads         # noqa: E402

HEAD = ["block", "#", "instruction", "us", "share", "GFLOP/s", "of peak"]
TURN = 2e-3                     # seconds of one turn
TURNS = 9


def plan_of(name, batch):
    """(plan that has run, its loss, seconds of a whole step without the optimizer), on one thread. The loss must live as long
    as instructions are repeated: it owns the arrays that some of them write to."""
    set_num_threads(1)
    model, loss_fn = networks.build(nn, networks.NETWORKS[name][0]), nn.CrossEntropyLoss()
    opt = optim.SGD(model.parameters(), lr=0.0)
    x, y = networks.batch(name, batch)
    times = []
    for _ in range(3 * TURNS):
        opt.zero_grad()
        start = time.perf_counter()
        loss = loss_fn(model(x), y)
        loss.backward()
        times.append(time.perf_counter() - start)
    return loss._plan, loss, statistics.median(times[TURNS:])


def repeat(program, block, index):
    """Seconds of one run of an instruction: the best turn."""
    def turn(times):
        start = time.perf_counter()
        program.repeat(block, index, times)
        return time.perf_counter() - start
    times = 1
    while turn(times) < TURN:
        times *= 2
    return min(turn(times) for _ in range(TURNS)) / times


def measure(plan):
    """A dict for each instruction of forward and backward."""
    results = []
    for block, index, name, flops in plan.work:
        if block in ("forward", "backward"):
            t = repeat(plan.program, block, index)
            rate = flops * plan.lanes / t / 1e9 if flops else None
            results.append(dict(block=block, index=index, instruction=name, seconds=t, gflops=rate))
    total = sum(r["seconds"] for r in results)
    for r in results:
        r["share"] = r["seconds"] / total
    return results


def chart(results, title, path):
    """Time of every instruction as bars in the order of the step, with the share of the peak written at each."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(9, 1.2 + 0.26 * len(results)), layout="constrained")
    ax = figure.subplots()
    colours = {"forward": "#30638e", "backward": "#edae49"}
    times = [1e6 * r["seconds"] for r in results]
    bars = ax.barh(range(len(results)), times, color=[colours[r["block"]] for r in results])
    ax.set_yticks(range(len(results)), [f"{r['instruction']}  {r['index']}" for r in results], fontsize=8)
    ax.bar_label(bars, [f"{t:.1f} us" + (f", {table.percent(r['of_peak'])} of peak" if r["of_peak"] else "")
                        for t, r in zip(times, results)], padding=4, fontsize=8)
    for block, colour in colours.items():
        ax.barh(0, 0, color=colour, label=block)
    ax.legend(frameon=False, fontsize=8)
    ax.set_ylim(len(results) - 0.4, -0.6)
    ax.set_xlim(0, 1.3 * max(times))
    ax.set_xlabel("microseconds for one shard, one core", fontsize=9)
    ax.set_title(title, loc="left", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    return path


@click.command(context_settings=dict(help_option_names=["-h", "--help"]))
@click.argument("model", default="lenet5", type=click.Choice(list(networks.NETWORKS)))
@click.option("--batch", default=128, show_default=True, type=click.IntRange(1))
def main(model, batch):
    """Time, GFLOP/s and share of the peak of every instruction of MODEL's plan."""
    before = machine.fma_peak(1)
    plan, loss, step = plan_of(model, batch)
    results = measure(plan)
    del loss
    peak = max(before, machine.fma_peak(1))
    for r in results:
        r["of_peak"] = r["gflops"] / peak if r["gflops"] else None
    body = [[r["block"], str(r["index"]), r["instruction"], f"{1e6 * r['seconds']:.2f}", table.percent(r["share"]),
             table.digits(r["gflops"]), table.percent(r["of_peak"])] for r in results]
    breaks = [i for i in range(1, len(results)) if results[i]["block"] != results[i - 1]["block"]]
    total, shards = sum(r["seconds"] for r in results), -(-batch // plan.lanes)
    flops = sum(w[3] for w in plan.work) * plan.lanes
    click.echo("\n".join(table.text(HEAD, body, 3, breaks)))
    click.echo(f"\nFMA peak, one core: {peak:.0f} GFLOP/s. Sum for a shard of {plan.lanes}: {1e6 * total:.0f} us, "
               f"{flops / total / 1e9:.0f} GFLOP/s. A whole step takes {1e6 * step / shards:.0f} us a shard.")
    paths = [table.save(f"kernels-{model}.json", dict(model=model, batch=batch, peak_gflops=peak, lanes=plan.lanes,
                                                      step_seconds=step, instructions=results))]
    try:
        paths.append(chart(results, f"{model}: instructions of a training step", table.RESULTS / f"kernels-{model}.png"))
    except ImportError:
        click.echo("no chart: matplotlib is not installed", err=True)
    click.echo("written: " + ", ".join(str(p) for p in paths))


if __name__ == "__main__":
    main()
