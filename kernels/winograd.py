"""Winograd's matrices, and the straight-line code that multiplies by them: what winograd.pxi.tp is filled from.

M outputs and K taps make P = M + K - 1 points. V_n[p][j] = t_p^j for the finite points t, and the last point is infinity.
A = V_M; B' = D V_P^-T and G = D^-1 V_K, with D chosen so that a row of B' is prod over the other points of (t - t_j)."""
from fractions import Fraction

M = 4                   # TILE in nodes/conv.py
POINTS = {3: [0, Fraction(2, 3), Fraction(-2, 3), Fraction(3, 2), Fraction(-3, 2)],
          5: [0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2)]}


def product(roots):
    """Coefficients of prod (t - root), lowest first."""
    c = [Fraction(1)]
    for r in roots:
        c = [(c[i - 1] if i else 0) - (r * c[i] if i < len(c) else 0) for i in range(len(c) + 1)]
    return c


def matrices(K):
    """BT (P x P), A (P x M), G (P x K)."""
    t = [Fraction(p) for p in POINTS[K]]
    P = len(t) + 1
    BT = [product(t[:i] + t[i + 1:]) + [Fraction(0)] for i in range(P - 1)] + [product(t)]
    D = []
    for i, p in enumerate(t):
        d = Fraction(1)
        for q in t[:i] + t[i + 1:]:
            d *= p - q
        D.append(d)

    def vander(n):
        return [[p ** j for j in range(n)] for p in t] + [[Fraction(int(j == n - 1)) for j in range(n)]]

    G = [[v / D[i] if i < P - 1 else v for v in row] for i, row in enumerate(vander(K))]
    return BT, vander(M), G


def transposed(m):
    """Rows to columns."""
    return [list(col) for col in zip(*m)]


def term(c, x):
    """The text of c * x."""
    return x if c == 1 else f"-{x}" if c == -1 else f"{x} * <real_t> {float(c)!r}"


def total(pairs):
    """The text of sum c * x."""
    text = " + ".join(term(c, x) for c, x in pairs if c != 0)
    return text.replace("+ -", "- ")


def by_rows(m):
    """Outputs for t and -t share their even and odd parts: (lines, results)."""
    n = len(m)
    lines, out = [], {i: total([(c, f"x{j}") for j, c in enumerate(m[i])]) for i in (0, n - 1)}
    for i in range(1, n - 1, 2):
        lines.append(f"e{i} = " + total([(c, f"x{j}") for j, c in enumerate(m[i]) if j % 2 == 0]))
        lines.append(f"o{i} = " + total([(c, f"x{j}") for j, c in enumerate(m[i]) if j % 2]))
        if [abs(c) for c in m[i]] != [abs(c) for c in m[i + 1]]:
            raise ValueError("points must come in pairs t, -t")
        even_same = all(a == b for j, (a, b) in enumerate(zip(m[i], m[i + 1])) if j % 2 == 0)
        out[i] = f"e{i} + o{i}"
        out[i + 1] = f"e{i} - o{i}" if even_same else f"o{i} - e{i}"
    return lines, [out[i] for i in range(n)], [f"{k}{i}" for i in range(1, n - 1, 2) for k in "eo"]


def by_columns(m):
    """Inputs for t and -t enter through their sum and difference: (lines, results)."""
    n = len(m[0])
    lines = []
    for i in range(1, n - 1, 2):
        lines += [f"e{i} = x{i} + x{i + 1}", f"o{i} = x{i} - x{i + 1}"]
    out = []
    for row in m:
        parts = [(row[0], "x0")]
        for i in range(1, n - 1, 2):
            if abs(row[i]) != abs(row[i + 1]):
                raise ValueError("points must come in pairs t, -t")
            parts.append((row[i], f"e{i}" if row[i] == row[i + 1] else f"o{i}"))
        out.append(total(parts + [(row[-1], f"x{n - 1}")]))
    return lines, out, [f"{k}{i}" for i in range(1, n - 1, 2) for k in "eo"]


def part(made, rows):
    """Of what by_rows or by_columns made only these results."""
    lines, out, names = made
    used = " ".join(out[i] for i in rows)
    lines = [line for line in lines if line.split(" = ")[0] in used]
    return lines, [out[i] for i in rows], [n for n in names if n in used]
