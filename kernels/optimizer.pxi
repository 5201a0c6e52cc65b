# Optimizers: one pass over flat arrays, vectorised by the compiler, in chunks that threads share: each thread takes its share of
# every parameter, as in the reduction of the gradients, which are then still in its cache.
# Constants come as real_t: a literal such as 1 - beta in a loop is double to the C compiler, and twice the time.
cdef enum: CHUNK = 512          # of a flat array: fixed, so that no thread count changes a rounding

# One step of one optimizer. p: parameters, g: gradients, a b c: the moments its rule has, n numbers each.
cdef struct Update:
    real_t* p
    const real_t* g
    real_t* a
    real_t* b
    real_t* c
    idx n
    real_t k[8]                 # the rule's constants, in the order that its function reads them
    int mode

ctypedef void (*rule_t)(const Update*, idx, idx) noexcept nogil     # the numbers first .. first + n


cdef void sgd(const Update* u, idx first, idx n) noexcept nogil:
    # d = g + decay p;  buf = momentum buf + fresh d (mode 2, the first step: d);  p -= lr (buf, or d + momentum buf: mode 1)
    cdef real_t* p = u.p + first
    cdef const real_t* g = u.g + first
    cdef real_t* buf = u.a + first
    cdef real_t lr = u.k[0], momentum = u.k[1], fresh = u.k[2], decay = u.k[3], d
    cdef int nesterov = u.mode & 1
    cdef idx i
    if momentum == 0:
        for i in range(n):
            p[i] = p[i] - lr * (g[i] + decay * p[i])
    elif u.mode & 2:
        for i in range(n):
            d = g[i] + decay * p[i]
            buf[i] = d
            p[i] = p[i] - lr * (d + momentum * d if nesterov else d)
    else:
        for i in range(n):
            d = g[i] + decay * p[i]
            buf[i] = momentum * buf[i] + fresh * d
            p[i] = p[i] - lr * (d + momentum * buf[i] if nesterov else buf[i])


cdef void adam(const Update* u, idx first, idx n) noexcept nogil:
    # q = keep p, d = g + decay q;  m, v: running means of d and d^2, `fresh` = 1 - beta;  p = q - step m / (sqrt(v) root + eps)
    cdef real_t* p = u.p + first
    cdef const real_t* g = u.g + first
    cdef real_t* m = u.a + first
    cdef real_t* v = u.b + first
    cdef real_t step = u.k[0], root = u.k[1], beta1 = u.k[2], fresh1 = u.k[3], beta2 = u.k[4], fresh2 = u.k[5]
    cdef real_t eps = u.k[6], weight = u.k[7], q, d, keep = 1, decay = weight
    cdef idx i
    if u.mode == 1:             # decoupled: weight is lr times weight_decay
        keep = keep - weight
        decay = 0
    for i in range(n):
        q = keep * p[i]
        d = g[i] + decay * q
        m[i] = beta1 * m[i] + fresh1 * d
        v[i] = beta2 * v[i] + fresh2 * (d * d)
        p[i] = q - step * m[i] / (real_sqrt(v[i]) * root + eps)


cdef void adamax(const Update* u, idx first, idx n) noexcept nogil:
    # d = g + decay p;  m = beta1 m + fresh d;  s = max(beta2 s, |d| + eps);  p -= step m / s
    cdef real_t* p = u.p + first
    cdef const real_t* g = u.g + first
    cdef real_t* m = u.a + first
    cdef real_t* s = u.b + first
    cdef real_t step = u.k[0], beta1 = u.k[1], fresh = u.k[2], beta2 = u.k[3], eps = u.k[4], decay = u.k[5], d, old, new
    cdef idx i
    for i in range(n):
        d = g[i] + decay * p[i]
        m[i] = beta1 * m[i] + fresh * d
        old = beta2 * s[i]
        new = (-d if d < 0 else d) + eps
        s[i] = old if old > new else new
        p[i] = p[i] - step * m[i] / s[i]


cdef void adagrad(const Update* u, idx first, idx n) noexcept nogil:
    # d = g + decay p;  s += d^2;  p -= lr d / (sqrt(s) + eps)
    cdef real_t* p = u.p + first
    cdef const real_t* g = u.g + first
    cdef real_t* s = u.a + first
    cdef real_t lr = u.k[0], eps = u.k[1], decay = u.k[2], d
    cdef idx i
    for i in range(n):
        d = g[i] + decay * p[i]
        s[i] = s[i] + d * d
        p[i] = p[i] - lr * d / (real_sqrt(s[i]) + eps)


cdef void rmsprop(const Update* u, idx first, idx n) noexcept nogil:
    # d = g + decay p;  s: running mean of d^2, mode 1 (centred): mean that of d, s - mean^2 taken, rounding below 0 cut;
    # r = d / (sqrt(s) + eps);  p -= lr r, or with momentum buf = momentum buf + r, p -= lr buf
    cdef real_t* p = u.p + first
    cdef const real_t* g = u.g + first
    cdef real_t* s = u.a + first
    cdef real_t* mean = u.b + first
    cdef real_t* buf = u.c + first
    cdef real_t lr = u.k[0], alpha = u.k[1], fresh = u.k[2], eps = u.k[3], momentum = u.k[4], decay = u.k[5], d, var
    cdef int centred = u.mode
    cdef idx i
    for i in range(n):
        d = g[i] + decay * p[i]
        s[i] = alpha * s[i] + fresh * (d * d)
        var = s[i]
        if centred:
            mean[i] = mean[i] + fresh * (d - mean[i])
            var = var - mean[i] * mean[i]
            var = var if var > 0 else 0
        d = d / (real_sqrt(var) + eps)
        if momentum != 0:
            d = momentum * buf[i] + d
            buf[i] = d
        p[i] = p[i] - lr * d


cdef dict RULES = {"sgd": <size_t> sgd, "adam": <size_t> adam, "adamax": <size_t> adamax, "adagrad": <size_t> adagrad,
                   "rmsprop": <size_t> rmsprop}


cdef void update_chunks(rule_t rule, const Update* u, const int64_t* part, idx ranges) noexcept nogil:
    # part: `ranges` pairs of a first chunk and the one after the last.
    cdef unsigned int mode = float_mode_flush()
    cdef idx i, chunk, k, size = 64 // sizeof(real_t)
    for i in range(ranges):
        for chunk in range(part[2 * i], part[2 * i + 1]):
            for k in range(CHUNK // size if chunk + 1 < part[2 * i + 1] else 0):
                line_own(u.p + (chunk + 1) * CHUNK + k * size)
            rule(u, chunk * CHUNK, least(CHUNK, u.n - chunk * CHUNK))
    float_mode_set(mode)


def update(str name, list addresses, idx first, idx n, tuple constants, int mode, size_t parts, int threads, idx ranges):
    """One step of the rule `name` over the flat numbers first .. first + n of the arrays at `addresses`: parameters, gradients,
    moments. `parts`: the address of (threads, ranges, 2) int64, each thread's ranges of chunks from `first` on, (start, stop)."""
    cdef idx i
    cdef int t
    cdef real_t* at[5]
    cdef rule_t rule = <rule_t> <size_t> RULES[name]
    cdef const int64_t* part = <const int64_t*> parts
    cdef Update u
    for i in range(5):
        at[i] = <real_t*> <size_t> addresses[i] + first if i < len(addresses) else NULL
    u.p, u.g, u.a, u.b, u.c = at[0], at[1], at[2], at[3], at[4]
    u.n, u.mode = n, mode
    for i in range(len(constants)):
        u.k[i] = <real_t> <double> constants[i]
    with nogil:
        if threads < 2:
            update_chunks(rule, &u, part, ranges)
        else:
            for t in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                update_chunks(rule, &u, part + t * ranges * 2, ranges)


chunk = CHUNK
