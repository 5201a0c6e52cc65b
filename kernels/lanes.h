/* The lane type: LANES samples side by side in one SIMD register, and what the kernels do with it.
 * One header serves every build: LANES_F64 selects float64, the -m flags of the build select the width. */
#ifndef LANES_H
#define LANES_H
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef LANES_F64
typedef double real_t;
typedef int64_t bits_t;
#define real_sqrt __builtin_sqrt
#define REAL_BITS 52
#define REAL_SIGN 63
#define REAL_BIAS 1023
#else
typedef float real_t;
typedef int32_t bits_t;
#define real_sqrt __builtin_sqrtf
#define REAL_BITS 23
#define REAL_SIGN 31
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
#if defined(__x86_64__)
#include <immintrin.h>
#endif
/* Past the caches; p is aligned to a lane. stream_end: before another thread reads. */
LANE void lane_stream(real_t *p, lane_t v) {
#if defined(__AVX512F__)
    _mm512_stream_si512((void *)p, (__m512i)v);
#elif defined(__AVX2__)
    _mm256_stream_si256((__m256i *)p, (__m256i)v);
#elif defined(__x86_64__)
    _mm_stream_si128((__m128i *)p, (__m128i)v);
#else
    lane_store(p, v);
#endif
}
#if defined(__x86_64__)
LANE void stream_end(void) { _mm_sfence(); }
#else
LANE void stream_end(void) { }
#endif
#ifdef __AVX512F__ /* masks in registers of their own, which the vector extension does not reach */
#ifdef LANES_F64
#define avx512(name) _mm512_##name##_pd
#define some(n) (__mmask8)((1u << (n)) - 1)
#else
#define avx512(name) _mm512_##name##_ps
#define some(n) (__mmask16)((1u << (n)) - 1)
#endif
#endif
/* The first n lanes, 0 <= n <= LANES, the others from `rest`; and to memory. Nothing beyond p + n is touched. */
LANE lane_t lane_load_some(const real_t *p, ptrdiff_t n, lane_t rest) {
#ifdef __AVX512F__
    return avx512(mask_loadu)(rest, some(n), p);
#else
    if (n == LANES) return lane_load(p);
    for (int i = 0; i < n; i++) rest[i] = p[i];
    return rest;
#endif
}
LANE void lane_store_some(real_t *p, lane_t v, ptrdiff_t n) {
#ifdef __AVX512F__
    avx512(mask_storeu)(p, some(n), v);
#else
    if (n == LANES) { lane_store(p, v); return; }
    for (int i = 0; i < n; i++) p[i] = v[i];
#endif
}
/* gcc 12 converts the bytes of a vector one by one: gathering 28x28 bytes took 430 ns a sample so, and takes 130. */
#if defined(__SSE4_1__) && !defined(LANES_F64)
#include <immintrin.h>
LANE lane_t lane_load_u8(const uint8_t *p) {
#if LANE_BYTES == 64
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif LANE_BYTES == 32
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    int four;
    memcpy(&four, p, sizeof four);
    return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
#endif
}
#else
LANE lane_t lane_load_u8(const uint8_t *p) { bytes_t b; memcpy(&b, p, sizeof b); return __builtin_convertvector(b, lane_t); }
#endif
LANE mask_t lane_gt(lane_t a, lane_t b) { return a > b; }
LANE mask_t lane_lt(lane_t a, lane_t b) { return a < b; }
LANE mask_t lane_le(lane_t a, lane_t b) { return a <= b; }
LANE mask_t lane_eq(lane_t a, lane_t b) { return a == b; }
LANE mask_t lane_nan(lane_t a) { return a != a; }
LANE mask_t mask_eq(mask_t a, mask_t b) { return a == b; }
LANE mask_t mask_or(mask_t a, mask_t b) { return a | b; }
LANE mask_t mask_and(mask_t a, mask_t b) { return a & b; }
LANE lane_t lane_keep(mask_t m, lane_t a) { return (lane_t)(m & (mask_t)a); }
LANE lane_t lane_select(mask_t m, lane_t a, lane_t b) { return (lane_t)((m & (mask_t)a) | (~m & (mask_t)b)); }
LANE mask_t mask_select(mask_t m, mask_t a, mask_t b) { return (m & a) | (~m & b); }

/* a where a > b, else b: of a NaN and a number, whichever is b. */
LANE lane_t lane_max(lane_t a, lane_t b) {
#ifdef __AVX512F__
    return avx512(max)(a, b);
#else
    return lane_select(a > b, a, b);
#endif
}
/* NaN passes: only what is below zero becomes zero. */
LANE lane_t lane_relu(lane_t a) { return lane_max(lane_set(0), a); }
LANE lane_t lane_sqrt(lane_t a) {
#ifdef __AVX512F__
    return avx512(sqrt)(a);
#else
    real_t s[LANES];
    lane_store(s, a);
    for (int i = 0; i < LANES; i++) s[i] = real_sqrt(s[i]);
    return lane_load(s);
#endif
}
/* Lanes summed (or their maximum) in halves. */
LANE real_t lane_sum(lane_t v) {
    real_t s[LANES];
    lane_store(s, v);
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    return s[0];
}
LANE real_t lane_most(lane_t v) {
    real_t s[LANES];
    lane_store(s, v);
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) s[i] = s[i + n] > s[i] ? s[i + n] : s[i];
    return s[0];
}
LANE mask_t mask_plus(mask_t a, bits_t b) { return a + b; }
/* A value that stays in a register: GCC would read it from memory again for each use. */
LANE lane_t lane_hold(lane_t v) {
#ifdef __AVX512F__
    __asm__("" : "+v"(v));
#endif
    return v;
}
/* Lanes chosen by a bit of theirs, or where a is above b or NaN: in a mask register where there are some. */
#ifdef __AVX512F__
#ifdef LANES_F64
typedef __mmask8 choice_t;
LANE choice_t choice_bit(mask_t a, int b) { return _mm512_test_epi64_mask((__m512i)a, _mm512_set1_epi64(1ll << b)); }
LANE mask_t mask_choose(choice_t m, mask_t a, mask_t b) { return (mask_t)_mm512_mask_blend_epi64(m, (__m512i)b, (__m512i)a); }
LANE choice_t choice_above(lane_t a, lane_t b) {
    return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ) | _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q);
}
#else
typedef __mmask16 choice_t;
LANE choice_t choice_bit(mask_t a, int b) { return _mm512_test_epi32_mask((__m512i)a, _mm512_set1_epi32(1 << b)); }
LANE mask_t mask_choose(choice_t m, mask_t a, mask_t b) { return (mask_t)_mm512_mask_blend_epi32(m, (__m512i)b, (__m512i)a); }
LANE choice_t choice_above(lane_t a, lane_t b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) | _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
#endif
LANE lane_t lane_choose(choice_t m, lane_t a, lane_t b) { return avx512(mask_blend)(m, b, a); }
#else
typedef mask_t choice_t;
LANE choice_t choice_bit(mask_t a, int b) { return -((a >> b) & 1); }
LANE mask_t mask_choose(choice_t m, mask_t a, mask_t b) { return mask_select(m, a, b); }
LANE choice_t choice_above(lane_t a, lane_t b) { return lane_gt(a, b) | lane_nan(a); }
LANE lane_t lane_choose(choice_t m, lane_t a, lane_t b) { return lane_select(m, a, b); }
#endif
LANE mask_t mask_times(mask_t a, bits_t b) { return a * b; }
LANE void mask_store(bits_t *p, mask_t v) { memcpy(p, &v, sizeof v); }
LANE mask_t mask_iota(void) { mask_t m; for (int i = 0; i < LANES; i++) m[i] = i; return m; }

#if LANE_BYTES == 64 && !defined(LANES_F64)
#define LANE_LOW {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}
#define LANE_EVEN {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30}
#elif (LANE_BYTES == 64) || (LANE_BYTES == 32 && !defined(LANES_F64))
#define LANE_LOW {0, 8, 1, 9, 2, 10, 3, 11}
#define LANE_EVEN {0, 2, 4, 6, 8, 10, 12, 14}
#elif (LANE_BYTES == 32) || !defined(LANES_F64)
#define LANE_LOW {0, 4, 1, 5}
#define LANE_EVEN {0, 2, 4, 6}
#else
#define LANE_LOW {0, 2}
#define LANE_EVEN {0, 2}
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
/* a then b, taken apart: numbers 0, 2, 4, ... and 1, 3, 5, ... */
LANE void lane_unzip(lane_t a, lane_t b, lane_t *even, lane_t *odd) {
    const mask_t places = LANE_EVEN;
    *even = lane_pick(a, b, places);
    *odd = lane_pick(a, b, places + 1);
}
/* Its inverse: numbers 0 of a and b, 1 of a and b, ... */
LANE void lane_zip(lane_t a, lane_t b, lane_t *low, lane_t *high) {
    const mask_t places = LANE_LOW;
    *low = lane_pick(a, b, places);
    *high = lane_pick(a, b, places + LANES / 2);
}
/* a, b, c one after the other, taken apart: y[j] is numbers j, j + 3, j + 6, ... */
LANE void lane_unzip3(lane_t a, lane_t b, lane_t c, lane_t *y) {
    for (int j = 0; j < 3; j++) {
        const mask_t own = mask_iota(), at = own * 3 + j, near = at < 2 * LANES;
        y[j] = lane_pick(lane_pick(a, b, at & (2 * LANES - 1)), c, (near & own) | (~near & (at - LANES)));
    }
}
/* Lanes 0 and 1, 2 and 3, ... exchanged. */
LANE lane_t lane_swap(lane_t a) { const mask_t places = mask_iota() ^ 1; return lane_pick(a, a, places); }
/* LANES x LANES transpose: log2(LANES) rounds of interleaving row i with row i + LANES/2. */
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

#include "lanes_math.h"
#include "lanes_move.h"
#include "lanes_tiles.h"

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

/* All threads of a team wait here: spinning for some 10 us, then giving way at each turn. OpenMP's barrier spins on: where
 * two threads share a core with another process, each waits out the time slice of the one that it waits for. */
typedef struct { int arrived, turn; } barrier_t;
LANE void team_barrier(barrier_t *b, int threads) {
    int turn = __atomic_load_n(&b->turn, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&b->arrived, 1, __ATOMIC_ACQ_REL) == threads) {
        b->arrived = 0;
        __atomic_store_n(&b->turn, turn + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int spins = 0; __atomic_load_n(&b->turn, __ATOMIC_ACQUIRE) == turn; spins++) {
        if (spins > 200) sched_yield();
#if defined(__x86_64__)
        else __builtin_ia32_pause();
#endif
    }
}
/* p, of which the compiler does not see where it comes from: several pointers then stay several registers. */
LANE const real_t *own_pointer(const real_t *p) { __asm__("" : "+r"(p)); return p; }
/* Added to an address of a plan that lies in a thread's own memory: nodes/base.py. */
#define OWN ((ptrdiff_t)1 << 40)
/* The cache line of p, which will be read. */
LANE void line_prefetch(const void *p) { __builtin_prefetch(p); }

/* Asks for a cache line that will be written: other cores let go of it meanwhile. */
LANE void line_own(const void *p) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}
/* The cache line of *p becomes this core's by a store of what is there, which waits beside other work: an optimizer's loop waits
 * 7 ns for each line that another core has read, asked for by line_own or not. */
LANE void line_take(real_t *p) { *(volatile real_t *)p = *p; }
/* Two threads of a team on one CPU take twice the time, and a kernel that wakes one where the other runs may leave them there.
 * A thread that has met another for some runs moves to a CPU that the team does not use: its mask is narrowed, which moves it,
 * and given back. Where the system puts it back at once it moves less often. */
enum { TEAM_SEEN = 64 };
#ifdef __linux__
LANE int this_cpu(void) { return sched_getcpu(); }
static __attribute__((unused)) void keep_apart(const int *cpus, int tid, int threads) {
    static __thread int met, apart, patience = 2;
    int clash = 0;
    cpu_set_t all, free;
    for (int t = 0; t < tid && t < TEAM_SEEN; t++) clash |= cpus[t] == cpus[tid];
    if (!clash) {
        met = 0;
        if (++apart == 8) patience = 2;
        return;
    }
    apart = 0;
    if (++met < patience) return;
    met = 0;
    if (patience < 16) patience *= 2;
    if (sched_getaffinity(0, sizeof all, &all)) return;
    free = all;
    for (int t = 0; t < threads && t < TEAM_SEEN; t++) CPU_CLR(cpus[t], &free);
    if (CPU_COUNT(&free) && !sched_setaffinity(0, sizeof free, &free)) sched_setaffinity(0, sizeof all, &all);
}
#else
LANE int this_cpu(void) { return -1; }
LANE void keep_apart(const int *cpus, int tid, int threads) { (void)cpus, (void)tid, (void)threads; }
#endif
LANE ptrdiff_t take_next(ptrdiff_t *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }
#endif
