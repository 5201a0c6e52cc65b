"""The networks of the benchmarks: one network in every library, lanewise's own models, operations counted."""
import networks
import numpy as np
import pytest

import lanewise as lw
from lanewise import models, nn, optim

OWN = ["lenet5", "cifar_cnn", "resnet20", "mobilenet"]       # those that lanewise.models has too


def lanewise_model(name):
    """build()'s model with weights(name)."""
    model = networks.build(nn, networks.NETWORKS[name][0])
    model.load_state_dict(networks.state(model, name), strict=False)
    return model


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_same_losses_and_statistics_as_pytorch(name):
    """Of two steps of SGD from the same weights: the second has been through every gradient."""
    torch = pytest.importorskip("torch")
    x, y = networks.batch(name, 19)
    own, theirs = lanewise_model(name), networks.build(torch.nn, networks.NETWORKS[name][0])
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in networks.state(theirs, name).items()}, strict=False)
    loss_fn, opt = nn.CrossEntropyLoss(), optim.SGD(own.parameters(), lr=0.01)
    their_opt = torch.optim.SGD(theirs.parameters(), lr=0.01)
    for _ in range(2):
        opt.zero_grad()
        loss = loss_fn(own(x), y)
        loss.backward()
        opt.step()
        their_opt.zero_grad()
        their_loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(y))
        their_loss.backward()
        their_opt.step()
        assert loss.item() == pytest.approx(their_loss.item(), rel=1e-4)
    buffers = dict(theirs.named_buffers())
    assert len(buffers) == 3 * sum(kind == "batchnorm" for kind, *_ in networks.walk(*networks.NETWORKS[name][:2]))
    state = own.state_dict()
    for key, theirs in buffers.items():
        np.testing.assert_allclose(np.asarray(state[key]), theirs.numpy(), rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", OWN)
def test_it_is_lanewises_model(name):
    """The same arrays in the same order give the same scores, and the summary counts the same operations."""
    bench, own = lanewise_model(name).eval(), getattr(models, name)().eval()
    keys = [key for key, _ in own.named_parameters()]
    own.load_state_dict(dict(zip(keys, networks.weights(name))), strict=False)
    assert len(keys) == len(networks.weights(name))
    x, _ = networks.batch(name, 5)
    np.testing.assert_allclose(bench(x).numpy(), own(x).numpy(), rtol=1e-5, atol=1e-5)
    table = lw.summary(own, networks.NETWORKS[name][1])
    assert networks.forward_flops(name) == 2 * table.multiply_adds
    assert table.parameters == sum(w.size for w in networks.weights(name))


def test_step_flops_by_hand():
    """The mlp: forward and weight gradients of both layers, towards the input of the second alone."""
    assert networks.step_flops("mlp") == 2 * (2 * (784 * 128 + 128 * 10) + 128 * 10)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_channels_last_weights_are_the_same_numbers(name):
    """(K, K, I, O), and (F, O) whose rows follow (H, W, C) behind a flatten."""
    first, last = networks.weights(name), networks.weights(name, channels_last=True)
    dense = [(args, before) for kind, args, before, _ in networks.walk(*networks.NETWORKS[name][:2])
             if kind in ("flatten", "linear")]
    image = next(shape for args, shape in dense if not args)
    rng, seen = np.random.default_rng(0), 0
    for a, b in zip(first, last):
        if a.ndim == 4:
            np.testing.assert_array_equal(a, b.transpose(3, 2, 0, 1))
        elif a.ndim == 2:
            x = rng.standard_normal(image if seen == 0 else a.shape[1])
            turned = x.transpose(1, 2, 0) if seen == 0 else x
            np.testing.assert_allclose(a @ x.ravel(), turned.ravel() @ b, rtol=1e-6, atol=1e-6)
            seen += 1
        else:
            np.testing.assert_array_equal(a, b)
    assert seen and len(first) == len(last)
