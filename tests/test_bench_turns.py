"""The contests of the benchmarks: which rounds count, what is refused, and whole short runs."""
import importlib
import json
import os
import statistics
import sys

import click
import pytest
import table
import turns
from click.testing import CliRunner


@pytest.fixture(autouse=True)
def at_once(monkeypatch, tmp_path):
    """No rests, and results beside the tests'."""
    monkeypatch.setattr(turns, "REST", 0)
    monkeypatch.setattr(table, "RESULTS", tmp_path)


def contest(peaks, rounds, before=100.0):
    """(times, peaks) of a contest of lanewise and torch in which the machine has these peaks, round by round."""
    own, other, machine = iter(range(1, 100)), iter(range(10, 1000, 10)), iter(peaks)
    return turns.contest({(8, "lanewise"): lambda: next(own), (8, "torch"): lambda: next(other)}, lambda: next(machine),
                         rounds, [before])


@pytest.mark.parametrize("peaks, rounds, taken", [
    ([100, 100, 100, 100], 3, 3), ([100, 50, 100, 84.9, 100], 3, 5), ([85] * 3, 3, 3), ([10] * 9, 3, 6),
    ([100, 200, 200, 200], 3, 4)], ids=["quiet", "two again", "at the limit", "twice at most", "a better peak later"])
def test_disturbed_rounds_are_taken_again(peaks, rounds, taken):
    times, seen = contest(peaks, rounds)
    assert seen == peaks[:taken]
    assert times == {(8, "lanewise"): list(range(1, taken + 1)), (8, "torch"): list(range(10, 10 * taken + 1, 10))}


def test_results_are_of_undisturbed_rounds():
    """Median over them, the best of all, ratios of either; nothing is dropped."""
    times = {(8, "lanewise"): [2.0, 9.0, 4.0, 1.0], (8, "torch"): [6.0, 3.0, 8.0, 5.0]}
    own, other = turns.results_of("lenet5", 2, times, [90.0, 100.0, 50.0, 10.0], 100.0, 1e9)
    assert (own["seconds"], own["best_seconds"], own["lanewise_ratio"], own["best_ratio"]) == (5.5, 1.0, 1.0, 1.0)
    assert (other["seconds"], other["best_seconds"]) == (4.5, 3.0)
    assert (other["lanewise_ratio"], other["best_ratio"]) == (4.5 / 5.5, 3.0)
    assert (own["gflops"], own["peak_gflops"], own["of_peak"]) == (8 / 5.5, 95.0, 8 / 5.5 / 95)
    assert own["disturbed"] == [False, False, True, True] and own["rounds"] == times[8, "lanewise"]
    notes = turns.notes([own, other], {"torch": None})
    assert notes[:2] == ["disturbed rounds: 2 of 4 (FMA peak after the round below 85 % of the run's best)",
                         "  lenet5, batch 8, 2 threads: 2 of 4"]
    assert notes[-1] == "PyTorch channels_last: not installed"


def test_the_peak_of_two_threads_stands_beside_that_of_one():
    results = [turns.results_of("lenet5", n, {(8, "lanewise"): [1.0, 1.0]}, peaks, max(peaks), 1e9)[0]
               for n, peaks in ((1, [100.0, 120.0]), (2, [180.0, 150.0]))]
    assert turns.notes(results, {})[-2:] == ["best FMA peak, 1 threads: 120 GFLOP/s",
                                             "best FMA peak, 2 threads: 180 GFLOP/s, 1.50x of one thread's"]


def test_where_all_rounds_are_disturbed_all_count():
    own, = turns.results_of("lenet5", 1, {(8, "lanewise"): [1.0, 2.0, 9.0]}, [10.0, 20.0, 30.0], 100.0, 1e9)
    assert (own["seconds"], own["peak_gflops"], own["disturbed"]) == (2.0, 20.0, [True] * 3)
    assert turns.notes([own], {})[1] == "  lenet5, batch 8, 1 threads: 3 of 3, so all of them count"


@pytest.mark.parametrize("name, said, message", [
    ("torch", dict(parameters=9, answers=[[1.0, -2.0]]), "PyTorch channels_last has 9 parameters, expected lanewise's 8"),
    ("torch", dict(parameters=8, answers=[[1.0, -2.01]]), "PyTorch channels_last answers"),
    ("torch-bf16", dict(parameters=8, answers=[[1.2, -2.0]]), "PyTorch bf16 channels_last answers"),
    ("jax", dict(parameters=8, answers=[[float("nan"), -2.0]]), "JAX jit answers")])
def test_other_networks_are_refused(name, said, message):
    own = dict(parameters=8, answers=[[1.0, -2.0]])
    turns.agree("lenet5", {"lanewise": own, "torch-bf16": dict(parameters=8, answers=[[1.05, -2.05]])})
    with pytest.raises(click.ClickException, match=message):
        turns.agree("lenet5", {"lanewise": own, name: said})


def test_interpreters():
    """PyTorch's serves its other forms, unless they have their own."""
    found = turns.interpreters(None, None, [f"torch={sys.executable}", "torch-jit=/bin/sh", "jax=/bin/sh"])
    assert found == {"torch": sys.executable, "torch-bf16": sys.executable, "torch-compile": sys.executable,
                     "torch-jit": "/bin/sh", "jax": "/bin/sh"}
    for wrong in ("torch", "torch=/not/there", "numpy=/bin/sh"):
        with pytest.raises(click.BadParameter, match="expected PEER=PATH"):
            turns.interpreters(None, None, [wrong])


def run(module, *arguments):
    """(what a program prints, the results it writes) in a short run."""
    short = ["--rounds", "1", "--seconds", "0.01", "--threads", "1"]
    done = CliRunner().invoke(importlib.import_module(module).main, [*short, *arguments])
    assert done.exit_code == 0, done.output
    return done.output, json.loads((table.RESULTS / f"{module}.json").read_text())["results"]


def test_scale_beside_itself():
    """All batches take turns in one contest."""
    output, results = run("scale", "--network", "lenet5", "--batch", "17", "--batch", "33")
    assert [(r["by"], r["batch"]) for r in results] == [("lanewise", 17), ("lanewise", 33)]
    assert results[0]["peaks"] == results[1]["peaks"] and 1 <= len(results[0]["rounds"]) <= 2
    assert "us/image" in output and "1.00x" in output


@pytest.mark.parametrize("module, peer", [("train_step", "torch"), ("inference", "torch-jit")])
def test_a_contest_with_pytorch(module, peer):
    pytest.importorskip("torch")
    output, results = run(module, "--network", "mlp", "--batch", "16", "--peer", peer)
    own, other = results
    assert [own["by"], other["by"]] == ["lanewise", peer]
    used = [t for t, mark in zip(own["rounds"], own["disturbed"]) if not mark] or own["rounds"]
    assert own["seconds"] == statistics.median(used) and own["best_seconds"] == min(own["rounds"])
    assert other["lanewise_ratio"] == other["seconds"] / own["seconds"]
    assert turns.NAMES[peer] in output and (table.RESULTS / f"{module}.png").exists()


def test_inference_by_onnx_runtime():
    pytest.importorskip("onnxruntime")
    _, results = run("inference", "--network", "mlp", "--batch", "3", "--peer", "onnxruntime")
    assert [r["by"] for r in results] == ["lanewise", "onnxruntime"]


def test_a_missing_peer_is_said_to_be_so(monkeypatch, tmp_path):
    (tmp_path / "jax.py").write_text("raise ImportError('none here')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    output, results = run("train_step", "--network", "mlp", "--batch", "8", "--peer", "jax")
    assert [r["by"] for r in results] == ["lanewise"]
    assert "JAX jit: not installed (none here)" in output and "JAX jit: not installed\n" in output
