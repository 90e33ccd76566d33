"""The files that pages load: the few icons in use."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pydata_sphinx_theme

__all__ = ["ICONS", "drop_unused", "write_icons"]

ICONS = "icons.css"

# The theme draws its icons with a script of 1.5 MB that holds every icon there is. The site needs some
# twenty of them: each becomes a mask in the text's colour, so that dark mode and print follow by themselves.
_STYLE = """\
.fa-solid, .fa-brands, .fa-regular, .fas, .fab, .far { font-family: inherit; }
.fa-solid::before, .fa-brands::before, .fa-regular::before, .fas::before, .fab::before, .far::before {
  content: ""; display: inline-block; height: 1em; vertical-align: -0.125em;
  background: currentColor; mask: var(--icon) center / contain no-repeat;
}
@media (forced-colors: active) { [class*="fa-"]::before { background: ButtonText; forced-color-adjust: none; } }
"""
_NOT_ICONS = {"solid", "regular", "brands", "lg", "fw", "sm", "xs", "2x", "spin"}


def write_icons(site: Path) -> None:
    """Write the style sheet with the icons that the built pages and their scripts name."""
    used = set()
    for path in (*site.rglob("*.html"), *site.glob("_static/scripts/*theme.js"), *site.glob("_static/*.js")):
        used |= set(re.findall(r"\bfa-([a-z0-9-]+)", path.read_text(encoding="utf-8")))
    drawings = _drawings()
    rules = [_rule(name, *drawings[name]) for name in sorted(used - _NOT_ICONS) if name in drawings]
    (site / "_static" / ICONS).write_text(_STYLE + "".join(rules), encoding="utf-8")


def _drawings() -> dict[str, tuple[int, int, str]]:
    """Return width, height and path of each of the theme's icons, by name and by older name."""
    theme = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme"
    script = (theme / "static" / "scripts" / "fontawesome.js").read_text(encoding="utf-8")
    found = {}
    for name, width, height, others, path in re.findall(
        r'"?([a-z0-9-]+)"?:\[(\d+),(\d+),\[([^\]]*)\],"[0-9a-f]+","([^"]+)"\]', script
    ):
        for known in (name, *re.findall(r'"([a-z0-9-]+)"', others)):
            found.setdefault(known, (int(width), int(height), path))
    return found


def _rule(name: str, width: int, height: int, path: str) -> str:
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><path d="{path}"/></svg>'
    return (
        f'.fa-{name}::before {{ width: {width / height:.3f}em; --icon: url("data:image/svg+xml,{quote(drawing)}"); }}\n'
    )


def drop_unused(site: Path) -> None:
    """Delete what no page loads: the icon script, and maps of minified files."""
    for path in (*site.glob("_static/**/*.map"), *site.glob("_static/scripts/fontawesome.js")):
        path.unlink()
