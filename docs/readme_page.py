"""README.md as a page of the site, with the files that it shows or links to."""
import re
from pathlib import Path

from mkdocs.structure.files import File

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)[^)]*\)")


def on_files(files, config):
    """Add the page; a link to a folder becomes its words."""
    root = Path(config.config_file_path).parent
    text = (root / "README.md").read_text(encoding="utf-8")
    for _, _, target in LINK.findall(text):
        if (root / target).is_file() and files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, abs_src_path=str(root / target)))
    text = LINK.sub(lambda m: m[0] if (root / m[3]).is_file() else m[2], text)
    files.append(File.generated(config, "readme.md", content=text))
    return files
