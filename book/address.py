"""Check the course's address, or write a new one everywhere: the one command after forking.

    python book/address.py                                   list what disagrees with _config.yml
    python book/address.py https://github.com/ME/MYCOURSE    write this address instead

The address stands in `_config.yml`. Badges, set-up cells, README and citation repeat it because they must work where
no code of ours runs: on GitHub, in Colab, on a bare machine. Files are edited as text, so that a notebook keeps every
other byte. Nothing but Python is needed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What may hold the address. The configuration comes last: an interrupted run is finished by the same command.
FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "CITATION.cff",
    "book/**/*.md",
    "data/*.md",
    "notebooks/**/*.ipynb",
    "_config.yml",
)

# Links that can only mean this course, whoever they name now; "<course>" stands for an owner and a repository.
_OWN_LINKS = (
    "https://colab.research.google.com/github/<course>/blob/main/",
    "https://github.com/<course>/blob/main/",
    "https://github.com/<course>/raw/main/",
    "https://github.com/<course>/tree/main/",
    "https://github.com/<course>/actions/workflows/",
    "https://github.com/<course>/archive/refs/tags/",
    "https://mybinder.org/v2/gh/<course>/",
    "git clone https://github.com/<course>",
)
_COURSE = r"[\w.-]+/[\w.-]*\w"

BADGES = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{course}/blob/main/notebooks/{slug}.ipynb)"
    " · [Download](https://github.com/{course}/raw/main/notebooks/{slug}.ipynb)"
)

SETUP = """\
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("helpers") is None:  # Colab, Kaggle, a bare machine
    course = "features-without-labels @ https://github.com/{course}/archive/refs/tags/v{version}.zip"
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", course])
"""


@dataclass(frozen=True)
class Address:
    """Where the course lives.

    Attributes
    ----------
    course : str
        Owner and repository on GitHub, for example ``"ME/MYCOURSE"``.
    site : str
        The address of the published book, with a slash at its end.
    """

    course: str
    site: str

    @property
    def repository(self) -> str:
        """Return the address of the repository, without a slash at its end."""
        return f"https://github.com/{self.course}"


def parse(repository: str, site: str | None = None) -> Address:
    """Return the address for a repository on GitHub; the site is that of GitHub Pages unless it is given.

    Raises
    ------
    ValueError
        If `repository` is no address of a repository on GitHub: Colab opens notebooks from there.
    """
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]*?\w)(?:\.git)?/?", repository)
    if not found:
        raise ValueError(f"{repository} is no address of the form https://github.com/OWNER/REPOSITORY.")
    owner, name = found[1].split("/")
    home = f"https://{owner.lower()}.github.io/"
    pages = home if home == f"https://{name.lower()}/" else f"{home}{name}/"
    return Address(found[1], site.rstrip("/") + "/" if site else pages)


def read(root: Path = ROOT) -> Address:
    """Return the address that `_config.yml` holds."""
    text = (root / "_config.yml").read_text(encoding="utf-8")
    return parse(_option(text, "repository", "url"), _option(text, "html", "baseurl"))


def version(root: Path = ROOT) -> str:
    """Return the course's version, whose tag the set-up cells install."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def files(root: Path = ROOT) -> list[Path]:
    """Return the files that may hold the address."""
    return [path for pattern in FILES for path in sorted(root.glob(pattern))]


def corrected(text: str, new: Address, tag: str, old: Address | None = None) -> str:
    """Return `text` with the address `new` wherever it held another, or the address `old`.

    Examples
    --------
    >>> corrected("git clone https://github.com/them/course", parse("https://github.com/me/mine"), "1.0.0")
    'git clone https://github.com/me/mine'
    """
    if old:
        text = re.sub(rf"{re.escape(old.repository)}(?![\w-])", lambda _: new.repository, text)
        text = text.replace(old.site, new.site)
    for link in _OWN_LINKS:
        pattern = re.escape(link).replace("<course>", _COURSE)
        text = re.sub(pattern, link.replace("<course>", new.course), text)
    text = re.sub(r"(/archive/refs/tags/v)[^/\"\s]+(\.zip)", rf"\g<1>{tag}\2", text)
    if text.startswith("cff-version"):
        text = re.sub(r"(?m)^(repository-code: ).*$", rf"\g<1>{new.repository}", text)
        text = re.sub(r"(?m)^(url: ).*$", rf"\g<1>{new.site}", text)
    return text


def disagreements(root: Path = ROOT) -> list[str]:
    """Return one sentence for each line that disagrees with `_config.yml` or with the version."""
    address, tag = read(root), version(root)
    found = []
    for path in files(root):
        text = path.read_text(encoding="utf-8")
        pairs = zip(text.splitlines(), corrected(text, address, tag).splitlines(), strict=True)
        for number, (line, right) in enumerate(pairs, start=1):
            if line != right:
                found.append(f"{path.relative_to(root)}:{number} has another address or version: {line.strip()}")
    return found


def rewrite(new: Address, root: Path = ROOT) -> list[Path]:
    """Write the address `new` everywhere and return the files that changed."""
    old, tag, changed = read(root), version(root), []
    for path in files(root):
        # bytes, so that line ends stay as they are
        before = path.read_bytes().decode("utf-8")
        after = corrected(before, new, tag, old)
        if path.name == "_config.yml":
            after = _with_option(_with_option(after, "repository", "url", new.repository), "html", "baseurl", new.site)
        if after != before:
            path.write_bytes(after.encode("utf-8"))
            changed.append(path)
    return changed


def _pattern(section: str, key: str) -> str:
    return rf"(?m)^({section}:.*\n(?:(?:[ #].*)?\n)*?  {key}: *)([^\s#]+)"


def _option(text: str, section: str, key: str) -> str:
    found = re.search(_pattern(section, key), text)
    if not found:
        raise ValueError(f"_config.yml has no {key} under {section}.")
    return found[2].strip("\"'")


def _with_option(text: str, section: str, key: str, value: str) -> str:
    return re.sub(_pattern(section, key), lambda found: found[1] + value, text, count=1)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", nargs="?", help="the new address, https://github.com/OWNER/REPOSITORY")
    parser.add_argument("--site", help="the book's address, if it is not that of GitHub Pages")
    options = parser.parse_args(arguments)
    try:
        if options.repository:
            for path in rewrite(parse(options.repository, options.site), root):
                print(f"rewrote {path.relative_to(root)}")
        found = disagreements(root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"Everything agrees on {read(root).repository}, version {version(root)}.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
