"""How pages are made light: one style sheet without dead rules, scripts that wait, pictures with a size."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

EXTENSIONS = Path(__file__).resolve().parents[1] / "book" / "_ext"

PAGE = """<html><head>
    <link rel="stylesheet" href="../_static/page.css" />
    <link href="../_static/styles/theme.css?digest=12" rel="stylesheet" />
    <link rel="stylesheet" type="text/css" href="../_static/course.css?v=34" />
    <script src="../_static/documentation_options.js?v=56"></script>
    <script>DOCUMENTATION_OPTIONS.pagename = 'a';</script>
    <script data-kept="yes" src="../_static/first.js"></script>
    <link rel="preload" as="script" href="../_static/second.js?v=78" />
    <script src="../_static/second.js"></script>
</head><body class="wide"><p id="top">Text</p>
<img alt="one" src="../_images/a.png" /><img alt="two" src="../_images/a.png" />
</body></html>"""


@pytest.fixture(scope="module")
def delivery():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXTENSIONS))
        from course_site import delivery

        yield delivery


@pytest.fixture
def site(tmp_path):
    static = tmp_path / "_static"
    (static / "styles").mkdir(parents=True)
    (static / "styles" / "theme.css").write_text(
        '@import "../basic.css";\n.wide { background: url(../pictures/sky.png) } .unused { color: red }'
    )
    (static / "basic.css").write_text("p { margin: 0 } #top { top: 0 } .opened { top: 1px }")
    (static / "course.css").write_text(".wide { color: blue }")
    (static / "page.css").write_text(".anything { color: green }")
    (static / "documentation_options.js").write_text("const DOCUMENTATION_OPTIONS = {};")
    (static / "first.js").write_text("document.body.classList.add('opened');")
    (tmp_path / "_images").mkdir()
    Image.new("L", (30, 20)).save(tmp_path / "_images" / "a.png")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "a.html").write_text(PAGE)
    return tmp_path


def test_the_style_sheets_become_one_with_the_pages_own_after_it(delivery, site):
    delivery.deliver(site, apart=["page.css"])
    page = BeautifulSoup((site / "book" / "a.html").read_text(), "html.parser")
    addresses = [link["href"].partition("?")[0] for link in page.select("link[rel=stylesheet]")]
    assert addresses == ["../_static/site.css", "../_static/page.css"]
    sheet = (site / "_static" / "site.css").read_text()
    # in the order of the pages, the import in its place, the address as seen from the new sheet
    kept = [r"p\{.*?\}", r"#top\{", r"\.opened\{", r'\.wide\{.*?url\("pictures/sky.png"\)', r"\.wide\{.*?blue"]
    assert re.search(".*?".join(kept), sheet, re.DOTALL)
    assert "unused" not in sheet
    assert sorted(path.name for path in site.rglob("*.css")) == ["page.css", "site.css"]


def test_scripts_wait_and_the_options_stand_in_the_page(delivery, site):
    delivery.deliver(site, apart=["page.css"])
    page = BeautifulSoup((site / "book" / "a.html").read_text(), "html.parser")
    assert not page.select("link[rel=preload]")
    scripts = page.find_all("script")
    assert [script.get_text() for script in scripts[:2]] == [
        "const DOCUMENTATION_OPTIONS = {};",
        "DOCUMENTATION_OPTIONS.pagename = 'a';",
    ]
    assert [(script["src"], script.has_attr("defer")) for script in scripts[2:]] == [
        ("../_static/first.js", True),
        ("../_static/second.js", True),
    ]


def test_pictures_have_their_size_and_all_but_the_first_wait(delivery, site):
    delivery.deliver(site, apart=["page.css"])
    one, two = BeautifulSoup((site / "book" / "a.html").read_text(), "html.parser").find_all("img")
    assert (one["width"], one["height"]) == (two["width"], two["height"]) == ("30", "20")
    assert (one.get("loading"), two.get("loading")) == (None, "lazy")
    assert (one["alt"], two["alt"]) == ("one", "two")


def test_a_page_that_was_rewritten_stays_when_another_is_built_anew(delivery, site):
    delivery.deliver(site, apart=["page.css"])
    before = (site / "book" / "a.html").read_text()
    delivery.deliver(site, apart=["page.css"])
    assert (site / "book" / "a.html").read_text() == before
    (site / "_static" / "styles" / "theme.css").write_text(".wide { color: black }")
    (site / "_static" / "course.css").write_text("")
    (site / "book" / "b.html").write_text(PAGE)
    delivery.deliver(site, apart=["page.css"])
    assert (site / "book" / "a.html").read_text() == (site / "book" / "b.html").read_text() != before
    assert "black" in (site / "_static" / "site.css").read_text()


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("p{x:y}", True),
        (".here{x:y}", True),
        (".gone{x:y}", False),
        (".gone, .here{x:y}", True),
        (".here .gone{x:y}", False),
        (".here:not(.gone){x:y}", True),
        (".gone:not(.here){x:y}", False),
        (":is(.gone, .here){x:y}", True),
        (".here\\/2{x:y}", True),
        ('[title=".gone"]{x:y}', True),
        ("#gone{x:y}", False),
        ("@media print{.here{x:y}}", True),
        ("@media print{.gone{x:y}}", False),
        ("@keyframes gone{0%{x:y}}", True),
        ('@charset "utf-8";', True),
        ('p::after{content:"} .gone {"}', True),
        ("p{background:url(data:image/svg+xml;base64,a;b)}", True),
    ],
)
def test_a_rule_is_kept_if_one_of_its_selectors_can_match(delivery, rule, kept):
    assert delivery.without_unused("/* } */" + rule, {"here", "here/2"}) == (rule if kept else "")


KEPT, DROPPED = ("a{b:c}", ".x{d:e}", "@media print{.x{f:g}}"), (".x .y{h:i}", "@media print{.z{j:k}}", "/* { */", "\n")


@given(st.lists(st.sampled_from(KEPT + DROPPED)))
def test_of_several_rules_those_in_use_remain_in_their_order(delivery, rules):
    assert delivery.without_unused("".join(rules), {"x"}) == "".join(rule for rule in rules if rule in KEPT)
