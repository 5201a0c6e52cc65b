"""A contest: one op, one direction, one shape, and everyone who computes it; and the clock."""
import dataclasses
import statistics
import time

import naive
import numpy as np

MOST_PYTHON_STEPS = 2_500_000   # innermost steps up to which loops run in Python: some 0.1 us each
REST = 0.02                     # seconds before a contestant's turn: the threads of the last one stop spinning
TURN = 0.02                     # seconds of a turn, for calls that are shorter
ROUNDS = 7
COLUMNS = ("naive", "numba", "numpy", "torch", "lanewise")


@dataclasses.dataclass
class Contest:
    """`lanewise`, `numpy`: calls without arguments; `loops`: (function of naive*.py, its arguments); `torch`: a function
    that takes the torch module and returns such a call. Each gives an array or a tuple of arrays, the same for all.

    `steps`: innermost steps of the loops; `flops` or `bytes` of one call, by the textbook: what the rate is made of;
    `sums`: how many numbers the longest sum adds, for the tolerance; `images`: of a training step."""
    op: str
    direction: str
    lanewise: object
    loops: tuple = None
    numpy: object = None
    torch: object = None
    steps: int = 0
    flops: float = 0
    bytes: float = 0
    sums: int = 1
    images: int = 0

    def calls(self):
        """{contestant: call without arguments} of those that are installed and fit."""
        found = {"lanewise": self.lanewise}
        if self.loops:
            loop, *arguments = self.loops
            compiled = naive.compiled(loop)
            found["numba"] = lambda: compiled(*arguments)
            if self.steps <= MOST_PYTHON_STEPS:
                found["naive"] = lambda: loop(*arguments)
        if self.numpy:
            found["numpy"] = self.numpy
        if self.torch:
            try:
                import torch
            except ImportError:
                pass
            else:
                found["torch"] = self.torch(torch)
        return found


def torch_forward(torch, f, *arrays):
    """The call f(*arrays) in PyTorch, on tensors that share the arrays' memory, without a graph."""
    tensors = [torch.from_numpy(a) for a in arrays]

    def call():
        with torch.inference_mode():
            return f(*tensors)
    return call


def torch_backward(torch, f, dy, *arrays):
    """The backward pass alone of f(*arrays) in PyTorch: the graph is built once and kept."""
    leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]
    y, dy = f(*leaves), torch.as_tensor(dy)
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def as_arrays(result):
    """What a contestant returned, as a list of NumPy arrays."""
    return [np.asarray(a) for a in (result if isinstance(result, (tuple, list)) else (result,))]


def check(name, result, reference, sums):
    """AssertionError unless a contestant's result is the reference's, to what float32 sums of `sums` numbers allow."""
    result, reference = as_arrays(result), as_arrays(reference)
    assert len(result) == len(reference), f"{name} gave {len(result)} arrays, expected {len(reference)}"
    for i, (got, expected) in enumerate(zip(result, reference)):
        got = got.reshape(expected.shape)
        scale = float(np.abs(expected).max())
        error = float(np.abs(got.astype(np.float64) - expected).max())
        allowed = np.finfo(np.float32).eps * (16 + 2 * sums ** 0.5) * scale
        assert error <= allowed, f"{name}: array {i} is off by {error:.2e}, allowed {allowed:.2e} (largest value {scale:.2e})"


def timed(call, times):
    """Seconds of `times` calls."""
    clock = time.perf_counter
    start = clock()
    for _ in range(times):
        call()
    return clock() - start


class Others:
    """The contestants besides lanewise: each has a turn after each of lanewise's, until its share of time is used up."""

    def __init__(self, calls, share, rounds, known):
        """`known`: {contestant: seconds of one call}, where that has been measured."""
        self.calls, self.times, self.turns, self.counts = calls, {}, {}, {}
        for name, call in calls.items():
            once = known[name] if name in known else timed(call, 1)
            self.times[name] = []
            self.counts[name] = max(1, round(TURN / max(once, 1e-7)))
            self.turns[name] = max(1, min(rounds, int(share / max(once * self.counts[name], 1e-7))))
            if once > share:                            # as good a measurement as it is going to get
                self.times[name].append(once)

    def turn(self):
        """One turn for everyone who has one left."""
        for name, call in self.calls.items():
            if len(self.times[name]) < self.turns[name]:
                time.sleep(REST)
                if self.counts[name] > 1:
                    timed(call, 1)
                self.times[name].append(timed(call, self.counts[name]) / self.counts[name])

    def medians(self):
        """{contestant: seconds of a call}, after the turns that are still due."""
        while any(len(self.times[name]) < self.turns[name] for name in self.calls):
            self.turn()
        return {name: statistics.median(t) for name, t in self.times.items()}


def hold(benchmark, contest, calls, share, rounds):
    """Check everyone against the loops, then measure: lanewise by pytest-benchmark, the others in turns between its
    rounds. {contestant: median seconds}, or None when benchmarks are disabled: then each has run once.

    `share`: seconds that each contestant may take; `rounds`: of lanewise at least."""
    slow = {}
    if contest.loops:
        reference = calls["numba"]()
        for name, call in calls.items():
            if name != "numba":
                start = time.perf_counter()
                result = call()
                if name == "naive":                     # there is nothing to warm up, and once is long enough
                    slow[name] = time.perf_counter() - start
                check(f"{contest.op} {contest.direction}, {name}", result, reference, contest.sums)
    mine = calls["lanewise"]
    if benchmark.disabled:
        benchmark.pedantic(mine)
        return None
    others = Others({name: call for name, call in calls.items() if name != "lanewise"}, share, rounds, slow)
    mine()
    times = max(1, round(TURN / max(min(timed(mine, 1) for _ in range(3)), 1e-7)))

    def between():
        others.turn()
        time.sleep(REST)
        mine()
    benchmark.pedantic(mine, rounds=rounds, iterations=times, warmup_rounds=1, teardown=between)
    return {**others.medians(), "lanewise": benchmark.stats.stats.median}
