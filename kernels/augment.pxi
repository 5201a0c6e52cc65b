# Augmentation: a batch's images are moved on their way into lanes, toned, cut out and mixed once they are there. What is drawn
# for a sample depends on its position and the key alone: philox(key; position, 0 .. 2), so no thread count or batch size
# changes it. All of it is the Augment of src/lanewise/data/augment.py, whose docstring has the formulas.

cdef enum: MOVE_NOT, MOVE_WHOLE, MOVE_BETWEEN           # by whole pixels: exact copies; between pixels: bilinear
cdef enum: PAD_ZERO, PAD_EDGE, PAD_REFLECT

cdef struct Augmented:
    Gather gather
    idx work                    # [LANES] moved images [C][H][W], and a frame (make_frame), in the thread's own memory
    int move, pad, flip, tone, mix
    idx shift, cutout
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


cdef enum: PLACES = 256         # that are worked out at once, whole lanes of whole rows; all their numbers stay in L1
cdef enum: MARGIN = 2           # lines around an image's frame


# Where the pixels of a moved image come from, in units of 2^-bits pixel of the frame: row = row + h * row_h + w * row_w of
# 2^-32 pixel, and so for columns; those of LANES pixels side by side; what lies between them.
cdef struct Places:
    int64_t row, row_h, row_w, col, col_h, col_w
    int bits
    mask_t rows, cols


cdef void find_places(const Augmented* a, const Drawn* d, Places* to) noexcept nogil:
    # The more room a position and twice the image take, the fewer binary places are left of bits_t.
    cdef idx rows = a.gather.rows, cols = a.gather.cols, l
    cdef double one = 4294967296.0, mid_row = (rows - 1) / 2.0, mid_col = (cols - 1) / 2.0, side = -1 if d.flip else 1
    cdef double s = sin(d.angle) / d.factor, t = cos(d.angle) / d.factor, v = d.dy - mid_row, u = d.dx - mid_col
    cdef double far = (fabs(s) + fabs(t)) * (most(rows, cols + 2 * LANES) / 2.0 + a.shift)
    cdef int64_t half
    cdef bits_t line[LANE_MAX]
    cdef int whole
    frexp(most(rows, cols) + 4 + (far if far > most(rows, cols) else most(rows, cols)), &whole)
    to.bits = least(PLACE_BITS, 8 * sizeof(bits_t) - 1 - whole)
    to.row = <int64_t> ((MARGIN + mid_row + s * u + t * v) * one)
    to.col = <int64_t> ((MARGIN + mid_col + side * (t * u - s * v)) * one)
    to.row_w, to.row_h = <int64_t> (s * one), <int64_t> (t * one)
    to.col_w, to.col_h = <int64_t> (side * t * one), <int64_t> (-side * s * one)
    half = (<int64_t> 1 << (32 - to.bits)) >> 1
    to.row += half
    to.col += half
    for l in range(LANES):
        line[l] = <bits_t> ((l * to.row_w + half) >> (32 - to.bits))
    to.rows = mask_load(line)
    for l in range(LANES):
        line[l] = <bits_t> ((l * to.col_w + half) >> (32 - to.bits))
    to.cols = mask_load(line)


cdef inline mask_t inside(mask_t place, idx n, int pad, int bits) noexcept nogil:
    # The place in the frame of n pixels whose neighbours are those of any place, outside too.
    cdef bits_t one = <bits_t> 1 << bits
    if pad == PAD_ZERO:
        return mask_clip(place, mask_set(0), mask_set((n + MARGIN) * one))
    if pad == PAD_EDGE or n == 1:
        return mask_clip(place, mask_set(MARGIN * one), mask_set((n + MARGIN - 1) * one))
    return mask_plus(mask_fold(mask_plus(place, -MARGIN * one), (2 * n - 2) * one, 1 / <real_t> ((2 * n - 2) * one)), MARGIN * one)


cdef void make_frame(const Augmented* a, const pixel_t* x, pixel_t* y) noexcept nogil:
    # y[h][w] = x[h - MARGIN][w - MARGIN] of one channel, with what stands outside. Of bytes each with the one below it, so that
    # a place's four neighbours are one word; a line of zeros is kept beyond the lines.
    cdef idx rows = a.gather.rows, cols = a.gather.cols, wide = cols + 2 * MARGIN, h, i, j, k
    cdef idx edge[2 * MARGIN]
    cdef const pixel_t* line
    cdef const pixel_t* below
    cdef pixel_t* zeros = y + 2 * (rows + 2 * MARGIN - 1) * wide
    for k in range(2 * MARGIN):
        edge[k] = padded(k - MARGIN if k < MARGIN else cols + k - MARGIN, cols, a.pad)
    if pixel_t is uint8_t:
        memset(zeros, 0, cols)
        for h in range(-MARGIN, rows + MARGIN - 1):
            i, j = padded(h, rows, a.pad), padded(h + 1, rows, a.pad)
            line = x + i * cols if i >= 0 else zeros
            below = x + j * cols if j >= 0 else zeros
            bytes_zip(line, below, y + 2 * MARGIN, cols)
            for k in range(2 * MARGIN):
                i = 2 * (k if k < MARGIN else cols + k)
                y[i] = line[edge[k]] if edge[k] >= 0 else 0
                y[i + 1] = below[edge[k]] if edge[k] >= 0 else 0
            y += 2 * wide
    else:
        for h in range(-MARGIN, rows + MARGIN):
            i = padded(h, rows, a.pad)
            if i < 0:
                memset(y, 0, wide * sizeof(pixel_t))
            else:
                line = x + i * cols
                memcpy(y + MARGIN, line, cols * sizeof(pixel_t))
                for k in range(2 * MARGIN):
                    y[k if k < MARGIN else cols + k] = line[edge[k]] if edge[k] >= 0 else 0
            y += wide


cdef void move_between(const Augmented* a, const Drawn* d, const pixel_t* x, real_t* y, pixel_t* frame) noexcept nogil:
    # y[c][h][w] = x[c] at the place that (h, w) came from, between its four neighbours. Three loops over some rows' places:
    # where they are, what stands there, what is between; in one loop, each would wait for the one before.
    cdef idx rows = a.gather.rows, cols = a.gather.cols, wide = cols + 2 * MARGIN, size = (rows + 2 * MARGIN) * wide
    cdef idx c, h, g, i, j, k, n, v, start, height, stop, lines, pieces = tile_count(cols, PLACES)
    cdef Places at
    cdef bits_t where[PLACES]
    cdef bits_t words[PLACES]
    cdef real_t near[4][PLACES]
    cdef real_t p[PLACES]
    cdef real_t q[PLACES]
    cdef int64_t row_at, col_at
    cdef mask_t row, col, parts
    cdef lane_t unit, value
    cdef const pixel_t* corner
    if pixel_t is uint8_t:
        size = 2 * (size - wide)
    for c in range(a.gather.channels):
        make_frame(a, x + c * rows * cols, frame + c * size)
    find_places(a, d, &at)
    parts = mask_set((<bits_t> 1 << at.bits) - 1)
    unit = lane_set(1 / <real_t> (<bits_t> 1 << at.bits))
    height = most(1, PLACES // (tile_count(cols, LANES) * LANES))
    for j in range(tile_count(rows, height) * pieces):
        h = j // pieces * height
        start = j % pieces * PLACES
        n = least(PLACES, cols - start)
        lines = tile_count(n, LANES)
        stop = least(rows, h + height)
        i = 0
        for g in range(h, stop):
            row_at = at.row + g * at.row_h + start * at.row_w
            col_at = at.col + g * at.col_h + start * at.col_w
            for v in range(lines):
                row = inside(mask_plus(at.rows, <bits_t> (row_at >> (32 - at.bits))), rows, a.pad, at.bits)
                col = inside(mask_plus(at.cols, <bits_t> (col_at >> (32 - at.bits))), cols, a.pad, at.bits)
                mask_store(where + i, mask_times(mask_down(row, at.bits), wide) + mask_down(col, at.bits))
                lane_store(p + i, lane_of_mask(mask_and(row, parts)) * unit)
                lane_store(q + i, lane_of_mask(mask_and(col, parts)) * unit)
                row_at += LANES * at.row_w
                col_at += LANES * at.col_w
                i += LANES
        for c in range(a.gather.channels):
            corner = frame + c * size
            for g in range(stop - h):
                i = g * lines * LANES
                if pixel_t is uint8_t:
                    words_at(corner, where + i, n, words + i)
                else:
                    for k in range(i, i + n):
                        near[0][k] = corner[where[k]]
                        near[1][k] = corner[where[k] + 1]
                        near[2][k] = corner[where[k] + wide]
                        near[3][k] = corner[where[k] + wide + 1]
            i = 0
            for g in range(h, stop):
                k = (c * rows + g) * cols + start
                for v in range(lines):
                    if pixel_t is uint8_t:
                        value = lane_between_bytes(mask_load(words + i), lane_load(p + i), lane_load(q + i))
                    else:
                        value = lane_between(lane_load(near[0] + i), lane_load(near[1] + i), lane_load(near[2] + i),
                                             lane_load(near[3] + i), lane_load(p + i), lane_load(q + i))
                    if g + 1 < rows or (v + 1) * LANES <= n:
                        lane_store(y + k + v * LANES, value)    # beyond the row's end too: the next row comes later
                    else:
                        lane_store_some(y + k + v * LANES, value, n - v * LANES)
                    i += LANES


cdef double mean_pixel(const pixel_t* x, idx n) noexcept nogil:
    # In double, or whole numbers: 8 sums, which the compiler keeps in lanes.
    cdef double sums[8]
    cdef uint32_t whole[8]
    cdef double total = 0
    cdef idx i, k
    for k in range(8):
        sums[k] = 0
        whole[k] = 0
    for i in range(0, n - n % 8, 8):
        for k in range(8):
            if pixel_t is uint8_t:
                whole[k] += x[i + k]
            else:
                sums[k] += x[i + k]
    for i in range(n - n % 8, n):
        sums[0] += x[i]
    for k in range(8):
        total += sums[k] + whole[k]
    return total / n


cdef void tone(Context* ctx, const Augmented* a, const Drawn* drawn, const double* means) noexcept nogil:
    # y = contrast * y + shift of the lane and channel, y being normalised: (pixel - mean[c]) / std[c].
    cdef const Gather* f = &a.gather
    cdef const real_t* scale = <const real_t*> f.scale
    cdef real_t gain[LANE_MAX]
    cdef real_t offset[LANE_MAX]
    cdef lane_t by, to
    cdef lane_t* y
    cdef idx c, h, w, l
    cdef double unit
    for c in range(f.channels):
        unit = scale[c] * 255.0 if scale else 1
        for l in range(LANES):
            gain[l] = <real_t> drawn[l].contrast
            offset[l] = <real_t> (drawn[l].brightness * unit + (1 - drawn[l].contrast) * (
                means[l] * (scale[c] if scale else 1) + (scale[f.channels + c] if scale else 0)))
        by = lane_load(gain)
        to = lane_load(offset)
        for h in range(f.rows):
            y = ctx.arena + f.y + h * f.row + c
            for w in range(f.cols):
                y[w * f.step] = y[w * f.step] * by + to


cdef void cut_out(Context* ctx, const Augmented* a, const Drawn* drawn) noexcept nogil:
    cdef const Gather* f = &a.gather
    cdef real_t* y
    cdef idx h, l, i, left, right
    for l in range(LANES):
        left = most(drawn[l].col, 0)
        right = least(drawn[l].col + a.cutout, f.cols)
        for h in range(most(drawn[l].row, 0), least(drawn[l].row + a.cutout, f.rows)):
            y = <real_t*> (ctx.arena + f.y + h * f.row) + l
            for i in range(left * f.step, right * f.step):
                y[i * LANES] = 0


cdef void mix_pairs(Context* ctx, const Gather* f, const double* mix) noexcept nogil:
    # Samples 0 and 1, 2 and 3, ... of the batch; a last one without a partner stays. Pairs lie in one shard.
    cdef real_t own[LANE_MAX]
    cdef lane_t* y
    cdef lane_t part, rest
    cdef idx h, i, l
    for l in range(LANES):
        own[l] = <real_t> mix[ctx.first + l] if (l | 1) < ctx.valid else 1
    part = lane_load(own)
    rest = 1 - part
    for h in range(f.rows):
        y = ctx.arena + f.y + h * f.row
        for i in range(f.cols * f.step):
            y[i] = y[i] * part + lane_swap(y[i]) * rest


cdef void gather_augmented(Context* ctx, const Args* args) noexcept nogil:
    # The lanes beyond the batch repeat a sample, as in gather().
    cdef const Augmented* a = &args.augmented
    cdef Bound* b = ctx.bound + a.gather.bound
    cdef const char* rows[LANE_MAX]
    cdef char* work = <char*> (ctx.own + a.work)
    cdef Drawn drawn[LANE_MAX]
    cdef double means[LANE_MAX]
    cdef idx l, size = a.gather.channels * a.gather.rows * a.gather.cols
    cdef char* frame = work + LANES * size * sizeof(real_t)     # of an image that is moved between pixels
    draw(a, b.key, b.position + ctx.first, drawn)
    for l in range(LANES):
        if l >= ctx.valid:
            rows[l], drawn[l], means[l] = rows[0], drawn[0], means[0]
            continue
        rows[l] = target_row(ctx, b, l)
        if a.tone:
            means[l] = mean_pixel(<const uint8_t*> rows[l], size) if b.is_u8 else mean_pixel(<const real_t*> rows[l], size)
        if a.move == MOVE_WHOLE:
            if b.is_u8:
                move_whole(a, drawn + l, <const uint8_t*> rows[l], <uint8_t*> work)
            else:
                move_whole(a, drawn + l, <const real_t*> rows[l], <real_t*> work)
        elif a.move == MOVE_BETWEEN:
            if b.is_u8:
                move_between(a, drawn + l, <const uint8_t*> rows[l], <real_t*> work, <uint8_t*> frame)
            else:
                move_between(a, drawn + l, <const real_t*> rows[l], <real_t*> work, <real_t*> frame)
        if a.move != MOVE_NOT:
            rows[l] = work
            work += size * (1 if b.is_u8 and a.move == MOVE_WHOLE else sizeof(real_t))
    if b.is_u8 and a.move != MOVE_BETWEEN:
        to_lanes(ctx, &a.gather, rows, FROM_U8)
    elif b.is_u8:
        to_lanes(ctx, &a.gather, rows, FROM_SCALED)
    else:
        to_lanes(ctx, &a.gather, rows, FROM_REAL)
    if a.tone:
        tone(ctx, a, drawn, means)
    if a.cutout:
        cut_out(ctx, a, drawn)
    if a.mix and b.mix:
        mix_pairs(ctx, &a.gather, b.mix)
