"""What the shell completes: the scripts, and names of sets, models and files."""
import os
import subprocess
import sys

import pytest
from cli_case import mistake, run
from click.shell_completion import ShellComplete

import lanewise as lw
from lanewise import cli, models


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    """The script names the command, and what it asks the command is answered."""
    script = run("completion", shell)
    assert script.exit_code == 0 and f"_LANEWISE_COMPLETE={shell}_complete" in script.output and "lanewise" in script.output
    words = dict(COMP_WORDS="lanewise train --model res", COMP_CWORD="res" if shell == "fish" else "3")
    code = [sys.executable, "-c", "from lanewise.cli import main; main(prog_name='lanewise')"]
    done = subprocess.run(code, capture_output=True, text=True,
                          env={**os.environ, **words, "_LANEWISE_COMPLETE": f"{shell}_complete"})
    assert all(model in done.stdout for model in ("resnet8", "resnet20")) and "lenet5" not in done.stdout and done.stderr == ""
    mistake(run("completion", "csh"), 2, "'csh'")


@pytest.mark.parametrize("words, incomplete, names", [
    (["train", "--data"], "fash", ["fashion-mnist-mini", "fashion-mnist"]), (["train", "--data"], "photos/", []),
    (["evaluate", "m", "--data"], "c", ["cifar-10"]), (["data", "show"], "mn", ["mnist"]),
    (["profile"], "le", ["lenet5"]), (["profile"], "", list(models.MODELS)),
    (["profile", "lenet5", "--data"], "", list(lw.data.SETS))], ids=str)
def test_names_and_files_complete(words, incomplete, names):
    """A set or a network by its name, and any file: first the request for files, whose place bash's script minds."""
    found = ShellComplete(cli.main, {}, "lanewise", "_LANEWISE_COMPLETE").get_completions(words, incomplete)
    assert (found[0].type, found[0].value) == ("file", incomplete) and {item.type for item in found[1:]} <= {"plain"}
    assert sorted(item.value for item in found[1:]) == sorted(names)


@pytest.mark.parametrize("words, names", [
    ("data ''", ["fetch", "list", "show"]), ("train --data cif", ["cifar-10"]), ("profile len", ["lenet5"]),
    ("train --data photos", [])], ids=str)
def test_bash_completes(words, names):
    """In bash itself."""
    script = run("completion", "bash").output
    asks = (f"lanewise() {{ '{sys.executable}' -c \"from lanewise.cli import main; main(prog_name='lanewise')\" \"$@\"; }}\n"
            "export -f lanewise\n" + script.replace("$(env ", "$(").replace(" $1)", " lanewise)") +
            f"COMP_WORDS=(lanewise {words}); COMP_CWORD={len(words.split())}; _lanewise_completion lanewise\n"
            "echo \"${COMPREPLY[@]}\"\n")
    done = subprocess.run(["bash", "-c", asks], capture_output=True, text=True)
    assert done.stdout.split() == names, done.stderr
