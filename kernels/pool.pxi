# Pooling over windows of an image. Windows are clipped at the image's edge: padding is never read.

cdef struct Pool:
    idx x, y, where             # lanes in the arena; where: the winner's place in its window, one mask_t per output; or < 0
    idx rows, cols, channels    # of y
    idx x_rows, x_cols, x_row, y_row    # of x; lanes between rows
    idx kh, kw, sh, sw, ph, pw
    idx relu                    # max: clamp at zero, and let no gradient through where the winner is not above zero
    idx add                     # backward: add to what is there
    idx count_pad               # avg: divide by the whole window, padding included
    idx clipped                 # whether a window may hang over the far edge without padding


cdef inline idx most(idx a, idx b) noexcept nogil:
    return a if a > b else b


cdef inline idx least(idx a, idx b) noexcept nogil:
    return a if a < b else b


cdef inline idx avg_size(const Pool* a, idx y0, idx x0) noexcept nogil:
    # How many cells the window at (y0, x0) is averaged over: PyTorch's rule, which clips at the padded edge.
    cdef idx y1, x1
    if a.count_pad:
        y1 = least(y0 + a.kh, a.x_rows + a.ph)
        x1 = least(x0 + a.kw, a.x_cols + a.pw)
        return (y1 - y0) * (x1 - x0)
    y1 = least(y0 + a.kh, a.x_rows)
    x1 = least(x0 + a.kw, a.x_cols)
    return (y1 - most(y0, 0)) * (x1 - most(x0, 0))


cdef inline void take_larger(lane_t v, bits_t place, lane_t* best, mask_t* at) noexcept nogil:
    # NaN wins.
    cdef choice_t wins = choice_above(v, best[0])
    best[0] = lane_choose(wins, v, best[0])
    at[0] = mask_choose(wins, mask_set(place), at[0])


cdef void max_pool_rows(const Pool* a, const lane_t* x, lane_t* y, mask_t* where, idx first, idx rows) noexcept nogil:
    # Output rows first .. first+rows; x is the image's first pixel, y and where point at row `first`.
    cdef idx oy, ox, c, i, j, y0, x0, i0, i1, j0, j1
    cdef const lane_t* p
    cdef lane_t best
    cdef mask_t at
    for oy in range(rows):
        y0 = (first + oy) * a.sh - a.ph
        i0 = most(-y0, 0)
        i1 = least(a.kh, a.x_rows - y0)
        for ox in range(a.cols):
            x0 = ox * a.sw - a.pw
            j0 = most(-x0, 0)
            j1 = least(a.kw, a.x_cols - x0)
            p = x + y0 * a.x_row + x0 * a.channels
            for c in range(a.channels):
                best = p[i0 * a.x_row + j0 * a.channels + c]
                at = mask_set(<bits_t> (i0 * a.kw + j0))
                for i in range(i0, i1):
                    for j in range(j0, j1):
                        take_larger(p[i * a.x_row + j * a.channels + c], <bits_t> (i * a.kw + j), &best, &at)
                y[oy * a.y_row + ox * a.channels + c] = lane_relu(best) if a.relu else best
                if where:
                    where[(oy * a.cols + ox) * a.channels + c] = at


cdef void max_pool_2x2(const Pool* a, const lane_t* x, lane_t* y, mask_t* where, idx first, idx rows) noexcept nogil:
    # The same for 2x2 windows with stride 2 and no padding.
    cdef idx oy, ox, c, n = a.channels
    cdef const lane_t* p
    cdef lane_t best
    cdef mask_t at
    for oy in range(rows):
        for ox in range(a.cols):
            p = x + (first + oy) * 2 * a.x_row + ox * 2 * n
            for c in range(n):
                best = p[c]
                at = mask_set(0)
                take_larger(p[n + c], 1, &best, &at)
                take_larger(p[a.x_row + c], 2, &best, &at)
                take_larger(p[a.x_row + n + c], 3, &best, &at)
                y[c] = lane_relu(best) if a.relu else best
                if where:
                    where[c] = at
            y += n
            where = where + n if where else NULL
        y += a.y_row - a.cols * n


cdef inline int is_2x2(const Pool* a) noexcept nogil:
    return a.kh == 2 and a.kw == 2 and a.sh == 2 and a.sw == 2 and a.ph == 0 and a.pw == 0 and not a.clipped


cdef void max_pool(Context* ctx, const Args* args) noexcept nogil:
    cdef const Pool* a = &args.pool
    (max_pool_2x2 if is_2x2(a) else max_pool_rows)(
        a, lanes_at(ctx, a.x), lanes_at(ctx, a.y), NULL if a.where < 0 else <mask_t*> lanes_at(ctx, a.where), 0, a.rows)


cdef void max_pool_2x2_backward(Context* ctx, const Args* args) noexcept nogil:
    # args.x is dx, args.y is dy; every pixel of a window is written once.
    cdef const Pool* a = &args.pool
    cdef idx oy, ox, c, n = a.channels
    cdef const mask_t* where = <const mask_t*> (lanes_at(ctx, a.where))
    cdef const lane_t* dy
    cdef lane_t* p
    cdef lane_t g
    cdef mask_t at
    for oy in range(a.rows):
        dy = lanes_at(ctx, a.y) + oy * a.y_row
        for ox in range(a.cols):
            p = lanes_at(ctx, a.x) + oy * 2 * a.x_row + ox * 2 * n
            for c in range(n):
                g = dy[c]
                at = where[c]
                p[c] = lane_keep(mask_eq(at, mask_set(0)), g)
                p[n + c] = lane_keep(mask_eq(at, mask_set(1)), g)
                p[a.x_row + c] = lane_keep(mask_eq(at, mask_set(2)), g)
                p[a.x_row + n + c] = lane_keep(mask_eq(at, mask_set(3)), g)
            dy += n
            where += n


cdef void clear_image(lane_t* x, const Pool* a) noexcept nogil:
    cdef idx r
    for r in range(a.x_rows):
        memset(x + r * a.x_row, 0, a.x_cols * a.channels * sizeof(lane_t))


cdef void max_pool_backward(Context* ctx, const Args* args) noexcept nogil:
    cdef const Pool* a = &args.pool
    cdef idx oy, ox, c, i, j, y0, x0
    cdef const mask_t* where = <const mask_t*> (lanes_at(ctx, a.where))
    cdef lane_t* p
    cdef lane_t g
    if is_2x2(a) and not a.add and a.x_rows == 2 * a.rows and a.x_cols == 2 * a.cols:
        max_pool_2x2_backward(ctx, args)
        return
    if not a.add:
        clear_image(lanes_at(ctx, a.x), a)
    for oy in range(a.rows):
        y0 = oy * a.sh - a.ph
        for ox in range(a.cols):
            x0 = ox * a.sw - a.pw
            for c in range(a.channels):
                g = lanes_at(ctx, a.y)[oy * a.y_row + ox * a.channels + c]
                for i in range(most(-y0, 0), least(a.kh, a.x_rows - y0)):
                    for j in range(most(-x0, 0), least(a.kw, a.x_cols - x0)):
                        p = lanes_at(ctx, a.x) + (y0 + i) * a.x_row + (x0 + j) * a.channels + c
                        p[0] = p[0] + lane_keep(mask_eq(where[c], mask_set(<bits_t> (i * a.kw + j))), g)
            where += a.channels


cdef void avg_pool(Context* ctx, const Args* args) noexcept nogil:
    cdef const Pool* a = &args.pool
    cdef idx oy, ox, c, i, j, y0, x0
    cdef lane_t sum
    cdef real_t scale
    for oy in range(a.rows):
        y0 = oy * a.sh - a.ph
        for ox in range(a.cols):
            x0 = ox * a.sw - a.pw
            scale = <real_t> (1.0 / avg_size(a, y0, x0))
            for c in range(a.channels):
                sum = lane_set(0)
                for i in range(most(-y0, 0), least(a.kh, a.x_rows - y0)):
                    for j in range(most(-x0, 0), least(a.kw, a.x_cols - x0)):
                        sum = sum + lanes_at(ctx, a.x)[(y0 + i) * a.x_row + (x0 + j) * a.channels + c]
                lanes_at(ctx, a.y)[oy * a.y_row + ox * a.channels + c] = sum * scale


cdef void avg_pool_backward(Context* ctx, const Args* args) noexcept nogil:
    cdef const Pool* a = &args.pool
    cdef idx oy, ox, c, i, j, y0, x0
    cdef lane_t g
    cdef lane_t* p
    cdef real_t scale
    if not a.add:
        clear_image(lanes_at(ctx, a.x), a)
    for oy in range(a.rows):
        y0 = oy * a.sh - a.ph
        for ox in range(a.cols):
            x0 = ox * a.sw - a.pw
            scale = <real_t> (1.0 / avg_size(a, y0, x0))
            for c in range(a.channels):
                g = lanes_at(ctx, a.y)[oy * a.y_row + ox * a.channels + c] * scale
                for i in range(most(-y0, 0), least(a.kh, a.x_rows - y0)):
                    for j in range(most(-x0, 0), least(a.kw, a.x_cols - x0)):
                        p = lanes_at(ctx, a.x) + (y0 + i) * a.x_row + (x0 + j) * a.channels + c
                        p[0] = p[0] + g
