# Dropout: y = x * mask, a mask of 0 or 1 / (1 - p) from a counter-based generator, so that it does not depend on threads or
# shards: number = philox(key of the run; sample, element, place in the plan). The mask is kept for backward.

cdef struct Dropout:
    idx mask, rows, cols, channels, whole       # mask [H][W][C]; whole: one number a channel, for all its pixels
    idx place
    double p


cdef inline uint32_t mul_high(uint32_t a, uint32_t b) noexcept nogil:
    return <uint32_t> ((<uint64_t> a * b) >> 32)


cdef void philox(uint64_t key, uint32_t sample, uint32_t element, uint32_t place, uint32_t* out) noexcept nogil:
    # Philox4x32, 10 rounds, for LANES samples at once: out[word][lane]. Salmon, Moraes, Dror and Shaw 2011.
    cdef uint32_t k0 = <uint32_t> key, k1 = <uint32_t> (key >> 32), a, b, r, l
    cdef uint32_t c0[LANE_MAX]
    cdef uint32_t c1[LANE_MAX]
    cdef uint32_t c2[LANE_MAX]
    cdef uint32_t c3[LANE_MAX]
    for l in range(LANES):
        c0[l] = sample + l
        c1[l] = element
        c2[l] = place
        c3[l] = 0
    for r in range(10):
        for l in range(LANES):
            a = c0[l]
            b = c2[l]
            c0[l] = mul_high(<uint32_t> 0xCD9E8D57, b) ^ c1[l] ^ k0
            c2[l] = mul_high(<uint32_t> 0xD2511F53, a) ^ c3[l] ^ k1
            c1[l] = <uint32_t> 0xCD9E8D57 * b
            c3[l] = <uint32_t> 0xD2511F53 * a
        k0 += <uint32_t> 0x9E3779B9
        k1 += <uint32_t> 0xBB67AE85
    for l in range(LANES):
        out[l] = c0[l]
        out[LANES + l] = c1[l]
        out[2 * LANES + l] = c2[l]
        out[3 * LANES + l] = c3[l]


cdef void dropout_mask(Context* ctx, const Args* args) noexcept nogil:
    # A number below p * 2^32 drops: p = 0 drops nothing, p = 1 everything.
    cdef const Dropout* a = &args.dropout
    cdef uint64_t least_kept = <uint64_t> (a.p * 4294967296.0)
    cdef real_t keep = <real_t> (1 / (1 - a.p)) if a.p < 1 else 0
    cdef uint32_t words[4 * LANE_MAX]
    cdef real_t line[LANE_MAX]
    cdef lane_t* mask = lanes_at(ctx, a.mask)
    cdef idx i, l, w, n = a.channels if a.whole else a.rows * a.cols * a.channels
    for i in range(n):
        w = i % 4
        if w == 0:
            philox(ctx.key, <uint32_t> ctx.first, <uint32_t> (i // 4), <uint32_t> a.place, words)
        for l in range(LANES):
            line[l] = keep if words[w * LANES + l] >= least_kept else 0
        mask[i] = lane_load(line)
    if a.whole:
        for i in range(1, a.rows * a.cols):
            memcpy(mask + i * n, mask, n * sizeof(lane_t))
