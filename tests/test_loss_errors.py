"""What losses refuse, in one sentence each, and the layouts of targets that they take."""
import numpy as np
import pytest

import lanewise as lw
from lanewise import nn

X, Y = np.zeros((3, 4), np.float32), np.array([0, 1, 2])
ERRORS = [
    (lambda: nn.CrossEntropyLoss()(X, Y + 2), lw.LabelError, "CrossEntropyLoss expected labels from 0 to 3, got 4"),
    (lambda: nn.CrossEntropyLoss()(X, Y - 1), lw.LabelError, "expected labels from 0 to 3, got -1"),
    (lambda: nn.CrossEntropyLoss(ignore_index=4)(X, np.array([4, 0, 5])), lw.LabelError, "labels from 0 to 3, got 5"),
    (lambda: nn.NLLLoss()(X, Y > 0), lw.LabelError, "NLLLoss expected integer class labels, got bool"),
    (lambda: nn.MultiMarginLoss()(X, np.array([0, 1, -100])), lw.LabelError, "MultiMarginLoss expected labels from 0 to 3"),
    (lambda: nn.CrossEntropyLoss()(X, Y[:2]), lw.ShapeError, r"expected labels of shape \(3,\), got \(2,\)"),
    (lambda: nn.CrossEntropyLoss()(X, X[:, :3]), lw.ShapeError, r"probabilities of shape \(3, 4\), got float32 of shape \(3, 3\)"),
    (lambda: nn.CrossEntropyLoss()(X, X + 2), lw.LabelError, "expected targets between 0 and 1, got 2"),
    (lambda: nn.CrossEntropyLoss()(X, X.astype(np.float64)).item(), lw.DtypeError, "targets of float32, got float64"),
    (lambda: nn.CrossEntropyLoss()(X, X.astype(np.float16)), lw.DtypeError, "float32 or float64, got float16"),
    (lambda: nn.CrossEntropyLoss([1, 2])(X, Y), lw.ShapeError, r"scores of 2 classes, one for each weight, got \(3, 4\)"),
    (lambda: nn.CrossEntropyLoss([-1, 2]), ValueError, "CrossEntropyLoss expected weight of shape"),
    (lambda: nn.CrossEntropyLoss("sum"), ValueError, "expected weight of shape .*, got 'sum'"),
    (lambda: nn.CrossEntropyLoss(ignore_index=0.5), ValueError, "expected ignore_index to be an integer, got 0.5"),
    (lambda: nn.CrossEntropyLoss()(X, np.full(3, -100)), ValueError, r"the mean of: every label is -100 \(ignore_index\)"),
    (lambda: nn.CrossEntropyLoss([0, 0, 0, 1])(X, Y), ValueError, "to take the mean of"),
    (lambda: nn.CrossEntropyLoss(label_smoothing=1.5), ValueError, "label_smoothing between 0 and 1, got 1.5"),
    (lambda: nn.CrossEntropyLoss(label_smoothing=-1), ValueError, "label_smoothing to be a number of 0 or more, got -1"),
    (lambda: nn.CrossEntropyLoss(reduction="batchmean"), ValueError, "'mean', 'sum' or 'none', got 'batchmean'"),
    (lambda: nn.KLDivLoss("max"), ValueError, "expected reduction 'mean', 'batchmean', 'sum' or 'none', got 'max'"),
    (lambda: nn.MultiMarginLoss(p=3), ValueError, "MultiMarginLoss: expected p of 1 or 2, got 3"),
    (lambda: nn.SmoothL1Loss(beta=-1), ValueError, "SmoothL1Loss: expected beta to be a number of 0 or more, got -1"),
    (lambda: nn.HuberLoss(delta=0), ValueError, "HuberLoss: expected delta above 0, got 0"),
    (lambda: nn.MSELoss()(X, Y), lw.DtypeError, "MSELoss expected floating-point targets, got int64"),
    (lambda: nn.L1Loss()(X, X[:, :1]), lw.ShapeError, r"L1Loss expected targets of shape \(3, 4\), got \(3, 1\)"),
    (lambda: nn.HuberLoss()(X, X.astype(np.float64)).item(), lw.DtypeError, "HuberLoss expected targets of float32"),
    (lambda: nn.BCELoss()(X, X - 0.5), lw.LabelError, "BCELoss expected targets between 0 and 1, got -0.5"),
    (lambda: nn.BCEWithLogitsLoss()(X, X + 1.5), lw.LabelError, "BCEWithLogitsLoss expected targets between 0 and 1, got 1.5"),
    (lambda: nn.BCELoss(np.ones(3))(X, X), lw.ShapeError, r"weight that broadcasts to the targets' shape \(3, 4\), got \(3,\)"),
    (lambda: nn.BCELoss(weight="a"), lw.DtypeError, "BCELoss expected weights that are numbers"),
    (lambda: nn.KLDivLoss()(X, X - 1), lw.LabelError, "KLDivLoss expected targets of 0 or more, got -1"),
    (lambda: nn.HingeLoss()(X, X), lw.LabelError, "HingeLoss expected targets of -1 and 1, got 0"),
    (lambda: nn.MSELoss()(X, X, [1, 2]), lw.ShapeError, r"MSELoss expected sample_weight of shape \(3,\), got \(2,\)"),
    (lambda: nn.MSELoss()(X, X, [1, -2, 1]), ValueError, "sample_weight of finite numbers of 0 or more, got -2"),
    (lambda: nn.MSELoss()(X, X, ["a", "b", "c"]), lw.DtypeError, "expected numbers as sample_weight"),
    (lambda: nn.MSELoss()(X, X, [0, 0, 0]), ValueError, "take the mean of: every weight is 0"),
    (lambda: nn.MSELoss("none")(X, X).backward(), ValueError, "expected reduction 'mean' or 'sum'.*got 'none'"),
    (lambda: nn.MSELoss("none")(X, X).item(), ValueError, "expected reduction 'mean' or 'sum'.*got 'none'"),
    (lambda: nn.MSELoss()(X, X) + nn.MSELoss("none")(X, X), TypeError, "a loss can be added to a loss, got LossArray"),
]


@pytest.mark.parametrize("call, kind, text", ERRORS, ids=[e[2] for e in ERRORS])
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_all_ignored_is_nothing_to_a_sum():
    leaf = lw.tensor(X, requires_grad=True)
    loss = nn.CrossEntropyLoss(reduction="sum")(leaf, np.full(3, -100))
    loss.backward()
    assert loss.item() == 0 and not leaf.grad.any() and loss.correct == loss.counted == 0


def test_repr():
    assert repr(nn.MSELoss()) == "MSELoss(reduction='mean')"
    assert repr(nn.HuberLoss(delta=2)) == "HuberLoss(delta=2.0, reduction='mean')"


def test_targets_of_any_layout(isa, rng):
    """Read-only, strided, Fortran-ordered, small integers."""
    x, y, t = rng.standard_normal((6, 4)).astype(np.float32), rng.integers(0, 4, 12), rng.random((6, 8)).astype(np.float32)
    plain = nn.CrossEntropyLoss()(x, y[::2].copy()).item()
    assert nn.CrossEntropyLoss()(x, y[::2]).item() == plain == nn.CrossEntropyLoss()(x, y[::2].astype(np.uint8)).item()
    for loss in (nn.MSELoss(), nn.BCEWithLogitsLoss()):
        plain = loss(x, t[:, ::2].copy()).item()
        fixed = t[:, ::2].copy()
        fixed.flags.writeable = False
        assert loss(x, t[:, ::2]).item() == plain == loss(x, np.asfortranarray(t[:, ::2])).item() == loss(x, fixed).item()
