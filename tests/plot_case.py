"""What the tests of lw.plot share: the watch over what is drawn, and what is written in it."""
import numpy as np
import pytest

from lanewise import nn

matplotlib = pytest.importorskip("matplotlib", reason="pip install lanewise[plot]")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")
Axes = pytest.importorskip("matplotlib.axes").Axes
Text, Annotation = (getattr(pytest.importorskip("matplotlib.text"), name) for name in ("Text", "Annotation"))


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """Nothing is shown, the settings stay as they were; every figure can be written, and its texts lie inside it."""
    monkeypatch.setattr(pyplot, "show", lambda *a, **k: pytest.fail("shown"))
    before = dict(matplotlib.rcParams)
    yield
    outside = []
    for figure in map(pyplot.figure, pyplot.get_fignums()):
        figure.canvas.draw()
        for text in texts(figure):
            box = text.get_window_extent()
            if box.x0 < -2 or box.y0 < -2 or box.x1 > figure.bbox.width + 2 or box.y1 > figure.bbox.height + 2:
                outside.append(text)
    pyplot.close("all")
    assert not outside
    assert dict(matplotlib.rcParams) == before


def texts(figure):
    """Texts of a figure that are drawn and not empty."""
    axes = figure.findobj(Axes)                         # colour bars too, which are inside of others
    off = {t for ax in axes if not ax.axison for t in (*ax.xaxis.get_ticklabels(), *ax.yaxis.get_ticklabels(),
                                                       ax.xaxis.label, ax.yaxis.label)}
    ticks = {t for ax in axes for axis in (ax.xaxis, ax.yaxis) for t in axis.get_ticklabels()}
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and not isinstance(t, Annotation)
            and t not in off and t not in ticks]


def words(ax):
    """What is written in axes, without ticks and titles."""
    return [t.get_text() for t in ax.texts if t.get_text()]


class Residual(nn.Module):
    """x + conv(relu(conv(x))), twice, the same module."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.relu, self.drop = nn.Conv2d(2, 2, 3, 1, 1), nn.Conv2d(2, 2, 3, 1, 1), nn.ReLU(), nn.Dropout(0.5)

    def forward(self, x):
        return x + self.drop(self.b(self.relu(self.a(x))))


LONG = [f"Aircraft model Boeing 7{k:02d}-{'ABC'[k % 3]}00 (commercial)" for k in range(100)]        # alike at both ends
ALIKE = [f"mushroom/agaricus_bisporus_{k:03d}" for k in range(100)]
SHORT = [f"c{k}" for k in range(100)]


def extents(figure, texts):
    """Places (M, 4) of texts as they are drawn: x0, y0, x1, y1 in pixels."""
    figure.canvas.draw()
    return np.array([t.get_window_extent().extents for t in texts])


def overlaps(boxes, room=0.0):
    """Pairs of places that overlap, or are nearer to each other than so many pixels."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:] + room
    over = ((low < high.transpose(1, 0, 2)) & (low.transpose(1, 0, 2) < high)).all(-1)
    return int(np.triu(over, 1).sum())


def distinct(shown, meant):
    """Different names are different as they are shown, equal ones equal."""
    return len(set(zip(shown, meant))) == len(set(shown)) == len(set(meant))
