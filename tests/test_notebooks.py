"""The notebooks in examples/, each executed in a kernel of this interpreter, in an empty folder: no exception and no word on
stderr, the pictures, and the numbers that they print."""
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
for needed in ("matplotlib", "numba", "onnxruntime", "optuna", "sklearn"):
    pytest.importorskip(needed)
from jupyter_client import AsyncKernelManager  # noqa: E402
from jupyter_client.kernelspec import KernelSpecManager  # noqa: E402
from traitlets.config import Config  # noqa: E402

EXAMPLES = Path(__file__).parent.parent / "examples"
# name: (pictures, {what is printed before an accuracy: the least of the first one after it})
NOTEBOOKS = {
    "data": (10, {}),
    "demo": (8, {"test accuracy ": 0.78, "onnxruntime: accuracy ": 0.78}),
    "formulas_1": (6, {}),
    "formulas_2": (13, {"accuracy on the test set ": 0.75, "shallow  test accuracy ": 0.75, "LeNet-5: test accuracy ": 0.7,
                        "after 2 epochs ": 0.7, "a new head of 340 parameters: test accuracy ": 0.6}),
    "formulas_3": (14, {"best    ": 0.55, " together ": 0.75, " their mean weights ": 0.75}),
    "own_layer_and_loss": (3, {"test accuracy ": 0.7}),
    "search": (3, {"on the test set: accuracy ": 0.7, r"seeds .* ensemble accuracy ": 0.75,
                   r"snapshots .* ensemble accuracy ": 0.75}),
}


class Kernel(AsyncKernelManager):
    """This interpreter's, whatever kernels the user has installed."""

    def __init__(self, **settings):
        super().__init__(**{**settings, "kernel_name": "python3"}, kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))


def notebook(name):
    """A notebook as it is committed."""
    return nbformat.read(EXAMPLES / f"{name}.ipynb", nbformat.NO_CONVERT)


def executed(book, folder, monkeypatch):
    """The notebook with its outputs, run in a folder."""
    import lanewise
    for place in ("CONFIG", "DATA", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{place}_DIR", str(folder / ".jupyter"))
    paths = [str(EXAMPLES), str(Path(lanewise.__file__).parent.parent)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "IPYTHONDIR": str(folder / ".ipython"),
           "PYDEVD_DISABLE_FILE_VALIDATION": "1",                      # debugpy: frozen modules of Python 3.11 and later
           "PYTHONWARNINGS": "ignore:IProgress not found"}             # tqdm, which Optuna imports, without ipywidgets
    env.pop("MPLBACKEND", None)                                        # so that pictures become outputs
    with tempfile.TemporaryDirectory() as sockets:                     # of a short name: that of a socket is limited
        local = {"Kernel": {"transport": "ipc", "ip": f"{sockets}/k"}} if os.name == "posix" else {}
        client = nbclient.NotebookClient(book, kernel_manager_class=Kernel, timeout=300, config=Config(local),
                                         resources={"metadata": {"path": str(folder)}})
        return client.execute(env=env)


def outputs(book):
    """All outputs of the code cells."""
    return [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]


def test_every_notebook_is_run():
    assert sorted(NOTEBOOKS) == sorted(path.stem for path in EXAMPLES.glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_clean(name):
    """Valid, of format 4.5, for any Python 3 kernel, without outputs and counts."""
    book = notebook(name)
    nbformat.validate(book)
    assert (book.nbformat, book.nbformat_minor) == (4, 5) and book.metadata.kernelspec.name == "python3"
    assert not outputs(book) and all(c.execution_count is None for c in book.cells if c.cell_type == "code")
    assert book.cells[0].cell_type == "markdown" and book.cells[0].source.startswith("# ")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs(name, tmp_path, monkeypatch):
    """From the first cell to the last."""
    book = executed(notebook(name), tmp_path, monkeypatch)
    found = outputs(book)
    assert not [out.text for out in found if out.output_type == "stream" and out.name == "stderr"]
    pictures, numbers = NOTEBOOKS[name]
    assert sum("image/png" in out.get("data", ()) for out in found) == pictures
    text = "".join(out.text for out in found if out.output_type == "stream")
    for words, least in numbers.items():
        value = re.search(words + r"(\d\.\d+)", text)
        assert value and float(value[1]) >= least, f"{words}: expected {least} or more in\n{text}"


def test_failures_are_seen(tmp_path, monkeypatch):
    """An exception in a cell is one here; what goes to stderr is an output; the kernel is this interpreter."""
    cell = nbformat.v4.new_code_cell
    book = nbformat.v4.new_notebook(cells=[cell("import sys, warnings; print(sys.executable)"),
                                           cell("warnings.warn('planted')")])
    first, second = outputs(executed(book, tmp_path, monkeypatch))
    assert first.text.strip() == sys.executable and second.name == "stderr" and "planted" in second.text
    book.cells.append(cell("assert 1 == 2, 'planted too'"))
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="planted too"):
        executed(book, tmp_path, monkeypatch)


def test_numbers_side_by_side():
    """beside() refuses what differs, in value, shape, or by NaN; slopes() are those of the formula."""
    import numpy as np
    from test_examples import example
    numbers = example("course_numbers")
    numbers.beside("equal", [1.0, 2.0], [1.0, 2.0])
    for ours in ([1.0, 2.1], [1.0, np.nan], [[1.0, 2.0]]):
        with pytest.raises(AssertionError):
            numbers.beside("planted", ours, [1.0, 2.0])
    with pytest.raises(AssertionError):
        numbers.beside("planted", [np.nan], [np.nan])
    assert np.allclose(numbers.slopes(lambda v: v * v, [[1.0], [3.0]]), [[2], [6]])
    assert np.allclose(numbers.value(lambda v: v * v, [[1.0], [3.0]]), [[1], [9]])
