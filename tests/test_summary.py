"""The summary table against arithmetic by hand, for sequences, graphs and forward() methods of users."""
import numpy as np
import pytest
from cases import CASES

import lanewise as lw
from lanewise import models, nn


def test_lenet():
    table = lw.summary(models.lenet5(), (1, 28, 28))
    first, pool, second, dense = (table.rows[i] for i in (0, 2, 3, 7))
    assert first == ("0", "Conv2d", (6, 24, 24), 6 * 26, 6 * 25 * 24 * 24, 4 * 6 * 24 * 24, (5, 5))
    assert pool == ("2", "MaxPool2d", (6, 12, 12), 0, 0, 4 * 6 * 144, (6, 6))
    assert second == ("3", "Conv2d", (16, 8, 8), 16 * 151, 16 * 150 * 64, 4 * 16 * 64, (14, 14))
    assert dense == ("7", "Linear", (120,), 120 * 257, 120 * 256, 480, "all")
    assert table.parameters == table.trainable == sum(r.parameters for r in table.rows) == 44426
    assert table.multiply_adds == 86400 + 153600 + 30720 + 10080 + 840
    assert len(table.rows) == 12


def test_table_is_readable():
    lines = str(lw.summary(models.lenet5(), (1, 28, 28))).split("\n")
    assert lines[0].split() == ["Layer", "Type", "Output", "Parameters", "Multiply-adds", "Activations", "Sees"]
    assert lines[2].split() == ["0", "Conv2d", "(N,", "6,", "24,", "24)", "156", "86,400", "13.5", "KB", "5x5"]
    assert lines[-2].split() == ["Total", "44,426", "281,640", "42.0", "KB"]
    assert lines[-1].startswith("Input (N, 1, 28, 28).")
    assert len({len(line) for line in (lines[0], lines[1], lines[2], lines[9])}) == 1
    assert max(map(len, lines)) < 130


class Block(nn.Module):
    """x + b(relu(a(x))), then the same ReLU again."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.b(self.relu(self.a(x))))


class Net(nn.Module):
    """Stride, a block used twice, arithmetic in forward(), two outputs."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 4, 3, 2, 1, bias=False), Block()
        self.fc, self.unused = nn.Linear(256, 2), nn.Linear(4, 4)

    def forward(self, x):
        x = self.block(self.block(self.stem(x)))
        return self.fc((x * 2).flatten(1)), x


def test_graph():
    """Calls in the order they are computed; parameters at their first use; the field through the longer branch."""
    model = Net()
    model.stem.requires_grad_(False)
    table = lw.summary(model, (3, 16, 16))
    block = ["block.a", "block.relu", "block.b", "block", "block.relu"]
    assert [r.path for r in table.rows] == ["stem", *block, *block, "", "", "fc"]
    assert [r.type for r in table.rows][4] == "Add" and [r.type for r in table.rows][-3:] == ["Affine", "Reshape", "Linear"]
    assert [r.parameters for r in table.rows if r.path == "block.a"] == [148, 0]
    assert [r.multiply_adds for r in table.rows if r.path == "block.a"] == [144 * 64] * 2
    assert [r.receptive_field for r in table.rows if r.path == "block"] == [(11, 11), (19, 19)]
    assert table.parameters == 108 + 2 * 148 + 514 + 20 and table.trainable == table.parameters - 108
    assert f"{table.trainable:,} of the parameters are trained" in str(table)


def test_fields_are_the_formulas():
    model = nn.Sequential(nn.Conv2d(1, 2, (3, 5), padding=2), nn.AvgPool2d(2), nn.Conv2d(2, 2, 3, dilation=2, padding=2),
                          nn.MaxPool2d(3, 2), nn.Conv2d(2, 3, 2, stride=2)).double()
    table = lw.summary(model, (1, 40, 40))
    rows = lw.receptive_field([(3, 1), (2, 2), (5, 1), (3, 2), (2, 2)])
    cols = lw.receptive_field([(5, 1), (2, 2), (5, 1), (3, 2), (2, 2)])
    assert table.rows[-1].receptive_field == (rows, cols)
    assert table.rows[0].activation_bytes == 8 * 2 * 42 * 40
    x = np.zeros((1, 1, 40, 40))
    probe = model(lw.tensor(x, requires_grad=True))
    assert probe.shape[1:] == table.rows[-1].output_shape


@pytest.mark.parametrize("layers", [[], [(3, 1)], [(5, 1), (2, 2), (5, 1), (2, 2)], [(7, 2), (3, 2), (3, 1), (1, 1), (3, 2)]])
def test_receptive_field(layers):
    """The closed form against r <- s r + (k - s) from the last layer to the first."""
    r = 1
    for k, s in reversed(layers):
        r = s * r + (k - s)
    assert lw.receptive_field(layers) == r


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_operation_has_a_row(case):
    """Parameters add up; weights have multiply-adds; convolutions and pools have a field."""
    model = nn.Sequential(case.make()) if len(case.shapes) == 1 else case.make()
    table = lw.summary(model, case.shapes)
    assert sum(r.parameters for r in table.rows) == table.parameters
    for row in table.rows:
        if hasattr(nn, row.type) and row.type != "PReLU":
            assert (row.multiply_adds > 0) == (row.parameters > 0 and "Norm" not in row.type)
        if row.type.endswith("2d"):
            assert isinstance(row.receptive_field, tuple)


@pytest.mark.parametrize("case", [c for c in CASES if c.name.startswith(("Conv2d", "AvgPool2d"))], ids=lambda c: c.name)
def test_field_is_what_a_gradient_reaches(case, direct):
    """From a pixel in the middle of the second of two layers, with weights of one sign, back to the image."""
    layer = case.make()
    if any(p.shape[0] != p.shape[1] for p in layer.parameters() if p.data.ndim == 4):
        model = nn.Sequential(layer).double()
    else:
        model = nn.Sequential(layer, layer).double()
    for p in model.parameters():
        nn.init.ones_(p)
    x = lw.tensor(np.ones((1, case.shapes[0][0], 45, 45)), requires_grad=True)
    y = model(x)
    target = y.numpy().copy()
    target[0, 0, target.shape[2] // 2, target.shape[3] // 2] += 1
    nn.MSELoss("sum")(y, target).backward()
    reached = np.abs(x.grad[0]).sum(0) > 0
    spans = [np.ptp(np.flatnonzero(reached.any(axis))) + 1 for axis in (1, 0)]
    assert tuple(spans) == lw.summary(model, x.shape[1:]).rows[-1].receptive_field


def test_images_that_grow():
    """A transposed convolution of stride 2 halves the distance of two pixels; a table counts no multiply-add."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.Conv2d(3, 1, 3),
                          nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(7))
    table = lw.summary(model, (1, 16, 16))
    assert [r.receptive_field for r in table.rows] == [(3, 3), (5, 5), (7, 7), (7, 7), (9, 9)]
    assert [r.multiply_adds for r in table.rows] == [18 * 64, 96 * 64, 27 * 196, 0, 0]
    words = lw.summary(nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(12, 2)), (3,), np.int64)
    assert [(r.parameters, r.multiply_adds, r.output_shape) for r in words.rows] == [(44, 0, (3, 4)), (0, 0, (12,)), (26, 24, (2,))]


def test_several_inputs_and_leaves():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(5, 3)

        def forward(self, x, z):
            return self.fc(x) + z
    table = lw.summary(Two(), [(5,), (3,)])
    assert [(r.path, r.type) for r in table.rows] == [("fc", "Linear"), ("", "Add")]
    assert "Input (N, 5), (N, 3)." in str(table)
    assert [r.path for r in lw.summary(nn.Linear(4, 2), (4,)).rows] == [""]
    assert "(model)" in str(lw.summary(nn.Linear(4, 2), (4,)))
    assert [r.type for r in lw.summary(nn.Sequential(nn.Identity(), nn.ReLU()), (4,)).rows] == ["Identity", "ReLU"]


def test_a_model_that_does_not_fit():
    with pytest.raises(lw.ShapeError, match="expected input with 1 channels, got 3"):
        lw.summary(models.lenet5(), (3, 28, 28))
    with pytest.raises(ValueError, match="summary: expected input_shape of 1 or more"):
        lw.summary(models.lenet5(), (1, 0, 28))
    assert not lw.nn.module._watchers


def test_conv_output_size(rng):
    for _ in range(30):
        n, k, s, p, d = (int(rng.integers(a, b)) for a, b in ((9, 20), (1, 4), (1, 4), (0, 3), (1, 3)))
        layer = nn.Conv2d(1, 1, k, s, p, d)
        assert lw.conv_output_size(n, k, s, p, d) == layer(np.zeros((1, 1, n, n), np.float32)).shape[2]
    assert lw.conv_output_size((28, 32), 5, padding=(2, 0)) == (28, 28)
    assert lw.conv_output_size(28, (3, 5)) == (26, 24)
    for call, message in ((lambda: lw.conv_output_size(4, 5), "expected at least 5 pixels with padding, got 4"),
                          (lambda: lw.conv_output_size(4, 0), "expected kernel of 1 or more, got 0"),
                          (lambda: lw.conv_output_size((4, 4), (1, 1, 1)), "tuples of one length")):
        with pytest.raises(ValueError, match=message):
            call()


def test_same_padding():
    for k, d in ((1, 1), (3, 1), (5, 2), (7, 1), (2, 2)):
        assert lw.conv_output_size(20, k, 1, lw.same_padding(k, d), d) == 20
    assert lw.same_padding((3, 5)) == (1, 2)
    with pytest.raises(ValueError, match="expected an odd kernel .* got kernel 4 and dilation 1"):
        lw.same_padding(4)
