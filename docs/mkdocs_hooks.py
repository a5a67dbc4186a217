"""What the site shows from outside docs/: links are written for the repository, where most are followed."""

import posixpath
import re
from functools import partial
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SHARED = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/*.md",
    "examples/edit.ipynb",
    "experiments/README.md",
    "experiments/*.png",
    "piva/toys/prior/README.md",
)
LINK = re.compile(r"(\]\()([^)\s:#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the shared files, at their places in the repository."""
    for path in sorted(path for pattern in SHARED for path in ROOT.glob(pattern)):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Return the page with links between docs/ and the rest as the site has them."""
    return LINK.sub(partial(_of_site, page.file.src_uri), markdown)


def _of_site(page: str, link: re.Match[str]) -> str:
    inside = (ROOT / "docs" / page).is_file()
    here = posixpath.dirname(f"docs/{page}" if inside else page)
    there = posixpath.normpath(posixpath.join(here, link[2])).removeprefix("docs/")
    return link[1] + posixpath.relpath(there, posixpath.dirname(page) or ".")
