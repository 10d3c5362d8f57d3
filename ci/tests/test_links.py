"""Relative links of Markdown files point to files that exist, and to headings that are there."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", "build", "target", "node_modules"}

LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
CODE = re.compile(r"^(```.*?^```$|    [^\n]*)|`[^`\n]*`", re.MULTILINE | re.DOTALL)
ELSEWHERE = ("http://", "https://", "mailto:")


def pages(top):
    """Every Markdown file of the tree."""
    for path in sorted(top.rglob("*.md")):
        if not NOT_OURS.intersection(path.relative_to(top).parts):
            yield path


def anchors(path):
    """The fragments that GitHub gives the headings of a page."""
    for heading in HEADING.findall(path.read_text(encoding="utf-8")):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken(page):
    """The links of a page that lead nowhere."""
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        name, _, fragment = target.partition("#")
        path = page.parent / name if name else page
        if target.startswith(ELSEWHERE):
            continue
        if not path.exists() or (fragment and fragment not in anchors(path)):
            yield target


@pytest.mark.parametrize("page", pages(TOP), ids=lambda page: str(page.relative_to(TOP)))
def test_links_of_a_page_resolve(page):
    assert list(broken(page)) == []


def test_a_broken_link_is_found(tmp_path):
    """A file or a heading that does not exist; not what is code or on another site."""
    page = tmp_path / "page.md"
    page.write_text(
        "# One: two\n[a](page.md) [b](#one-two) [c](none.md) [d](page.md#three)\n"
        "`[e](none.md)` [f](https://example.org/none)\n\n    [g](none.md)\n\n[h](last.md)\n",
        encoding="utf-8",
    )
    assert list(broken(page)) == ["none.md", "page.md#three", "last.md"]
