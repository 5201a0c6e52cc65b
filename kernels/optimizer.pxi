# Optimizers: one pass over flat arrays, vectorised by the compiler.
cdef void sgd_span(real_t* p, const real_t* g, real_t* buf, idx n, real_t lr, real_t momentum, real_t dampening,
                   real_t decay, int nesterov, int first) noexcept nogil:
    # d = g + decay p;  buf = momentum buf + (1 - dampening) d (d at first);  p -= lr (d + momentum buf, or buf)
    cdef idx i
    cdef real_t d
    if momentum == 0:
        for i in range(n):
            p[i] = p[i] - lr * (g[i] + decay * p[i])
    elif first:
        for i in range(n):
            d = g[i] + decay * p[i]
            buf[i] = d
            p[i] = p[i] - lr * (d + momentum * d if nesterov else d)
    else:
        for i in range(n):
            d = g[i] + decay * p[i]
            buf[i] = momentum * buf[i] + (1 - dampening) * d
            p[i] = p[i] - lr * (d + momentum * buf[i] if nesterov else buf[i])


cdef void adam_span(real_t* p, const real_t* g, real_t* m, real_t* v, idx n, real_t step, real_t beta1, real_t beta2,
                    real_t eps, real_t decay, real_t root) noexcept nogil:
    # m, v: running means of d and d^2;  p -= step m / (sqrt(v) root + eps), step = lr / (1 - beta1^t),
    # root = 1 / sqrt(1 - beta2^t)
    cdef idx i
    cdef real_t d
    for i in range(n):
        d = g[i] + decay * p[i]
        m[i] = beta1 * m[i] + (1 - beta1) * d
        v[i] = beta2 * v[i] + (1 - beta2) * (d * d)
        p[i] = p[i] - step * m[i] / (real_sqrt(v[i]) * root + eps)
