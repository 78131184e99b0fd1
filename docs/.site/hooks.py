"""Takes the pages at the top of the repository into the site; links between files become links between pages."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TOP = Path(__file__).parents[2]
NAMES = {
    "README.md": "readme.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "DECISIONS.md": "DECISIONS.md",
    "SECURITY.md": "SECURITY.md",
}
"""File at the top -> its name in the site; `readme.md` because `README.md` would be a second index."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages at the top."""
    for name, shown in NAMES.items():
        files.append(File.generated(config, shown, content=(TOP / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """The page with links as the site needs them; a link to a file that is no page becomes its text."""
    above = Path() if page.file.src_uri in NAMES.values() else Path("docs")

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        file = (TOP / above / target).resolve()
        if not file.exists() or not target:
            return match[0]
        name = file.relative_to(TOP.resolve()).as_posix()
        if file.parent == (TOP / "docs").resolve():
            return f"[{text}]({file.name}{anchor})"
        return f"[{text}]({NAMES[name]}{anchor})" if name in NAMES else text

    return re.sub(r"\[([^\]]*)\]\(([^)#\s:]+)(#[^)\s]*)?\)", link, markdown)
