"""Build the documentation site, and check it for defects that the builder does not notice.

    python -m tests.docs.site

The builder refuses links to pages and headings that do not exist. It does not check links to other files, programs and
fonts from other hosts, Markdown that it did not understand, and docstrings that contradict their signature.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "docs/zensical.toml"
SITE = ROOT / "docs/site"

# A browser fetches the first by itself, and the second when the reader clicks.
LOADED = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("source", "srcset"),
}
LINKED = {("a", "href")}
# The theme loads the programs behind these from another host as soon as a page has one.
FETCHING = {"mermaid", "glightbox", "pyodide"}
# Code may look like Markdown; prose may not.
PROSE = {"p", "li", "td"}
NO_PROSE = {"code", "pre", "script", "style"}
LEFTOVER = re.compile(r"```|\]\(|^::: |--8<--|^\s*(?:[-*|]|\d+\.) ", re.MULTILINE)
FOREIGN_STYLE = re.compile(r"""(?:@import\s+|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")


@dataclass
class Page:
    """The names, addresses and paragraphs of one page of HTML."""

    names: set[str] = field(default_factory=set)
    loaded: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    fetching: set[str] = field(default_factory=set)
    paragraphs: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Page:
        reader = _Reader()
        reader.feed(path.read_text())
        reader.close()
        return reader.page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.page.names.add(value)
            elif name == "class":
                self.page.fetching |= FETCHING & {*value.split()}
            elif (tag, name) in LOADED:
                self.page.loaded.append(value)
            elif (tag, name) in LINKED:
                self.page.linked.append(value)
        if tag in PROSE and "article" in self._open:
            self.page.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        # Elements without an end tag (img, br) lie above the one that ends.
        while tag in self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "article" in self._open and PROSE & {*self._open} and not NO_PROSE & {*self._open}:
            self.page.paragraphs[-1] += data


def defects(site: Path) -> Iterator[str]:
    """The defects of a built site, one line for each."""
    pages = {path: Page.read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(site)
        yield from (f"{where}: loads {url}" for url in page.loaded if _is_foreign(url))
        yield from (f"{where}: has a {name}, which loads a program" for name in sorted(page.fetching))
        yield from (
            f"{where}: {url} leads nowhere" for url in page.loaded + page.linked if not _leads(url, path, site, pages)
        )
        yield from (
            f"{where}: Markdown is left over: {text.strip()[:80]!r}"
            for text in page.paragraphs
            if LEFTOVER.search(text)
        )
    for path in sorted(site.rglob("*.css")):
        yield from (f"{path.relative_to(site)}: loads {url}" for url in FOREIGN_STYLE.findall(path.read_text()))
    if not pages:
        yield "there is no page"


def _is_foreign(url: str) -> bool:
    return bool(urlsplit(url).netloc)


def _leads(url: str, path: Path, site: Path, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return True
    target = path
    if parts.path:
        base = site if parts.path.startswith("/") else path.parent
        target = (base / unquote(parts.path).lstrip("/")).resolve()
    # The site is read from a disk, too. There no server turns a folder into a page.
    if not target.is_relative_to(site.resolve()) or not target.is_file():
        return False
    return not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].names


def build() -> list[str]:
    """Build the site strictly. The answer has the warnings of a build that succeeded."""
    program = Path(sysconfig.get_path("scripts")) / "zensical"
    done = subprocess.run(
        [str(program), "build", "--strict", "--clean", "-f", str(CONFIGURATION)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stdout)
    return warnings_in(done.stdout)


def warnings_in(output: str) -> list[str]:
    """The warnings of the tool that reads docstrings, about an argument that does not exist for example."""
    return [line for line in output.splitlines() if line.startswith(("griffe:", "mkdocstrings", "WARNING", "Warning"))]


def main() -> None:
    """Exit with a message if the site has a defect."""
    found: Sequence[str] = [*build(), *defects(SITE)]
    if found:
        sys.exit("\n".join(found))
    print(f"{len([*SITE.rglob('*.html')])} pages; open {(SITE / 'index.html').relative_to(ROOT)} in a browser")


if __name__ == "__main__":
    main()
