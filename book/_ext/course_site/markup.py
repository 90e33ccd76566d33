"""Markup around the content: what is mended in the theme's pages, and what describes a page."""

from __future__ import annotations

import re
from html import escape, unescape

from docutils import nodes

__all__ = ["entry_page", "loading", "mend", "meta", "summary"]

_PICTURE = "From images through a network trained without labels to features, one scorecard and one map."

# What the theme writes and no page needs
_SUPERFLUOUS = (
    # The icon script: see assets.write_icons
    r'\s*<!-- So that users can add custom icons -->\s*<script defer src="[^"]*fontawesome\.js[^"]*"></script>',
    # The state of live widgets: without a kernel no page can use it
    r'\s*<script type="application/vnd\.jupyter\.widget-state\+json">.*?</script>',
    # A second declaration of the same viewport
    r'<meta name="viewport" content="width=device-width, initial-scale=1" ?/>',
)

# The whole search index on every page; the search page loads it by itself
_SEARCH = r'\s*<script src="[^"]*(?:_static/searchtools|_static/language_data|searchindex)\.js"></script>'


def mend(page: str, template: str) -> str:
    """Return the page without what it does not need, each script once, and all of it in landmarks."""
    superfluous = _SUPERFLUOUS if template == "search.html" else (*_SUPERFLUOUS, _SEARCH)
    for pattern in superfluous:
        page = re.sub(pattern, "", page, flags=re.DOTALL)
    page = re.sub(r"<title>(.+?) &#8212; \1</title>", r"<title>\1</title>", page)  # the first page is named as the book
    # the title above the list of pages belongs to a landmark, too
    page = page.replace(
        '<div id="pst-primary-sidebar"', '<div id="pst-primary-sidebar" role="navigation" aria-label="Site"'
    )
    # the theme's arrow that opens the pages below another has no name for those who hear it
    page = page.replace(
        '<summary><span class="toctree-toggle"', '<summary aria-label="Pages below"><span class="toctree-toggle"'
    )
    return _without_twins(page)


def _without_twins(page: str) -> str:
    """Keep the first of equal scripts."""
    seen = set()

    def keep_first(match: re.Match) -> str:
        script = match.group().strip()
        again = script in seen
        seen.add(script)
        return "" if again else match.group()

    return re.sub(r"\s*<script(?: [^>]*)?>(?:(?!</script>).)*</script>", keep_first, page, flags=re.DOTALL)


def summary(doctree: nodes.document, length: int = 155) -> str:
    """Return the page's first paragraph, cut at a word to the length that search engines show."""
    paragraph = next((found for found in doctree.findall(nodes.paragraph) if found.astext().strip()), None)
    text = " ".join(paragraph.astext().split()) if paragraph is not None else ""
    return text if len(text) <= length else text[:length].rsplit(" ", 1)[0].rstrip(",;:") + " …"


def meta(title: str, summary: str, address: str, pagename: str) -> str:
    """Return the tags that describe a page to search engines and in shared links."""
    title = re.sub(r"<[^>]+>", "", unescape(title))  # Sphinx hands over titles as HTML
    properties = {
        "og:type": "article",
        "og:title": title,
        "og:description": summary,
        "og:url": f"{address}{pagename}.html",
        "og:image": f"{address}_static/social.png",
        "og:image:alt": _PICTURE,
    }
    tags = [f'<meta name="description" content="{escape(summary)}" />']
    tags += [f'<meta property="{name}" content="{escape(value)}" />' for name, value in properties.items()]
    tags += ['<meta name="twitter:card" content="summary_large_image" />']
    return "\n    " + "\n    ".join(tags) + "\n"


def loading(static: str, name: str) -> str:
    """Return the tags that load ``name.css`` and ``name.js`` on one page."""
    style, script = f"{static}/{name}.css", f"{static}/{name}.js"
    return f'    <link rel="stylesheet" href="{style}" />\n    <script defer src="{script}"></script>\n'


def entry_page(title: str, target: str) -> str:
    """Return the page at the site's root, which leads on to the first one."""
    title = escape(title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta http-equiv="refresh" content="0; url={target}" />
<link rel="canonical" href="{target}" />
</head>
<body>
<main><h1>{title}</h1><p><a href="{target}">Go to the first page</a></p></main>
</body>
</html>
"""
