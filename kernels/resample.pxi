# Images of another size as weighted sums of pixels: nearest and bilinear upsampling, adaptive mean pooling, and, with the
# tables transposed, their gradients.
#
# y[oy][ox][c] = sum over a of rows(oy), b of cols(ox) of w[a] w[b] x[at[a]][at[b]][c]
# A table of n outputs is int64 first[n + 1], at[first[n]] and reals w[first[n]]: entries first[i] .. first[i + 1] belong to
# output i; an output without entries is zero.

cdef struct Resample:
    idx x, y                    # lanes in the arena
    idx rows, cols, channels    # of y
    idx x_row, y_row            # lanes between rows
    idx row_first, row_at, row_w, col_first, col_at, col_w      # addresses
    idx add


cdef void resample(Context* ctx, const Args* args) noexcept nogil:
    cdef const Resample* a = &args.resample
    cdef const int64_t* row_first = <const int64_t*> a.row_first
    cdef const int64_t* col_first = <const int64_t*> a.col_first
    cdef const int64_t* row_at = <const int64_t*> a.row_at
    cdef const int64_t* col_at = <const int64_t*> a.col_at
    cdef const real_t* row_w = <const real_t*> a.row_w
    cdef const real_t* col_w = <const real_t*> a.col_w
    cdef const lane_t* x
    cdef const lane_t* p
    cdef lane_t* y
    cdef lane_t acc[4]
    cdef real_t w
    cdef idx oy, ox, c, i, j, k
    for oy in range(a.rows):
        for ox in range(a.cols):
            y = lanes_at(ctx, a.y) + oy * a.y_row + ox * a.channels
            c = 0
            while c + 4 <= a.channels:
                for k in range(4):
                    acc[k] = y[c + k] if a.add else lane_set(0)
                for i in range(row_first[oy], row_first[oy + 1]):
                    x = lanes_at(ctx, a.x) + row_at[i] * a.x_row + c
                    for j in range(col_first[ox], col_first[ox + 1]):
                        w = row_w[i] * col_w[j]
                        p = x + col_at[j] * a.channels
                        for k in range(4):
                            acc[k] = acc[k] + p[k] * w
                for k in range(4):
                    y[c + k] = acc[k]
                c += 4
            while c < a.channels:
                acc[0] = y[c] if a.add else lane_set(0)
                for i in range(row_first[oy], row_first[oy + 1]):
                    x = lanes_at(ctx, a.x) + row_at[i] * a.x_row + c
                    for j in range(col_first[ox], col_first[ox + 1]):
                        acc[0] = acc[0] + x[col_at[j] * a.channels] * (row_w[i] * col_w[j])
                y[c] = acc[0]
                c += 1
