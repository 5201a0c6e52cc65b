"""The documentation: every public name is on one page, the pages build without a warning, their Python runs."""
import html
import importlib
import os
import re
import subprocess
import sys
from inspect import isclass, isfunction, ismodule
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LISTED = ("lanewise", "nn", "nn.functional", "optim", "data", "callbacks", "estimators", "onnx", "ops", "plot")   # by __all__
WHOLE = ("nn.init", "nn.penalty", "nn.utils", "optim.lr_scheduler", "metrics", "checks", "models")
EXTRAS = {"lanewise": "sklearn", "estimators": "sklearn"}


def module(name):
    """The module `name` of lanewise; a skip where what it needs is not installed."""
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    return importlib.import_module("lanewise" if name == "lanewise" else f"lanewise.{name}")


def public(home):
    """{name: thing} of a module: what __all__ lists or, without one, the classes and functions that it defines."""
    if hasattr(home, "__all__"):
        found = {name: getattr(home, name) for name in home.__all__}
    else:
        found = {name: thing for name, thing in vars(home).items() if not name.startswith("_")
                 and (isclass(thing) or isfunction(thing)) and thing.__module__ == home.__name__}
    return {name: thing for name, thing in found.items() if not ismodule(thing)}


def located(path):
    """What a `:::` directive names: where a module and a function have one name, the module, as on the page."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:end]))
            for part in parts[end:]:
                thing = getattr(thing, part)
        except (ModuleNotFoundError, AttributeError):
            continue
        return thing
    raise AssertionError(f"the pages name {path}, which is not there")


def directives(text):
    """The paths after `:::` in a page."""
    return re.findall(r"^::: (\S+)$", text, re.M)


def documented():
    """[(page, path, thing)] of every directive."""
    return [(page.name, path, located(path)) for page in PAGES for path in directives(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", (*LISTED, *WHOLE))
def test_every_public_name_is_on_one_page(name):
    """By identity: a name that two modules have is one thing."""
    home, names = module(name), public(module(name))
    found = documented()
    assert names
    for what, thing in names.items():
        pages = [f"{page}: {path}" for page, path, other in found if other is thing]
        assert len(pages) == 1, f"{home.__name__}.{what}: expected one page with it, got {pages or 'none'}"


def test_nothing_is_twice():
    paths = [path for _, path, _ in documented()]
    assert len(set(paths)) == len(paths) > 200


def test_what_is_not_there_is_noticed():
    with pytest.raises(AssertionError, match="lanewise.nn.Conv9d"):
        located("lanewise.nn.Conv9d")
    assert directives("::: a.b\n\ntext ::: c\n::: d\n    options:\n") == ["a.b", "d"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """(folder of the built site, what the build said)."""
    for name in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(name, reason='pip install ".[docs]"')
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ROOT / "mkdocs.yml", "-d", folder],
                          cwd=folder.parent, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout + done.stderr


def test_the_site_builds(site):
    """Without a warning, with a page for each file, and nothing on a page comes from another host."""
    folder, said = site
    assert "WARNING" not in said and "ERROR" not in said, said
    for page in PAGES:
        text = (folder / page.relative_to(DOCS).with_suffix(".html")).read_text(encoding="utf-8")
        assert not re.search(r"<(?:link|script|img|iframe)\b[^>]*(?:src|href)=\"?(?:https?:)?//", text), page
        for path in directives(page.read_text(encoding="utf-8")):
            assert f'id="{path}"' in text or ismodule(located(path)), (page, path)
    assert not list(folder.rglob("*.py"))


def test_the_pictures_are_those_of_the_script(site, tmp_path):
    """docs/pictures.py makes each picture that the page of plots shows, and no other; they are small, and on the built page."""
    pytest.importorskip("matplotlib", reason="pip install lanewise[plot]")
    done = subprocess.run([sys.executable, DOCS / "pictures.py", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    pictures = {path.name: path.stat().st_size for path in (DOCS / "pictures").iterdir()}
    page = (site[0] / "reference" / "plots.html").read_text(encoding="utf-8")
    assert set(re.findall(r'src="\.\./pictures/(\w+\.png)"', page)) == set(pictures) == {p.name for p in tmp_path.iterdir()}
    assert all((site[0] / "pictures" / name).is_file() for name in pictures) and sum(pictures.values()) < 400_000
    for name in pictures:                               # width and height in pixels, as PNG's header has them
        assert (tmp_path / name).read_bytes()[16:24] == (DOCS / "pictures" / name).read_bytes()[16:24], name


def shown(site, page):
    """The words of a page, without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", (site[0] / page).read_text(encoding="utf-8")))


def test_docstrings_keep_their_signs(site):
    """A formula's `*`, `_`, `<` and brackets are on the page as they are in the source; indented lines are code."""
    losses = shown(site, "reference/losses.html")
    assert "-sum_c w_c t_c log softmax(x)_c" in losses and "-log softmax(x)[label]" in losses
    assert "<dloss/dp, d> against" in shown(site, "reference/looking.html")
    assert "weight[o, c] * x[n, c]: (N, C, H, W)" in shown(site, "reference/ops.html")
    assert "@lw.elementwise(derivative=lambda x: 1 / (1 + math.exp(-x)))\ndef softplus(x):" in shown(site, "reference/own.html")


def test_every_docstring_is_on_its_page(site):
    """The first line of what each directive names, also where a docstring is made when the module is imported."""
    for page in PAGES:
        words = {path: (located(path).__doc__ or "").strip().split("\n")[0].replace("`", "")
                 for path in directives(page.read_text(encoding="utf-8"))}
        text = re.sub(r"\s+", " ", shown(site, page.relative_to(DOCS).with_suffix(".html"))) if words else ""
        assert not [path for path, line in words.items()
                    if not isinstance(located(path), dict) and (not line or re.sub(r"\s+", " ", line) not in text)], page


def test_the_figures_are_the_readmes(site):
    """Each row of the README's tables of figures is on the page of performance; each part that a page asks for has come."""
    figures = re.search(r"^## Figures\n(.*?)^## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)[1]
    cells = {cell.strip() for line in re.findall(r"^\|(.*)\|$", figures, re.M) for cell in line.split("|")}
    cells = {cell for cell in cells if re.search(r"\d", cell) and not re.search(r"[*`_]", cell)}
    there = shown(site, "performance.html")
    assert len(cells) > 20 and not [cell for cell in cells if cell not in there]
    assert all("<!-- README" not in page.read_text(encoding="utf-8") for page in site[0].rglob("*.html"))


def blocks(text):
    """[(Python, module that it needs or None)] of the fenced blocks of a page."""
    return [(code, need or None) for need, code in
            re.findall(r"(?:^<!-- needs (\w+) -->\n)?^```python\n(.*?)^```$", text, re.M | re.S)]


@pytest.mark.parametrize("page", [p for p in PAGES if "```python" in p.read_text(encoding="utf-8")], ids=lambda p: p.stem)
def test_python_runs(page, tmp_path, monkeypatch, capsys):
    """The blocks in order, in one namespace, as a reader would paste them; without what a block needs, up to it."""
    from lanewise import get_num_threads, set_num_threads
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANEWISE_OPS", str(tmp_path / "ops"))
    names, threads = {}, get_num_threads()
    try:
        for i, (code, need) in enumerate(blocks(page.read_text(encoding="utf-8"))):
            if need:
                pytest.importorskip(need)
            exec(compile(code, f"{page.name}, block {i + 1}", "exec"), names)
    finally:
        set_num_threads(threads)
