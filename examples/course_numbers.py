"""What the notebooks formulas_*.ipynb share: lanewise's number beside that of a formula written out in NumPy, and slopes."""
import numpy as np

import lanewise as lw
from lanewise.graph import as_value


def _text(a):
    # a number, up to four, or the shape and the first three
    if a.ndim == 0:
        return f"{float(a):.6g}"
    numbers = ", ".join(f"{v:.4g}" for v in a.flat[:4 if a.size == 4 else 3])
    return numbers if a.size <= 4 else f"{'x'.join(map(str, a.shape))}: {numbers}, ..."


def beside(what, ours, formula, tolerance=1e-9):
    """Print both, lanewise's first; AssertionError where they differ by more than `tolerance`, relative to the largest number
    and to no less than 1, in shape, or where there is NaN."""
    ours, formula = (np.asarray(a, np.float64) for a in (ours, formula))
    assert ours.shape == formula.shape, f"{what}: expected the shape {formula.shape}, got {ours.shape}"
    np.testing.assert_allclose(ours, formula, rtol=0, atol=tolerance * max(1.0, np.abs(formula).max()), err_msg=what,
                               equal_nan=False)
    print(f"{what:<28} lanewise {_text(ours):<36} NumPy {_text(formula)}")


def value(f, *arrays):
    """f of float64 arrays (N, ...) that have become lanewise's values, as an array."""
    return np.asarray(f(*(as_value(np.asarray(a, np.float64)) for a in arrays)).numpy())


def slopes(f, *arrays):
    """By backward(): the gradients of f, a loss or what is summed to one, with respect to each float64 array (N, ...)."""
    leaves = [lw.tensor(np.asarray(a, np.float64), requires_grad=True) for a in arrays]
    out = f(*map(as_value, leaves))
    (out.sum() if hasattr(out, "sum") else out).backward()
    return leaves[0].grad if len(leaves) == 1 else [leaf.grad for leaf in leaves]
