"""Markdown as the tests of the documentation read it: pages, headings, links, tables; and results written into a page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
REFERENCE = DOCS / "reference"
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^(#{1,6}) +(.+?)\s*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")

Row = tuple[str, ...]


def pages() -> list[Path]:
    """Return README.md and every page below docs/."""
    return [PROJECT / "README.md", *sorted(DOCS.rglob("*.md"))]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for _, title in HEADING.findall(prose(page)):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def section(name: str, heading: str) -> str:
    """Return the text below a heading, up to the next heading of any level."""
    text = prose(REFERENCE / name)
    parts = HEADING.split(text)
    titles = parts[2::3]
    assert titles.count(heading) == 1, f"{name} has {titles.count(heading)} headings {heading!r}, not 1: {titles}"
    return parts[3::3][titles.index(heading)]


def table(name: str, heading: str, first: str) -> list[Row]:
    """Return the rows of the one table below ``heading`` whose first column is titled ``first``."""
    found: list[list[Row]] = []
    lines = [*section(name, heading).splitlines(), ""]
    for title, rule, number in zip(lines, lines[1:], range(2, len(lines) + 1), strict=False):
        if title.startswith("|") and set(rule) <= set("|-: ") and rule.startswith("|") and cells(title)[0] == first:
            end = next(place for place in range(number, len(lines)) if not lines[place].startswith("|"))
            found.append([cells(line) for line in lines[number:end]])
    assert len(found) == 1, f"{name}, {heading}: {len(found)} tables with the first column {first!r}, not 1"
    return found[0]


def cells(line: str) -> Row:
    """Return the cells of one line of a table."""
    return tuple(cell.strip() for cell in line.strip().strip("|").split(" | "))


def codes(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return _CODE.findall(cell)


def names(name: str, heading: str, first: str) -> set[str]:
    """Return everything in backticks in the first column of a table."""
    found = [code for row in table(name, heading, first) for code in codes(row[0])]
    twice = sorted({code for code in found if found.count(code) > 1})
    assert not twice, f"{name}, {heading}: {twice} stand there twice"
    return set(found)


def agree(documented: set[str], actual: set[str], where: str) -> None:
    """Fail if what is documented is not what is there."""
    missing, made_up = sorted(actual - documented), sorted(documented - actual)
    assert (missing, made_up) == ([], []), f"{where}: not documented {missing}; documented, but not there {made_up}"


def write_page(part: str, text: str, page: Path) -> None:
    """Put ``text`` between the marks of ``part`` in the page."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no marks {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def timeline_table(lines: Iterable[tuple[float, str]], *, digits: int) -> str:
    """Return what happened when as a table; seconds have so many digits after the point."""
    rows = [f"| {seconds:.{digits}f} | {what.replace('|', '/')} |" for seconds, what in lines]
    return "\n".join(["| seconds | what happened |", "|---|---|", *rows])
