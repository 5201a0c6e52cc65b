"""Scores of a trained network, of one image and of a thousand, by lanewise and every peer that is installed, in one run.

    python bench/inference.py                                   # lenet5 and cifar_cnn, 1 thread and all of them
    python bench/inference.py --network resnet20 --batch 1 --batch 64
    python bench/inference.py --python tensorflow=/path/to/venv/bin/python --python jax=/path/to/venv/bin/python
    python bench/inference.py --peer torch --peer torch-compile --peer onnxruntime

A step gives the scores of a batch that lies in memory, as an array, in evaluation mode: lanewise by model(x).numpy(), ONNX
Runtime from the file of lanewise.onnx.export (it needs lanewise beside it). "ms" is the latency of the batch, "images/s" the
throughput. The processes take turns: turns.py says how, which rounds count, and what the columns are. A peer that is not
installed is said to be so.

Prints a table, and writes bench/results/inference.json and .png.
"""
import click
import turns
from networks import forward_flops

PEERS = ("torch", "torch-bf16", "torch-jit", "tensorflow", "jax", "onnxruntime")


@turns.program(["lenet5", "cifar_cnn"], (1, turns.CPUS), PEERS, ("torch-compile",))
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1), default=(1, 1000), show_default=True)
def main(networks, libraries, settings, batches):
    """Inference by lanewise and its peers, interleaved."""
    plan = [(network, [batch]) for network in networks for batch in batches]
    found = turns.measure("infer", plan, forward_flops, libraries, settings)
    turns.report("inference", found, settings, [*turns.lines("scores of", found[0]), ""], "in evaluation")


if __name__ == "__main__":
    main()
