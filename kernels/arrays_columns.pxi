# im2col and col2im: images (N, C, H, W) <-> columns (N, C*KH*KW, OH*OW).
#
# A plane goes through scratch with its border, its columns sorted by phase: [rows][SW][pitch], so that what one tap reads
# (or adds to) for a row of outputs is contiguous whatever the stride and dilation.

cdef struct Window:
    idx h, w, oh, ow
    idx kh, kw, sh, sw, dh, dw, top, left


cdef inline idx phase_pitch(const Window* a) noexcept nogil:
    # Numbers of a phase of a row, with room for a whole vector at its end.
    return ((a.ow - 1) * a.sw + (a.kw - 1) * a.dw) // a.sw + 1 + LANES


cdef inline idx window_rows(const Window* a) noexcept nogil:
    return (a.oh - 1) * a.sh + (a.kh - 1) * a.dh + 1


cdef inline void fill_row(real_t* d, idx n, real_t value) noexcept nogil:
    cdef idx i
    for i in range(n):
        d[i] = value


cdef void spread_row(const Window* a, const real_t* x, real_t fill, real_t* d, idx pitch) noexcept nogil:
    # d[phase][q] = x[q * sw + phase - left], `fill` beyond the image.
    cdef idx phase, q, first, last, from_
    for phase in range(a.sw):
        first = least(pitch, most(0, (a.left - phase + a.sw - 1) // a.sw))
        last = most(first, least(pitch, (a.w + a.left - phase + a.sw - 1) // a.sw))
        from_ = phase - a.left
        fill_row(d, first, fill)
        if a.sw == 1:
            memcpy(d + first, x + first + from_, (last - first) * sizeof(real_t))
        elif a.sw == 2:
            for q in range(first, last):
                d[q] = x[q * 2 + from_]
        else:
            for q in range(first, last):
                d[q] = x[q * a.sw + from_]
        fill_row(d + last, pitch - last, fill)
        d += pitch


cdef struct Columns:
    Window w
    const real_t* src
    real_t* dst


cdef void plane_in(const Window* a, const real_t* x, real_t* scratch) noexcept nogil:
    # One plane with its border, in phases: [rows][SW][pitch].
    cdef idx r, pitch = phase_pitch(a), row = pitch * a.sw
    for r in range(window_rows(a)):
        if 0 <= r - a.top < a.h:
            spread_row(a, x + (r - a.top) * a.w, 0, scratch + r * row, pitch)
        else:
            fill_row(scratch + r * row, row, 0)


cdef void plane_columns(const Window* a, const real_t* x, real_t* d, idx width, real_t* scratch) noexcept nogil:
    # One plane's KH*KW rows of columns, `width` numbers apart; what lies beyond OH*OW in a row is anything.
    cdef idx i, j, oy, k, pitch = phase_pitch(a), row = pitch * a.sw
    cdef const real_t* s
    cdef real_t* end
    plane_in(a, x, scratch)
    for i in range(a.kh):
        for j in range(a.kw):
            end = d + width
            s = scratch + i * a.dh * row + j * a.dw % a.sw * pitch + j * a.dw // a.sw
            for oy in range(a.oh):
                k = 0
                while k < a.ow:             # a whole vector where what follows is written later
                    if a.ow - k >= LANES or end - (d + k) >= LANES:
                        lane_store(d + k, lane_load(s + k))
                    else:
                        lane_store_some(d + k, lane_load(s + k), a.ow - k)
                    k += LANES
                d += a.ow
                s += a.sh * row
            d = end


cdef void im2col_planes(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    cdef const Columns* c = <const Columns*> job
    cdef const Window* a = &c.w
    cdef idx plane, size = a.oh * a.ow
    for plane in range(first, last):
        plane_columns(a, c.src + plane * a.h * a.w, c.dst + plane * a.kh * a.kw * size, size, scratch)


cdef void col2im_planes(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    cdef const Columns* job_ = <const Columns*> job
    cdef const Window* a = &job_.w
    cdef idx plane, r, i, j, oy, k, n, c, phase, pitch = phase_pitch(a), row = pitch * a.sw, size = a.oh * a.ow
    cdef idx rows = window_rows(a)
    cdef const real_t* s
    cdef real_t* d
    for plane in range(first, last):
        memset(scratch, 0, rows * row * sizeof(real_t))
        s = job_.src + plane * a.kh * a.kw * size
        for i in range(a.kh):
            for j in range(a.kw):
                d = scratch + i * a.dh * row + j * a.dw % a.sw * pitch + j * a.dw // a.sw
                for oy in range(a.oh):
                    k = 0
                    while k < a.ow:
                        n = least(LANES, a.ow - k)
                        lane_store(d + k, lane_load(d + k) + lane_load_some(s + k, n, lane_set(0)))
                        k += LANES
                    s += a.ow
                    d += a.sh * row
        for r in range(a.h):
            d = job_.dst + (plane * a.h + r) * a.w
            if r + a.top >= rows:
                memset(d, 0, a.w * sizeof(real_t))
                continue
            s = scratch + (r + a.top) * row
            for phase in range(a.sw):           # the inverse of spread_row
                c = (phase - a.left) % a.sw
                if c < 0:
                    c += a.sw
                k = (c + a.left) // a.sw
                while c < a.w:
                    d[c] = s[phase * pitch + k] if k < pitch - LANES else 0
                    c += a.sw
                    k += 1


cdef Window window(tuple w) except *:
    cdef Window a
    a.h, a.w, a.oh, a.ow, a.kh, a.kw, a.sh, a.sw, a.dh, a.dw, a.top, a.left = w
    return a


def im2col(x, cols, idx planes, tuple geometry, bint back, int threads):
    """cols (N, C*KH*KW, OH*OW) from images (N, C, H, W), N*C planes; back: the images from columns, overlaps added up.
    geometry: H, W, OH, OW, KH, KW, SH, SW, DH, DW, top and left padding."""
    cdef Columns c
    c.w = window(geometry)
    c.src = <const real_t*> data(cols if back else x)
    c.dst = <real_t*> data(x if back else cols)
    run(col2im_planes if back else im2col_planes, &c, planes, threads, window_rows(&c.w) * phase_pitch(&c.w) * c.w.sw)
