# Between the caller's arrays (sample after sample, NCHW) and lanes.

cdef struct Gather:
    idx bound, y                # bound array; lanes in the arena
    idx channels, rows, cols
    idx row, step               # lanes between rows and between pixels
    idx zero                    # lanes beyond the batch are zero, as a gradient's must be
    idx scale                   # address of scale[C] then shift[C], or 0; applied to uint8 input


cdef enum: FETCHED = 4096       # bytes of an image that are asked for ahead: those that follow, the processor asks for itself
cdef enum: FROM_U8, FROM_REAL, FROM_SCALED      # what a sample's numbers are: uint8, as they are, or real_t that is scaled


cdef inline void to_lanes(Context* ctx, const Gather* f, const char** rows, idx c, lane_t by, lane_t to,
                          int kind) noexcept nogil:
    # y[h][w][c] = rows[lane][c][h][w] * by + to, of one channel.
    cdef lane_t block[LANE_MAX]
    cdef real_t line[LANE_MAX]
    cdef lane_t* y
    cdef idx h, w, i, l, at, n, cols = f.cols, lines = f.rows
    if f.row == cols * f.step:                          # no border: a channel is one long line
        cols = cols * lines
        lines = 1
    for h in range(lines):
        w = 0
        while w < cols:
            w = least(w, most(cols - LANES, 0))         # of the last, a whole vector: some columns once more
            at = (c * lines + h) * cols + w
            n = least(cols, LANES)
            for l in range(LANES):
                if kind != FROM_U8:
                    block[l] = lane_load_some(<const real_t*> rows[l] + at, n, lane_set(0))
                elif n == LANES:
                    block[l] = lane_load_u8(<const uint8_t*> rows[l] + at)
                else:
                    for i in range(LANES):
                        line[i] = (<const uint8_t*> rows[l])[at + i] if i < n else 0
                    block[l] = lane_load(line)
            for l in range(ctx.valid, LANES if f.zero else 0):
                block[l] = lane_set(0)
            lane_transpose(block)
            y = lanes_at(ctx, f.y) + h * f.row + w * f.step + c
            for i in range(n):
                y[i * f.step] = block[i] if kind == FROM_REAL else block[i] * by + to
            w += LANES


cdef inline void look_ahead(Context* ctx, Bound* b) noexcept nogil:
    # From now on, rows of the next shard are asked for.
    if b.index and ctx.next < ctx.n:
        ctx.ahead, ctx.ahead_row = b, ctx.next


cdef inline void ask_ahead(Context* ctx) noexcept nogil:
    # A row of the next shard, which an epoch's order takes from anywhere in memory: it comes while this shard is worked on.
    cdef const char* row = ctx.ahead.data + ctx.ahead.index[ctx.ahead_row] * ctx.ahead.row_bytes
    cdef idx i
    for i in range(0, least(ctx.ahead.row_bytes, FETCHED), 64):
        line_prefetch(row + i)
    ctx.ahead_row += 1
    if ctx.ahead_row == least(ctx.next + LANES, ctx.n):
        ctx.ahead = NULL


cdef void gather(Context* ctx, const Args* args) noexcept nogil:
    # The lanes beyond the batch repeat a sample (a function that is not finite at 0 would make a NaN of their gradient of 0)
    # or are zero.
    cdef const Gather* f = &args.gather
    cdef Bound* b = ctx.bound + f.bound
    cdef const char* rows[LANE_MAX]
    cdef const real_t* scale = <const real_t*> f.scale
    cdef idx l, c
    for l in range(LANES):
        rows[l] = target_row(ctx, b, l if l < ctx.valid else 0)
    for c in range(f.channels):
        if b.is_u8:
            to_lanes(ctx, f, rows, c, lane_set(scale[c]), lane_set(scale[f.channels + c]), FROM_U8)
        else:
            to_lanes(ctx, f, rows, c, lane_set(1), lane_set(0), FROM_REAL)
    look_ahead(ctx, b)


cdef void scatter(Context* ctx, const Args* args) noexcept nogil:
    # out[n][c][h][w] = y[h][w][c], for the samples that exist.
    cdef const Gather* f = &args.gather
    cdef Bound* b = ctx.bound + f.bound
    cdef lane_t block[LANE_MAX]
    cdef real_t line[LANE_MAX]
    cdef const lane_t* y
    cdef real_t* out
    cdef idx c, h, w, i, l, n
    for c in range(f.channels):
        for h in range(f.rows):
            w = 0
            while w < f.cols:
                n = f.cols - w if f.cols - w < LANES else LANES
                y = lanes_at(ctx, f.y) + h * f.row + w * f.step + c
                for i in range(LANES):
                    block[i] = y[i * f.step] if i < n else lane_set(0)
                lane_transpose(block)
                for l in range(ctx.valid):
                    out = <real_t*> (b.data + (ctx.first + l) * b.row_bytes) + (c * f.rows + h) * f.cols + w
                    lane_store(line, block[l])
                    for i in range(n):
                        out[i] = line[i]
                w += LANES
