"""Training steps of whole networks by the plain loop, against PyTorch in the same process: `pytest --benchmark -k step`.

bench/train_step.py is the longer measurement, with every library in a process of its own."""
import libraries
import networks
import numpy as np
import pytest
import shapes
from contest import Contest, hold

import lanewise as lw


@pytest.mark.parametrize("network, n", shapes.STEPS, ids=lambda v: str(v))
def test_step(network, n, benchmark, arena):
    x, y = networks.batch(network, n)

    def step(library, threads):
        return library(threads)[1]["train"](network, x, y)[0]
    contest = Contest("training step", "", step(libraries.lanewise, lw.get_num_threads()),
                      torch=lambda torch: step(libraries.torch, torch.get_num_threads()),
                      flops=networks.step_flops(network) * n, images=n)
    calls = contest.calls()
    losses = {name: [call() for _ in range(3)] for name, call in calls.items()}
    for name, curve in losses.items():
        assert np.allclose(curve, losses["lanewise"], rtol=2e-3), f"losses of {name}: {curve}, of lanewise {losses['lanewise']}"
    benchmark.group = "training step"
    arena.note(benchmark, contest, network, f"batch {n}", hold(benchmark, contest, calls, *arena.limits))
