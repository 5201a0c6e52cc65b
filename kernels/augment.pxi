# Augmentation: a batch's images are moved on their way into lanes, toned, cut out and mixed once they are there. What is drawn
# for a sample depends on its position and the key alone: philox(key; position, 0 .. 2), so no thread count or batch size
# changes it. All of it is the Augment of src/lanewise/data/augment.py, whose docstring has the formulas.

cdef enum: MOVE_NOT, MOVE_WHOLE, MOVE_BETWEEN           # by whole pixels: exact copies; between pixels: bilinear
cdef enum: PAD_ZERO, PAD_EDGE, PAD_REFLECT

cdef struct Augmented:
    Gather gather
    idx work                    # in the thread's own memory: [LANES] images [C][H][W] that are moved by whole pixels, or
                                # [LANES] frames of a channel between pixels; of bytes that are not moved in tiles, before
                                # them, one as make_frame leaves it
    int move, pad, flip, tone, mix
    idx shift, cutout
    idx frame                   # pixels from one frame to the next
    idx above, beside           # lines and columns that a frame has on each side of the image
    int within                  # no place between pixels is outside the frame
    int tiles                   # bytes are moved in tiles (lanes_tiles.h)
    double turn, low, high, brightness, contrast        # greatest angle in radians; least and greatest factor

ctypedef fused pixel_t:
    uint8_t
    real_t


# What was drawn for a sample.
cdef struct Drawn:
    idx dy, dx, row, col
    int flip
    double angle, factor, brightness, contrast


cdef inline double between(uint32_t word, double low, double high) noexcept nogil:
    return low + word * (1 / 4294967296.0) * (high - low)


cdef void draw(const Augmented* a, uint64_t key, idx position, Drawn* drawn) noexcept nogil:
    cdef uint32_t words[3][4 * LANE_MAX]
    cdef uint32_t span = <uint32_t> (2 * a.shift + 1)
    cdef idx i, l, needed = 3 if a.brightness else 2
    for i in range(needed):
        philox(key, <uint32_t> position, <uint32_t> i, 0, words[i])
    for l in range(LANES):
        drawn[l].dy = <idx> mul_high(words[0][l], span) - a.shift
        drawn[l].dx = <idx> mul_high(words[0][LANES + l], span) - a.shift
        drawn[l].flip = a.flip and words[0][2 * LANES + l] < <uint32_t> 0x80000000
        drawn[l].angle = between(words[0][3 * LANES + l], -a.turn, a.turn)
        drawn[l].factor = between(words[1][l], a.low, a.high)
        drawn[l].row = <idx> mul_high(words[1][LANES + l], <uint32_t> a.gather.rows) - a.cutout // 2
        drawn[l].col = <idx> mul_high(words[1][2 * LANES + l], <uint32_t> a.gather.cols) - a.cutout // 2
        drawn[l].contrast = between(words[1][3 * LANES + l], 1 - a.contrast, 1 + a.contrast)
        drawn[l].brightness = between(words[2][l], -a.brightness, a.brightness) if a.brightness else 0


cdef inline idx padded(idx i, idx n, int pad) noexcept nogil:
    # Which of n pixels stands at place i, outside too; -1: a zero.
    if 0 <= i < n:
        return i
    if pad == PAD_ZERO:
        return -1
    if pad == PAD_EDGE:
        return 0 if i < 0 else n - 1
    if n == 1:
        return 0
    i = (-i if i < 0 else i) % (2 * n - 2)
    return i if i < n else 2 * n - 2 - i


cdef inline void move_along(const Augmented* a, const Drawn* d, const pixel_t* x, pixel_t* y, idx n) noexcept nogil:
    # n rows: y[h][w] = x[h][w + dx], or flipped. What comes from inside, without a flip in one piece, then the other columns.
    cdef idx cols = a.gather.cols, h, w, j, k, left = least(cols, most(0, -d.dx)), right = most(left, least(cols, cols - d.dx))
    cdef const pixel_t* line
    if d.flip:
        for h in range(n):
            line = x + h * cols + cols - 1 - d.dx
            if pixel_t is uint8_t:
                bytes_reverse(line - left, y + h * cols + left, right - left)
            else:
                for w in range(left, right):
                    y[h * cols + w] = line[-w]
    elif right > left:
        memcpy(y + left, x + left + d.dx, ((n - 1) * cols + right - left) * sizeof(pixel_t))
    for k in range(left + cols - right):
        w = k if k < left else k - left + right
        j = padded(w + d.dx, cols, a.pad)
        line = x + (cols - 1 - j if d.flip else j)
        for h in range(n):
            y[h * cols + w] = 0 if j < 0 else line[h * cols]


cdef void move_whole(const Augmented* a, const Drawn* d, const pixel_t* x, pixel_t* y) noexcept nogil:
    # y[c][h][w] = x[c][h + dy][w + dx], of the flipped image where it is flipped.
    cdef idx rows = a.gather.rows, cols = a.gather.cols, c, h, j, k
    cdef idx top = least(rows, most(0, -d.dy)), bottom = most(top, least(rows, rows - d.dy))
    for c in range(a.gather.channels):
        if bottom > top:
            move_along(a, d, x + (top + d.dy) * cols, y + top * cols, bottom - top)
        for k in range(top + rows - bottom):
            h = k if k < top else k - top + bottom
            j = padded(h + d.dy, rows, a.pad)
            if j < 0:
                memset(y + h * cols, 0, cols * sizeof(pixel_t))
            else:
                move_along(a, d, x + j * cols, y + h * cols, 1)
        y += rows * cols
        x += rows * cols


cdef inline void fetch(const char* x, idx n) noexcept nogil:
    # n bytes that will be read: rows of an epoch's order come from memory.
    cdef idx i
    for i in range(tile_count(n, 64)):
        line_prefetch(x + 64 * i)


cdef double mean_pixel(const pixel_t* x, idx n) noexcept nogil:
    # Of numbers in double, 8 sums, which the compiler keeps in lanes.
    cdef double sums[8]
    cdef double total = 0
    cdef idx i, k
    if pixel_t is uint8_t:
        total = <double> bytes_sum(x, n)
    else:
        for k in range(8):
            sums[k] = 0
        for i in range(0, n - n % 8, 8):
            for k in range(8):
                sums[k] += x[i + k]
        for i in range(n - n % 8, n):
            sums[0] += x[i]
        for k in range(8):
            total += sums[k]
    return total / n


cdef inline void tone(const Augmented* a, const Drawn* drawn, const double* means, idx c, lane_t* by,
                      lane_t* to) noexcept nogil:
    # by * x + to of the numbers x in memory: normalised, contrast and brightness changed; means: 0 where neither is.
    cdef const real_t* scale = <const real_t*> a.gather.scale
    cdef real_t gain[LANE_MAX]
    cdef real_t offset[LANE_MAX]
    cdef double unit = scale[c] if scale else 1, shift = scale[a.gather.channels + c] if scale else 0
    cdef idx l
    for l in range(LANES):
        gain[l] = <real_t> (drawn[l].contrast * unit)
        offset[l] = <real_t> (shift + (drawn[l].brightness * (255 if scale else 1) + (1 - drawn[l].contrast) * means[l]) * unit)
    by[0] = lane_load(gain)
    to[0] = lane_load(offset)


include "augment_between.pxi"


cdef inline void finish(Context* ctx, const Augmented* a, const Drawn* drawn, const double* mix, int cut,
                        int mixed) noexcept nogil:
    # Squares are cut out, and samples 0 and 1, 2 and 3, ... of the batch mixed, which lie in one shard; a last one without a
    # partner stays. Every pixel of all lanes, as their squares lie anywhere: one after the other they take three times as long.
    cdef const Gather* f = &a.gather
    cdef real_t top[LANE_MAX]
    cdef real_t left[LANE_MAX]
    cdef real_t own[LANE_MAX]
    cdef mask_t within[COLUMNS]
    cdef mask_t row = mask_set(0)
    cdef lane_t tops, lefts, at, part, rest, v, size = lane_set(<real_t> a.cutout)
    cdef lane_t* y
    cdef idx h, l, w, c, start = 0, n
    for l in range(LANES):
        top[l], left[l] = <real_t> drawn[l].row, <real_t> drawn[l].col
        own[l] = <real_t> mix[ctx.first + l] if mixed and (l | 1) < ctx.valid else 1
    tops, lefts, part = lane_load(top), lane_load(left), lane_load(own)
    rest = 1 - part
    while start < f.cols:
        n = least(COLUMNS, f.cols - start)
        for w in range(n if cut else 0):
            at = lane_set(<real_t> (start + w)) - lefts
            within[w] = mask_and(lane_le(lane_set(0), at), lane_lt(at, size))
        for h in range(f.rows):
            if cut:
                at = lane_set(<real_t> h) - tops
                row = mask_and(lane_le(lane_set(0), at), lane_lt(at, size))
            y = lanes_at(ctx, f.y) + h * f.row + start * f.step
            for w in range(n):
                for c in range(w * f.step, (w + 1) * f.step):
                    v = lane_select(mask_and(row, within[w]), lane_set(0), y[c]) if cut else y[c]
                    y[c] = v * part + lane_swap(v) * rest if mixed else v
        start += n


cdef void gather_augmented(Context* ctx, const Args* args) noexcept nogil:
    # The lanes beyond the batch repeat a sample, as in gather().
    cdef const Augmented* a = &args.augmented
    cdef Bound* b = ctx.bound + a.gather.bound
    cdef const char* rows[LANE_MAX]
    cdef char* work = <char*> (ctx.own + a.work)
    cdef Drawn drawn[LANE_MAX]
    cdef double means[LANE_MAX]
    cdef lane_t by, to
    cdef idx c, l, size = a.gather.channels * a.gather.rows * a.gather.cols, each = 1 if b.is_u8 else sizeof(real_t)
    draw(a, b.key, b.position + ctx.first, drawn)
    for l in range(LANES):
        means[l] = 0
        if l >= ctx.valid:
            rows[l], drawn[l], means[l] = rows[0], drawn[0], means[0]
            continue
        rows[l] = target_row(ctx, b, l)
        if l + 1 < ctx.valid and (a.tone or a.move == MOVE_WHOLE):
            fetch(target_row(ctx, b, l + 1), least(size * each, FETCHED))
        if a.tone:
            means[l] = mean_pixel(<const uint8_t*> rows[l], size) if b.is_u8 else mean_pixel(<const real_t*> rows[l], size)
        if a.move == MOVE_WHOLE:
            if b.is_u8:
                move_whole(a, drawn + l, <const uint8_t*> rows[l], <uint8_t*> work)
            else:
                move_whole(a, drawn + l, <const real_t*> rows[l], <real_t*> work)
            rows[l] = work
            work += size * each
    if a.move == MOVE_BETWEEN:
        if b.is_u8 and a.tiles:
            move_tiles(ctx, a, drawn, rows, means, <uint8_t*> work)
        elif b.is_u8:
            move_between(ctx, a, drawn, rows, means, <uint8_t*> work)
        else:
            move_between(ctx, a, drawn, rows, means, <real_t*> work)
    else:
        for c in range(a.gather.channels):
            tone(a, drawn, means, c, &by, &to)
            if b.is_u8:
                to_lanes(ctx, &a.gather, rows, c, by, to, FROM_U8)
            elif a.tone:
                to_lanes(ctx, &a.gather, rows, c, by, to, FROM_SCALED)
            else:
                to_lanes(ctx, &a.gather, rows, c, by, to, FROM_REAL)
    if a.cutout and b.mix:
        finish(ctx, a, drawn, b.mix, 1, 1)
    elif a.cutout:
        finish(ctx, a, drawn, NULL, 1, 0)
    elif b.mix:
        finish(ctx, a, drawn, b.mix, 0, 1)
    look_ahead(ctx, b)
