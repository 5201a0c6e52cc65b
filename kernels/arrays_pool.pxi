# Pooling of planes (H, W): first over the rows of a window, for all columns, then over its columns. With the places of the
# winners: rows in phases as in arrays_columns.pxi, vectors over neighbouring outputs for any stride.

cdef struct Pooling:
    Window w
    const real_t* x             # x, or dy
    real_t* y                   # y, or dx
    int64_t* where              # of max-pooling: h*W + w of the winner; NULL if not wanted
    idx count_pad, divisor      # of average pooling; divisor 0: the window's size


cdef inline idx valid_rows(const Window* a, idx oy, idx* i0) noexcept nogil:
    # The taps [i0, stop) whose rows lie in the image.
    cdef idx y0 = oy * a.sh - a.top
    i0[0] = (-y0 + a.dh - 1) // a.dh if y0 < 0 else 0
    return least(a.kh, (a.h - y0 + a.dh - 1) // a.dh)


cdef void max_places(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # NaN wins; the first of equals does. scratch: [KH][SW][pitch], then the offset of each tap.
    cdef const Pooling* p = <const Pooling*> job
    cdef const Window* a = &p.w
    cdef idx pitch = phase_pitch(a), row = pitch * a.sw, plane, oy, ox, k, i, i0, i1, j, y0, l, n, c
    cdef idx* offset = <idx*> (scratch + (a.kh * row + LANES) // LANES * LANES)
    cdef real_t low = -INFINITY
    cdef const real_t* s
    cdef lane_t best, v
    cdef mask_t at, wins, columns
    cdef bits_t places[LANE_MAX]
    cdef real_t line[LANE_MAX]
    cdef real_t* y
    cdef int64_t* where
    for j in range(a.kw):
        offset[j] = j * a.dw % a.sw * pitch + j * a.dw // a.sw
    columns = mask_times(mask_iota(), <bits_t> a.sw)
    for plane in range(first, last):
        for oy in range(a.oh):
            y0 = oy * a.sh - a.top
            i1 = valid_rows(a, oy, &i0)
            for i in range(i0, i1):
                spread_row(a, p.x + (plane * a.h + y0 + i * a.dh) * a.w, low, scratch + i * row, pitch)
            y = p.y + (plane * a.oh + oy) * a.ow
            for k in range(blocks(a.ow)):
                ox = k * LANES
                n = least(LANES, a.ow - ox)
                best = lane_set(low)
                c = (y0 + i0 * a.dh) * a.w + ox * a.sw - a.left         # the first tap of the first output
                at = mask_plus(columns, <bits_t> c)
                for i in range(i0, i1):
                    s = scratch + i * row + ox
                    for j in range(a.kw):
                        v = lane_load(s + offset[j])
                        wins = mask_or(lane_gt(v, best), lane_nan(v))
                        best = lane_select(wins, v, best)
                        at = mask_select(wins, mask_plus(columns, <bits_t> (c + (i - i0) * a.dh * a.w + j * a.dw)), at)
                lane_store_some(y + ox, best, n)
                mask_store(places, at)
                where = p.where + (plane * a.oh + oy) * a.ow + ox
                lane_store(line, best)
                for l in range(n):
                    if line[l] == low:          # all -inf: the first cell inside the image
                        j = (ox + l) * a.sw - a.left
                        where[l] = (y0 + i0 * a.dh) * a.w + (j if j >= 0 else j + (-j + a.dw - 1) // a.dw * a.dw)
                    else:
                        where[l] = places[l]


cdef inline void load_pairs(const real_t* x, idx n, lane_t* even, lane_t* odd) noexcept nogil:
    # 2n numbers apart.
    if n == LANES:
        lane_unzip(lane_load(x), lane_load(x + LANES), even, odd)
    else:
        lane_unzip(lane_load_some(x, least(LANES, 2 * n), lane_set(0)),
                   lane_load_some(x + LANES, most(0, 2 * n - LANES), lane_set(0)), even, odd)


cdef inline lane_t lane_larger(lane_t a, lane_t b) noexcept nogil:
    # NaN of either wins.
    return lane_select(mask_or(lane_gt(b, a), lane_nan(b)), b, a)


cdef inline void planes_2x2(const Pooling* p, idx first, idx last, int mean) noexcept nogil:
    # 2x2 windows, stride 2, no padding, no places: even and odd columns come apart in registers.
    cdef const Window* a = &p.w
    cdef idx plane, oy, ox, n
    cdef const real_t* x
    cdef lane_t even, odd, lower_even, lower_odd, v
    cdef real_t scale = <real_t> 1.0 / (p.divisor if p.divisor else 4)
    for plane in range(first, last):
        for oy in range(a.oh):
            x = p.x + (plane * a.h + 2 * oy) * a.w
            ox = 0
            while ox < a.ow:
                n = least(LANES, a.ow - ox)
                load_pairs(x + 2 * ox, n, &even, &odd)
                load_pairs(x + 2 * ox + a.w, n, &lower_even, &lower_odd)
                if mean:
                    v = ((even + odd) + (lower_even + lower_odd)) * scale
                else:
                    v = lane_larger(lane_larger(even, odd), lane_larger(lower_even, lower_odd))
                lane_store_some(p.y + (plane * a.oh + oy) * a.ow + ox, v, n)
                ox += n


cdef void max_planes_2x2(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    planes_2x2(<const Pooling*> job, first, last, 0)


cdef void avg_planes_2x2(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    planes_2x2(<const Pooling*> job, first, last, 1)


cdef void max_planes_backward(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # dx[where] += dy
    cdef const Pooling* p = <const Pooling*> job
    cdef idx plane, i, size = p.w.oh * p.w.ow, image = p.w.h * p.w.w
    cdef real_t* dx
    for plane in range(first, last):
        dx = p.y + plane * image
        memset(dx, 0, image * sizeof(real_t))
        for i in range(plane * size, (plane + 1) * size):
            dx[p.where[i]] += p.x[i]


cdef inline idx window_part(idx start, idx kernel, idx size, idx pad, idx count_pad) noexcept nogil:
    # Cells of a window along one axis that count: PyTorch's rule, which clips at the padded edge.
    if count_pad:
        return least(start + kernel, size + pad) - start
    return least(start + kernel, size) - most(start, 0)


cdef void window_sizes(const Pooling* p, real_t* sizes) noexcept nogil:
    # Of each output column, what the window's width adds to the divisor.
    cdef idx ox
    for ox in range(p.w.ow):
        sizes[ox] = 1 if p.divisor else window_part(ox * p.w.sw - p.w.left, p.w.kw, p.w.w, p.w.left, p.count_pad)


cdef inline real_t window_height(const Pooling* p, idx oy) noexcept nogil:
    return p.divisor if p.divisor else window_part(oy * p.w.sh - p.w.top, p.w.kh, p.w.h, p.w.top, p.count_pad)


cdef inline idx pooled_row(const Window* a) noexcept nogil:
    # Numbers of a row with its borders, and what vectors read beyond them.
    return most(a.left + a.w, blocks(a.ow) * LANES * least(a.sw, 2) + (a.kw - 1) * a.dw) + 2 * LANES


cdef inline lane_t pooled(lane_t v, lane_t w, int mean) noexcept nogil:
    return v + w if mean else lane_larger(v, w)


cdef inline void pool_rows(const Window* a, const real_t* x, idx oy, real_t* row, int mean) noexcept nogil:
    # The rows of a window, all columns of the image: into row[left:left + w].
    cdef idx i, i0, i1 = valid_rows(a, oy, &i0), c = 0, n
    cdef lane_t v, empty = lane_set(0 if mean else -INFINITY)
    x += (oy * a.sh - a.top + i0 * a.dh) * a.w
    while c < a.w:
        n = least(LANES, a.w - c)
        v = lane_load_some(x + c, n, empty) if i0 < i1 else empty
        for i in range(1, i1 - i0):
            v = pooled(v, lane_load_some(x + i * a.dh * a.w + c, n, empty), mean)
        lane_store_some(row + a.left + c, v, n)
        c += LANES


cdef inline lane_t every_second(const real_t* x) noexcept nogil:
    cdef lane_t even, odd
    lane_unzip(lane_load(x), lane_load(x + LANES), &even, &odd)
    return even


cdef inline void pool_planes(const Pooling* p, real_t* row, idx first, idx last, int mean) noexcept nogil:
    # scratch: a row with its borders, then what each output column adds to the divisor.
    cdef const Window* a = &p.w
    cdef idx plane, oy, ox, j, n, length = pooled_row(a)
    cdef real_t* sizes = row + length
    cdef real_t* y
    cdef const real_t* s
    cdef real_t value, height
    cdef lane_t v, size
    fill_row(row, length, 0 if mean else -INFINITY)
    if mean:
        window_sizes(p, sizes)
    for plane in range(first, last):
        for oy in range(a.oh):
            pool_rows(a, p.x + plane * a.h * a.w, oy, row, mean)
            y = p.y + (plane * a.oh + oy) * a.ow
            height = window_height(p, oy) if mean else 1
            if a.sw > 2:
                for ox in range(a.ow):
                    s = row + ox * a.sw
                    value = s[0]
                    for j in range(1, a.kw):
                        s += a.dw
                        if mean:
                            value += s[0]
                        elif s[0] > value or s[0] != s[0]:
                            value = s[0]
                    y[ox] = value / (sizes[ox] * height) if mean else value
                continue
            ox = 0
            while ox < a.ow:
                n = least(LANES, a.ow - ox)
                if a.sw == 1:
                    v = lane_load(row + ox)
                    for j in range(1, a.kw):
                        v = pooled(v, lane_load(row + ox + j * a.dw), mean)
                else:
                    v = every_second(row + 2 * ox)
                    for j in range(1, a.kw):
                        v = pooled(v, every_second(row + 2 * ox + j * a.dw), mean)
                if mean:
                    size = lane_load_some(sizes + ox, n, lane_set(1)) * height
                    v = v / size
                lane_store_some(y + ox, v, n)
                ox += LANES


cdef void max_planes(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # NaN wins.
    pool_planes(<const Pooling*> job, scratch, first, last, 0)


cdef void avg_planes(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    pool_planes(<const Pooling*> job, scratch, first, last, 1)


cdef void avg_planes_backward(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # dx[cell] += dy / size for every cell of the window: a row of windows is spread over the columns, then added to each of its
    # rows. scratch: a row with its borders, dy / size, then the sizes.
    cdef const Pooling* p = <const Pooling*> job
    cdef const Window* a = &p.w
    cdef idx plane, oy, ox, i, i0, i1, j, c, length = pooled_row(a)
    cdef real_t* row = scratch
    cdef real_t* g = row + length
    cdef real_t* sizes = g + a.ow
    cdef real_t* dx
    cdef real_t height
    window_sizes(p, sizes)
    fill_row(row, length, 0)
    for plane in range(first, last):
        memset(p.y + plane * a.h * a.w, 0, a.h * a.w * sizeof(real_t))
        for oy in range(a.oh):
            height = window_height(p, oy)
            for ox in range(a.ow):
                g[ox] = p.x[(plane * a.oh + oy) * a.ow + ox] / (sizes[ox] * height)
            if a.sw == a.kw == 2:
                for ox in range(a.ow):
                    row[2 * ox] = g[ox]
                    row[2 * ox + 1] = g[ox]
            elif a.sw >= a.kw:
                for ox in range(a.ow):
                    for j in range(a.kw):
                        row[ox * a.sw + j] = g[ox]
            else:
                memset(row, 0, length * sizeof(real_t))
                for j in range(a.kw):
                    if a.sw == 1:
                        for ox in range(a.ow):
                            row[j + ox] += g[ox]
                    else:
                        for ox in range(a.ow):
                            row[j + ox * a.sw] += g[ox]
            i1 = valid_rows(a, oy, &i0)
            for i in range(i0, i1):
                dx = p.y + (plane * a.h + oy * a.sh - a.top + i) * a.w
                for c in range(a.w):
                    dx[c] += row[a.left + c]


cdef inline idx adaptive_start(idx o, idx size, idx outs) noexcept nogil:
    return o * size // outs


cdef inline idx adaptive_stop(idx o, idx size, idx outs) noexcept nogil:
    return ((o + 1) * size + outs - 1) // outs


cdef void whole_planes(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # Adaptive to 1x1: the mean of a plane.
    cdef const Pooling* p = <const Pooling*> job
    cdef idx plane, i, n = p.w.h * p.w.w
    cdef const real_t* x
    cdef lane_t one, two
    for plane in range(first, last):
        x = p.x + plane * n
        one = lane_set(0)
        two = lane_set(0)
        i = 0
        while i + 2 * LANES <= n:
            one = one + lane_load(x + i)
            two = two + lane_load(x + i + LANES)
            i += 2 * LANES
        if i + LANES <= n:
            one = one + lane_load(x + i)
            i += LANES
        if i < n:
            two = two + lane_load_some(x + i, n - i, lane_set(0))
        p.y[plane] = lane_sum(one + two) / n


cdef void adaptive_planes(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # The mean of rows floor(o H / OH) to ceil((o + 1) H / OH), and columns alike. scratch: the sum of a window's rows.
    cdef const Pooling* p = <const Pooling*> job
    cdef const Window* a = &p.w
    cdef idx plane, oy, ox, r, c, r0, r1, c0, c1
    cdef const real_t* x
    cdef real_t sum
    for plane in range(first, last):
        for oy in range(a.oh):
            r0 = adaptive_start(oy, a.h, a.oh)
            r1 = adaptive_stop(oy, a.h, a.oh)
            memset(scratch, 0, a.w * sizeof(real_t))
            for r in range(r0, r1):
                x = p.x + (plane * a.h + r) * a.w
                for c in range(a.w):
                    scratch[c] += x[c]
            for ox in range(a.ow):
                c0 = adaptive_start(ox, a.w, a.ow)
                c1 = adaptive_stop(ox, a.w, a.ow)
                sum = 0
                for c in range(c0, c1):
                    sum += scratch[c]
                p.y[(plane * a.oh + oy) * a.ow + ox] = sum / ((r1 - r0) * (c1 - c0))


cdef void adaptive_planes_backward(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    cdef const Pooling* p = <const Pooling*> job
    cdef const Window* a = &p.w
    cdef idx plane, oy, ox, r, c, r0, r1, c0, c1
    cdef real_t* dx
    cdef real_t g
    for plane in range(first, last):
        memset(p.y + plane * a.h * a.w, 0, a.h * a.w * sizeof(real_t))
        for oy in range(a.oh):
            r0 = adaptive_start(oy, a.h, a.oh)
            r1 = adaptive_stop(oy, a.h, a.oh)
            for ox in range(a.ow):
                c0 = adaptive_start(ox, a.w, a.ow)
                c1 = adaptive_stop(ox, a.w, a.ow)
                g = p.x[(plane * a.oh + oy) * a.ow + ox] / ((r1 - r0) * (c1 - c0))
                for r in range(r0, r1):
                    dx = p.y + (plane * a.h + r) * a.w
                    for c in range(c0, c1):
                        dx[c] += g


cdef task_t pool_task(str name, const Pooling* p, idx* scratch) except NULL:
    # The task over planes, and the numbers of scratch that it needs.
    cdef const Window* a = &p.w
    cdef bint halves = a.kh == a.kw == a.sh == a.sw == 2 and a.dh == a.dw == 1 and a.top == a.left == 0 \
        and 2 * a.oh <= a.h and 2 * a.ow <= a.w
    scratch[0] = pooled_row(a) + 2 * a.ow
    if name == "max":
        if p.where:
            scratch[0] = a.kh * phase_pitch(a) * a.sw + 2 * LANES + 2 * a.kw
            return max_places
        return max_planes_2x2 if halves else max_planes
    if name == "max_backward":
        return max_planes_backward
    if name == "avg":
        return avg_planes_2x2 if halves else avg_planes
    if name == "avg_backward":
        return avg_planes_backward
    if name == "adaptive":
        return whole_planes if a.oh == a.ow == 1 else adaptive_planes
    return adaptive_planes_backward


def pool(str name, x, y, where, idx planes, tuple geometry, idx count_pad, idx divisor, int threads):
    """"max", "avg" or "adaptive" pooling of planes x into y, or with "_backward" their gradient from x = dy into y = dx.
    geometry: as im2col has it."""
    cdef Pooling p
    cdef idx scratch
    cdef task_t task
    p.w = window(geometry)
    p.x = <const real_t*> data(x)
    p.y = <real_t*> data(y)
    p.where = <int64_t*> data(where)
    p.count_pad = count_pad
    p.divisor = divisor
    task = pool_task(name, &p, &scratch)
    run(task, &p, planes, threads, scratch)


def limits(where, idx n):
    """(the least, the greatest) of n int64; (0, -1) of none."""
    cdef const int64_t* w = <const int64_t*> data(where)
    cdef int64_t low, high
    cdef idx i
    if n == 0:
        return 0, -1
    low = high = w[0]
    for i in range(1, n):
        low = w[i] if w[i] < low else low
        high = w[i] if w[i] > high else high
    return low, high
