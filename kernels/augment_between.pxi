# Images moved between pixels: frames, places in them, and what stands between four neighbours; part of augment.pxi.

cdef enum: COLUMNS = 32         # whose places are worked out at once: they, and what they come from, take 12 KB


cdef inline int64_t fixed(double v) noexcept nogil:
    # In units of 2^-32 pixel.
    return <int64_t> (v * 4294967296.0)


cdef inline real_t part_of(int64_t v) noexcept nogil:
    return <bits_t> (<uint32_t> v >> (32 - PART_BITS)) * (1 / <real_t> (<int64_t> 1 << PART_BITS))


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


cdef inline void copy(const pixel_t* x, pixel_t* y, idx n, uint8_t flip) noexcept nogil:
    # Bytes with these bits turned.
    if pixel_t is uint8_t:
        bytes_copy(x, y, n, flip)
    else:
        memcpy(y, x, n * sizeof(pixel_t))


cdef apart_t make_frame(const Augmented* a, const pixel_t* x, pixel_t* y, uint8_t flip) noexcept nogil:
    # y[h][w] = x[h - above][w - beside] of one channel, with what stands outside; of zeros the frame has them already. Sides
    # and lines are mirrored from the inside out: those that are mirrored are there already. flip: bits that are turned.
    cdef idx rows = a.gather.rows, cols = a.gather.cols, beside = a.beside, wide = cols + 2 * beside, h, k
    cdef int edge = a.pad == PAD_EDGE or cols == 1
    y += a.above * wide + beside
    for h in range(rows):
        copy(x + h * cols, y + h * wide, cols, flip)
    if a.pad == PAD_ZERO:
        return
    if pixel_t is uint8_t and (edge or beside < cols):
        bytes_sides(y, wide, rows, cols, beside, edge)
    else:
        for h in range(rows):
            for k in range(1, beside + 1):
                y[h * wide - k] = y[h * wide + (0 if edge else k)]
                y[h * wide + cols - 1 + k] = y[h * wide + cols - 1 - (0 if edge else k)]
    edge = a.pad == PAD_EDGE or rows == 1
    y -= beside
    for h in range(1, a.above + 1):
        k = 0 if edge else h
        copy(y + k * wide, y - h * wide, wide, 0)
        copy(y + (rows - 1 - k) * wide, y + (rows - 1 + h) * wide, wide, 0)


cdef void turn_to(const Augmented* a, const Drawn* d, idx beside, spots_t* first, spots_t* right,
                  spots_t* down) noexcept nogil:
    # Where in a frame the first pixel of each lane comes from, and how far on those at its right and below it do.
    cdef double mid_row = (a.gather.rows - 1) / 2.0, mid_col = (a.gather.cols - 1) / 2.0, side, s, t, up, along
    cdef double angle[LANE_MAX]
    cdef double sines[LANE_MAX]
    cdef double cosines[LANE_MAX]
    cdef idx l
    for l in range(LANES):
        angle[l] = d[l].angle
    angles_split(angle, sines, cosines)
    for l in range(LANES):
        side = -1 if d[l].flip else 1
        s, t, up, along = sines[l] / d[l].factor, cosines[l] / d[l].factor, d[l].dy - mid_row, d[l].dx - mid_col
        first.row[l] = fixed(mid_row + s * along + t * up) + (<int64_t> a.above << 32)
        first.col[l] = fixed(mid_col + side * (t * along - s * up)) + (<int64_t> beside << 32)
        right.row[l], right.col[l] = fixed(s), fixed(side * t)
        down.row[l], down.col[l] = fixed(t), fixed(-side * s)


cdef void places_within(const Augmented* a, const spots_t* begin, const spots_t* right, idx start, idx n, const bits_t* offsets,
                        places_t* to) noexcept nogil:
    # The places of n pixels of a row, of which some are outside: what stands there is elsewhere in a frame.
    cdef idx wide = a.gather.cols + 2 * a.beside, l, w
    cdef int64_t r, e
    for l in range(LANES):
        for w in range(n):
            r = begin.row[l] + (start + w) * right.row[l]
            e = begin.col[l] + (start + w) * right.col[l]
            (<bits_t*> &to[w].at)[l] = <bits_t> (offsets[l] + cell((r >> 32) - a.above, a.gather.rows, a.above, a.pad) * wide +
                                                 cell((e >> 32) - a.beside, a.gather.cols, a.beside, a.pad))
            (<real_t*> &to[w].row)[l] = part_of(r)
            (<real_t*> &to[w].col)[l] = part_of(e)


cdef apart_t move_between(Context* ctx, const Augmented* a, const Drawn* drawn, const char** rows, const double* means,
                          pixel_t* work) noexcept nogil:
    # y[h][w][c] = what stands where (h, w) came from, between four neighbours, as tone() changes it. A place is where its row
    # begins and how far it is from there, both as whole pixels and part; the sum of two parts may carry. Bytes stand in a
    # frame each with the one below it, so that the four neighbours are one word.
    cdef const Gather* f = &a.gather
    cdef idx size = f.rows * f.cols, wide = f.cols + 2 * a.beside, start, n, c, h, w, l, i
    cdef idx lines                                      # that are worked out at once
    cdef pixel_t* frames = work
    cdef spots_t first, right, down, spot
    cdef bits_t offsets[LANE_MAX]
    cdef places_t begin
    cdef places_t from_begin[COLUMNS]
    cdef places_t places[COLUMNS + 1]
    cdef mask_t frame
    cdef lane_t by, to
    cdef lane_t* y
    if pixel_t is uint8_t:
        frames = work + a.frame
    if a.pad == PAD_ZERO:
        memset(work, 0, a.frame * (1 if pixel_t is uint8_t else LANES * sizeof(pixel_t)))
    turn_to(a, drawn, a.beside, &first, &right, &down)
    for l in range(LANES):
        offsets[l] = <bits_t> (l * a.frame) if l < ctx.valid else 0
    frame = mask_load(offsets)
    for c in range(f.channels):
        for l in range(ctx.valid):
            if l + 1 < ctx.valid:
                fetch(rows[l + 1] + c * size * sizeof(pixel_t), size * sizeof(pixel_t))
            if pixel_t is uint8_t:
                make_frame(a, <const pixel_t*> rows[l] + c * size, work, 0)
                bytes_zip(work, work + wide, frames + 2 * l * a.frame, (f.rows + 2 * a.above - 1) * wide)
            else:
                make_frame(a, <const pixel_t*> rows[l] + c * size, frames + l * a.frame, 0)
        tone(a, drawn, means, c, &by, &to)
        for i in range(tile_count(f.cols, COLUMNS)):
            start = i * COLUMNS
            n = least(COLUMNS, f.cols - start)
            lines = f.rows if a.within and n > 1 else 1 # one, where each place is looked at, or a row begins where it ends
            for l in range(LANES):
                spot.row[l], spot.col[l] = start * right.row[l], start * right.col[l]
            for w in range(n):
                spots_split(&spot, <bits_t> wide, mask_set(0), from_begin + w)
                spots_move(&spot, &right)
            spot = first
            spots_split(&spot, <bits_t> wide, frame, &begin)
            for w in range(n):
                places[w] = places_add(from_begin + w, &begin, <bits_t> wide)
            places[n].at = frame                        # read, and not used
            for h in range(f.rows // lines):
                if not a.within:
                    places_within(a, &spot, &right, start, n, offsets, places)
                y = lanes_at(ctx, f.y) + h * lines * f.row + start * f.step + c
                if pixel_t is uint8_t:
                    rows_between_bytes(frames, wide, places, n, lines, &spot, &down, from_begin, frame, by, to, y, f.row,
                                       f.step)
                else:
                    rows_between(frames, wide, places, n, lines, &spot, &down, from_begin, frame, by, to, y, f.row, f.step)


cdef apart_t move_tiles(Context* ctx, const Augmented* a, const Drawn* drawn, const char** rows, const double* means,
                        uint8_t* work) noexcept nogil:
    # What move_between does, of bytes, where every place is within the frame and a tile's are near each other. Zeros at the end
    # of a line are those before the next one, and a place to the left of the first column is at the end of the line above.
    cdef const Gather* f = &a.gather
    cdef idx size = f.rows * f.cols, beside = 0 if a.pad == PAD_ZERO else a.beside, wide = f.cols + a.beside + beside, c, l
    cdef spots_t first, right, down
    cdef bits_t offsets[LANE_MAX]
    cdef tiles_t tiles
    cdef lane_t by, to
    turn_to(a, drawn, beside, &first, &right, &down)
    for l in range(LANES):
        offsets[l] = <bits_t> (l * a.frame) if l < ctx.valid else 0
    tiles_begin(&first, &right, &down, &tiles)
    for c in range(f.channels):
        for l in range(ctx.valid):
            if l + 1 < ctx.valid:
                fetch(rows[l + 1] + c * size, size)
            if a.pad == PAD_ZERO:
                frame_zeros(<const uint8_t*> rows[l] + c * size, work + l * a.frame, f.rows, f.cols, wide, a.above, a.frame)
            else:
                make_frame(a, <const uint8_t*> rows[l] + c * size, work + l * a.frame, 0x80)
        if a.pad == PAD_ZERO:
            memset(work + ctx.valid * a.frame, 0x80, a.above * wide)
        tone(a, drawn, means, c, &by, &to)
        tiles_between(work, wide, offsets, &tiles, &right, &down, f.rows, f.cols, by, to, lanes_at(ctx, f.y) + c, f.row,
                      f.step)
