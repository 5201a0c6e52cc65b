"""Embedding: integers in, rows of a table out, gradients summed the same way by any number of threads."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import _isa, nn, optim
from lanewise.graph import as_value


def batches(dtype):
    """1, LANES-1, LANES, LANES+1, and more than the gradient slots hold shards."""
    lanes = _isa.engine(dtype.name).lanes
    return sorted({1, lanes - 1, lanes, lanes + 1, 18 * lanes + 3})


@pytest.mark.parametrize("index", [np.int64, np.int32, np.uint16])
@pytest.mark.parametrize("positions, dim", [((), 5), ((7,), 1), ((3,), 16), ((5,), 19), ((2, 3), 6), ((2, 2, 3), 4)])
@pytest.mark.parametrize("padding", [None, 2, -1])
def test_rows_and_their_gradient(isa, dtype, rng, index, positions, dim, padding):
    """y = weight[x]; dweight[r] = the sum of dy where x is r, nothing for the padding row: exact on integers."""
    layer = nn.Embedding(9, dim, padding)
    assert padding is None or not layer.weight.data[padding].any()
    if dtype == np.float64:
        layer.double()
    layer.weight.data = rng.integers(-3, 4, layer.weight.shape)
    for n in batches(dtype):
        x = rng.integers(0, 9, (n, *positions)).astype(index)
        target = rng.integers(-3, 4, (n, *positions, dim)).astype(dtype)
        layer.zero_grad()
        y = layer(x)
        nn.MSELoss("sum")(y, target).backward()
        assert_array_equal(y.numpy(), layer.weight.data[x])
        expected = np.zeros(layer.weight.shape)
        np.add.at(expected, x, 2 * (layer.weight.data[x] - target))
        if padding is not None:
            expected[padding] = 0
        assert_array_equal(layer.weight.grad, expected)


def words(n_threads, n):
    """Weights after three steps of a bag of words, with a table that is used twice."""
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.fc = nn.Embedding(50, 12), nn.Linear(12 * 8, 3)

        def forward(self, x, z):
            return self.fc(lw.concat([self.table(x), self.table(z)]).flatten(1))
    lw.set_num_threads(n_threads)
    lw.manual_seed(0)
    model, rng = Words(), np.random.default_rng(0)
    opt = optim.Adam(model.parameters(), 0.1)
    for _ in range(3):
        opt.zero_grad()
        nn.CrossEntropyLoss()(model(rng.integers(0, 50, (n, 5)), rng.integers(0, 50, (n, 3))), rng.integers(0, 3, n)).backward()
        opt.step()
    return model.state_dict()


@pytest.mark.parametrize("n", [1, 33, 300])
def test_threads_change_no_bit(isa, n):
    one = words(1, n)
    for threads in (2, 3):
        again = words(threads, n)
        assert all((one[k] == again[k]).all() for k in one)


def test_gradients_add_up_over_runs(rng):
    """Two backward() calls without zero_grad(); and item() before backward(), with other indices in between."""
    layer, x, z = nn.Embedding(6, 3), rng.integers(0, 6, (20, 4)), rng.integers(0, 6, (20, 4))
    loss_fn, target = nn.MSELoss(), np.zeros((20, 4, 3), np.float32)
    loss_fn(layer(x), target).backward()
    once = layer.weight.grad.copy()
    loss_fn(layer(x), target).backward()
    assert_allclose(layer.weight.grad, 2 * once, rtol=1e-6)
    layer.zero_grad()
    loss = loss_fn(layer(x), target)
    loss.item()
    loss.backward()
    assert_array_equal(layer.weight.grad, once)
    assert (loss_fn(layer(z), target).item() != loss.item())


def test_is_pytorchs(rng):
    torch = pytest.importorskip("torch")
    theirs, mine = torch.nn.Embedding(7, 5, padding_idx=1), nn.Embedding(7, 5, padding_idx=1)
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x, target = rng.integers(0, 7, (17, 6)), rng.standard_normal((17, 6, 5)).astype(np.float32)
    out, expected = mine(x), theirs(torch.from_numpy(x))
    nn.MSELoss()(out, target).backward()
    torch.nn.MSELoss()(expected, torch.from_numpy(target)).backward()
    assert_allclose(out.numpy(), expected.detach().numpy())
    assert_allclose(mine.weight.grad, theirs.weight.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_trainer_learns_and_predicts(rng):
    """Whether word 3 is among five: arrays of indices through fit, evaluate and predict."""
    x = rng.integers(0, 8, (400, 5))
    y = (x == 3).any(1).astype(np.int64)
    model = nn.Sequential(nn.Embedding(8, 4), nn.Flatten(), nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 2))
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), 0.02))
    trainer.fit((x, y), epochs=20, batch_size=32, rng=0)
    assert trainer.evaluate((x, y))["accuracy"] > 0.97
    assert_array_equal(trainer.predict(x).argmax(1) == y, model(x).numpy().argmax(1) == y)


@pytest.mark.parametrize("bad, got", [(-1, -1), (6, 6)])
def test_an_index_out_of_range(bad, got):
    """Also where an earlier call with good indices has been traced and planned."""
    layer, x = nn.Embedding(6, 3), np.zeros((4, 2), np.int64)
    layer(x).numpy()
    x[3, 1] = bad
    with pytest.raises(lw.RangeError, match=f"Embedding expected indices from 0 to 5, got {got}"):
        layer(x).numpy()
    with pytest.raises(IndexError):
        nn.MSELoss()(layer(x), np.zeros((4, 2, 3), np.float32)).backward()


def test_what_takes_no_indices(rng):
    x = rng.integers(0, 5, (4, 3))
    for call in (lambda: nn.Linear(3, 2)(x), lambda: as_value(x) + as_value(x), lambda: nn.Identity()(x).numpy()):
        with pytest.raises(lw.DtypeError, match="expected an input of float32, float64 or uint8 .* got int64"):
            call()
    for wrong in (x.astype(np.float32), nn.Linear(3, 3)(x.astype(np.float32)), x.astype(np.uint8)):
        with pytest.raises(lw.DtypeError, match="Embedding expected an array of integers"):
            nn.Embedding(6, 3)(wrong).numpy()
    with pytest.raises(ValueError, match="padding_idx: expected a row of 6, got 6"):
        nn.Embedding(6, 3, 6)


def test_functional_forms(rng):
    """nn.functional's forms of what has a module: the same numbers; the padding row may be counted from the end."""
    F, x = nn.functional, rng.standard_normal((3, 4, 5, 5)).astype(np.float32)
    up, table, words = nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.Embedding(6, 3, -1), rng.integers(0, 6, (4, 5))
    assert_array_equal(F.conv_transpose2d(x, up.weight, up.bias, 2, groups=2).numpy(), up(x).numpy())
    nn.MSELoss()(table(words), np.ones((4, 5, 3), np.float32)).backward()
    grad = table.weight.grad.copy()
    table.zero_grad()
    nn.MSELoss()(F.embedding(words, table.weight, -1), np.ones((4, 5, 3), np.float32)).backward()
    assert_array_equal(table.weight.grad, grad)
    with pytest.raises(lw.ShapeError, match="conv_transpose2d: expected a bias of 6 numbers, got"):
        F.conv_transpose2d(x, up.weight, nn.Parameter(np.zeros(4, np.float32)), 2, groups=2)
    with pytest.raises(ValueError, match="padding_idx: expected a row of 6, got 6"):
        F.embedding(words, table.weight, 6)
