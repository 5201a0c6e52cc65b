"""One library in a process of its own: `python workers.py LIBRARY THREADS`.

The program that starts it writes one JSON object a line to its input, and reads one from its output for each:

    (at the start)              {"version": "2.13.0"}, or {"missing": "no module named 'torch'"}
    {"work": "train", "network": "lenet5", "batches": [32, 128]}
                                {"parameters": 44426, "answers": [[2.31], [2.35]]}      what was built before is gone;
                                the first steps' losses, for "infer" the scores of the batch's last sample
    {"batch": 128, "seconds": 0.5}
                                {"times": [0.0012, ..]}     runs its steps for so long: the seconds of each, at least one
    {"peak": true}              {"gflops": 131.2}           lanewise only: the FMA peak of all its threads

End of input ends it. Libraries are imported after the threads are pinned; what they print goes to stderr.
"""
import json
import os
import sys
import time

import machine

WARM = 0.1                      # seconds of steps before the first that counts


def measure(step, seconds):
    """Seconds of every step, for so long and at least one."""
    times, clock = [], time.perf_counter
    end = clock() + seconds
    while not times or clock() < end:
        start = clock()
        step()
        times.append(clock() - start)
    return times


def build(make, network, batches):
    """({batch: its step}, what to say of them)."""
    steps, answers, counts = {}, [], set()
    for n in batches:
        steps[n], parameters = make(network, *networks.batch(network, n))
        counts.add(parameters)
        answers.append([float(v) for v in np.ravel(steps[n]())[-networks.CLASSES:]])
        measure(steps[n], WARM)
    return steps, dict(parameters=max(counts), answers=answers)


def main(library, threads):
    """Answer requests until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**message):
        print(json.dumps(message), file=out, flush=True)
    try:
        version, works = libraries.LIBRARIES[library](threads)
    except ImportError as error:
        say(missing=str(error))
        return
    say(version=version)
    steps = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "network" in request:
            steps = {}
            steps, found = build(works[request["work"]], request["network"], request["batches"])
            say(**found)
        elif "seconds" in request:
            say(times=measure(steps[request["batch"]], request["seconds"]))
        else:
            from lanewise.profiling import fma_peak
            say(gflops=fma_peak(threads))


if __name__ == "__main__":
    machine.pin(int(sys.argv[2]))
    import libraries
    import networks
    import numpy as np
    main(sys.argv[1], int(sys.argv[2]))
