"""Links: those within the course lead somewhere, and those to other sites are asked one by one, politely."""

import doctest
import http.server
import shutil
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))

from teaching import links  # noqa: E402


def test_no_link_within_the_course_leads_nowhere():
    found = links.links()
    assert {"README.md", "data/README.md", "book/how-to-use.md"} <= {link.file for link in found}
    assert [f"{link}: {complaint}" for link, complaint in links.broken(found)] == []


# ---- reading addresses


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("[a](https://a.org)", [(1, "https://a.org")]),
        ("one\ntwo [a](https://a.org)\nthree ![b](b.png)", [(2, "https://a.org"), (3, "b.png")]),
        ("[a](https://doi.org/10.1016/0377-0427(87)90125-7)", [(1, "https://doi.org/10.1016/0377-0427(87)90125-7")]),
        ("[a][ref]\n\n[ref]: https://a.org", [(1, "https://a.org")]),
        ("<https://a.org>", [(1, "https://a.org")]),
        ("| head |\n|---|\n| [a](https://a.org) |", [(3, "https://a.org")]),
        ('<div>\n<a href="https://a.org">a</a></div>', [(1, "https://a.org")]),
        ('text <a href="https://a.org">a</a>', [(1, "https://a.org")]),
        ("```{note}\nOne.\n[a](https://a.org)\n```", [(3, "https://a.org")]),
        (":::{note}\n[a](https://a.org)\n:::", [(2, "https://a.org")]),
        ("`[a](https://a.org)` and\n\n```\nhttps://a.org\n```\n\n    https://a.org", []),
        ("$[a](https://a.org)$", []),
        ("https://a.org stands for any address", []),
    ],
)
def test_addresses_are_read_as_the_site_reads_them(source, expected):
    assert list(links.in_markdown(source)) == expected


def test_the_examples_of_the_module_are_right():
    outcome = doctest.testmod(links)
    assert outcome.attempted
    assert not outcome.failed


# ---- links within a course


@pytest.fixture
def course(tmp_path):
    """A small course with a page, a chapter and an assignment."""
    for name in ("book/_static", "notebooks/assignments", "data"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", tmp_path)
    (tmp_path / "README.md").write_text("# Course\n\n## One, two: `three`\n\n[on](#one-two-three)\n", encoding="utf-8")
    (tmp_path / "book" / "page.md").write_text('(label)=\n## A page\n\n<a id="there"></a>\n', encoding="utf-8")
    (tmp_path / "book" / "_static" / "drawing.svg").write_text("<svg/>", encoding="utf-8")
    for name in ("chapter", "assignments/chapter"):
        cells = [new_markdown_cell("# Chapter\n\n## Key points", id="title"), new_code_cell("'[a](nowhere.md)'")]
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path


def complaints(course, file, text):
    path = course / file
    path.write_text((path.read_text(encoding="utf-8") if path.exists() else "") + text, encoding="utf-8")
    return [complaint for _, complaint in links.broken(links.links(course), course)]


OWN = links.address.read()


@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("README.md", "book/page.md"),
        ("README.md", "book/page.md#a-page"),
        ("README.md", "book/page.md#there"),
        ("README.md", "notebooks/"),
        ("README.md", "notebooks/chapter.ipynb#key-points"),
        ("book/other.md", "../notebooks/chapter.ipynb"),
        ("book/other.md", "#label"),
        ("book/other.md", "label"),
        ("book/other.md", "mailto:me@example.org"),
        ("book/other.md", "https://example.org/nowhere.md"),
        ("data/README.md", f"{OWN.repository}/blob/main/notebooks/chapter.ipynb"),
        ("data/README.md", f"https://colab.research.google.com/github/{OWN.course}/blob/main/notebooks/chapter.ipynb"),
        ("data/README.md", f"{OWN.site}notebooks/chapter.html#key-points"),
        ("data/README.md", f"{OWN.site}_static/drawing.svg"),
        ("data/README.md", f"{OWN.site}slides/chapter.html"),
        ("book/other.md", "../slides/chapter.html"),
    ],
)
def test_a_link_that_leads_somewhere_is_let_through(course, file, target):
    assert complaints(course, file, f"\n[link]({target})\n") == []


@pytest.mark.parametrize(
    ("file", "target", "complaint"),
    [
        ("README.md", "book/pages.md", "there is no book/pages.md"),
        ("README.md", "#one-two", "README.md has no heading or label 'one-two'"),
        ("README.md", "#label", "README.md has no heading or label 'label'"),
        ("README.md", "book/page.md#nowhere", "book/page.md has no heading or label 'nowhere'"),
        ("README.md", "notebooks/chapter.ipynb#quiz", "notebooks/chapter.ipynb has no heading or label 'quiz'"),
        ("book/other.md", "#no-label", "book/other.md has no heading or label 'no-label'"),
        ("data/README.md", f"{OWN.repository}/blob/main/notebooks/a.ipynb", "there is no notebooks/a.ipynb"),
        ("data/README.md", f"{OWN.repository}/raw/main/notebooks/a.ipynb", "there is no notebooks/a.ipynb"),
        ("data/README.md", f"{OWN.site}notebooks/a.html", "there is no notebooks/a.html"),
        ("data/README.md", f"{OWN.site}slides/a.html", "there is no slides/a.html"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(course, file, target, complaint):
    assert complaints(course, file, f"\n[link]({target})\n") == [complaint]


@pytest.mark.parametrize("name", ["chapter", "assignments/chapter"])
def test_a_link_in_a_notebook_is_named_by_its_cell(course, name, capsys):
    path = course / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells[0].source += "\n\nSee [this](nowhere.md)."
    nbformat.write(notebook, path)
    assert links.main(["--internal"], course) == 1
    assert f"notebooks/{name}.ipynb, cell title, line 5" in capsys.readouterr().out


# ---- links to other sites


class Server(http.server.ThreadingHTTPServer):
    """Answers as the address asks: /404 with that status, /to/200 with a redirection, and so on."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.at_once, self.most_at_once = [], 0, 0
        self.counting = threading.Lock()

    def address(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.server_port}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        with self.server.counting:
            self.server.asked.append(f"{self.command} {self.path}")
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        kind, _, rest = self.path.strip("/").partition("/")
        status = {"slow": 200, "later": 429, "to": 302, "head-refused": 405 if self.command == "HEAD" else 200}.get(
            kind
        ) or int(kind)
        time.sleep({"slow": 1.0}.get(kind, 0.02))
        with self.server.counting:
            self.server.at_once -= 1
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if kind == "later":
            self.send_header("Retry-After", "3600")
        if kind == "to":
            self.send_header("Location", f"/{rest}")
        self.end_headers()

    do_GET = do_HEAD = answer

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed():
    """An address at which nothing listens."""
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as unused:
        port = unused.server_port
    return f"http://127.0.0.1:{port}/page"


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        ("200", "alive", "200"),
        ("to/200", "alive", "200"),
        ("to/to/200", "alive", "200"),
        ("head-refused", "alive", "200"),
        ("403", "refuses", "403 forbidden"),
        ("429", "refuses", "429 too many requests"),
        ("503", "refuses", "503 unavailable"),
        ("to/403", "refuses", "403 forbidden"),
        ("404", "dead", "404 Not Found"),
        ("410", "dead", "410 Gone"),
        ("to/404", "dead", "404 Not Found"),
        ("to/to/to/to/to/to/" * 6, "dead", "TooManyRedirects"),
    ],
)
def test_an_answer_is_understood(server, path, kind, told):
    with links.session() as asking:
        answer = links.ask(server.address(path), asking)
    assert answer.kind == kind
    assert answer.told.startswith(told)


def test_a_page_is_fetched_only_where_its_head_is_refused(server):
    with links.session() as asking:
        for path in ("200", "head-refused"):
            links.ask(server.address(path), asking)
    assert server.asked == ["HEAD /200", "HEAD /head-refused", "GET /head-refused"]


def test_a_server_in_trouble_is_asked_once_more(server):
    with links.session() as asking:
        assert links.ask(server.address("502"), asking).kind == "dead"
    assert server.asked == ["HEAD /502", "HEAD /502", "GET /502", "GET /502"]


def test_a_server_that_is_asked_too_often_is_left_alone(server):
    with links.session() as asking:
        assert links.ask(server.address("later"), asking).kind == "refuses"
    assert server.asked == ["HEAD /later"]


def test_a_server_that_does_not_answer_in_time_is_dead(server):
    with links.session() as asking:
        answer = links.ask(server.address("slow"), asking, timeout=0.2)
    assert answer == links.Answer("dead", "no answer within 0.2 s")


def test_a_host_is_asked_one_thing_after_another_and_each_address_once(server):
    targets = [server.address(f"200/{number}") for number in range(8)]
    answers = links.ask_all(targets * 2, pause=0)
    assert [answers[target].kind for target in targets] == ["alive"] * 8
    assert server.most_at_once == 1
    assert len(server.asked) == 8


def test_other_hosts_do_not_wait(server):
    targets = [server.address("slow/1"), server.address("slow/2", host="localhost")]
    links.ask_all(targets, pause=0)
    assert server.most_at_once == 2


def test_a_host_that_is_not_there_is_no_missing_network(server, closed):
    answers = links.ask_all([server.address("200"), closed], pause=0)
    assert answers[closed] == links.Answer("unreachable", "no connection")


def test_no_host_at_all_is_a_missing_network(closed):
    with pytest.raises(ConnectionError):
        links.ask_all([closed], pause=0)


@pytest.fixture
def asked(monkeypatch):
    """Let the command ask this machine, which is no other site."""
    monkeypatch.setattr(links, "HERE", ())


@pytest.mark.usefixtures("asked")
def test_dead_addresses_are_listed_with_every_place_where_they_stand(server, course, capsys):
    dead, alive = server.address("404"), server.address("200")
    for file in ("README.md", "book/page.md"):
        with (course / file).open("a", encoding="utf-8") as page:
            page.write(f"\n[dead]({dead}#part), [alive]({alive}), [refuses]({server.address('403')})\n")
    assert links.main([], course) == 1
    told = capsys.readouterr()
    assert "3 addresses: 1 answer, 1 refuse robots." in told.out
    listed = [line for line in told.out.splitlines() if "http" in line]
    assert [line.split("  ")[0] for line in listed] == [dead, dead]
    assert listed[0].endswith("README.md, line 7")
    assert listed[1].endswith("book/page.md, line 6")
    assert "404 Not Found" in listed[0]


@pytest.mark.usefixtures("asked")
def test_all_alive_is_success(server, course):
    with (course / "README.md").open("a", encoding="utf-8") as page:
        page.write(f"\n[alive]({server.address('200')})\n")
    assert links.main([], course) == 0


@pytest.mark.usefixtures("asked")
def test_no_network_is_one_plain_sentence(course, closed, capsys):
    with (course / "README.md").open("a", encoding="utf-8") as page:
        page.write(f"\n[page]({closed})\n")
    assert links.main([], course) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "No address can be reached: there is no network here."


def test_no_time_to_answer_is_refused_in_one_sentence(course, capsys):
    with pytest.raises(SystemExit, match="2"):
        links.main(["--timeout", "0"], course)
    assert "--timeout is a number of seconds above 0, not 0" in capsys.readouterr().err


def test_the_readers_own_machine_and_the_course_itself_are_not_asked(course, capsys):
    with (course / "README.md").open("a", encoding="utf-8") as page:
        page.write(f"\n[a](http://localhost:8000), [b]({OWN.repository}/blob/main/book/page.md)\n")
    assert links.main([], course) == 0
    assert "0 addresses" in capsys.readouterr().out
