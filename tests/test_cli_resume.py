"""`lanewise train --resume`: runs that are killed, stopped and go on."""
import os
import signal
import subprocess

import pytest
from cli_case import COMMAND, archive, folder, history, mistake, run, terminal, tree  # noqa: F401

from lanewise import io

RUN = ["train", "--data", "set.npz", "--epochs", "30", "--validation", "0.2", "--augment", "shift=2,flip,scale=0.9:1.1",
       "--seed", "5", "--optimizer", "sgd", "--csv-log", "log.csv"]


def test_killed_and_resumed(folder):
    """SIGKILL in the middle of an epoch, the same command with --resume: weights, history and log are those of a run that
    nothing disturbed, to the last bit."""
    archive("set.npz")
    assert run(*RUN, "--output", "whole.safetensors").exit_code == 0
    whole = (folder / "log.csv").read_text()
    (folder / "log.csv").unlink()
    args = [*RUN, "--checkpoint", "run.ckpt", "--every", "3", "--resume"]
    child = subprocess.Popen([*COMMAND, *args], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    for line in child.stdout:
        if line.startswith("epoch  4/30"):
            break
    child.kill()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL and not (folder / "lanewise-model.safetensors").exists()
    result = run(*args)
    assert result.exit_code == 0 and "\nresumed   run.ckpt, after " in result.output, result.output
    assert "epoch  3/30" not in result.output and "epoch 30/30" in result.output
    (one, _), (two, _) = io.read("whole.safetensors"), io.read("lanewise-model.safetensors")
    assert list(one) == list(two) and all(one[k].tobytes() == two[k].tobytes() for k in one)
    one, two = history("whole.history.json"), history()
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert one["history"][name] == two["history"][name]
    assert one["validated"] == two["validated"] and (folder / "log.csv").read_text() == whole
    result = run(*args)                                 # nothing is left to do
    assert result.exit_code == 0 and "epoch 30" not in result.output
    assert "resumed   run.ckpt, after 30 epochs\n" in result.output


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_ctrl_c_says_how_to_go_on():
    code, text = terminal("train", "--epochs", "100000", "--checkpoint", "run.ckpt", after=(b"epoch      2", b"\x03"))
    assert code == 130 and "Traceback" not in text
    assert "go on     with the same command and --resume, from run.ckpt" in text and os.path.exists("run.ckpt")


def test_resume_mistakes(folder):
    """Another run's options, another file, a run that would be lost; nothing is overwritten."""
    archive("set.npz", 200)
    args = ["train", "--data", "set.npz", "--epochs", 2, "--checkpoint", "run.ckpt"]
    assert run(*args, "--augment", "scale=0.9:1.1").exit_code == 0
    kept = (folder / "run.ckpt").read_bytes()
    mistake(run(*args), 1, "--checkpoint run.ckpt: there is a run in it: give --resume to go on from it, or remove it")
    args += ["--augment", "scale=0.9:1.1", "--resume"]
    assert run(*args).exit_code == 0
    for option, value, words in [("--epochs", 3, "expected --epochs 2, with which the run began, got 3"),
                                 ("--lr", 0.1, "expected --lr 0.003"), ("--model", "mlp", "expected --model lenet5"),
                                 ("--augment", "flip,shift=2", "expected --augment scale=0.9:1.1, with which the run began, "
                                  "got shift=2,flip"),
                                 ("--csv-log", "log.csv", "expected no --csv-log, without which the run began, got log.csv"),
                                 ("--batch-size", 10, "expected --batch-size 32"), ("--seed", 1, "expected --seed 0"),
                                 ("--validation", 0.1, "expected --validation 0.2")]:
        mistake(run(*args, option, value), 1, f"run.ckpt: {words}")
    mistake(run(*args[:-3], "--resume"), 1, "expected --augment scale=0.9:1.1, with which the run began, got no --augment")
    (folder / "run.ckpt").write_bytes(kept[:len(kept) // 2])
    mistake(run(*args), 1, "run.ckpt: expected a safetensors file, got a truncated one")
    (folder / "lanewise-model.safetensors").rename(folder / "run.ckpt")
    mistake(run(*args), 1, "run.ckpt: expected the checkpoint of a run, which 'lanewise train --checkpoint' writes")
    mistake(run(*args[:-1]), 1, "--checkpoint run.ckpt: expected a file to write a run into, got another file that is there "
            "already: give another name, or remove it")
    (folder / "run.ckpt").write_text("a letter")
    mistake(run(*args[:-1]), 1, "--checkpoint run.ckpt: expected a file to write a run into, got another file")
    assert (folder / "run.ckpt").read_text() == "a letter"
    mistake(run("train", "--resume"), 2, "--resume expected --checkpoint FILE beside it")
    mistake(run("train", "--every", 3), 2, "--every expected --checkpoint FILE beside it")


def test_logs_of_a_run_that_goes_on():
    """A log that the run had and that is missing now, or the other way round."""
    pytest.importorskip("tensorboardX", reason="pip install tensorboardX")
    archive("set.npz", 60)
    args = ["train", "--data", "set.npz", "--epochs", 1, "--checkpoint", "run.ckpt", "--resume"]
    logs = ["--csv-log", "log.csv", "--tensorboard", "events"]
    assert run(*args, *logs).exit_code == 0 and run(*args, *logs).exit_code == 0
    mistake(run(*args, *logs[2:]), 1, "run.ckpt: expected --csv-log log.csv, with which the run began, got no --csv-log")
    mistake(run(*args, *logs[:2]), 1, "expected --tensorboard events, with which the run began, got no --tensorboard")
    mistake(run(*args, *logs, "--csv-log", "b.csv"), 1, "expected --csv-log log.csv, with which the run began, got b.csv")
    assert not os.path.exists("b.csv")
    args[-2] = "without.ckpt"
    assert run(*args).exit_code == 0
    mistake(run(*args, *logs[2:]), 1, "without.ckpt: expected no --tensorboard, without which the run began, got events")


def test_validation_of_a_run_that_goes_on():
    """Of a set in two parts, where none validates unless it is asked for."""
    args = ["train", "--epochs", 1, "--checkpoint", "run.ckpt", "--resume"]
    assert run(*args, "--validation", 0.2).exit_code == 0
    mistake(run(*args), 1, "run.ckpt: expected --validation 0.2, with which the run began, got no --validation")
    os.remove("run.ckpt")
    assert run(*args).exit_code == 0
    mistake(run(*args, "--validation", 0.2), 1, "expected no --validation, without which the run began, got 0.2")
