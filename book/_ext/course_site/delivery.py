"""How pages reach a reader with a slow connection: one lean style sheet, scripts and pictures that hold nothing up.

The theme and its extensions bring a dozen style sheets of some 600 KB and as many scripts, and each is fetched before
the first line of text is drawn. Here the sheets become one, without the rules that no page can use; scripts run when
the page is there; and a picture that is not in view is fetched when it is scrolled to, into a space kept free for it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from PIL import Image

__all__ = ["SHEET", "bundle", "deliver", "used_names", "without_unused"]

SHEET = "site.css"

_LINK = re.compile(r'[ \t]*<link (?=[^>]*rel="stylesheet")[^>]*href="([^"]*_static/)([^"?]+\.css)[^"]*"[^>]*>\n?')
_OPTIONS = re.compile(r'<script src="[^"]*documentation_options\.js[^"]*"></script>')
_PICTURE = re.compile(r'<img (?![^>]*loading=)[^>]*src="([^"]*_images/[^"]+\.png)"[^>]*>')

# a sheet's parts: comments, texts, addresses, and what opens, closes or ends a rule
_PARTS = re.compile(
    r"""/\*.*?\*/ | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | url\(\s*[^"')\s][^)]*\) | [{};] | [^{};"'/u]+ | .""",
    re.DOTALL | re.VERBOSE,
)
_NESTED = ("@media", "@supports", "@layer", "@container")  # rules within rules


def deliver(site: Path, apart: Iterable[str] = ()) -> None:
    """Rewrite every page of a built site; a page that was rewritten before stays as it is.

    Parameters
    ----------
    site : Path
    apart : iterable of str
        Style sheets that single pages load for themselves.
    """
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if "_static" not in path.parts}
    links = (link for page in pages.values() for link in _LINK.finditer(page))
    sheets = [name for name in dict.fromkeys(link[2] for link in links) if name not in (SHEET, *apart)]
    if not sheets:
        return
    static = site / "_static"
    scripts = [path.read_text(encoding="utf-8") for path in static.rglob("*.js") if "vendor" not in path.parts]
    text = without_unused(bundle([static / name for name in sheets], static), used_names(pages.values(), scripts))
    (static / SHEET).write_text(text, encoding="utf-8")
    version = hashlib.sha256(text.encode()).hexdigest()[:8]
    options = (static / "documentation_options.js").read_text(encoding="utf-8").strip()
    for path, page in pages.items():
        page = _with_sizes(_with_deferred_scripts(_with_one_sheet(page, apart, version), options), path.parent)
        path.write_text(page, encoding="utf-8")
    for name in (*sheets, "basic.css"):  # imported by the theme's
        (static / name).unlink(missing_ok=True)


def _with_one_sheet(page: str, apart: Iterable[str], version: str) -> str:
    """Put the site's style sheet in the place of the first of the sheets that it holds, before those of the page."""
    found = [link for link in _LINK.finditer(page) if link[2] not in apart]
    if not found:
        return page
    apart = "".join(link[0] for link in _LINK.finditer(page) if link[2] in apart)
    tag = f'    <link rel="stylesheet" href="{found[0][1]}{SHEET}?v={version}" />\n'
    return _LINK.sub(lambda link: tag + apart if link[0] == found[0][0] else "", page)


def _with_deferred_scripts(page: str, options: str) -> str:
    """Let scripts run when the page is there, in their order; the options that inline scripts use stand in the page."""
    page = _OPTIONS.sub(lambda _: f"<script>{options}</script>", page)
    page = re.sub(r'<link rel="preload" as="script"[^>]*>\n?', "", page)  # they would overtake the style sheet
    return re.sub(r'<script ((?:data-[^=]*="[^"]*" )?src=)', r"<script defer \1", page)


def _with_sizes(page: str, folder: Path) -> str:
    """Give the page's pictures their width and height; all but the first are fetched when they come near."""
    first = True

    def sized(match: re.Match) -> str:
        nonlocal first
        lazy, first = ("" if first else ' loading="lazy"'), False
        width, height = _size(folder.joinpath(match[1]).resolve())
        known = "" if "width=" in match[0] else f' width="{width}" height="{height}"'
        return match[0].replace("<img ", f'<img{lazy} decoding="async"{known} ', 1)

    return page if 'decoding="async"' in page else _PICTURE.sub(sized, page)


@cache
def _size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size


# ---- one style sheet


def bundle(sheets: Iterable[Path], home: Path) -> str:
    """Return the sheets as one that lies in `home`: imports are put in their places, addresses are relative to it."""
    return "\n".join(_with_imports(sheet, home) for sheet in sheets)


def _with_imports(sheet: Path, home: Path) -> str:
    text = re.sub(r"/\*.*?\*/|@charset [^;]*;", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)

    def moved(match: re.Match) -> str:
        if re.match(r"data:|#|/|[a-z]+:", match[2]):
            return match[0]
        return f'url("{Path(os.path.relpath(sheet.parent / match[2], home)).as_posix()}")'

    text = re.sub(r"""url\(\s*(["']?)([^"')]+)\1\s*\)""", moved, text)
    return re.sub(r"""@import\s+["']([^"']+)["']\s*;""", lambda m: _with_imports(sheet.parent / m[1], home), text)


def used_names(pages: Iterable[str], scripts: Iterable[str]) -> set[str]:
    """Return every word that may be a class or an id: those in the pages' tags, and any word of a script."""
    names = set()
    for page in pages:
        for tag in re.findall(r'(?:class|id)="([^"]*)"', page):
            names.update(tag.split())
        for script in re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL):
            names.update(re.findall(r"[\w-]+", script))
    for script in scripts:
        names.update(re.findall(r"[\w-]+", script))
    return names


def without_unused(sheet: str, names: set[str]) -> str:
    """Return a style sheet without comments, and without the rules of which no selector can match.

    A selector is kept if each class and each id in it, other than in ``:not()``, is among `names`. Rules whose
    selectors choose between names (``:is()``, ``:where()``, ``:has()``) are kept.
    """
    kept = []
    for prelude, body in _rules(sheet):
        if body is None:
            kept.append(f"{prelude};")
        elif prelude.startswith(_NESTED):
            inner = without_unused(body, names)
            kept += [f"{prelude}{{{inner}}}"] if inner else []
        elif prelude.startswith("@") or any(_may_match(selector, names) for selector in _selectors(prelude)):
            kept.append(f"{prelude}{{{_packed(body)}}}")
    return "".join(kept)


def _rules(sheet: str) -> Iterator[tuple[str, str | None]]:
    """Yield what stands before each rule's braces and what between them, None for one that has none."""
    prelude, body, depth = [], [], 0
    for part in _PARTS.findall(sheet):
        if part.startswith("/*"):
            continue
        if part == "{":
            depth += 1
            if depth == 1:
                continue
        elif part == "}":
            depth -= 1
            if depth == 0:
                yield " ".join("".join(prelude).split()), "".join(body)
                prelude, body = [], []
                continue
        elif part == ";" and depth == 0:
            yield " ".join("".join(prelude).split()), None
            prelude = []
            continue
        (body if depth else prelude).append(part)


def _selectors(prelude: str) -> list[str]:
    """Split a list of selectors at its commas, other than those in parentheses."""
    return re.findall(r"(?:\((?:\([^()]*\)|[^()])*\)|[^,(])+", prelude)


def _may_match(selector: str, names: set[str]) -> bool:
    if re.search(r":(is|where|has)\(", selector):
        return True
    selector = re.sub(r":not\((?:\([^()]*\)|[^()])*\)", "", selector)
    selector = re.sub(r"\[[^\]]*\]", "", selector)
    return all(name.replace("\\", "") in names for name in re.findall(r"[.#]((?:\\.|[\w-])+)", selector))


def _packed(body: str) -> str:
    """Draw white space together, other than in texts."""
    return "".join(part if part[0] in "\"'" else re.sub(r"\s+", " ", part) for part in _PARTS.findall(body)).strip()
