"""Write the quizzes: from one bank into the chapters, and into packages for learning platforms.

    PYTHONPATH=book python -m teaching.quizzes            write the chapters' quiz cells and dist/quizzes
    PYTHONPATH=book python -m teaching.quizzes --check    name the chapters that are out of step with the bank
    PYTHONPATH=book python -m teaching.quizzes --seed 7   packages with the choices shuffled for a class

The bank, `book/quizzes.yml`, is the only place where a question is written. In a chapter it becomes Markdown that
opens without a kernel. For platforms, each chapter becomes three packages, and all chapters together three more:

- `canvas/`: QTI 1.2 in the dialect of Canvas, as its classic quizzes export and import it. Canvas' own importer
  defines that dialect; our reference is what text2qti (Poore, https://github.com/gpoore/text2qti) writes.
- `qti-2.1/`: IMS Question and Test Interoperability 2.1, one file per question and a test that lists them, for
  platforms that keep to the standard, such as OpenOlat and TAO, and for Moodle with a plug-in that reads it.
- `moodle/`: Moodle XML, for Moodle as it comes, which reads QTI only in the form that Blackboard gives it.

Formulas become ``\\( ... \\)``, which Canvas and Moodle hand to MathJax. What a wrong choice is told, and the
explanation, go along as feedback. The same bank gives the same bytes.

The official schemas of QTI are not in this repository. `tests/test_quizzes.py` holds every file against a strict
grammar of the part of QTI that is used here, written after the specification, and reads every question back.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import nbformat
import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

ROOT = Path(__file__).resolve().parents[2]
BANK = "book/quizzes.yml"
SCHEMA = Path(__file__).with_name("quizzes.schema.json")
PACKAGES = "dist/quizzes"
LETTERS = "ABCD"

XSI = "http://www.w3.org/2001/XMLSchema-instance"


# The bank


@dataclass(frozen=True)
class Choice:
    """One choice of a question; `because` is what whoever chose a wrong one is told."""

    name: str
    text: str
    right: bool
    because: str = ""


@dataclass(frozen=True)
class Question:
    """A question of any kind: with choices, or with a number as its answer."""

    name: str
    kind: str
    objective: str
    text: str
    explanation: str
    choices: tuple[Choice, ...] = ()
    answer: float = 0.0
    tolerance: float = 0.0
    unit: str = ""

    @property
    def lettered(self) -> list[tuple[str, Choice]]:
        return list(zip(LETTERS, self.choices, strict=False))

    @property
    def right(self) -> tuple[Choice, ...]:
        return tuple(choice for choice in self.choices if choice.right)

    def shuffled(self, seed: int | None) -> Question:
        """Return the question with its choices in the order of a class; without a seed, in that of the bank."""
        if seed is None:
            return self
        drawn = random.Random(f"{seed} {self.name}")
        return replace(self, choices=tuple(drawn.sample(self.choices, len(self.choices))))


@dataclass(frozen=True)
class Quiz:
    """The questions of one chapter."""

    slug: str
    title: str
    questions: tuple[Question, ...]


class BankError(ValueError):
    """The bank is not as it should be; the message says where and why, in one sentence."""


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key that stands twice, where YAML would keep the last in silence."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise BankError(f"{BANK}, line {node.start_mark.line + 1}: `{key}` stands twice.")
        return super().construct_mapping(node, deep)


def read(text: str, root: Path = ROOT) -> list[Quiz]:
    """Return the quizzes of a bank, in the order of the book.

    Parameters
    ----------
    text : str
        The bank, as YAML.
    root : Path
        The repository, whose table of contents says which chapters there are.

    Raises
    ------
    BankError
        If the bank breaks its schema, names a chapter that is not in the book or leaves one out, uses an id or a
        choice twice, or tests an objective that its chapter does not state.
    """
    try:
        bank = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise BankError(f"{BANK} is not YAML: {' '.join(str(error).split())}.") from None
    _keep_schema(bank)
    notebooks = {slug: _notebook(_path(root, slug)) for slug in chapters(root)}
    _keep_chapters(bank, list(notebooks))
    quizzes = [Quiz(slug, _title(book), tuple(map(_question, bank[slug]))) for slug, book in notebooks.items()]
    _keep_names(quizzes)
    for quiz in quizzes:
        _keep_objectives(quiz, _objectives(notebooks[quiz.slug]))
    return quizzes


def chapters(root: Path = ROOT) -> list[str]:
    """Return the slugs of the chapters, in the order of the book."""
    contents = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return [Path(file).name for file in files if file.startswith("notebooks/")]


def _keep_schema(bank: object) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    error = jsonschema.exceptions.best_match(validator.iter_errors(bank))
    if error is not None:
        said = error.schema.get("sentences", {}).get(error.validator, error.message)
        raise BankError(f"{BANK}, {_place(bank, error.absolute_path)}: {said}.")


def _place(bank: object, path) -> str:
    """Return where in the bank an error lies: chapter, question by id, and key."""
    places, here = [], bank
    for step in path:
        here = here[step]
        name = here.get("id") if isinstance(here, dict) else None
        places.append(str(name or (step + 1 if isinstance(step, int) else step)))
    return ", ".join(places) or "at the top"


def _keep_chapters(bank: dict, slugs: list[str]) -> None:
    for slug in bank:
        if slug not in slugs:
            raise BankError(
                f"{BANK} has questions on {slug}, which is no chapter; the chapters are {', '.join(slugs)}."
            )
    for slug in slugs:
        if slug not in bank:
            raise BankError(f"{BANK} has no questions on the chapter {slug}.")


def _keep_names(quizzes: list[Quiz]) -> None:
    seen = {}
    for quiz in quizzes:
        for question in quiz.questions:
            if question.name in seen:
                raise BankError(f"{BANK}: the id {question.name} stands in {seen[question.name]} and in {quiz.slug}.")
            seen[question.name] = quiz.slug
            texts = [choice.text for choice in question.choices]
            for text in texts:
                if texts.count(text) > 1:
                    raise BankError(f"{BANK}, {quiz.slug}, {question.name}: the choice `{text}` stands twice.")


def _keep_objectives(quiz: Quiz, objectives: list[str]) -> None:
    for question in quiz.questions:
        if not any(objective.startswith(question.objective) for objective in objectives):
            raise BankError(
                f"{BANK}, {quiz.slug}, {question.name}: no objective of the chapter begins with `{question.objective}`."
            )


def _question(entry: dict) -> Question:
    choices = tuple(
        Choice(
            f"{entry['id']}-{place}",
            choice.get("right") or choice["wrong"],
            "right" in choice,
            choice.get("because", ""),
        )
        for place, choice in enumerate(entry.get("choices", []), start=1)
    )
    number = {key: entry[key] for key in ("answer", "tolerance", "unit") if key in entry}
    fields = entry["id"], entry["kind"], entry["objective"], entry["question"], entry["explanation"]
    return Question(*fields, choices, **number)


# The chapters


def _path(root: Path, slug: str) -> Path:
    return root / "notebooks" / f"{slug}.ipynb"


def _notebook(path: Path) -> nbformat.NotebookNode:
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def _prose(notebook: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def _title(notebook: nbformat.NotebookNode) -> str:
    return re.search(r"(?m)^# +(.+?) *$", _prose(notebook))[1]


def _objectives(notebook: nbformat.NotebookNode) -> list[str]:
    section = re.search(r"(?ms)^## You will be able to$(.+?)^## ", _prose(notebook))[1]
    return [line.removeprefix("- ").replace("**", "") for line in section.splitlines() if line.startswith("- ")]


def cell(quiz: Quiz) -> str:
    """Return the Markdown of a chapter's quiz cell: lists and `<details>`, which open without a kernel."""
    return "\n\n".join(["## Quiz", *(_markdown(number, question) for number, question in enumerate(quiz.questions, 1))])


def _markdown(number: int, question: Question) -> str:
    hint = " (More than one is right.)" if question.kind == "several" else ""
    listed = "\n".join(f"- **{letter}.** {choice.text}" for letter, choice in question.lettered)
    told = "\n".join(f"- **{letter}.** {choice.because}" for letter, choice in question.lettered if not choice.right)
    parts = [f"**{number}.** {question.text}{hint}", listed, "<details><summary>Answer</summary>"]
    parts += [f"**{_answer(question)}.** {question.explanation}", told, "</details>"]
    return "\n\n".join(part for part in parts if part)


def _answer(question: Question) -> str:
    if question.kind == "number":
        return f"{_decimal(question.answer)} {question.unit}".strip()
    letters = [letter for letter, choice in question.lettered if choice.right]
    return " and ".join([", ".join(letters[:-1]), letters[-1]] if letters[1:] else letters)


def _decimal(number: float) -> str:
    """Return a number without an exponent, which not every platform reads."""
    written = f"{number:.10f}".rstrip("0").rstrip(".")
    return written or "0"


def replaced(path: Path, source: str) -> str:
    """Return a chapter's file with another quiz cell and every other byte as it was."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    if nbformat.writes(notebook) + "\n" != text:
        raise BankError(
            f"{path.name} is not as nbformat writes it, so its quiz cannot be replaced alone: `make format`."
        )
    cells = [cell for cell in notebook.cells if cell.get("id") == "quiz"]
    if len(cells) != 1:
        raise BankError(f"{path.name} has {len(cells)} cells with the id `quiz`, and must have one.")
    cells[0].source = source
    return nbformat.writes(notebook) + "\n"


def out_of_step(quizzes: list[Quiz], root: Path = ROOT) -> dict[Path, str]:
    """Return the chapters whose quiz cell is not the bank's, with what their files should be."""
    wanted = {_path(root, quiz.slug): cell(quiz) for quiz in quizzes}
    files = {path: replaced(path, source) for path, source in wanted.items()}
    return {path: text for path, text in files.items() if text != path.read_text(encoding="utf-8")}


# Markdown and XML


def _renderer() -> MarkdownIt:
    renderer = MarkdownIt("commonmark", {"html": False, "xhtmlOut": True}).use(dollarmath_plugin)
    renderer.add_render_rule("math_inline", lambda self, tokens, place, *_: rf"\({escape(tokens[place].content)}\)")
    return renderer


_MARKDOWN = _renderer()


def _inline(markdown: str) -> str:
    """Return Markdown as XHTML without a paragraph around it."""
    return _MARKDOWN.renderInline(markdown)


def _paragraph(markdown: str) -> str:
    return f"<p>{_inline(markdown)}</p>"


def _element(name: str, *children: ElementTree.Element | str, **attributes: str) -> ElementTree.Element:
    """Return an element; a trailing underscore lets an attribute be called as a word of Python is."""
    element = ElementTree.Element(name, {key.rstrip("_"): value for key, value in attributes.items()})
    for child in children:
        if isinstance(child, str):
            element.text = child
        else:
            element.append(child)
    return element


def _grown(element: ElementTree.Element, xhtml: str) -> ElementTree.Element:
    """Return the element with parsed XHTML as its first content, before the children that it has."""
    content = ElementTree.fromstring(f"<x>{xhtml}</x>")
    element.text = content.text
    for place, child in enumerate(content):
        element.insert(place, child)
    return element


def _document(element: ElementTree.Element, namespace: str = "", schema: str = "") -> bytes:
    if namespace:
        element.attrib = {
            "xmlns": namespace,
            "xmlns:xsi": XSI,
            "xsi:schemaLocation": f"{namespace} {schema}",
        } | element.attrib
    return ElementTree.tostring(element, encoding="UTF-8", xml_declaration=True) + b"\n"


def _zipped(files: dict[str, bytes]) -> bytes:
    """Return an archive that depends on the names and the contents alone, not on the clock."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return held.getvalue()


# QTI 1.2, as Canvas reads it

QTI12 = "http://www.imsglobal.org/xsd/ims_qtiasiv1p2"
CANVAS = "http://canvas.instructure.com/xsd/cccv1p0"
CANVAS_PACKAGE = "http://www.imsglobal.org/xsd/imsccv1p1/imscp_v1p1"
CANVAS_KINDS = {
    "choice": "multiple_choice_question",
    "several": "multiple_answers_question",
    "number": "numerical_question",
}
LEARNING_APPLICATION = "associatedcontent/imscc_xmlv1p1/learning-application-resource"


def canvas(quizzes: list[Quiz]) -> bytes:
    """Return a package of QTI 1.2: each quiz a file of questions and a file of settings."""
    files, resources = {}, []
    for quiz in quizzes:
        questions, settings = f"{quiz.slug}/{quiz.slug}.xml", f"{quiz.slug}/assessment_meta.xml"
        files[questions] = _document(_canvas_quiz(quiz), QTI12, f"{QTI12}p1.xsd")
        files[settings] = _document(_canvas_settings(quiz), CANVAS, "https://canvas.instructure.com/xsd/cccv1p0.xsd")
        needed = _element("dependency", identifierref=f"{quiz.slug}-settings")
        file = _element("file", href=questions)
        resources.append(_element("resource", file, needed, identifier=quiz.slug, type="imsqti_xmlv1p2"))
        held = {"identifier": f"{quiz.slug}-settings", "type": LEARNING_APPLICATION, "href": settings}
        resources.append(_element("resource", _element("file", href=settings), **held))
    manifest = _manifest(resources, "IMS Content", "1.1.3")
    return _zipped({"imsmanifest.xml": _document(manifest, CANVAS_PACKAGE, f"{IMSCP}.xsd"), **files})


def _manifest(resources: list[ElementTree.Element], schema: str, version: str) -> ElementTree.Element:
    about = _element("metadata", _element("schema", schema), _element("schemaversion", version))
    contents = about, _element("organizations"), _element("resources", *resources)
    return _element("manifest", *contents, identifier="features-without-labels-quizzes")


def _canvas_settings(quiz: Quiz) -> ElementTree.Element:
    settings = {
        "title": f"Quiz: {quiz.title}",
        "description": f"<p>Five questions on the chapter {escape(quiz.title)}.</p>",
        "shuffle_answers": "false",
        "scoring_policy": "keep_highest",
        "quiz_type": "practice_quiz",
        "points_possible": f"{len(quiz.questions)}.0",
        "show_correct_answers": "true",
        "allowed_attempts": "-1",
    }
    return _element("quiz", *(_element(key, value) for key, value in settings.items()), identifier=quiz.slug)


def _canvas_quiz(quiz: Quiz) -> ElementTree.Element:
    section = _element("section", *map(_canvas_item, quiz.questions), ident="root_section")
    attempts = _metadata({"cc_maxattempts": "unlimited"})
    assessment = _element("assessment", attempts, section, ident=quiz.slug, title=f"Quiz: {quiz.title}")
    return _element("questestinterop", assessment)


def _metadata(fields: dict[str, str]) -> ElementTree.Element:
    return _element(
        "qtimetadata",
        *(
            _element("qtimetadatafield", _element("fieldlabel", label), _element("fieldentry", entry))
            for label, entry in fields.items()
        ),
    )


def _canvas_item(question: Question) -> ElementTree.Element:
    fields = {
        "question_type": CANVAS_KINDS[question.kind],
        "points_possible": "1.0",
        "original_answer_ids": ",".join(choice.name for choice in question.choices) or f"{question.name}-answer",
        "assessment_question_identifierref": f"{question.name}-question",
    }
    answered = _canvas_number() if question.kind == "number" else _canvas_choices(question)
    outcomes = _element(
        "outcomes", _element("decvar", maxvalue="100", minvalue="0", varname="SCORE", vartype="Decimal")
    )
    told = {f"{choice.name}_fb": choice.because for choice in question.choices if not choice.right}
    told = {"general_fb": question.explanation} | told
    return _element(
        "item",
        _element("itemmetadata", _metadata(fields)),
        _element("presentation", _material(_paragraph(question.text)), answered),
        _element("resprocessing", outcomes, *_canvas_conditions(question)),
        *(_canvas_feedback(name, _paragraph(text)) for name, text in told.items()),
        ident=question.name,
        title=question.name,
    )


def _material(html: str) -> ElementTree.Element:
    return _element("material", _element("mattext", html, texttype="text/html"))


def _canvas_feedback(name: str, html: str) -> ElementTree.Element:
    return _element("itemfeedback", _element("flow_mat", _material(html)), ident=name)


def _canvas_choices(question: Question) -> ElementTree.Element:
    labels = [
        _element("response_label", _material(_inline(choice.text)), ident=choice.name) for choice in question.choices
    ]
    cardinality = "Single" if question.kind == "choice" else "Multiple"
    return _element("response_lid", _element("render_choice", *labels), ident="response1", rcardinality=cardinality)


def _canvas_number() -> ElementTree.Element:
    field = _element("render_fib", _element("response_label", ident="answer1"), fibtype="Decimal")
    return _element("response_str", field, ident="response1", rcardinality="Single")


def _canvas_conditions(question: Question) -> Iterator[ElementTree.Element]:
    """Yield what happens to an answer: first what it is told, last whether it is right."""
    yield _condition(_element("other"), _shown("general_fb"), "Yes")
    for choice in question.choices:
        if not choice.right:
            yield _condition(_chosen(choice.name), _shown(f"{choice.name}_fb"), "Yes")
    score = _element("setvar", "100", action="Set", varname="SCORE")
    yield _condition(_canvas_right(question), score, "No")


def _condition(when: ElementTree.Element, then: ElementTree.Element, further: str) -> ElementTree.Element:
    return _element("respcondition", _element("conditionvar", when), then, continue_=further)


def _shown(name: str) -> ElementTree.Element:
    return _element("displayfeedback", feedbacktype="Response", linkrefid=name)


def _chosen(name: str) -> ElementTree.Element:
    return _element("varequal", name, respident="response1")


def _canvas_right(question: Question) -> ElementTree.Element:
    if question.kind == "choice":
        return _chosen(question.right[0].name)
    if question.kind == "several":
        chosen = [(choice, _chosen(choice.name)) for choice in question.choices]
        return _element("and", *(one if choice.right else _element("not", one) for choice, one in chosen))
    low, high = (_decimal(question.answer + sign * question.tolerance) for sign in (-1, 1))
    least, most = _element("vargte", low, respident="response1"), _element("varlte", high, respident="response1")
    return _element("or", _chosen(_decimal(question.answer)), _element("and", least, most))


# QTI 2.1

QTI21 = "http://www.imsglobal.org/xsd/imsqti_v2p1"
IMSCP = "http://www.imsglobal.org/xsd/imscp_v1p1"


def qti(quizzes: list[Quiz]) -> bytes:
    """Return a package of QTI 2.1: a file for each question, and for each quiz a test that lists them."""
    files, resources = {}, []
    for quiz in quizzes:
        names = {question.name: f"{quiz.slug}/{question.name}.xml" for question in quiz.questions}
        files |= {names[each.name]: _document(_qti_item(each), QTI21, f"{QTI21}.xsd") for each in quiz.questions}
        test = f"{quiz.slug}/test.xml"
        files[test] = _document(_qti_test(quiz), QTI21, f"{QTI21}.xsd")
        needed = [_element("dependency", identifierref=name) for name in names]
        resources.append(_resource(f"{quiz.slug}-test", "imsqti_test_xmlv2p1", test, needed))
        resources += [_resource(name, "imsqti_item_xmlv2p1", file) for name, file in names.items()]
    manifest = _manifest(resources, "QTIv2.1 Package", "1.0.0")
    return _zipped({"imsmanifest.xml": _document(manifest, IMSCP, f"{IMSCP}.xsd"), **files})


def _resource(name: str, kind: str, file: str, needed: list[ElementTree.Element] | None = None) -> ElementTree.Element:
    contents = _element("file", href=file), *(needed or [])
    return _element("resource", *contents, identifier=name, type=kind, href=file)


def _qti_test(quiz: Quiz) -> ElementTree.Element:
    items = [
        _element("assessmentItemRef", identifier=question.name, href=f"{question.name}.xml")
        for question in quiz.questions
    ]
    section = _element("assessmentSection", *items, identifier="section", title=quiz.title, visible="true")
    modes = {"navigationMode": "nonlinear", "submissionMode": "individual"}
    part = _element("testPart", section, identifier="part", **modes)
    return _element("assessmentTest", part, identifier=f"{quiz.slug}-test", title=f"Quiz: {quiz.title}")


def _qti_item(question: Question) -> ElementTree.Element:
    declared = {"identifier": question.name, "title": question.name, "adaptive": "false", "timeDependent": "false"}
    return _element(
        "assessmentItem",
        _qti_response(question),
        *_qti_outcomes(question),
        _qti_body(question),
        _qti_processing(question),
        *_qti_feedback(question),
        **declared,
    )


def _qti_response(question: Question) -> ElementTree.Element:
    values = [choice.name for choice in question.right] or [_decimal(question.answer)]
    correct = _element("correctResponse", *(_element("value", value) for value in values))
    cardinality = "multiple" if question.kind == "several" else "single"
    kind = "identifier" if question.choices else "float"
    return _element("responseDeclaration", correct, identifier="RESPONSE", cardinality=cardinality, baseType=kind)


def _qti_outcomes(question: Question) -> Iterator[ElementTree.Element]:
    for name, value in (("SCORE", "0"), ("MAXSCORE", "1")):
        default = _element("defaultValue", _element("value", value))
        yield _element("outcomeDeclaration", default, identifier=name, cardinality="single", baseType="float")
    if question.choices:
        cardinality = "multiple" if question.kind == "several" else "single"
        yield _element("outcomeDeclaration", identifier="FEEDBACK", cardinality=cardinality, baseType="identifier")
    yield _element("outcomeDeclaration", identifier="EXPLANATION", cardinality="single", baseType="identifier")


def _qti_body(question: Question) -> ElementTree.Element:
    if question.choices:
        shown = [
            _grown(_element("simpleChoice", identifier=choice.name), _inline(choice.text))
            for choice in question.choices
        ]
        most = "1" if question.kind == "choice" else "0"  # 0: any number
        options = {"responseIdentifier": "RESPONSE", "shuffle": "false", "maxChoices": most}
        asked = _element("choiceInteraction", *shown, **options)
    else:
        entry = _element("textEntryInteraction", responseIdentifier="RESPONSE", expectedLength="12")
        entry.tail = f" {question.unit}" if question.unit else None
        asked = _element("p", entry)
    return _grown(_element("itemBody", asked), _paragraph(question.text))


def _qti_processing(question: Question) -> ElementTree.Element:
    given, correct = _element("variable", identifier="RESPONSE"), _element("correct", identifier="RESPONSE")
    if question.choices:
        compared = _element("match", given, correct)
    elif question.tolerance:
        within = f"{_decimal(question.tolerance)} {_decimal(question.tolerance)}"
        compared = _element("equal", given, correct, toleranceMode="absolute", tolerance=within)
    else:
        compared = _element("equal", given, correct, toleranceMode="exact")
    earned = _element("setOutcomeValue", _element("baseValue", "1", baseType="float"), identifier="SCORE")
    steps = [_element("responseCondition", _element("responseIf", compared, earned))]
    if question.choices:
        chosen = _element("variable", identifier="RESPONSE")
        steps.append(_element("setOutcomeValue", chosen, identifier="FEEDBACK"))
    shown = _element("baseValue", "shown", baseType="identifier")
    return _element("responseProcessing", *steps, _element("setOutcomeValue", shown, identifier="EXPLANATION"))


def _qti_feedback(question: Question) -> Iterator[ElementTree.Element]:
    told = [("FEEDBACK", choice.name, choice.because) for choice in question.choices if not choice.right]
    for outcome, name, text in [*told, ("EXPLANATION", "shown", question.explanation)]:
        feedback = _element("modalFeedback", outcomeIdentifier=outcome, identifier=name, showHide="show")
        yield _grown(feedback, _paragraph(text))


# Moodle XML


def moodle(quizzes: list[Quiz]) -> bytes:
    """Return a file of Moodle XML: a category for each quiz, and its questions."""
    questions = []
    for quiz in quizzes:
        category = f"$course$/top/Features Without Labels/{quiz.title.replace('/', '//')}"
        questions.append(_element("question", _element("category", _moodle_text(category)), type="category"))
        questions += map(_moodle_question, quiz.questions)
    return _document(_element("quiz", *questions))


def _moodle_text(text: str) -> ElementTree.Element:
    return _element("text", text)


def _moodle_html(name: str, html: str) -> ElementTree.Element:
    return _element(name, _moodle_text(html), format="html")


def _moodle_question(question: Question) -> ElementTree.Element:
    parts = [
        _element("name", _moodle_text(question.name)),
        _moodle_html("questiontext", _paragraph(question.text)),
        _moodle_html("generalfeedback", _paragraph(question.explanation)),
        _element("defaultgrade", "1"),
        _element("idnumber", question.name),
    ]
    if question.choices:
        single = "true" if question.kind == "choice" else "false"
        parts += [_element("single", single), _element("shuffleanswers", "false"), _element("answernumbering", "ABCD")]
        parts += [_moodle_answer(question, choice) for choice in question.choices]
        return _element("question", *parts, type="multichoice")
    told, within = _moodle_html("feedback", ""), _element("tolerance", _decimal(question.tolerance))
    parts.append(_element("answer", _moodle_text(_decimal(question.answer)), told, within, fraction="100"))
    return _element("question", *parts, type="numerical")


def _moodle_answer(question: Question, choice: Choice) -> ElementTree.Element:
    """Return a choice with its share of the mark; of several, a wrong one costs what a right one earns."""
    share = 100 / len(question.right)
    lost = 0 if question.kind == "choice" else -100 / (len(question.choices) - len(question.right))
    fraction = f"{share if choice.right else lost:.5f}".rstrip("0").rstrip(".")
    told = _moodle_html("feedback", _paragraph(choice.because) if choice.because else "")
    return _element("answer", _moodle_text(_inline(choice.text)), told, fraction=fraction, format="html")


# The command

WRITERS = {"canvas/{}.zip": canvas, "qti-2.1/{}.zip": qti, "moodle/{}.xml": moodle}


def packages(quizzes: list[Quiz], seed: int | None = None) -> dict[str, bytes]:
    """Return every package by its path below `dist/quizzes`, with the choices in the order of a class."""
    drawn = [replace(quiz, questions=tuple(each.shuffled(seed) for each in quiz.questions)) for quiz in quizzes]
    folder = "" if seed is None else f"class-{seed}/"
    named = {quiz.slug: [quiz] for quiz in drawn} | {"all-chapters": drawn}
    return {
        folder + place.format(name): write(chosen) for name, chosen in named.items() for place, write in WRITERS.items()
    }


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> None:
    parser = argparse.ArgumentParser(description="Write the quizzes into the chapters, and as packages for platforms.")
    parser.add_argument("--check", action="store_true", help="write nothing; name the chapters that are out of step")
    parser.add_argument("--seed", type=int, help="shuffle the choices of the packages for a class")
    options = parser.parse_args(arguments)
    try:
        quizzes = read((root / BANK).read_text(encoding="utf-8"), root)
        stale = out_of_step(quizzes, root)
    except BankError as error:
        raise SystemExit(str(error)) from None
    if options.check:
        if stale:
            raise SystemExit(f"Out of step with {BANK}: {', '.join(path.name for path in stale)}; run `make quizzes`.")
        print(f"The quizzes of {len(quizzes)} chapters are as {BANK} has them.")
        return
    written = packages(quizzes, options.seed)
    for path, text in stale.items():
        _write(path, text.encode())
        print(f"wrote the quiz of {path.relative_to(root)}")
    for name, content in written.items():
        _write(root / PACKAGES / name, content)
    print(f"wrote {len(written)} packages below {PACKAGES}")


if __name__ == "__main__":
    main()
