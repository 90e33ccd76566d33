"""Ask every address in the book whether it answers: ``make check-links`` calls this.

    PYTHONPATH=book python -m teaching.links               every link, those to other sites through the network
    PYTHONPATH=book python -m teaching.links --internal    only links within the course; no network, seconds

The exit status is 0 if every link leads somewhere, 1 if one is dead, 2 if there is no network.

Sphinx has a checker of its own. It reads only the pages of the book, of which the README and an assignment are none; it
needs a whole build; it counts a server that refuses robots as dead; and it may ask one host several things at once. So
the addresses are read from the Markdown itself, by the parser that the site uses, and `requests` asks for them.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import address
import nbformat
import requests
from bs4 import BeautifulSoup
from markdown_it.token import Token
from mdit_py_plugins.anchors.index import slugify
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from .deck import parser

__all__ = ["Answer", "Link", "ask", "ask_all", "broken", "in_markdown", "links"]

ROOT = Path(__file__).resolve().parents[2]
FILES = ("README.md", "CONTRIBUTING.md", "data/**/*.md", "book/**/*.md", "notebooks/**/*.ipynb")
TIMEOUT, PAUSE, HOSTS_AT_ONCE = 20.0, 0.5, 16  # seconds for an answer, seconds between two questions to a host
ENOUGH = 12  # hosts of which none can be reached mean that there is no network
HERE = ("localhost", "127.0.0.1")  # addresses of the reader's own machine
# what a server says to a robot about a page that is there
REFUSALS = {401: "unauthorised", 403: "forbidden", 429: "too many requests", 503: "unavailable", 999: "refused"}


@dataclass(frozen=True)
class Link:
    """Where an address stands."""

    address: str
    file: str  # relative to the course's folder
    place: str  # line, or cell and line

    def __str__(self) -> str:
        return f"{self.file}, {self.place}"


@dataclass(frozen=True)
class Answer:
    """What became of a question: `kind` is alive, refuses, dead or unreachable."""

    kind: str
    told: str


# ---- which addresses there are


def links(root: Path = ROOT) -> list[Link]:
    """Return every link and picture in the course's pages and notebooks, in order."""
    found = []
    for path in (path for pattern in FILES for path in sorted(root.glob(pattern))):
        name = path.relative_to(root).as_posix()
        for cell, source in _texts(path):
            where = f"cell {cell}, line " if cell else "line "
            found += [Link(target, name, f"{where}{line}") for line, target in in_markdown(source)]
    return found


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the Markdown of a file, with the cell that it stands in."""
    if path.suffix != ".ipynb":
        yield "", path.read_text(encoding="utf-8")
        return
    for place, cell in enumerate(nbformat.read(path, 4).cells, start=1):
        if cell.cell_type == "markdown":
            yield cell.get("id", str(place)), cell.source


def in_markdown(source: str, first: int = 1) -> Iterator[tuple[int, str]]:
    """Yield line and address of each link and picture in some Markdown, also of those in HTML and in directives.

    Examples
    --------
    >>> list(in_markdown("A [link](https://a.org),\\nand `[none](https://b.org)`, <https://c.org>."))
    [(1, 'https://a.org'), (2, 'https://c.org')]
    """
    for token in parser().parse(source):
        line = first + (token.map[0] if token.map else 0)
        if token.type == "inline":
            for child in token.children:
                yield from ((line, target) for target in _targets(child))
                line += child.type in ("softbreak", "hardbreak")
        elif token.type == "html_block":
            yield from ((line, target) for target in _targets(token))
        elif token.type == "fence" and token.info.startswith("{"):
            yield from in_markdown(token.content, line + 1)


def _targets(token: Token) -> list[str]:
    if token.type in ("html_inline", "html_block"):
        tags = BeautifulSoup(token.content, "html.parser").select("a[href], img[src]")
        return [tag.get("href") or tag["src"] for tag in tags]
    target = token.attrGet("href") or token.attrGet("src")
    return [str(target)] if target else []


def _is_elsewhere(target: str) -> bool:
    return urlsplit(target).scheme in ("http", "https") and urlsplit(target).hostname not in HERE


# ---- links within the course


def broken(found: Iterable[Link], root: Path = ROOT) -> list[tuple[Link, str]]:
    """Return the links within the course that lead nowhere, each with what is missing; no network is needed.

    An address of the course's own repository or site counts as one within the course: its file must be here, whether
    or not it was published already.
    """
    labels = {label for path in root.glob("book/**/*.md") for label in _labels(path)}
    own = address.read(root)
    complaints = [(link, _missing(link, root, own, labels)) for link in found]
    return [(link, complaint) for link, complaint in complaints if complaint]


def _missing(link: Link, root: Path, own: address.Address, labels: set[str]) -> str:
    """Say what a link lacks; nothing if it is in order or leads elsewhere."""
    target, anchor = urldefrag(link.address)
    in_book = link.file.startswith("book/")
    if in_book and link.address.removeprefix("#") in labels:  # of any page, as Sphinx finds it
        return ""
    inside = own_file(target, own)
    if inside is None:
        if urlsplit(link.address).scheme:
            return ""
        inside = (Path(link.file).parent / unquote(target)).as_posix() if target else link.file
    path = _source(root / inside)
    if path is None:
        return f"there is no {inside}"
    if anchor and anchor not in _anchors(path):
        return f"{path.relative_to(root.resolve()).as_posix()} has no heading or label {anchor!r}"
    return ""


def own_file(target: str, own: address.Address) -> str | None:
    """Return the file of the course that one of its own addresses shows, or None for other addresses."""
    shown = "|".join(
        re.escape(f"https://{host}/{own.course}") for host in ("github.com", "colab.research.google.com/github")
    )
    if found := re.match(rf"(?:{shown})/(?:blob|raw|tree)/main/(.*)", target):
        return unquote(found[1]).rstrip("/")
    if target.startswith(own.site):
        page = unquote(target.removeprefix(own.site))
        return page.replace("_static/", "book/_static/", 1) if page else "book/intro.html"
    return None


def _source(path: Path) -> Path | None:
    """Return the file that a link shows, for a page of the site or a chapter's slides its source, or None."""
    path = path.resolve()
    sources = [path.with_suffix(suffix) for suffix in (".md", ".ipynb")] if path.suffix == ".html" else [path]
    if path.parent.name == "slides":
        sources = [path.parents[1] / "notebooks" / f"{path.stem}.ipynb"]
    return next((source for source in sources if source.exists()), None)


@cache
def _anchors(path: Path) -> frozenset[str]:
    """Return the anchors of a page: its headings as GitHub and MyST name them, its labels, its ids in HTML."""
    if path.suffix not in (".md", ".ipynb"):
        return frozenset()
    found = set(_labels(path))
    for _, source in _texts(path):
        tokens = parser().parse(source)
        for before, token in pairwise(tokens):
            if before.type == "heading_open":
                found.add(slugify("".join(child.content for child in token.children)))
        found |= {tag["id"] for tag in BeautifulSoup(source, "html.parser").select("[id]")}
    return frozenset(found)


def _labels(path: Path) -> list[str]:
    return [label for _, source in _texts(path) for label in re.findall(r"(?m)^\(([^)\s]+)\)=\s*$", source)]


# ---- links to other sites


def session() -> requests.Session:
    """Return what asks: it says who it is, and asks once more where a connection or a server failed."""
    asking = requests.Session()
    again = Retry(
        connect=1,
        read=False,
        status=1,
        status_forcelist=(500, 502, 504),
        backoff_factor=1,
        respect_retry_after_header=False,  # it may say an hour
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        asking.mount(scheme, HTTPAdapter(max_retries=again))
    asking.headers["User-Agent"] = f"Mozilla/5.0 (compatible; link check of {address.read().repository})"
    return asking


def ask(target: str, asking: requests.Session, timeout: float = TIMEOUT) -> Answer:
    """Ask for the head of a page, and for the page itself where that is refused; follow where it has moved.

    A server that refuses robots is counted as there: publishers behind a DOI often do.
    """
    answer = Answer("dead", "")
    for method in ("HEAD", "GET"):
        try:
            with asking.request(method, target, timeout=timeout, allow_redirects=True, stream=True) as response:
                answer = _read(response)
        except requests.Timeout as error:
            connected = not isinstance(error, requests.ConnectTimeout)
            answer = Answer("dead" if connected else "unreachable", f"no answer within {timeout:g} s")
        except requests.exceptions.SSLError:
            answer = Answer("dead", "its certificate is not valid")
        except requests.ConnectionError:
            answer = Answer("unreachable", "no connection")
        except (requests.RequestException, UnicodeError, ValueError) as error:
            answer = Answer("dead", f"{type(error).__name__}: {error}")
        if answer.kind == "alive" or answer.told.startswith("429"):  # who is asked too often is not asked again
            break
    return answer


def _read(response: requests.Response) -> Answer:
    if response.ok:
        return Answer("alive", str(response.status_code))
    if response.status_code in REFUSALS:
        return Answer("refuses", f"{response.status_code} {REFUSALS[response.status_code]}")
    return Answer("dead", f"{response.status_code} {response.reason}".strip())


def ask_all(
    targets: Iterable[str],
    tell: Callable[[str, Answer], None] = lambda target, answer: None,
    timeout: float = TIMEOUT,
    pause: float = PAUSE,
) -> dict[str, Answer]:
    """Ask for every address, many hosts at once but each host one thing after another.

    Parameters
    ----------
    targets : iterable of str
    tell : callable
        Is told each address and its answer, as they come.
    timeout, pause : float
        Seconds to wait for an answer, and between two questions to the same host.

    Raises
    ------
    ConnectionError
        If no host can be reached: then nothing is known of any address.
    """
    hosts, answers, stop = defaultdict(list), {}, threading.Event()
    for target in dict.fromkeys(targets):
        hosts[urlsplit(target).netloc].append(target)

    def ask_host(of_host: list[str]) -> None:
        with session() as asking:
            for place, target in enumerate(of_host):
                if stop.is_set():
                    return
                time.sleep(pause if place else 0)
                answers[target] = ask(target, asking, timeout)
                tell(target, answers[target])

    with ThreadPoolExecutor(HOSTS_AT_ONCE) as pool:
        try:
            asked = [pool.submit(ask_host, of_host) for of_host in hosts.values()]
            for done, host in enumerate(as_completed(asked), start=1):
                host.result()
                reached = any(answer.kind != "unreachable" for answer in list(answers.values()))
                if not reached and done >= min(ENOUGH, len(hosts)):
                    raise ConnectionError
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return answers


# ---- the command


def table(rows: list[tuple[str, str, str]]) -> str:
    """Return rows of text in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command and return its exit status."""
    options = argparse.ArgumentParser(prog="teaching.links", description=__doc__.split("\n")[0])
    options.add_argument(
        "--internal", action="store_true", help="check only links within the course, without a network"
    )
    options.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds to wait for an answer (default: 20)")
    chosen = options.parse_args(arguments)
    if chosen.timeout <= 0:
        options.error(f"--timeout is a number of seconds above 0, not {chosen.timeout:g}")
    found, own = links(root), address.read(root)
    missing = broken(found, root)
    dead = [(link.address, complaint, str(link)) for link, complaint in missing]
    print(f"{len(found)} links; {len(missing)} within the course lead nowhere.")
    if not chosen.internal:
        places = defaultdict(list)
        for link in found:
            if _is_elsewhere(link.address) and own_file(urldefrag(link.address)[0], own) is None:
                places[urldefrag(link.address)[0]].append(link)
        try:
            answers = _ask_with_progress(list(places), chosen.timeout)
        except ConnectionError:
            print("No address can be reached: there is no network here.", file=sys.stderr)
            return 2
        kinds = [answer.kind for answer in answers.values()]
        print(f"{len(answers)} addresses: {kinds.count('alive')} answer, {kinds.count('refuses')} refuse robots.")
        gone = {target: answer.told for target, answer in answers.items() if answer.kind in ("dead", "unreachable")}
        dead += [(target, told, str(link)) for target, told in gone.items() for link in places[target]]
    if dead:
        print(table([("dead", "because", "where"), *dead]))
    return 1 if dead else 0


def _ask_with_progress(targets: list[str], timeout: float) -> dict[str, Answer]:
    with tqdm(total=len(targets), unit="address") as bar:
        return ask_all(targets, lambda target, answer: bar.update(), timeout)


if __name__ == "__main__":
    raise SystemExit(main())
