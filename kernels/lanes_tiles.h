/* Images of bytes moved between pixels in tiles, by AVX-512 VBMI: one sample's 8 x 4 pixels at a time, which come from a window
 * of 16 x 8 bytes that two registers hold, and are looked up there. Part of lanes.h; the loop over lanes, which any processor
 * and any move can have, is in lanes_move.h.
 * Where a tile's pixels come from, seen from the window's corner, is the same for all tiles of a sample: u and v, numbers of
 * 16 bits with 12 and 13 binary places, to which a tile adds where its corner is between pixels. The corner itself is exact:
 * errors do not add up. Of u, 7 places are used, rounded: q. With the neighbours a b, c d (signed: 128 less than the pixel)
 *     top = (128 - q) a + q b,  low = (128 - q) c + q d,  y = top + v (low - top)
 * in units of 1/128, rounded: off by at most 255 (2^-8 + 2^-12 + 2^-13) + 2^-8 < 1.1 from the bilinear value of 0 .. 255. */
#ifndef LANES_TILES_H
#define LANES_TILES_H
enum { TILE_COLS = 8, TILE_ROWS = 4, WINDOW_COLS = 16, WINDOW_ROWS = 8 };
#if defined(__AVX512BW__) && !defined(LANES_F64)
enum { TILES = 1 };
#else
enum { TILES = 0 };
#endif
typedef struct {
    int16_t u[LANES][TILE_ROWS * TILE_COLS] __attribute__((aligned(64))), v[LANES][TILE_ROWS * TILE_COLS];
    spots_t corner;                     /* of the window of the first tile */
} tiles_t;
#if defined(__AVX512BW__) && !defined(LANES_F64)
#define TILE_TARGET __attribute__((target("avx512vbmi,avx512vbmi2"), noinline, unused))
/* A frame of zeros with an image in it, of bytes less 128: `above` lines, then lines of `cols` pixels with the zeros up to
 * `wide`, a multiple of 8 more, which are those before the next line too. Below it are those above the next frame. Vectors
 * are written whole, of zeros where nothing else follows. */
static __attribute__((noinline, unused)) void frame_zeros(const uint8_t *x, uint8_t *y, ptrdiff_t rows, ptrdiff_t cols,
                                                          ptrdiff_t wide, ptrdiff_t above, ptrdiff_t frame) {
    const __m256i zero = _mm256_set1_epi8(-128);
    uint8_t *end = y + frame;
    for (ptrdiff_t i = 0; i < above * wide; i += 32) _mm256_storeu_si256((__m256i *)(y + i), zero);
    for (y += above * wide; rows > 0; rows--, x += cols, y += wide) {
        for (ptrdiff_t i = 0; i < cols; i += 32) {
            __mmask32 some = cols - i < 32 ? (1u << (cols - i)) - 1 : ~0u;
            _mm256_storeu_si256((__m256i *)(y + i), _mm256_xor_si256(_mm256_maskz_loadu_epi8(some, x + i), zero));
        }
        for (ptrdiff_t i = cols; i < wide; i += 8) memset(y + i, 0x80, 8);
    }
    for (; y < end; y += 32) _mm256_storeu_si256((__m256i *)y, zero);
}
/* Right and down: less than 2 pixels in each direction, and a tile's places within 14 columns and 6 rows. */
static __attribute__((noinline, unused)) void tiles_begin(const spots_t *first, const spots_t *right, const spots_t *down,
                                                          tiles_t *to) {
    enum { UNIT = 24 }; /* binary places that are kept */
    for (int l = 0; l < LANES; l++) {
        int32_t rr = (int32_t)(right->row[l] >> (32 - UNIT)), rc = (int32_t)(right->col[l] >> (32 - UNIT));
        int32_t dr = (int32_t)(down->row[l] >> (32 - UNIT)), dc = (int32_t)(down->col[l] >> (32 - UNIT));
        int32_t r = (TILE_COLS - 1) * (rr < 0 ? rr : 0) + (TILE_ROWS - 1) * (dr < 0 ? dr : 0);
        int32_t c = (TILE_COLS - 1) * (rc < 0 ? rc : 0) + (TILE_ROWS - 1) * (dc < 0 ? dc : 0);
        /* halves of what is cut off: of q, and of the corner's places */
        to->corner.row[l] = first->row[l] + ((int64_t)r << (32 - UNIT)) + (1 << 18);
        to->corner.col[l] = first->col[l] + ((int64_t)c << (32 - UNIT)) + (1 << 24) + (1 << 19);
        c = (1 << (UNIT - 13)) - c, r = (1 << (UNIT - 14)) - r;
        for (int i = 0; i < 2 * TILE_COLS; i++) {       /* two rows, and the two below them */
            int32_t x = c + i % TILE_COLS * rc + i / TILE_COLS * dc, y = r + i % TILE_COLS * rr + i / TILE_COLS * dr;
            to->u[l][i] = (int16_t)(x >> (UNIT - 12)), to->u[l][2 * TILE_COLS + i] = (int16_t)((x + 2 * dc) >> (UNIT - 12));
            to->v[l][i] = (int16_t)(y >> (UNIT - 13)), to->v[l][2 * TILE_COLS + i] = (int16_t)((y + 2 * dr) >> (UNIT - 13));
        }
    }
}
/* Where a tile's windows begin, in bytes from the first frame, and what is between pixels there. */
typedef struct { uint32_t at[LANES], u[LANES], v[LANES]; } windows_t;
/* Of the tile whose first pixel is (h, w). */
LANE void tile_windows(const tiles_t *t, const spots_t *right, const spots_t *down, ptrdiff_t h, ptrdiff_t w, ptrdiff_t wide,
                       const bits_t *offsets, windows_t *to) {
    const __m512i evens = (__m512i)(mask_iota() * 2), odds = (__m512i)(mask_iota() * 2 + 1);
    __m512i r[2], c[2], whole;
#define PLACE(way) \
    _mm512_add_epi64(_mm512_loadu_si512(t->corner.way + 8 * i), \
                     _mm512_add_epi64(_mm512_mullo_epi64(_mm512_set1_epi64(w), _mm512_loadu_si512(right->way + 8 * i)), \
                                      _mm512_mullo_epi64(_mm512_set1_epi64(h), _mm512_loadu_si512(down->way + 8 * i))))
    for (int i = 0; i < 2; i++) r[i] = PLACE(row), c[i] = PLACE(col);
#undef PLACE
    whole = _mm512_mullo_epi32(_mm512_permutex2var_epi32(r[0], odds, r[1]), _mm512_set1_epi32((int)wide));
    whole = _mm512_add_epi32(whole, _mm512_permutex2var_epi32(c[0], odds, c[1]));
    _mm512_storeu_si512(to->at, _mm512_add_epi32(whole, _mm512_loadu_si512(offsets)));
    _mm512_storeu_si512(to->u, _mm512_srli_epi32(_mm512_permutex2var_epi32(c[0], evens, c[1]), 20));
    _mm512_storeu_si512(to->v, _mm512_srli_epi32(_mm512_permutex2var_epi32(r[0], evens, r[1]), 19));
}
/* words[l][i] = 128 (pixel i of lane l - 128). */
TILE_TARGET static void tile_words(const uint8_t *frames, ptrdiff_t wide, const windows_t *from, const tiles_t *t,
                                   __m512i *words) {
    const __m512i copies = _mm512_set1_epi64(0x3030202010100000), ones = _mm512_set1_epi8(1); /* of each word's low byte */
    const __m512i parts = _mm512_add_epi8(copies, _mm512_set1_epi8(5));     /* of its 8 bits from the fifth */
    const __m512i next = _mm512_set1_epi16(0x0100), below = _mm512_set1_epi16(0x0100 + WINDOW_COLS * 0x0101);
    const __m512i seven = _mm512_set1_epi8(127), first = _mm512_set1_epi16(0x007f), places = _mm512_set1_epi16(0x7fff);
    _Pragma("GCC unroll 1")
    for (int l = 0; l < LANES; l++) {
        const uint8_t *p = frames + from->at[l];
        __m512i u = _mm512_add_epi16(_mm512_loadu_si512(t->u[l]), _mm512_set1_epi16((short)from->u[l]));
        __m512i v = _mm512_add_epi16(_mm512_loadu_si512(t->v[l]), _mm512_set1_epi16((short)from->v[l]));
#define ROW(k) _mm_loadu_si128((const __m128i *)(p + (k) * wide))
#define ROWS_2(k) _mm256_inserti128_si256(_mm256_castsi128_si256(ROW(k)), ROW(k + 1), 1)
#define ROWS_4(k) _mm512_inserti64x4(_mm512_castsi256_si512(ROWS_2(k)), ROWS_2(k + 2), 1)
        __m512i rows = ROWS_4(0), more = ROWS_4(4);
        /* 16 v + u as whole pixels, twice: the place of a; then of b in the high byte */
        __m512i here = _mm512_multishift_epi64_epi8(copies, _mm512_shldi_epi16(_mm512_srli_epi16(v, 13), u, 4));
        __m512i q = _mm512_multishift_epi64_epi8(parts, u), top, low, p15;
        q = _mm512_ternarylogic_epi32(q, seven, first, 0x6a); /* 127 - q, q */
        q = _mm512_add_epi8(q, _mm512_and_si512(ones, first));
        top = _mm512_maddubs_epi16(q, _mm512_permutex2var_epi8(rows, _mm512_add_epi8(here, next), more));
        low = _mm512_maddubs_epi16(q, _mm512_permutex2var_epi8(rows, _mm512_add_epi8(here, below), more));
        p15 = _mm512_and_si512(_mm512_slli_epi16(v, 2), places);
        words[l] = _mm512_add_epi16(top, _mm512_mulhrs_epi16(_mm512_sub_epi16(low, top), p15));
#undef ROW
#undef ROWS_2
#undef ROWS_4
    }
}
/* y[h * row + w * step] = by * words[][8 h + w] + to for h from `above` and w from `left` (or the even one below it). */
static __attribute__((noinline, unused)) void tile_lanes(const __m512i *words, lane_t by, lane_t to, lane_t *y, ptrdiff_t row,
                                                         ptrdiff_t step, int above, int left) {
    const __m512i first = _mm512_set1_epi32(1), second = _mm512_set1_epi32(-65536);
    const lane_t by_second = by * (real_t)0x1p-16;
    __m512i a[TILE_ROWS][4]; /* [h][i]: row h of samples i, i + 4, i + 8, i + 12; each pair of words a pair of pixels */
    for (int i = 0; i < 4; i++) {
        __m512i p = _mm512_shuffle_i32x4(words[i], words[i + 4], 0x44), u = _mm512_shuffle_i32x4(words[i], words[i + 4], 0xee);
        __m512i q = _mm512_shuffle_i32x4(words[i + 8], words[i + 12], 0x44);
        __m512i v = _mm512_shuffle_i32x4(words[i + 8], words[i + 12], 0xee);
        a[0][i] = _mm512_shuffle_i32x4(p, q, 0x88), a[1][i] = _mm512_shuffle_i32x4(p, q, 0xdd);
        a[2][i] = _mm512_shuffle_i32x4(u, v, 0x88), a[3][i] = _mm512_shuffle_i32x4(u, v, 0xdd);
    }
    for (int h = 0; h < TILE_ROWS; h++) {
        if (h < above) continue;
        __m512i p = _mm512_unpacklo_epi32(a[h][0], a[h][1]), q = _mm512_unpacklo_epi32(a[h][2], a[h][3]);
        __m512i u = _mm512_unpackhi_epi32(a[h][0], a[h][1]), v = _mm512_unpackhi_epi32(a[h][2], a[h][3]);
        __m512i pairs[4] = {_mm512_unpacklo_epi64(p, q), _mm512_unpackhi_epi64(p, q), _mm512_unpacklo_epi64(u, v),
                            _mm512_unpackhi_epi64(u, v)};
        for (int k = 0; k < TILE_COLS / 2; k++) {
            if (k < left / 2) continue;
            lane_t *to_pair = y + h * row + 2 * k * step;
            to_pair[0] = lane_of_mask((mask_t)_mm512_madd_epi16(pairs[k], first)) * by + to;
            to_pair[step] = lane_of_mask((mask_t)_mm512_and_si512(pairs[k], second)) * by_second + to;
        }
    }
}
/* y[h * row + w * step] = by * x + to, h < rows, w < cols, with x what stands where the pixel came from, in frames of bytes
 * less 128. At least TILE_ROWS rows and TILE_COLS columns: the last tiles lie over those before them, whose pixels stay. */
static __attribute__((noinline, unused)) void tiles_between(const uint8_t *frames, ptrdiff_t wide, const bits_t *offsets,
                                                            const tiles_t *t, const spots_t *right, const spots_t *down,
                                                            ptrdiff_t rows, ptrdiff_t cols, lane_t by, lane_t to, lane_t *y,
                                                            ptrdiff_t row, ptrdiff_t step) {
    __m512i words[LANES];
    windows_t from;
    ptrdiff_t h = 0, w = 0;
    to += by * 128;
    by *= (real_t)(1.0 / 128);
    tile_windows(t, right, down, h, w, wide, offsets, &from);
    for (ptrdiff_t i = 0, j = 0; i < rows;) {
        lane_t *here = y + h * row + w * step;
        int above = (int)(i - h), left = (int)(j - w);
        tile_words(frames, wide, &from, t, words);
        j += TILE_COLS;
        if (j >= cols) j = 0, i += TILE_ROWS;
        h = i + TILE_ROWS > rows ? rows - TILE_ROWS : i, w = j + TILE_COLS > cols ? cols - TILE_COLS : j;
        tile_windows(t, right, down, h, w, wide, offsets, &from); /* of the next tile: worked out beside this one's lanes */
        tile_lanes(words, by, to, here, row, step, above, left);
    }
}
#undef TILE_TARGET
#else /* where TILES is 0, which is asked first */
LANE void frame_zeros(const uint8_t *x, uint8_t *y, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t wide, ptrdiff_t above,
                      ptrdiff_t frame) { __builtin_trap(); }
LANE void tiles_begin(const spots_t *first, const spots_t *right, const spots_t *down, tiles_t *to) { __builtin_trap(); }
LANE void tiles_between(const uint8_t *frames, ptrdiff_t wide, const bits_t *offsets, const tiles_t *t, const spots_t *right,
                        const spots_t *down, ptrdiff_t rows, ptrdiff_t cols, lane_t by, lane_t to, lane_t *y, ptrdiff_t row,
                        ptrdiff_t step) { __builtin_trap(); }
#endif
#endif
