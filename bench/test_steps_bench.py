"""Training steps of whole networks by the plain loop, against PyTorch in the same process: `pytest --benchmark -k step`.

bench/train_step.py is the longer measurement, with every library in a process of its own."""
import networks
import numpy as np
import pytest
import shapes
from contest import Contest, hold

from lanewise import manual_seed, nn, optim

RATE = 1e-3


def lanewise_step(layers, x, y):
    """(model, step) of lanewise; step() returns the loss."""
    manual_seed(0)
    model, loss_fn = networks.build(nn, layers), nn.CrossEntropyLoss()
    opt = optim.Adam(model.parameters(), lr=RATE)

    def step():
        opt.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        opt.step()
        return loss.item()
    return model, step


def torch_step(torch, layers, state, x, y):
    """The same step in PyTorch, channels_last and fused Adam, from the same weights."""
    model = networks.build(torch.nn, layers)
    model.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    model = model.to(memory_format=torch.channels_last)
    x, y = torch.from_numpy(x).contiguous(memory_format=torch.channels_last), torch.from_numpy(y)
    opt, loss_fn = torch.optim.Adam(model.parameters(), RATE, fused=True), torch.nn.CrossEntropyLoss()

    def step():
        opt.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        opt.step()
        return loss.item()
    return step


@pytest.mark.parametrize("network, n", shapes.STEPS, ids=lambda v: str(v))
def test_step(network, n, benchmark, arena):
    layers, (x, y) = networks.NETWORKS[network][0], networks.batch(network, n)
    model, step = lanewise_step(layers, x, y)
    state = {k: np.array(v) for k, v in model.state_dict().items()}
    contest = Contest("training step", "", step, torch=lambda torch: torch_step(torch, layers, state, x, y),
                      flops=networks.step_flops(network) * n, images=n)
    calls = contest.calls()
    losses = {name: [call() for _ in range(3)] for name, call in calls.items()}
    for name, curve in losses.items():
        assert np.allclose(curve, losses["lanewise"], rtol=2e-3), f"losses of {name}: {curve}, of lanewise {losses['lanewise']}"
    benchmark.group = "training step"
    arena.note(benchmark, contest, network, f"batch {n}", hold(benchmark, contest, calls, *arena.limits))
