"""Where a training step's time goes: every instruction of a model's plan, on one core.

    python bench/kernels.py lenet5
    python bench/kernels.py cifar_cnn --batch 128

It is lanewise.profile on one thread: each instruction is repeated alone on one shard (LANES samples) whose data lie where the
step leaves them, the reduction's products and what joins shards on the whole batch; the figure is the best of several turns,
and the machine's FMA peak is measured in the same run. GFLOP/s counts what the kernel is asked to do, which is more than the
textbook's count where the input gradient of an unpadded convolution runs over a border of zeros. Instructions without
multiply-adds show their time alone. A repeated instruction finds its data in cache: the table of layers after that of
instructions compares the sum with a whole step.

Prints a table, and writes bench/results/kernels-MODEL.json and .png.
"""
import click
import machine
import table

machine.pin(1)

import networks                                         # noqa: E402: NumPy after the threads are pinned

from lanewise import nn, optim, profile, set_num_threads    # noqa: E402

SHARD = ("forward", "backward")
HEAD = ["block", "#", "instruction", "us", "share", "GFLOP/s", "of peak"]
REPEATS = 50


def measure(name, batch):
    """(the Profile, a dict for each instruction)."""
    set_num_threads(1)
    model = networks.build(nn, networks.NETWORKS[name][0])
    found = profile(model, networks.batch(name, batch), optimizer=optim.SGD(model.parameters()), batch_size=batch,
                    repeats=REPEATS)
    results = [dict(block=i.block, index=i.index, instruction=i.name, seconds=i.seconds, gflops=i.gflops, of_peak=i.of_peak)
               for i in found.instructions]
    total = sum(r["seconds"] for r in results if r["block"] in SHARD)
    for r in results:
        r["share"] = r["seconds"] / total if r["block"] in SHARD else None
    return found, results


def chart(results, title, path):
    """Time of every instruction as bars in the order of the step, with the share of the peak written at each."""
    from matplotlib.figure import Figure
    results = [r for r in results if r["block"] in SHARD]
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
    found, results = measure(model, batch)
    body = [[r["block"], str(r["index"]), r["instruction"], f"{1e6 * r['seconds']:.2f}", table.percent(r["share"]),
             table.digits(r["gflops"]), table.percent(r["of_peak"])] for r in results]
    breaks = [i for i in range(1, len(results)) if results[i]["block"] != results[i - 1]["block"]]
    click.echo("\n".join([*table.text(HEAD, body, 3, breaks), "", str(found)]))
    paths = [table.save(f"kernels-{model}.json", dict(model=model, batch=batch, peak_gflops=found.peak_gflops,
                                                      lanes=found.lanes, step_seconds=found.step, instructions=results))]
    try:
        paths.append(chart(results, f"{model}: instructions of a training step", table.RESULTS / f"kernels-{model}.png"))
    except ImportError:
        click.echo("no chart: matplotlib is not installed", err=True)
    click.echo("written: " + ", ".join(str(p) for p in paths))


if __name__ == "__main__":
    main()
