"""The texts of lw.plot: they fit, none lies over another, and names that are cut stay apart."""
import numpy as np
import pytest
from plot_case import ALIKE, LONG, SHORT, distinct, drawn, extents, overlaps, pyplot, texts  # noqa: F401: drawn is a fixture

import lanewise as lw
from lanewise import models, nn
from lanewise.plot.look import extent, shorten

plot = lw.plot
NAMES = pytest.mark.parametrize("names", [LONG, ALIKE, SHORT], ids=["long", "alike", "short"])


def test_overlaps_are_seen():
    """The helpers of these tests, with planted errors."""
    boxes = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [0, 12, 20, 20.0]])
    assert overlaps(boxes) == 0 and overlaps(boxes, 1) == 1 and overlaps(boxes, 3) == 3
    assert overlaps(boxes - [0, 0, -1, 0]) == 1
    assert distinct(["a", "b", "a"], ["A", "B", "A"])
    assert not distinct(["a", "a"], ["A", "B"]) and not distinct(["a", "b"], ["A", "A"])


def test_extent():
    """Inches, against what is drawn, with 8 % for screens."""
    figure = pyplot.figure(figsize=(8, 4), dpi=300)
    for size in (6, 9, 40):
        for bold in (False, True):
            text = figure.text(0.1, 0.5, "Ankle boot (brown) …", fontsize=size, fontweight="bold" if bold else "normal")
            (x0, _, x1, _), = extents(figure, [text])
            assert extent(text.get_text(), size, bold) / 1.08 == pytest.approx((x1 - x0) / 300, rel=0.04)


@pytest.mark.parametrize("names, width, expected", [
    (["cat", "dog"], 1, ["cat", "dog"]),
    (["hippopotamus", "rhinoceros"], 0.55, ["hippo…", "rhino…"]),
    (["hippopotamus one", "hippopotamus two"], 0.75, ["hipp…one", "hipp…two"]),
    (["hippopotamus one (x)", "hippopotamus two (x)", "dog"], 0.55, ["…one…", "…two…", "dog"]),
    (["hippopotamus one"] * 2, 0.55, ["hippo…"] * 2),
    ([], 1, [])])
def test_shorten(names, width, expected):
    """At the end, in the middle, or on both sides of the difference: the first that leaves the names apart."""
    assert shorten(names, width, 9) == expected
    assert all(extent(t, 9) <= width for t in expected)


@NAMES
@pytest.mark.parametrize("width", [0.36, 0.45, 0.6, 1.0, 1.6])
def test_shortened_names_stay_apart(names, width):
    """Hundred names, at the width of hundred images and more."""
    found = shorten(names, width, 6)
    assert distinct(found, names) and max(extent(t, 6) for t in found) <= width
    assert all("…" in cut or cut == name for cut, name in zip(found, names))


def test_what_cannot_be_told_apart_is_cut():
    """No width is too small; a letter alone stays."""
    assert shorten(["WW", "W", "aXbXcX"], 0.01, 9)[1] == "W"
    assert all("…" in t for t in shorten(["abcabcabc", "abcabdabc"], 0.15, 9))


def captions(figure):
    """The titles over the pictures of a figure."""
    return [ax.title for ax in figure.axes if ax.images]


@NAMES
@pytest.mark.parametrize("n", [1, 2, 10, 20, 100])
@pytest.mark.parametrize("given", [False, True])
def test_captions_of_samples(names, n, given):
    """Of as many classes as images: none touches another, different names look different."""
    x, y = np.zeros((n, 1, 8, 8), np.uint8), np.arange(n)
    fig = pyplot.figure(figsize=(6, 4), layout="constrained") if given else None
    figure = plot.samples((x, y), n, names=names, fig=fig)
    titles = captions(figure)
    assert len(titles) == n and overlaps(extents(figure, titles), 3) == 0
    assert distinct([t.get_text() for t in titles], names[:n])
    assert min(t.get_fontsize() for t in titles) >= 6


def test_captions_of_many_columns():
    """The letters are smaller where the user asks for more columns than have room."""
    figure = plot.samples((np.zeros((60, 1, 8, 8), np.uint8), np.arange(60)), 60, cols=30, names=SHORT)
    assert overlaps(extents(figure, captions(figure)), 1) == 0


@NAMES
@pytest.mark.parametrize("n", [1, 2, 3, 5, 24, 100])
@pytest.mark.parametrize("given", [False, True])
def test_captions_of_mistakes(rng, names, n, given):
    """Probabilities and names of both classes; the heading lies over them, inside of the figure."""
    x, y = np.zeros((150, 1, 8, 8), np.uint8), rng.integers(0, 100, 150)
    scores = rng.standard_normal((150, 100)).astype(np.float32)
    fig = pyplot.figure(figsize=(6, 4), layout="constrained") if given else None
    figure = plot.mistakes(scores, (x, y), n, names=names, fig=fig)
    titles = captions(figure)
    assert len(titles) == n and overlaps(extents(figure, [*titles, figure._suptitle]), 2) == 0
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    wrong = np.flatnonzero(scores.argmax(1) != y)
    worst = wrong[np.argsort(p[wrong, y[wrong]], kind="stable")][:n]
    meant = [names[k] for i in worst for k in (scores[i].argmax(), y[i])]
    assert distinct([line[5:] for t in titles for line in t.get_text().split("\n")], meant)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_mistakes_fill_their_figure(n):
    """The pictures are one row in the middle of a new figure: a third of it and less is empty beside and below them."""
    scores = np.eye(4, dtype=np.float32)[[1, 2, 3, 1]]
    figure = plot.mistakes(scores, (np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, int)), n)
    boxes = extents(figure, [ax for ax in figure.axes if ax.images])
    width, height = figure.bbox.size
    assert len(boxes) == n == len(figure.axes) and np.ptp(boxes[:, 1]) < 1
    assert boxes[0, 0] == pytest.approx(width - boxes[-1, 2], abs=2) and boxes[0, 0] < width / 6
    assert boxes[:, 1].max() < 0.12 * height
    assert all(a[2] < b[0] < a[2] + 0.1 * width for a, b in zip(boxes, boxes[1:]))


@NAMES
@pytest.mark.parametrize("n", [2, 10, 20, 100])
@pytest.mark.parametrize("size", [(6, 4), (3.5, 2.6)])
def test_ticks_of_confusion(rng, names, n, size):
    """Different names at the rows and columns, or at every second, fifth, ... of many; no two of them touch."""
    y, found = np.concatenate([np.arange(n), rng.integers(0, n, 400)]), rng.integers(0, n, 400 + n)
    ax = pyplot.figure(figsize=size, layout="constrained").subplots()
    plot.confusion(found, y, names=names, ax=ax)
    figure, rows, columns = ax.figure, ax.get_yticklabels(), ax.get_xticklabels()
    places = ax.get_yticks().astype(int)
    assert np.array_equal(places, ax.get_xticks()) and len(places) == len(rows) == len(columns) > min(n, 8) - 1
    assert [t.get_text() for t in rows] == [t.get_text() for t in columns]
    assert distinct([t.get_text() for t in rows], [names[k] for k in places])
    assert overlaps(extents(figure, rows)) == 0
    boxes = extents(figure, columns)
    if columns[0].get_rotation():                       # lines of text at 45 degrees: their distance is above their height
        assert np.diff(boxes[:, 2]).min() / np.sqrt(2) > columns[0].get_fontsize() * figure.dpi / 72
    else:
        assert overlaps(boxes, 1) == 0
    numbers = extents(figure, ax.texts)
    assert not len(numbers) or overlaps(numbers) == 0


@NAMES
@pytest.mark.parametrize("n", [2, 10, 24])
def test_names_of_bars(names, n):
    """Different names beside the bars; the title in two lines, inside, where the axes are narrow."""
    figure = pyplot.figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for ax in (left, right):
        plot.classes(np.arange(1000) % n, names=names[:n], ax=ax)
        shown = ax.get_yticklabels()
        assert distinct([t.get_text() for t in shown], names[:n]) and overlaps(extents(figure, shown)) == 0
    titles = [ax._left_title for ax in (left, right)]
    assert overlaps(extents(figure, titles), 2) == 0 and extents(figure, titles)[1, 2] < figure.bbox.width


@pytest.mark.parametrize("name", models.MODELS)
def test_boxes_of_networks_hold_their_texts(name):
    """Nothing is cut in the library's own networks, no text is wider than its box or lies over another."""
    model = models.MODELS[name]()
    first = next(iter(model.parameters())).shape
    side = 28 if len(first) < 4 or first[1] == 1 else 32
    ax = plot.network(model, (first[1] if len(first) == 4 else 1, side, side))
    shown = [t for t in ax.texts if t.get_text()]       # without arrows
    assert not [t for t in shown if "…" in t.get_text()] and min(t.get_fontsize() for t in shown) >= 5
    places = extents(ax.figure, shown)
    boxes = np.array([p.get_window_extent().extents for p in ax.patches])
    inside = (places[:, None, :2] >= boxes[None, :, :2]).all(-1) & (places[:, None, 2:] <= boxes[None, :, 2:]).all(-1)
    assert (inside.sum(1) == 1).all() and overlaps(places) == 0
    strided = sum(isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)) and tuple(np.atleast_1d(m.stride)) not in ((1,), (1, 1))
                  for m in model.modules())
    assert sum(t.get_text().endswith(" /2") for t in shown) == strided


def test_box_of_a_long_name():
    """A box grows for a long name; a longer one is cut in the middle."""
    def named(kind):
        ax = plot.network(nn.Sequential(type(kind, (nn.Linear,), {})(4, 2)), (4,))
        return ax.texts[2].get_text(), ax.patches[1].get_width()
    usual, wide = named("Linear"), named("SqueezeAndExcite")
    assert usual[0] == "Linear" and wide[0] == "SqueezeAndExcite" and wide[1] > usual[1]
    longest = named("SqueezeAndExcite" * 3)
    assert "…" in longest[0] and longest[1] < 1.5


@pytest.mark.parametrize("label, names, expected", [
    (None, None, "predicted {}"), (3, None, "class 3"), (3, list("abcdefghij"), "class d"),
    (None, list("abcdefghij"), "predicted {}")])
def test_saliency_says_the_class(rng, label, names, expected):
    """Over the map, whether the user gives titles or not."""
    model, x = models.lenet5(), rng.random((2, 1, 28, 28)).astype(np.float32)
    found = model(x).argmax(1)
    for titles in (None, ["one", "two"]):
        figure = plot.saliency(model, x, None if label is None else np.repeat(label, 2), titles, names)
        above, below = [[ax.get_title() for ax in row] for row in np.reshape(figure.axes, (2, 2))]
        assert above == (titles or ["", ""])
        assert below == [expected.format(names[k] if names else k) for k in found]


@pytest.mark.parametrize("n", [1, 2, 6, 12])
def test_titles_of_saliency(rng, n):
    model, x = models.softmax_classifier(), rng.random((n, 1, 28, 28)).astype(np.float32)
    figure = plot.saliency(model, x, titles=LONG[:n], names=ALIKE[:10])
    titles = [ax.title for ax in figure.axes]
    assert overlaps(extents(figure, titles), 2) == 0 and distinct([t.get_text() for t in titles[:n]], LONG[:n])
    classes = [ALIKE[k] for k in model(x).argmax(1)]      # in a second line where they have no room
    assert distinct([t.get_text() for t in titles[n:]], classes) and titles[n].get_text().startswith("predicted")


@pytest.mark.parametrize("ins, outs, k", [(1, 6, 5), (6, 16, 5), (64, 1, 3), (32, 64, 1), (1, 1, 7)])
@pytest.mark.parametrize("given", [False, True])
def test_colour_bar_is_as_tall_as_the_image(ins, outs, k, given):
    """And a new figure has the shape of the picture: no more than a third of it is empty."""
    ax = pyplot.figure(figsize=(5, 4), layout="constrained").subplots() if given else None
    ax = plot.filters(nn.Sequential(nn.Conv2d(ins, outs, k)), ax=ax)
    bar, = ax.child_axes
    image, side = extents(ax.figure, [ax, bar])
    np.testing.assert_allclose(side[[1, 3]], image[[1, 3]], atol=1)
    assert 2 < side[0] - image[2] < 15 and 5 < side[2] - side[0] < 16
    if not given:
        width, height = ax.figure.bbox.size
        assert image[1] < 0.1 * height and height - image[3] < 40 and min(width / 5, 3 * height) < image[2] - image[0]


def test_filters_of_one_filter():
    """Its channels go on in rows."""
    layer = nn.Conv2d(64, 1, 3)
    picture = np.ma.filled(plot.filters(nn.Sequential(layer)).images[0].get_array(), np.nan)
    rows, cols = (np.array(picture.shape) + 1) // 4
    assert rows > 4 and cols > 4 and rows * cols >= 64
    np.testing.assert_array_equal(picture[4:7, :3], layer.weight.data[0, cols])


def test_history_of_one_epoch_and_of_many_measures():
    """One epoch is at 1; five panels are in two rows."""
    figure = plot.history({"loss": [1.0], "val_loss": [2.0]})
    assert [float(t) for t in figure.axes[0].get_xticks()] == [1]
    figure = plot.history({k: [1.0, 2.0] for k in ("loss", "accuracy", "top3", "f1", "learning_rate")})
    bottoms = [round(b) for b in extents(figure, figure.axes)[:, 1]]
    assert len(figure.axes) == 5 and len(set(bottoms)) == 2
    assert overlaps(extents(figure, texts(figure))) == 0


@pytest.mark.parametrize("rates, scale", [
    ([1, 0.1, 0.1, 0.01], "log"), ([1, 0.01], "log"), (list(0.5 ** np.arange(20)), "log"), ([1, 0.5, 0.1], "linear"),
    (list(1e-8 + 1e-3 * (1 + np.cos(np.linspace(0.1, np.pi, 9)))), "linear"), ([1, 0.5, 0], "linear"), ([0.1] * 3, "linear")])
def test_scale_of_the_learning_rate(rates, scale):
    """Logarithmic for steps and powers, not for what goes evenly to nearly nothing."""
    figure = plot.history({"loss": [1.0] * len(rates), "learning_rate": rates})
    assert figure.axes[-1].get_yscale() == scale


def test_dollars_are_letters():
    """Names of classes are no formulas: "$5$" stands as it is, and one that TeX cannot read is drawn."""
    names = ["$5$", "$\\no$", "5 $"]
    scores, labels, images = np.eye(3)[[1, 2, 0]], np.arange(3), np.zeros((3, 1, 6, 6), np.float32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    for what in (plot.classes(labels, names), plot.confusion(scores, labels, names),
                 plot.samples((images, labels), names=names), plot.mistakes(scores, (images, labels), names=names),
                 plot.saliency(model, images, labels, titles=names, names=names)):
        figure = what if hasattr(what, "savefig") else what.figure
        figure.canvas.draw()
        ticks = [t for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for t in axis.get_ticklabels()]
        found = [t for t in (*texts(figure), *ticks) if "$" in t.get_text()]
        assert {name for name in names for t in found if name in t.get_text()} == set(names)
        for text, (x0, _, x1, _) in zip(found, extents(figure, found)):
            if not text.get_rotation():
                assert (x1 - x0) / figure.dpi == pytest.approx(extent(text.get_text(), text.get_fontsize()), rel=0.15)


def test_names_are_lines():
    """Line ends, tabs and control characters in names of classes are a space: a name takes one line, and all are drawn."""
    names, shown = ["a\tb", "c\r\nd", "\x1b\u2028e\x85", "\n"], ["a b", "c d", " e ", " "]
    scores, labels, images = np.eye(4)[[1, 2, 3, 0]], np.arange(4), np.zeros((4, 1, 6, 6), np.float32)
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)), lw.data.Dataset(images, labels, classes=names)
    for given in (names, None):
        bars, matrix = plot.classes(data, given), plot.confusion(scores, data, given)
        for ticks in (bars.get_yticklabels(), matrix.get_xticklabels(), matrix.get_yticklabels()):
            assert [t.get_text() for t in ticks] == shown
        assert [t.get_text() for t in captions(plot.samples(data, 4, names=given))] == shown
        assert {t.get_text() for t in captions(plot.mistakes(scores, data, names=given))} == {
            f"1.00 {found}\n0.00 {true}" for found, true in zip(shown[1:] + shown[:1], shown)}
    figure = plot.saliency(model, images, labels, names=names)
    assert [ax.get_title() for ax in figure.axes[4:]] == [f"class {name}" for name in shown]
