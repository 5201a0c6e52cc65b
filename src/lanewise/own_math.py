"""Elementary functions of one number for functions that Numba compiles, written so that LLVM turns a loop over them into vector
code, which it does not with the C library's: `exp`, `expm1`, `log`, `log1p`, `tanh`, as kernels/lanes_math.h computes them.

Their constants are globals of the number type that `namespace(real)` gives."""
import numpy as np

REAL = BITS = SHIFT = BIAS = LEAST = MOST = LOG2E = LN2A = LN2B = ROOT = LN2 = INF = NAN = MANTISSA = HALF_BITS = None
exp_series = log_series = None


def parts(c):
    """(exp(r) - 1, 2^(n-1)) of c = n ln 2 + r inside the range."""
    n = np.floor(c * LOG2E + REAL(0.5))
    r = c - n * LN2A - n * LN2B
    return exp_series(r) * r, BITS((BITS(n) + (BIAS - 1)) << SHIFT).view(REAL)


def exp(x):
    """e^x: 0 and inf outside the range."""
    c = x if x < MOST else MOST
    c = c if c > LEAST else LEAST
    q, half = parts(c)
    y = (q + REAL(1)) * half * REAL(2)
    y = INF if x > MOST else y
    y = REAL(0) if x < LEAST else y
    return x if x != x else y


def expm1(x):
    """e^x - 1, to the last places around 0 too."""
    c = x if x < MOST else MOST
    c = c if c > LEAST else LEAST
    q, half = parts(c)
    y = (q * half + (half - REAL(0.5))) * REAL(2)
    y = INF if x > MOST else y
    return x if x != x else y


def tanh(x):
    """-a / (2 + a) of |x|, a = exp(-2 |x|) - 1."""
    size = abs(x)
    a = -expm1(REAL(-2) * size)
    y = a / (REAL(2) - a)
    return -y if x < REAL(0) else y


def log(x):
    """log m + e ln 2, x = 2^e m: -inf at 0, NaN below."""
    b = REAL(x).view(BITS)
    m = BITS((b & MANTISSA) | HALF_BITS).view(REAL)
    low = m < ROOT
    n = REAL((b >> SHIFT) - (BIAS - 1)) - (REAL(1) if low else REAL(0))
    m = m + m if low else m
    s = (m - REAL(1)) / (m + REAL(1))
    y = n * LN2 + s * log_series(s * s)
    y = y if x < INF else x
    y = y if x > REAL(0) else NAN
    y = -INF if x == REAL(0) else y
    return x if x != x else y


def log1p(x):
    """log(1 + x): u = 1 + x is rounded, and x / (u - 1) takes that back."""
    u = REAL(1) + x
    d = u - REAL(1)
    return x if d == REAL(0) or x == INF else log(u) * (x / d)


def horner(coefficients):
    """The source of a polynomial, the highest coefficient first."""
    body = f"REAL({coefficients[0]!r})"
    for c in coefficients[1:]:
        body = f"({body} * x + REAL({c!r}))"
    return f"def series(x):\n    return {body}\n"


def namespace(kind):
    """The globals of these functions for "float32" or "float64"."""
    single = kind == "float32"
    real, bits = (np.float32, np.int32) if single else (np.float64, np.int64)
    shift, bias = (23, 127) if single else (52, 1023)
    factorials, f = [], 1.0
    for k in range(1, 8 if single else 14):
        f *= k
        factorials.append(1 / f)
    return {
        "__name__": __name__, "np": np, "abs": abs, "REAL": real, "BITS": bits, "SHIFT": bits(shift), "BIAS": bits(bias),
        "MANTISSA": bits((1 << shift) - 1), "HALF_BITS": bits((bias - 1) << shift), "LOG2E": real(1.4426950408889634),
        "LEAST": real(-87 if single else -708), "MOST": real(88.7 if single else 709.7), "ROOT": real(0.7071067811865476),
        "LN2": real(0.6931471805599453), "INF": real(np.inf), "NAN": real(np.nan),
        "LN2A": real(float.fromhex("0x1.62e4p-1" if single else "0x1.62e42feep-1")),
        "LN2B": real(float.fromhex("0x1.7f7d1cp-20" if single else "0x1.a39ef35793c76p-33")),
        "exp_series": horner(factorials[::-1]), "log_series": horner([2.0 / k for k in range(11 if single else 23, 0, -2)])}
