"""The twins of the chapters' sliders: figures that move without a kernel, stepped through states drawn beforehand.

`helpers.widgets.Explorer` leaves, beside its widget and its still picture, one sheet with a picture of every state.
Here the sheet becomes a file of the site, and the still picture on the page is told where it lies; ``course.js`` then
lays sliders under it. Without JavaScript the still picture stands alone. Its alternative text, which the chapter
gives, serves the moving picture too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

__all__ = ["STATES", "attach"]

STATES = "application/vnd.features-without-labels.states+json"  # as in helpers.widgets, which takes seconds to import
FOLDER = "_images/explorers"  # within the site


def attach(site: Path, executed: Path) -> None:
    """Tell every page of `site` of the sheets in its executed notebook.

    Parameters
    ----------
    site : Path
    executed : Path
        The folder with the executed notebooks.

    Raises
    ------
    LookupError
        If a page lacks the still picture of an explorer.
    """
    for notebook in sorted(executed.glob("*.ipynb")):
        path = site / "notebooks" / f"{notebook.stem}.html"
        bundles = list(_bundles(notebook)) if path.exists() else []
        page = path.read_text(encoding="utf-8") if bundles else ""
        for number, bundle in enumerate(bundles, start=1):
            states = dict(bundle[STATES])
            sheet = site / FOLDER / f"{notebook.stem}-{number}.webp"
            sheet.parent.mkdir(parents=True, exist_ok=True)
            sheet.write_bytes(base64.b64decode(states.pop("sheet")))
            page = _told(page, bundle["image/png"], states | {"sheet": f"../{FOLDER}/{sheet.name}"}, path)
        if bundles:
            path.write_text(page, encoding="utf-8")


def _bundles(notebook: Path) -> Iterator[dict]:
    """Yield the outputs of a notebook that hold a sheet of states."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        yield from (output["data"] for output in cell.get("outputs", []) if STATES in output.get("data", {}))


def _told(page: str, still: str | list[str], states: dict, path: Path) -> str:
    """Return the page with `states` at the still picture; MyST-NB names a picture by the digest of its bytes."""
    digest = hashlib.sha256(base64.b64decode("".join(still))).hexdigest()
    found = re.search(rf'<img (?=[^>]*{digest}\.png")[^>]*>', page)
    if found is None:
        raise LookupError(f"{path.name} does not show the still picture of an explorer: build it anew.")
    told = re.sub(r' data-states="[^"]*"', "", found[0])
    told = told.replace("<img ", f'<img data-states="{escape(json.dumps(states))}" ', 1)
    return page.replace(found[0], told, 1)
