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
/* A place of each lane's image, in units of 2^-32 pixel; and as whole pixels, counted in rows of the lane's frame, which itself
 * is `frame` from the first, and the parts of row and column. */
typedef struct { int64_t row[LANES], col[LANES]; } spots_t;
typedef struct { mask_t at; lane_t row, col; } places_t;
LANE void spots_move(spots_t *s, const spots_t *by) {
    for (int l = 0; l < LANES; l++) s->row[l] += by->row[l], s->col[l] += by->col[l];
}
LANE void spots_split(const spots_t *s, bits_t wide, mask_t frame, places_t *to) {
    const real_t unit = (real_t)1 / ((int64_t)1 << PART_BITS);
    bits_t at[LANES];
    real_t row[LANES], col[LANES];
    for (int l = 0; l < LANES; l++) {
        at[l] = (bits_t)(s->row[l] >> 32) * wide + (bits_t)(s->col[l] >> 32);
        row[l] = (bits_t)((uint32_t)s->row[l] >> (32 - PART_BITS)) * unit;
        col[l] = (bits_t)((uint32_t)s->col[l] >> (32 - PART_BITS)) * unit;
    }
    to->at = mask_load(at) + frame;
    to->row = lane_load(row);
    to->col = lane_load(col);
}
/* As far from a place as `from` says. */
LANE places_t places_add(const places_t *from, const places_t *begin, bits_t wide) {
    places_t to = {from->at + begin->at, from->row + begin->row, from->col + begin->col};
    to.at = mask_carry(to.at, wide, &to.row);
    to.at = mask_carry(to.at, 1, &to.col);
    return to;
}
/* The 32 bits at a place, in units of two bytes, first byte lowest. */
LANE uint32_t word_at(const uint8_t *p, ubits_t at) {
    p += 2 * (size_t)at;
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}
/* Each lane's word. 28x28 of 16 lanes, Zen 4: 138 ns a lane; by vpgatherdd 291, by a load of each place 167. */
#ifdef LANES_F64
LANE mask_t words_at(const uint8_t *p, const mask_t *places) {
    const ubits_t *at = (const ubits_t *)places;
    bits_t out[LANES];
    for (int l = 0; l < LANES; l++) out[l] = word_at(p, at[l]);
    return mask_load(out);
}
#else
typedef uint32_t four_t __attribute__((vector_size(16)));
LANE four_t four_words(const uint8_t *p, const ubits_t *at) {
    enum { FIRST = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 32 : 0 };
    uint64_t a, b; /* two places in one load */
    memcpy(&a, at, sizeof a);
    memcpy(&b, at + 2, sizeof b);
    uint32_t w[4] = {word_at(p, (uint32_t)(a >> FIRST)), word_at(p, (uint32_t)(a >> (32 - FIRST))),
                     word_at(p, (uint32_t)(b >> FIRST)), word_at(p, (uint32_t)(b >> (32 - FIRST)))};
#ifdef __SSE4_1__ /* one after the other: gcc 12 joins pairs, of which some then take the way through a general register */
    __m128i four = _mm_insert_epi32(_mm_cvtsi32_si128((int)w[0]), (int)w[1], 1);
    return (four_t)_mm_insert_epi32(_mm_insert_epi32(four, (int)w[2], 2), (int)w[3], 3);
#else
    return (four_t){w[0], w[1], w[2], w[3]};
#endif
}
LANE mask_t words_at(const uint8_t *p, const mask_t *places) {
    const ubits_t *at = (const ubits_t *)places;
#if LANE_BYTES == 16
    return (mask_t)four_words(p, at);
#else
    __m256i low = _mm256_castsi128_si256((__m128i)four_words(p, at));
    low = _mm256_inserti128_si256(low, (__m128i)four_words(p, at + 4), 1);
#if LANE_BYTES == 32
    return (mask_t)low;
#else
    __m256i high = _mm256_castsi128_si256((__m128i)four_words(p, at + 8));
    high = _mm256_inserti128_si256(high, (__m128i)four_words(p, at + 12), 1);
    return (mask_t)_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
#endif
#endif
}
#endif
/* Each lane's number. */
LANE lane_t lane_at(const real_t *p, const mask_t *places) {
    const ubits_t *at = (const ubits_t *)places;
    real_t out[LANES];
    for (int l = 0; l < LANES; l++) out[l] = p[at[l]];
    return lane_load(out);
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
/* y[h * row + w * step] = by * x + to, h < lines, w < n, with x what stands in the frames at a place. places[w] are the first
 * row's, and afterwards those of the row below the last one; places[n], which any frame must have, is read in vain. Row h + 1
 * begins at `spot`, which moves `down` for each, and its pixel w is from[w] further on. Several lines need n > 1.
 * One loop makes the next row's places, loads the next pixel's bytes and works out this one: each waits for other parts of the
 * CPU, none for another (28x28 bytes a lane, AVX-512, Zen 4: 280 ns; 331 with the places in a loop of their own, 366 with the
 * loads in one too). Not inlined: among other loops it lost its registers. */
#define ROWS_BETWEEN(name, type, LOAD, VALUE) \
    static __attribute__((noinline, unused)) void name( \
        const type *frames, ptrdiff_t wide, places_t *places, ptrdiff_t n, ptrdiff_t lines, spots_t *spot, \
        const spots_t *down, const places_t *from, mask_t frame, lane_t by, lane_t to, lane_t *y, ptrdiff_t row, \
        ptrdiff_t step) { \
        mask_t word = LOAD(places), later; \
        for (ptrdiff_t h = 0; h < lines; h++) { \
            const places_t *after = h + 1 < lines ? places : places + n; /* of the row's last pixel */ \
            places_t begin; \
            spots_move(spot, down); \
            spots_split(spot, (bits_t)wide, frame, &begin); \
            _Pragma("GCC unroll 1") \
            for (ptrdiff_t w = 0; w < n; w++) { \
                places_t *here = places + w, below = places_add(from + w, &begin, (bits_t)wide); \
                later = LOAD((w + 1 < n ? here + 1 : after)); \
                y[h * row + w * step] = VALUE * by + to; \
                *here = below; \
                word = later; \
            } \
        } \
    }
#define LOAD_BYTES(here) words_at(frames, &here->at)
#define LOAD_NONE(here) mask_set(0)
ROWS_BETWEEN(rows_between_bytes, uint8_t, LOAD_BYTES, lane_between_bytes(word, here->row, here->col))
ROWS_BETWEEN(rows_between, real_t, LOAD_NONE,
             lane_between(lane_at(frames, &here->at), lane_at(frames + 1, &here->at), lane_at(frames + wide, &here->at),
                          lane_at(frames + wide + 1, &here->at), here->row, here->col))
typedef uint8_t row_t __attribute__((vector_size(16)));
#ifdef __clang__
#define row_pick __builtin_shufflevector
#else
#define row_pick(a, b, ...) __builtin_shuffle(a, b, (row_t){__VA_ARGS__})
#endif
/* y[2i] = a[i], y[2i + 1] = b[i]: whole vectors of them, up to 31 more than n. */
static __attribute__((noinline, unused)) void bytes_zip(const uint8_t *a, const uint8_t *b, uint8_t *y, ptrdiff_t n) {
#if defined(__AVX512BW__)
    for (ptrdiff_t i = 0; i < n; i += 32) {
        __m512i low = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(a + i)));
        __m512i high = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(b + i)));
        _mm512_storeu_si512(y + 2 * i, _mm512_or_si512(low, _mm512_slli_epi16(high, 8)));
    }
#else
    for (ptrdiff_t i = 0; i < n; i += 16) {
        row_t u, v, first, second;
        memcpy(&u, a + i, 16);
        memcpy(&v, b + i, 16);
        first = row_pick(u, v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        second = row_pick(u, v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        memcpy(y + 2 * i, &first, 16);
        memcpy(y + 2 * i + 16, &second, 16);
    }
#endif
}
/* y[i] = x[i] with the bits of `flip` turned: a call of memcpy takes longer than a short row. */
LANE void bytes_copy(const uint8_t *x, uint8_t *y, ptrdiff_t n, uint8_t flip) {
    row_t v, last;
    if (n < 16) {
        for (ptrdiff_t i = 0; i < n; i++) y[i] = x[i] ^ flip;
        return;
    }
    memcpy(&last, x + n - 16, 16);
    last ^= flip;
    for (ptrdiff_t i = 0; i < n - 16; i += 16) {
        memcpy(&v, x + i, 16);
        v ^= flip;
        memcpy(y + i, &v, 16);
    }
    memcpy(y + n - 16, &last, 16);
}
/* m bytes, a multiple of 8, on each side of `lines` lines of n, `wide` from one to the next: the first and the last one, or
 * mirrored (m < n). */
static __attribute__((noinline, unused)) void bytes_sides(uint8_t *y, ptrdiff_t wide, ptrdiff_t lines, ptrdiff_t n, ptrdiff_t m,
                                                          int edge) {
    for (; lines > 0; lines--, y += wide)
        for (ptrdiff_t i = 0; i < m; i += 8) {
            uint64_t left = y[0] * 0x0101010101010101u, right = y[n - 1] * 0x0101010101010101u;
            if (!edge) {
                memcpy(&left, y + 1 + i, 8);
                memcpy(&right, y + n - 9 - i, 8);
                left = __builtin_bswap64(left), right = __builtin_bswap64(right);
            }
            memcpy(y - 8 - i, &left, 8);
            memcpy(y + n + i, &right, 8);
        }
}
/* sin and cos of LANES angles from -pi to pi, off by 1e-15: of an eighth by their series, and doubled three times. All lanes
 * take as long as one call of libm's (Zen 4: of 16 ns that a lane's turn took, 13). */
LANE void angles_split(const double *angle, double *s, double *c) {
    for (int l = 0; l < LANES; l++) {
        double x = angle[l] / 8, z = -x * x, a = 1, b = 1;
        for (int i = 12; i >= 2; i -= 2) { /* sin x = x a, 1 - cos x = -z b / 2 */
            a = 1 + z * (1. / (i * (i + 1))) * a;
            b = 1 + z * (1. / ((i + 1) * (i + 2))) * b;
        }
        a *= x, b *= -z / 2;
        for (int i = 0; i < 3; i++) {
            double twice = 2 * a * (1 - b);
            b = 2 * a * a;
            a = twice;
        }
        s[l] = a, c[l] = 1 - b;
    }
}
/* The sum of n bytes. */
LANE uint64_t bytes_sum(const uint8_t *x, ptrdiff_t n) {
    uint64_t sum = 0;
    ptrdiff_t i = 0;
#ifdef __SSE2__
    __m128i sums = _mm_setzero_si128();
    for (; i + 16 <= n; i += 16)
        sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(x + i)), _mm_setzero_si128()));
    sum = (uint64_t)_mm_cvtsi128_si64(sums) + (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums));
#endif
    for (; i < n; i++) sum += x[i];
    return sum;
}
/* y[i] = x[-i]. */
LANE void bytes_reverse(const uint8_t *x, uint8_t *y, ptrdiff_t n) {
    if (n < 8)
        for (ptrdiff_t i = 0; i < n; i++) y[i] = x[-i];
    else if (n < 16)
        for (ptrdiff_t i = 0; i < n; i += 8) {
            uint64_t v;
            if (i > n - 8) i = n - 8;
            memcpy(&v, x - i - 7, sizeof v);
            v = __builtin_bswap64(v);
            memcpy(y + i, &v, sizeof v);
        }
    else
        for (ptrdiff_t i = 0; i < n; i += 16) {
            row_t v;
            if (i > n - 16) i = n - 16;
            memcpy(&v, x - i - 15, sizeof v);
            v = row_pick(v, v, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            memcpy(y + i, &v, sizeof v);
        }
}
#endif
