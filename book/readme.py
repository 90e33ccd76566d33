"""Write the README's table and picture from the results store: `make readme`."""

import re
from pathlib import Path

from helpers import comparison, gallery, results

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "_runs" / "quick" / "results"
CHAPTER = "convolutional-autoencoder"
PLACE = re.compile(r"(<!-- table: make readme -->\n).*?(<!-- end of table -->)", re.DOTALL)
PICTURE = ROOT / "book" / "_static" / "maps.png"


def table() -> str:
    """Return the table as Markdown."""
    return comparison.comparison_markdown(results.load(STORE), CHAPTER)


def main() -> None:
    readme = ROOT / "README.md"
    text, places = PLACE.subn(lambda match: f"{match[1]}\n{table()}\n{match[2]}", readme.read_text(encoding="utf-8"))
    if places != 1:
        raise SystemExit(
            "README.md has no place for the table: it stands between two comments, see PLACE in readme.py."
        )
    readme.write_text(text, encoding="utf-8")
    PICTURE.write_bytes(gallery.still(results.load(STORE, CHAPTER)))


if __name__ == "__main__":
    main()
