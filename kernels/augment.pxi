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
    idx frame                   # bytes of the frames of an image's channels
    idx above, beside           # lines and columns that a frame has on each side of the image
    int within                  # no place between pixels is outside the frame
    double turn, low, high, brightness, contrast        # greatest angle in radians; least and greatest factor

ctypedef fused pixel_t:
    uint8_t
    real_t

ctypedef fused unit_t:          # of a frame
    uint16_t
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


cdef inline int64_t fixed(double v) noexcept nogil:
    # In units of 2^-32 pixel.
    return <int64_t> (v * 4294967296.0)


cdef inline bits_t part_of(int64_t v) noexcept nogil:
    return <bits_t> (<uint32_t> v >> (32 - PART_BITS))


cdef inline idx cell(idx i, idx n, idx m, int pad) noexcept nogil:
    # The place in a frame of n pixels and m on each side where what is at i and i + 1 stands side by side, counted from its
    # first. Where i is outside, m is more than n.
    if i < -m or i > n + m - 2:
        if pad == PAD_REFLECT and n > 1:
            i %= 2 * n - 2
            i += 2 * n - 2 if i < 0 else 0
        else:
            i = -m if i < 0 else n + m - 2
    return i + m


cdef inline void mirror(unit_t* y, idx n, idx m, int pad) noexcept nogil:
    # m numbers on each side of a line of n, from the inside out: those that are mirrored are there already.
    cdef idx k
    for k in range(1, m + 1):
        y[-k] = y[k if pad == PAD_REFLECT and n > 1 else 0]
        y[n - 1 + k] = y[n - 1 - k if pad == PAD_REFLECT and n > 1 else n - 1]


cdef void make_frame(const Augmented* a, const pixel_t* x, pixel_t* y) noexcept nogil:
    # y[h][w] = x[h - above][w - beside] of one channel, with what stands outside; of zeros the frame has them already. Of
    # bytes each with the one below it, so that a place's four neighbours are one word.
    cdef idx rows = a.gather.rows, cols = a.gather.cols, wide = cols + 2 * a.beside, h, i, j
    cdef idx each = 2 if pixel_t is uint8_t else 1, first = -a.above, stop = rows + a.above - (each - 1)
    cdef const pixel_t* zeros = y
    if a.pad == PAD_ZERO:
        first, stop = 1 - each, rows
    y += (a.above * wide + a.beside) * each
    for h in range(first, stop):
        i = padded(h, rows, a.pad)
        if pixel_t is uint8_t:
            j = padded(h + 1, rows, a.pad)
            bytes_zip(x + i * cols if i >= 0 else zeros, x + j * cols if j >= 0 else zeros, y + h * wide * each, cols)
        else:
            memcpy(y + h * wide, x + i * cols, cols * sizeof(pixel_t))
    if a.pad != PAD_ZERO:
        for h in range(first, stop):
            if pixel_t is uint8_t:
                mirror(<uint16_t*> y + h * wide, cols, a.beside, a.pad)
            else:
                mirror(y + h * wide, cols, a.beside, a.pad)


cdef void move_between(const Augmented* a, const Drawn* d, const pixel_t* x, real_t* y, pixel_t* frame) noexcept nogil:
    # y[c][h][w] = x[c] at the place that (h, w) came from, between its four neighbours. A place is where its row begins and
    # how far it is from there, both as whole pixels and part; the sum of two parts may carry. Several loops over some rows'
    # places: where each is, what stands there, what is between; in one loop, each would wait for the one before.
    cdef idx rows = a.gather.rows, cols = a.gather.cols, wide = cols + 2 * a.beside, size = (rows + 2 * a.above) * wide
    cdef idx each = 2 if pixel_t is uint8_t else 1, c, h, g, i, j, k, n, v, w, start, height, count, lines
    cdef double mid_row = (rows - 1) / 2.0, mid_col = (cols - 1) / 2.0, side = -1 if d.flip else 1
    cdef double s = sin(d.angle) / d.factor, t = cos(d.angle) / d.factor, up = d.dy - mid_row, along = d.dx - mid_col
    cdef int64_t right = fixed(s), right_col = fixed(side * t), down = fixed(t), down_col = fixed(-side * s)    # a pixel on
    cdef int64_t row = fixed(mid_row + s * along + t * up) + (<int64_t> a.above << 32), r
    cdef int64_t col = fixed(mid_col + side * (t * along - s * up)) + (<int64_t> a.beside << 32), e
    cdef bits_t from_begin[PLACES]
    cdef real_t row_from[PLACES]
    cdef real_t col_from[PLACES]
    cdef bits_t begins[PLACES]
    cdef real_t row_begins[PLACES]
    cdef real_t col_begins[PLACES]
    cdef bits_t at[PLACES]
    cdef real_t p[PLACES]
    cdef real_t q[PLACES]
    cdef bits_t words[PLACES]
    cdef real_t near[4][PLACES]
    cdef real_t unit = 1 / <real_t> (<int64_t> 1 << PART_BITS)
    cdef mask_t place
    cdef lane_t row_part, col_part, value
    cdef const pixel_t* corner
    cdef real_t* to
    for c in range(a.gather.channels):
        make_frame(a, x + c * rows * cols, frame + c * size * each)
    for j in range(tile_count(cols, PLACES)):
        start = j * PLACES
        n = least(PLACES, cols - start)
        lines = tile_count(n, LANES)
        height = PLACES // (lines * LANES)
        for w in range(lines * LANES):
            from_begin[w] = <bits_t> (((start + w) * right >> 32) * wide + ((start + w) * right_col >> 32))
            row_from[w] = <real_t> part_of((start + w) * right) * unit
            col_from[w] = <real_t> part_of((start + w) * right_col) * unit
        for i in range(tile_count(rows, height)):
            h = i * height
            count = least(height, rows - h)
            for g in range(count):
                begins[g] = <bits_t> ((row + (h + g) * down >> 32) * wide + (col + (h + g) * down_col >> 32))
                row_begins[g] = <real_t> part_of(row + (h + g) * down) * unit
                col_begins[g] = <real_t> part_of(col + (h + g) * down_col) * unit
            for g in range(count):
                for v in range(lines):
                    k = (g * lines + v) * LANES
                    row_part = lane_load(row_from + v * LANES) + row_begins[g]
                    col_part = lane_load(col_from + v * LANES) + col_begins[g]
                    place = mask_plus(mask_load(from_begin + v * LANES), begins[g])
                    place = mask_carry(place, <bits_t> wide, &row_part)
                    mask_store(at + k, mask_carry(place, 1, &col_part))
                    lane_store(p + k, row_part)
                    lane_store(q + k, col_part)
            if not a.within:
                for k in range(count * lines * LANES):
                    g, w = h + k // (lines * LANES), start + k % (lines * LANES)
                    r = row + g * down + w * right
                    e = col + g * down_col + w * right_col
                    at[k] = <bits_t> (cell((r >> 32) - a.above, rows, a.above, a.pad) * wide +
                                      cell((e >> 32) - a.beside, cols, a.beside, a.pad))
                    p[k], q[k] = <real_t> part_of(r) * unit, <real_t> part_of(e) * unit
            for c in range(a.gather.channels):
                corner = frame + c * size * each
                if pixel_t is uint8_t:
                    words_at(corner, at, n, count, lines * LANES, words)
                else:
                    for g in range(count):
                        for k in range(g * lines * LANES, g * lines * LANES + n):
                            near[0][k] = corner[at[k]]
                            near[1][k] = corner[at[k] + 1]
                            near[2][k] = corner[at[k] + wide]
                            near[3][k] = corner[at[k] + wide + 1]
                for g in range(count):
                    to = y + (c * rows + h + g) * cols + start
                    for v in range(lines):
                        k = (g * lines + v) * LANES
                        if pixel_t is uint8_t:
                            value = lane_between_bytes(mask_load(words + k), lane_load(p + k), lane_load(q + k))
                        else:
                            value = lane_between(lane_load(near[0] + k), lane_load(near[1] + k), lane_load(near[2] + k),
                                                 lane_load(near[3] + k), lane_load(p + k), lane_load(q + k))
                        lane_store_some(to + v * LANES, value, least(LANES, n - v * LANES))


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
    if a.move == MOVE_BETWEEN and a.pad == PAD_ZERO:
        memset(frame, 0, a.frame)
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
