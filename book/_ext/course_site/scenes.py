"""The gallery's pages: one for each scene, made while the book is built, without a source file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from sphinx.application import Sphinx

from helpers import comparison, gallery, results

__all__ = ["gaps_html", "scene_pages"]


def scene_pages(app: Sphinx) -> Iterator[tuple[str, dict, str]]:
    """Hand Sphinx the pages of the gallery's scenes, as its event ``html-collect-pages`` wants them."""
    for name in [name for name, meta in app.env.metadata.items() if meta.get("course-results") == "gallery"]:
        folder = f"{name.rpartition('/')[0]}/{gallery.PAGES}"
        for page in gallery.scene_pages(results.load_readable()[0]):
            meta = {"course-results": "gallery", "html_theme.sidebar_secondary.remove": "true"}
            context = {"title": page.title, "body": page.html, "meta": meta, "course_summary": page.summary}
            yield f"{folder}/{page.name}", context, "page.html"


def gaps_html(damaged: Sequence[str], not_run: Sequence[str]) -> str:
    """Return a note that says which results a page cannot show, and why; nothing where all are there.

    Parameters
    ----------
    damaged : sequence of str
        A sentence for each result that could not be read.
    not_run : sequence of str
        The slugs of chapters without a result.
    """
    gaps = [*damaged, *(f"The chapter {comparison.chapter_title(slug)} has no results: run it." for slug in not_run)]
    if not gaps:
        return ""
    items = "".join(f"<li>{escape(gap)}</li>" for gap in gaps)
    title = '<p class="admonition-title">Not everything is here</p>'
    return f'<div class="admonition warning">{title}<ul>{items}</ul></div>\n'
