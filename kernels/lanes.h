/* The lane type: LANES samples side by side in one SIMD register, and what the kernels do with it.
 * One header serves every build: LANES_F64 selects float64, the -m flags of the build select the width. */
#ifndef LANES_H
#define LANES_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef LANES_F64
typedef double real_t;
typedef int64_t bits_t;
#define real_sqrt __builtin_sqrt
#define REAL_BITS 52
#define REAL_BIAS 1023
#else
typedef float real_t;
typedef int32_t bits_t;
#define real_sqrt __builtin_sqrtf
#define REAL_BITS 23
#define REAL_BIAS 127
#endif

#if defined(__AVX512F__)
#define LANE_BYTES 64
enum { WIDE_TILES = 1 }; /* 32 vector registers */
#elif defined(__AVX2__)
#define LANE_BYTES 32
enum { WIDE_TILES = 0 }; /* 16 vector registers */
#elif defined(__aarch64__)
#define LANE_BYTES 16
enum { WIDE_TILES = 1 };
#else
#define LANE_BYTES 16
enum { WIDE_TILES = 0 };
#endif
enum { LANES = LANE_BYTES / sizeof(real_t), LANE_MAX = 16 };

typedef real_t lane_t __attribute__((vector_size(LANE_BYTES), may_alias));
typedef bits_t mask_t __attribute__((vector_size(LANE_BYTES), may_alias));
typedef uint8_t bytes_t __attribute__((vector_size(LANE_BYTES / sizeof(real_t))));
#define LANE static inline __attribute__((always_inline, unused))

LANE lane_t lane_set(real_t s) { return (lane_t){} + s; }
LANE mask_t mask_set(bits_t s) { return (mask_t){} + s; }
LANE lane_t lane_load(const real_t *p) { lane_t v; memcpy(&v, p, sizeof v); return v; }
LANE void lane_store(real_t *p, lane_t v) { memcpy(p, &v, sizeof v); }
LANE lane_t lane_load_u8(const uint8_t *p) { bytes_t b; memcpy(&b, p, sizeof b); return __builtin_convertvector(b, lane_t); }
LANE mask_t lane_gt(lane_t a, lane_t b) { return a > b; }
LANE mask_t lane_lt(lane_t a, lane_t b) { return a < b; }
LANE mask_t lane_nan(lane_t a) { return a != a; }
LANE mask_t mask_eq(mask_t a, mask_t b) { return a == b; }
LANE mask_t mask_or(mask_t a, mask_t b) { return a | b; }
LANE lane_t lane_keep(mask_t m, lane_t a) { return (lane_t)(m & (mask_t)a); }
LANE lane_t lane_select(mask_t m, lane_t a, lane_t b) { return (lane_t)((m & (mask_t)a) | (~m & (mask_t)b)); }
LANE mask_t mask_select(mask_t m, mask_t a, mask_t b) { return (m & a) | (~m & b); }
/* NaN passes: only what is below zero becomes zero. */
LANE lane_t lane_relu(lane_t a) { return (lane_t)(~(a < 0) & (mask_t)a); }

/* LANES x LANES transpose: log2(LANES) rounds of interleaving row i with row i + LANES/2. */
#if LANE_BYTES == 64 && !defined(LANES_F64)
#define LANE_LOW {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}
#elif (LANE_BYTES == 64) || (LANE_BYTES == 32 && !defined(LANES_F64))
#define LANE_LOW {0, 8, 1, 9, 2, 10, 3, 11}
#elif (LANE_BYTES == 32) || !defined(LANES_F64)
#define LANE_LOW {0, 4, 1, 5}
#else
#define LANE_LOW {0, 2}
#endif
#ifdef __clang__
LANE lane_t lane_pick(lane_t a, lane_t b, mask_t m) {
    lane_t r;
    for (int l = 0; l < LANES; l++) r[l] = m[l] < LANES ? a[m[l]] : b[m[l] - LANES];
    return r;
}
#else
#define lane_pick __builtin_shuffle
#endif
LANE void lane_transpose(lane_t *r) {
    const mask_t low = LANE_LOW, high = low + LANES / 2;
    lane_t t[LANES];
    for (int n = 1; n < LANES; n *= 2) {
        for (int i = 0; i < LANES / 2; i++) {
            t[2 * i] = lane_pick(r[i], r[i + LANES / 2], low);
            t[2 * i + 1] = lane_pick(r[i], r[i + LANES / 2], high);
        }
        for (int i = 0; i < LANES; i++) r[i] = t[i];
    }
}

/* exp(x) = 2^n exp(r), |r| <= ln(2)/2, Taylor series in r; exact 0 and inf outside the range; NaN passes. */
LANE lane_t lane_exp(lane_t x) {
#ifdef LANES_F64
    const real_t lo = -708, hi = 709.7, magic = 0x1.8p52, ln2a = 0x1.62e42feep-1, ln2b = 0x1.a39ef35793c76p-33;
    const int degree = 13;
#else
    const real_t lo = -87, hi = 88.7f, magic = 0x1.8p23f, ln2a = 0x1.62e4p-1f, ln2b = 0x1.7f7d1cp-20f;
    const int degree = 7;
#endif
    const real_t log2e = (real_t)1.4426950408889634074;
    lane_t c = lane_select(x < lo, lane_set(lo), lane_select(x > hi, lane_set(hi), x));
    lane_t n = (c * log2e + magic) - magic, r = c - n * ln2a - n * ln2b, p = lane_set(1);
    for (int k = degree; k > 0; k--) p = p * r * (real_t)(1.0 / k) + 1;
    mask_t e = (__builtin_convertvector(n, mask_t) + (REAL_BIAS - 1)) << REAL_BITS; /* 2^(n-1): n may be BIAS + 1 */
    lane_t y = p * (lane_t)e * 2;
    y = lane_select(x > hi, lane_set((real_t)__builtin_inf()), lane_keep(~(x < lo), y));
    return lane_select(x != x, x, y);
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

/* Denormals: flushed while a thread is inside the engine; the caller's mode comes back with float_mode_set(old). */
#if defined(__x86_64__)
#include <xmmintrin.h>
LANE unsigned float_mode_flush(void) { unsigned old = _mm_getcsr(); _mm_setcsr(old | 0x8040); return old; }
LANE void float_mode_set(unsigned mode) { _mm_setcsr((_mm_getcsr() & 0x3f) | (mode & ~0x3fu)); }
#elif defined(__aarch64__)
LANE unsigned float_mode_flush(void) {
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(old | (1u << 24)));
    return (unsigned)old;
}
LANE void float_mode_set(unsigned mode) { __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode)); }
#else
LANE unsigned float_mode_flush(void) { return 0; }
LANE void float_mode_set(unsigned mode) { (void)mode; }
#endif

/* All threads of the team wait here; outside a parallel region it does nothing. */
LANE void team_barrier(void) {
#pragma omp barrier
}
LANE ptrdiff_t take_next(ptrdiff_t *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }
#endif
