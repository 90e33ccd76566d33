"""Print the whole book into one PDF, from the built site: ``make pdf`` calls this.

Chromium prints; no TeX is needed. The articles of all pages are put into one document, in the order of the table of
contents, so that links between chapters lead to pages of the PDF, and the reader's outline lists every heading. The
gallery is left out: it is there to be touched, and its maps stand in the chapters.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import yaml
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
TARGET = ROOT / "_build" / "features-without-labels.pdf"
LEFT_OUT = ("book/gallery",)
DROPPED = ".headerlink, script"
STYLE = "@page { size: A4 } article + article { break-before: page }"


def book_pages() -> list[str]:
    """Return the book's pages in reading order, as paths within the site."""
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    nested = [[chapter, *chapter.get("sections", [])] for chapter in chapters]
    files = [toc["root"], *(page["file"] for pages in nested for page in pages)]
    return [f"{file}.html" for file in files if file not in LEFT_OUT]


def one_document(site: Path, pages: list[str]) -> str:
    """Return one HTML document, to lie in `site`, that holds the articles of all `pages`.

    Ids are made unique by the name of their page, and links between the pages lead to them. Links to what is left out
    lead to the published site.
    """
    soups = {page: BeautifulSoup((site / page).read_text(encoding="utf-8"), "html.parser") for page in pages}
    title = soups[pages[0]].title.get_text()
    sheets = dict.fromkeys(
        _within(site, page, link["href"])
        for page, soup in soups.items()
        for link in soup.select("link[rel=stylesheet]")
    )
    articles = "\n".join(_article(site, page, soups[page], pages) for page in pages)
    links = "\n".join(f'<link rel="stylesheet" href="{sheet}">' for sheet in sheets)
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light" data-content_root="./"><head><meta charset="utf-8"><title>{title}</title>
{links}
<style>{STYLE}</style>
</head><body><main class="bd-main"><div class="bd-content"><div class="bd-article-container">
{articles}
</div></div></main></body></html>"""


def _article(site: Path, page: str, soup: BeautifulSoup, pages: list[str]) -> str:
    article = soup.select_one("article.bd-article")
    for tag in article.select(DROPPED):
        tag.decompose()
    for details in article.select("details"):
        details["open"] = ""
    for tag in article.select("[id]:not(svg, svg *)"):  # a drawing refers to its own parts
        tag["id"] = _anchor(page, tag["id"])
    for tag in article.select("[aria-labelledby]:not(svg)"):
        tag["aria-labelledby"] = " ".join(_anchor(page, each) for each in tag["aria-labelledby"].split())
    for tag in article.select("[href], [src]"):
        _relink(site, page, tag, pages)
    article["id"] = _anchor(page)
    return str(article)


def _relink(site: Path, page: str, tag: Tag, pages: list[str]) -> None:
    name = "href" if tag.has_attr("href") else "src"
    parts = urlsplit(tag[name])
    if parts.scheme or parts.netloc or tag.find_parent("svg"):
        return
    target = _within(site, page, tag[name]) if parts.path else page
    if target in pages:
        tag[name] = "#" + _anchor(target, unquote(parts.fragment))
    elif name == "src":
        tag[name] = target
    else:
        tag[name] = urljoin(_published(), urlunsplit(("", "", target, "", parts.fragment)))
    tag.attrs.pop("loading", None)  # nobody scrolls a sheet of paper


def _within(site: Path, page: str, address: str) -> str:
    """Return a page's relative address as seen from the site's root, without query and fragment."""
    path = ((site / page).parent / unquote(urlsplit(address).path)).resolve()
    return path.relative_to(site.resolve()).as_posix()


def _published() -> str:
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["html"]["baseurl"]


def _anchor(page: str, name: str = "") -> str:
    return re.sub(r"\W+", "-", page.removesuffix(".html")) + (f"--{name}" if name else "")


def chromium() -> str | None:
    """Return the path of a Chromium, the system's or Playwright's own, or None."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    if found := next(filter(None, map(shutil.which, names)), None):
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def print_pdf(document: Path, target: Path) -> None:
    """Let Chromium print a document into a tagged PDF with an outline; ``course.css`` has the page numbers.

    Raises
    ------
    SystemExit
        If there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        sys.exit("No Chromium was found: install one, or run `playwright install chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(document.as_uri(), wait_until="load", timeout=120_000)
        page.evaluate("document.fonts.ready")
        page.pdf(path=target, prefer_css_page_size=True, print_background=True, tagged=True, outline=True)
        browser.close()


def main() -> None:
    pages = book_pages()
    if not all((SITE / page).exists() for page in pages):
        sys.exit("The site is not built: run `make book` first.")
    document = SITE / "book.html"
    document.write_text(one_document(SITE, pages), encoding="utf-8")
    try:
        print_pdf(document, TARGET)
    finally:
        document.unlink()
    print(f"The PDF: {TARGET} ({TARGET.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
