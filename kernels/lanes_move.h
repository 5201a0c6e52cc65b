/* What images moved between pixels need: places as whole numbers, a place's four neighbours. Part of lanes.h. */
#ifndef LANES_MOVE_H
#define LANES_MOVE_H
#ifdef LANES_F64
typedef uint64_t ubits_t;
enum { PART_BITS = 32 }; /* binary places of a part of a pixel */
#else
typedef uint32_t ubits_t;
enum { PART_BITS = 24 };
#endif
typedef ubits_t umask_t __attribute__((vector_size(LANE_BYTES), may_alias));

LANE mask_t mask_load(const bits_t *p) { mask_t v; memcpy(&v, p, sizeof v); return v; }
LANE lane_t lane_of_mask(mask_t a) { return __builtin_convertvector(a, lane_t); }
/* at, and `step` more where *part, from 0 to 2, is 1 or more, from which 1 is taken there. */
LANE mask_t mask_carry(mask_t at, bits_t step, lane_t *part) {
#ifdef __AVX512F__
#ifdef LANES_F64
    __mmask8 over = _mm512_cmp_pd_mask(*part, lane_set(1), _CMP_GE_OQ);
    at = (mask_t)_mm512_mask_add_epi64((__m512i)at, over, (__m512i)at, (__m512i)mask_set(step));
#else
    __mmask16 over = _mm512_cmp_ps_mask(*part, lane_set(1), _CMP_GE_OQ);
    at = (mask_t)_mm512_mask_add_epi32((__m512i)at, over, (__m512i)at, (__m512i)mask_set(step));
#endif
    *part = avx512(mask_sub)(*part, over, *part, lane_set(1));
    return at;
#else
    mask_t over = *part >= lane_set(1);
    *part -= lane_keep(over, lane_set(1));
    return at + (over & mask_set(step));
#endif
}
/* The 32 bits at a place, in units of two bytes, first byte lowest. */
LANE uint32_t word_at(const uint8_t *p, ptrdiff_t at) {
    p += 2 * at;
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}
/* out[i] = the word at at[i], i < n, and `rows` times so, `step` further each. 28x28 places, AVX-512, Zen 4: 137 ns; by
 * vpgatherdd 293, by a load and a store for each 227. Not inlined: among other loops it lost its registers, and half its speed. */
static __attribute__((noinline, unused)) void words_at(const uint8_t *p, const bits_t *at, ptrdiff_t n, ptrdiff_t rows,
                                                       ptrdiff_t step, bits_t *out) {
    for (; rows > 0; rows--, at += step, out += step) {
        ptrdiff_t i = 0;
#ifndef LANES_F64
        typedef uint32_t four_t __attribute__((vector_size(16)));
        enum { FIRST = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 32 : 0 };
        for (; i + 4 <= n; i += 4) {
            uint64_t a, b; /* two places in one load */
            memcpy(&a, at + i, sizeof a);
            memcpy(&b, at + i + 2, sizeof b);
            four_t four = {word_at(p, (uint32_t)(a >> FIRST)), word_at(p, (uint32_t)(a >> (32 - FIRST))),
                           word_at(p, (uint32_t)(b >> FIRST)), word_at(p, (uint32_t)(b >> (32 - FIRST)))};
            memcpy(out + i, &four, sizeof four);
        }
#endif
        for (; i < n; i++) out[i] = word_at(p, at[i]);
    }
}
/* Between pixels: p of the way from the line of a and b to that of c and d, q of the way from a to b and from c to d. */
LANE lane_t lane_between(lane_t a, lane_t b, lane_t c, lane_t d, lane_t p, lane_t q) {
    lane_t top = a + q * (b - a), low = c + q * (d - c);
    return top + p * (low - top);
}
/* The same of the bytes a, c, b, d, the first lowest. Bytes are not shifted down first: powers of two are exact. */
LANE lane_t lane_between_bytes(mask_t w, lane_t p, lane_t q) {
    lane_t a = lane_of_mask(w & 0xff), c = lane_of_mask(w & 0xff00), b = lane_of_mask(w & 0xff0000);
    lane_t d = lane_of_mask((mask_t)((umask_t)w >> 24));
    lane_t top = a + q * (b * (real_t)0x1p-16 - a), low = c + q * (d * (real_t)0x1p8 - c);
    return top + p * (low * (real_t)0x1p-8 - top);
}
/* y[2i] = a[i], y[2i + 1] = b[i]. */
LANE void bytes_zip(const uint8_t *a, const uint8_t *b, uint8_t *y, ptrdiff_t n) {
    typedef uint8_t row_t __attribute__((vector_size(16)));
    const row_t low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
    if (n < 16)
        for (ptrdiff_t i = 0; i < n; i++) y[2 * i] = a[i], y[2 * i + 1] = b[i];
    else
        for (ptrdiff_t i = 0; i < n; i += 16) {
            row_t u, v, first, second;
            if (i > n - 16) i = n - 16; /* the last ones again, with those before */
            memcpy(&u, a + i, 16);
            memcpy(&v, b + i, 16);
#ifdef __clang__
            first = __builtin_shufflevector(u, v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            second = __builtin_shufflevector(u, v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#else
            first = __builtin_shuffle(u, v, low);
            second = __builtin_shuffle(u, v, low + 8);
#endif
            memcpy(y + 2 * i, &first, 16);
            memcpy(y + 2 * i + 16, &second, 16);
        }
}
/* y[i] = x[-i]. */
LANE void bytes_reverse(const uint8_t *x, uint8_t *y, ptrdiff_t n) {
    if (n < 8)
        for (ptrdiff_t i = 0; i < n; i++) y[i] = x[-i];
    else
        for (ptrdiff_t i = 0; i < n; i += 8) {
            uint64_t v;
            if (i > n - 8) i = n - 8;
            memcpy(&v, x - i - 7, sizeof v);
            v = __builtin_bswap64(v);
            memcpy(y + i, &v, sizeof v);
        }
}
#endif
