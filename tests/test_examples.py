"""The programs in examples/, run as a user would import them, and what they claim."""
import importlib.util
from pathlib import Path

import numpy as np
import pytest


def example(name):
    """A program's module."""
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_saliency(tmp_path):
    """It looks at what is there."""
    assert example("saliency").main(epochs=2, output=tmp_path / "s.png") > 0.5
    assert (tmp_path / "s.png").stat().st_size > 1000


def test_style_transfer(tmp_path):
    """The loss falls to a tenth; the image is a picture."""
    first, last = example("style_transfer").main(epochs=1, steps=60, output=tmp_path / "s.png")
    assert last < 0.3 * first and (tmp_path / "s.png").stat().st_size > 1000


def test_segmentation():
    """Above guessing after one small epoch; the full run of the program reaches what its head says."""
    module = example("segment_shapes")
    assert module.main(epochs=8, images=600, size=24) > 0.5
    x, masks = module.shapes(3, 24, np.random.default_rng(0))
    assert module.intersection_over_union(masks, masks) == [1.0] * 4 and x.shape == (3, 1, 24, 24)


def test_course_pictures(tmp_path):
    """Every optimizer comes nearer to the minimum; Kaiming keeps what Xavier loses with ReLU, small weights vanish, large ones
    saturate."""
    module = example("course_pictures")
    for name in module.OPTIMIZERS:
        points = module.path(name)
        assert points.shape == (81, 2) and np.abs(points[-1]).max() < 3, name
    stats = {name: module.statistics(name) for name in module.NETWORKS}
    assert stats["ReLU, Kaiming"][0][-1] > 3 * stats["ReLU, Xavier"][0][-1]
    assert stats["tanh, N(0, 0.01)"][0][-1] < 1e-3 < 0.1 < stats["tanh, Xavier"][0][-1]
    assert stats["sigmoid, N(0, 1)"][1].min() > 0.3 > stats["tanh, Xavier"][1].max()
    assert all(file.stat().st_size > 1000 for file in module.main(tmp_path))


def test_search():
    """On a made score with its top at lr 1e-3: coarse to fine and Bayesian come near, the border is noticed; on the real set,
    several networks together beat the mean of them."""
    pytest.importorskip("sklearn")
    module = example("search")
    top = {"lr": 1e-3, "weight_decay": 1e-4}

    def height(setting):
        return -sum(np.log10(setting[k] / top[k]) ** 2 for k in top)
    coarse = module.random_search(height, module.RANGES, 20)
    fine = module.random_search(height, module.around(coarse[0][1], module.RANGES), 20)
    bayes = module.bayesian_search(height, module.RANGES, 15, coarse[:5])
    assert fine[0][0] > coarse[0][0] > -1 and bayes[0][0] > -0.05 and len(bayes) == 20
    assert module.border({"lr": 0.09, "weight_decay": 1e-4}, module.RANGES) == ["lr"] and module.border(top, module.RANGES) == []
    draws = [np.log10(s["lr"]) for _, s in module.random_search(height, module.RANGES, 400)]
    assert np.mean(draws) == pytest.approx(-3, abs=0.2) and min(draws) < -4.8 and max(draws) > -1.2
    *best, together, alone = module.main(epochs=2, tries=3, members=4)
    assert min(best) > 0.5 and together > np.mean(alone) + 0.005
