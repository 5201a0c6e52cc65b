"""README.md as a page of the site with the files that it shows, and parts of it in other pages: what it says is said once."""
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)[^)]*\)")
PART = re.compile(r"^<!-- README: (.+) -->$", re.M)


def readme(config):
    """(its folder, its text)."""
    root = Path(config.config_file_path).parent
    return root, (root / "README.md").read_text(encoding="utf-8")


def part(text, start):
    """A section's text, or the paragraph that starts so and the table after it."""
    found = (re.search(rf"^## {re.escape(start)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
             or re.search(rf"^({re.escape(start)}(?:.+\n)+\n(?:\|.*\n)+)", text, re.M))
    if not found:
        raise PluginError(f"README.md has no section, and no paragraph before a table, that starts with '{start}'")
    return found[1].strip()


def unlinked(text, root):
    """Links to folders, which are no pages, become their words."""
    return LINK.sub(lambda m: m[0] if (root / m[3]).is_file() else m[2], text)


def on_files(files, config):
    """Add the page and what it links to."""
    root, text = readme(config)
    for _, _, target in LINK.findall(text):
        if (root / target).is_file() and files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, abs_src_path=str(root / target)))
    files.append(File.generated(config, "readme.md", content=unlinked(text, root)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Put the parts of README.md that a page asks for in their places."""
    root, text = readme(config)
    return PART.sub(lambda m: unlinked(part(text, m[1]), root), markdown)
