# A function of the user's, compiled elsewhere: called for every contiguous row of lanes. The forward function reads a and b,
# the gradient's also dy (c); operands that it does not have point at a.

ctypedef void (*own_t)(real_t*, const real_t*, const real_t*, const real_t*, idx, idx) noexcept nogil

cdef struct Own:
    idx function
    idx rows, size              # lanes in a row
    idx y, y_row, a, a_row, b, b_row, c, c_row
    idx add                     # add to y instead of writing it


cdef void own(Context* ctx, const Args* args) noexcept nogil:
    cdef const Own* f = &args.own
    cdef own_t function = <own_t> f.function
    cdef idx i
    for i in range(f.rows):
        function(<real_t*> (lanes_at(ctx, f.y) + i * f.y_row), <const real_t*> (lanes_at(ctx, f.a) + i * f.a_row),
                 <const real_t*> (lanes_at(ctx, f.b) + i * f.b_row), <const real_t*> (lanes_at(ctx, f.c) + i * f.c_row),
                 f.size * LANES, f.add)
