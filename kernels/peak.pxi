# The machine's multiply-add peak, for benchmarks to be a fraction of.
cdef enum: CHAINS = 12          # independent sums: 2 FMA a cycle x 4 cycles of latency = 8 in flight

def fma_peak(idx times):
    """Run 2 * 12 * LANES * times floating-point operations in registers; the caller holds the clock."""
    cdef lane_t acc[CHAINS]
    cdef lane_t x, y
    cdef real_t line[LANE_MAX]
    cdef idx i
    cdef int c
    x = lane_set(<real_t> 0.999)
    y = lane_set(<real_t> 0.001)
    for c in range(CHAINS):
        acc[c] = lane_set(<real_t> c)
    with nogil:
        for i in range(times):
            for c in range(CHAINS):
                acc[c] = acc[c] * x + y
    for c in range(1, CHAINS):
        acc[0] = acc[0] + acc[c]
    lane_store(line, acc[0])
    return line[0]
