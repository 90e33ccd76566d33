"""Check the course's address, or write a new one everywhere: the one command after forking.

    python book/address.py                    list what disagrees with _config.yml
    python book/address.py ME/MYCOURSE        write this address instead
    python book/address.py ME/MYCOURSE --site https://course.example.org

The address stands in `_config.yml`. Badges, set-up cells, README and citation repeat it because they must work where
no code of ours runs: on GitHub, in Colab, on a bare machine. Files are edited as text, so that a notebook keeps every
other byte. Nothing but Python is needed, and an interrupted run is finished by the same command.

The present address is replaced in every text file that `.gitignore` does not name. Other addresses are noticed only in
pages, notebooks, the citation and `.github`, and only where they can mean nothing but this course: a chapter that came
from another fork brings that fork's badges. The name of the package, which pip shows, is no address and stays.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CONFIGURATION = "_config.yml"

# Where another address than the course's is an oversight.
FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "CITATION.cff",
    ".github/**/*.yml",
    "book/**/*.md",
    "data/**/*.md",
    "notebooks/**/*.ipynb",
    CONFIGURATION,
)

# Links that can only mean this course, whoever they name now; "<course>" stands for an owner and a repository.
_OWN_LINKS = (
    "https://colab.research.google.com/github/<course>/blob/main/",
    "https://github.com/<course>/blob/main/",
    "https://github.com/<course>/raw/main/",
    "https://github.com/<course>/tree/main/",
    "https://github.com/<course>/actions/workflows/",
    "https://github.com/<course>/issues/new",
    "https://github.com/<course>/archive/refs/tags/",
    "https://mybinder.org/v2/gh/<course>/",
    "git clone https://github.com/<course>",
)
_COURSE = r"[\w.-]+/[\w.-]*\w"

# What stands before owner and repository where they are an address; without it they may be a path of two folders.
_BEFORE = r"(?:\bgithub\.com[/:]|\bgithubusercontent\.com/|\bgithub/|\bgh/|\brepository == ')"

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

    Examples
    --------
    >>> parse("me/my.course")
    Address(course='me/my.course', site='https://me.github.io/my.course/')
    >>> parse("https://github.com/me/me.github.io").site
    'https://me.github.io/'

    Raises
    ------
    ValueError
        If `repository` is none on GitHub, from where Colab opens notebooks, or `site` is no address of a site.
    """
    owner_and_name = r"([a-z\d](?:[a-z\d-]*[a-z\d])?/[\w.-]*?\w)"  # as GitHub allows them
    found = re.fullmatch(
        rf"(?:https://github\.com/)?{owner_and_name}(?:\.git)?/?", repository, re.ASCII | re.IGNORECASE
    )
    if not found:
        raise ValueError(f"'{repository}' is no repository on GitHub: give owner/name, for example REPO=me/my-course.")
    owner, name = found[1].split("/")
    home = f"https://{owner.lower()}.github.io/"
    pages = home if home == f"https://{name.lower()}/" else f"{home}{name}/"
    if site is not None and not re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(:\d+)?(/[\w.~-]+)*/?", site, re.ASCII):
        raise ValueError(f"'{site}' is no site's address: give one such as SITE=https://course.example.org/.")
    return Address(found[1], site.rstrip("/") + "/" if site else pages)


def read(root: Path = ROOT) -> Address:
    """Return the address that `_config.yml` holds."""
    text = (root / CONFIGURATION).read_text(encoding="utf-8")
    return parse(_option(text, "repository", "url"), _option(text, "html", "baseurl"))


def version(root: Path = ROOT) -> str:
    """Return the course's version, whose tag the set-up cells install."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def files(root: Path = ROOT) -> list[Path]:
    """Return the files in which another address than the course's is an oversight."""
    return [path for pattern in FILES for path in sorted(root.glob(pattern))]


def all_texts(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Yield each text file that `.gitignore` does not name, with its text; the configuration comes last."""
    ignored = [line.rstrip("/") for line in (root / ".gitignore").read_text(encoding="utf-8").splitlines() if line]
    found = []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name != ".git" and not _matches(name, ignored)]
        found += [Path(folder, name) for name in names if not _matches(name, ignored)]
    for path in sorted(found, key=lambda path: (path == root / CONFIGURATION, path)):
        try:
            yield path, path.read_bytes().decode("utf-8")  # bytes, so that line ends stay as they are
        except UnicodeDecodeError:
            continue  # a picture, an archive


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def replaced(text: str, old: Address, new: Address) -> str:
    """Return `text` with the address `new` in the place of `old`.

    Examples
    --------
    >>> replaced("git@github.com:them/course.git", parse("them/course"), parse("me/mine"))
    'git@github.com:me/mine.git'
    >>> replaced("https://github.com/them/course-2", parse("them/course"), parse("me/mine"))
    'https://github.com/them/course-2'
    """
    text = re.sub(rf"{re.escape(old.site[:-1])}(?![\w-]|\.\w)", lambda _: new.site[:-1], text)
    pattern = rf"({_BEFORE}){re.escape(old.course)}(?![\w-]|\.(?!git\b)\w)"
    return re.sub(pattern, lambda found: found[1] + new.course, text, flags=re.IGNORECASE)


def corrected(text: str, new: Address, tag: str) -> str:
    """Return `text` with the address `new` and the version `tag` wherever a link to the course held others.

    Examples
    --------
    >>> corrected("git clone https://github.com/them/course", parse("me/mine"), "1.0.0")
    'git clone https://github.com/me/mine'
    """
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
    old, tag, ours, changed = read(root), version(root), set(files(root)), []
    for path, before in list(all_texts(root)):
        after = replaced(before, old, new)
        if path in ours:
            after = corrected(after, new, tag)
        if path == root / CONFIGURATION:
            after = _with_option(_with_option(after, "repository", "url", new.repository), "html", "baseurl", new.site)
        if after != before:
            _write(path, after)
            changed.append(path)
    return changed


def _write(path: Path, text: str) -> None:
    """Replace a file at once, so that an interruption leaves the old or the new one."""
    written = path.with_name(path.name + ".new")
    try:
        written.write_bytes(text.encode("utf-8"))
        shutil.copymode(path, written)
        os.replace(written, path)
    finally:
        written.unlink(missing_ok=True)


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
    parser.add_argument("repository", nargs="?", help="the new address: OWNER/NAME or https://github.com/OWNER/NAME")
    parser.add_argument("--site", help="the book's address, if it is not that of GitHub Pages")
    options = parser.parse_args(arguments)
    try:
        if options.repository is None and options.site is not None:
            raise ValueError("A site alone is no address: give the repository too, as owner/name.")
        if options.repository is not None:
            for path in rewrite(parse(options.repository, options.site), root):
                print(f"rewrote {path.relative_to(root)}")
        found = disagreements(root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        address = read(root)
        print(f"Everything agrees on {address.repository} and {address.site}, version {version(root)}.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
