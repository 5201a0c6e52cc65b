# Marks of the gradients that are there; part of step.pyx.

cdef class Marks:
    """Which of some parameters have a gradient: read and set for all of them at once, wherever they are."""
    cdef list params, runs                  # runs: (bytes, start, stop), of parameters that lie side by side
    cdef Py_ssize_t seen                    # the version that `runs` are of

    def __init__(self, params):
        self.params, self.seen = list(params), -1

    cdef int look(self) except -1:
        # Where the marks are.
        cdef list runs = []
        if self.seen != version:
            for p in sorted(self.params, key=_place):
                if runs and runs[-1][0] is p._marks and runs[-1][2] == p._mark:
                    runs[-1] = (p._marks, runs[-1][1], p._mark + 1)
                else:
                    runs.append((p._marks, p._mark, p._mark + 1))
            self.runs, self.seen = runs, version
        return 0

    cdef bint has(self, int what) except -1:
        cdef bytearray marks
        cdef Py_ssize_t a, b
        self.look()
        for marks, a, b in self.runs:
            if memchr(<char*> marks + a, what, b - a) != NULL:
                return True
        return False

    def set(self, bint flag):
        """All have a gradient, or none."""
        cdef bytearray marks
        cdef Py_ssize_t a, b
        self.look()
        for marks, a, b in self.runs:
            memset(<char*> marks + a, flag, b - a)

    def fill(self):
        """Zeros for the gradients that are not there."""
        for p in self.params:
            if not p.has_grad:
                p.storage_grad()[...] = 0

    def any(self):
        """Whether one has."""
        return self.has(1)

    def all(self):
        """Whether each has."""
        return not self.has(0)


def _place(p):
    return id(p._marks), p._mark
