/* exp, log, tanh and the normal distribution of a lane: a few units in the last place; NaN passes. Part of lanes.h. */
#ifndef LANES_MATH_H
#define LANES_MATH_H
/* exp(x) = 2^n (1 + q): q = exp(r) - 1, |r| <= ln(2)/2, by its Taylor series, and 2^(n-1), as n may be BIAS + 1. x inside
 * the range, |x| <= EXP_MOST. */
#ifdef LANES_F64
#define EXP_LEAST -708
#define EXP_MOST 709.7
enum { EXP_DEGREE = 13, ERFCX_TERMS = 25 };
#else
#define EXP_LEAST -87
#define EXP_MOST 88.7f
enum { EXP_DEGREE = 7, ERFCX_TERMS = 13 };
#endif
LANE lane_t lane_exp_parts(lane_t x, lane_t *half) {
#ifdef LANES_F64
    const real_t magic = 0x1.8p52, ln2a = 0x1.62e42feep-1, ln2b = 0x1.a39ef35793c76p-33;
#else
    const real_t magic = 0x1.8p23f, ln2a = 0x1.62e4p-1f, ln2b = 0x1.7f7d1cp-20f;
#endif
    const real_t log2e = (real_t)1.4426950408889634074;
    lane_t n = (x * log2e + magic) - magic, r = x - n * ln2a - n * ln2b, p = lane_set(1);
    for (int k = EXP_DEGREE; k > 1; k--) p = p * r * (real_t)(1.0 / k) + 1;
    *half = (lane_t)((__builtin_convertvector(n, mask_t) + (REAL_BIAS - 1)) << REAL_BITS);
    return p * r;
}
LANE lane_t lane_clip(lane_t x, real_t lo, real_t hi) { return -lane_max(lane_set(-hi), -lane_max(lane_set(lo), x)); }

/* Exact 0 and inf outside the range; a NaN goes through the polynomial. */
LANE lane_t lane_exp(lane_t x) {
    lane_t half, y = lane_exp_parts(lane_clip(x, EXP_LEAST, EXP_MOST), &half) + 1;
    return lane_select(x > EXP_MOST, lane_set((real_t)__builtin_inf()), lane_keep(~(x < EXP_LEAST), y * half * 2));
}
/* The same for x <= 0. */
LANE lane_t lane_exp_down(lane_t x) {
    lane_t half, y = lane_exp_parts(lane_max(lane_set(EXP_LEAST), x), &half) + 1;
    return lane_keep(~(x < EXP_LEAST), y * half * 2);
}
/* exp(x) - 1, to the last places around 0 too. */
LANE lane_t lane_expm1(lane_t x) {
    lane_t half, q = lane_exp_parts(lane_clip(x, EXP_LEAST, EXP_MOST), &half), y = (q * half + (half - (real_t)0.5)) * 2;
    return lane_select(x > EXP_MOST, lane_set((real_t)__builtin_inf()), y);
}
LANE lane_t lane_abs(lane_t x) { return (lane_t)((mask_t)x & ~((bits_t)1 << REAL_SIGN)); }
LANE lane_t lane_sign(lane_t x, lane_t of) { return (lane_t)((mask_t)lane_abs(x) | ((mask_t)of & ((bits_t)1 << REAL_SIGN))); }
/* tanh|x| = -a / (2 + a), a = exp(-2|x|) - 1. */
LANE lane_t lane_tanh(lane_t x) {
    lane_t a = -lane_expm1(-2 * lane_abs(x));
    return lane_sign(a / (2 - a), x);
}
LANE lane_t lane_sigmoid(lane_t x) { return 1 / (1 + lane_exp(-x)); }

/* exp(scale x^2), scale -1 or -1/2, with the rounding error of x^2 taken back (Dekker): it would be multiplied by x^2. */
LANE lane_t lane_gauss(lane_t x, real_t scale) {
    lane_t c = lane_clip(x, -40, 40), high = (lane_t)((mask_t)c & ~(((bits_t)1 << (REAL_BITS / 2 + 1)) - 1)), low = c - high;
    lane_t square = c * c, error = (high * high - square) + 2 * high * low + low * low;
    return lane_exp_down(scale * square) * (1 + scale * error);
}
/* exp(u^2) erfc(u), u >= 0: (1 + 2u) erfcx(u) as a polynomial in t = (u - 15/4) / (u + 15/4), its Chebyshev series
 * (interpolation at 48 nodes to 40 digits, cut after 13 or 25 terms) in powers of t. One division serves both fractions;
 * beyond 1e4 the factor that this is multiplied by is 0. */
LANE lane_t lane_erfcx(lane_t u) {
#ifdef LANES_F64
    static const real_t powers[] = {
        1.23751263083782758, -0.140240598585546962, 0.0035854154854644294, 0.0822767384901452077, -0.108803930141748857,
        0.0923043211603774778, -0.0586933985896367741, 0.0283622774189564042, -0.00974657955802927563,
        0.00175562585289529563, 0.000293713665591345418, -0.000290154080540842931, 5.16490988926800042e-5,
        2.2384239155085658e-5, -1.14441462376942443e-5, -9.73559896743045318e-7, 1.75163764883819551e-6,
        -5.72182305957950911e-8, -2.58668507149238068e-7, 2.32635087033659502e-8, 3.86753342334297347e-8,
        -3.74421007865971481e-9, -5.17399021043156147e-9, 3.11143337680599078e-10, 4.25147143846043135e-10};
#else
    static const real_t powers[] = {
        1.23751263003269936f, -0.140240658321386411f, 0.00358549531406308983f, 0.0822784199834704666f,
        -0.108805227549499531f, 0.0922907695913037828f, -0.0586854404936311074f, 0.028409252364127258f,
        -0.00977008718336823362f, 0.00167591221798113118f, 0.000330167456272280649f, -0.000224116746744160212f,
        2.20467189056940245e-5f};
#endif
    lane_t c = lane_clip(u, 0, (real_t)1e4), one = c + (real_t)3.75, two = 1 + 2 * c, over = 1 / (one * two);
    lane_t t = 1 - (real_t)7.5 * two * over, p = lane_set(powers[ERFCX_TERMS - 1]);
    for (int k = ERFCX_TERMS - 2; k >= 0; k--) p = p * t + powers[k];
    return p * (one * over);
}
/* The normal distribution's probability of less than x. */
LANE lane_t lane_normal_cdf(lane_t x) {
    lane_t tail = (real_t)0.5 * lane_gauss(x, (real_t)-0.5) * lane_erfcx(lane_abs(x) * (real_t)0.70710678118654752440);
    return lane_select(x < 0, tail, 1 - tail);
}

/* log(x) for positive normal x = 2^e m, m in [sqrt(1/2), sqrt(2)): 2 atanh((m - 1) / (m + 1)) + e ln 2. NaN passes. */
LANE lane_t lane_log(lane_t x) {
    const bits_t half = (bits_t)(REAL_BIAS - 1) << REAL_BITS;
    mask_t b = (mask_t)x, e = (b >> REAL_BITS) - (REAL_BIAS - 1);
    lane_t m = (lane_t)((b & (((bits_t)1 << REAL_BITS) - 1)) | half); /* [1/2, 1) */
    mask_t low = m < (real_t)0.70710678118654752440;
    m += lane_keep(low, m);
    lane_t n = __builtin_convertvector(e + low, lane_t), s = (m - 1) / (m + 1), z = s * s, p = lane_set(0);
    for (int k = sizeof(real_t) == 8 ? 23 : 11; k > 0; k -= 2) p = p * z + (real_t)(2.0 / k);
    return lane_select(lane_nan(x), x, n * (real_t)0.69314718055994530942 + s * p);
}
#endif
