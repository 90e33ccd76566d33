"""The bank of quiz questions, the chapters' quiz cells, and the packages for learning platforms.

The packages are held against a strict grammar of our own (`tests/schemas/quiz-packages.yml`), for the official schemas
of QTI are not part of this repository, and every question is read back from every package and compared with the bank.
"""

import copy
import io
import itertools
import json
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import nbformat
import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from scipy import integrate, stats
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform
from sklearn.utils.class_weight import compute_class_weight

from helpers import clustering, probing, separability

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "book" / "quizzes.yml").read_text(encoding="utf-8")
BANK = yaml.safe_load(TEXT)
QUESTIONS = [question for questions in BANK.values() for question in questions]
GRAMMARS = yaml.safe_load((ROOT / "tests" / "schemas" / "quiz-packages.yml").read_text(encoding="utf-8"))
FORMATS = {"canvas": ".zip", "qti-2.1": ".zip", "moodle": ".xml"}


@pytest.fixture(scope="module")
def quizzes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "book"))
        from teaching import quizzes

        yield quizzes


@pytest.fixture(scope="module")
def read_bank(quizzes):
    return quizzes.read(TEXT)


@pytest.fixture(scope="module")
def packages(quizzes, read_bank):
    return quizzes.packages(read_bank)


def right(question):
    return [place for place, choice in enumerate(question.get("choices", [])) if "right" in choice]


# The bank


def test_every_chapter_of_the_book_has_five_questions():
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    slugs = [Path(file).name for file in files if file.startswith("notebooks/")]
    assert {slug: len(questions) for slug, questions in BANK.items()} == dict.fromkeys(slugs, 5)


def first(bank, kind="choice"):
    return next(question for questions in bank.values() for question in questions if question["kind"] == kind)


def without_right(bank):
    choices = first(bank)["choices"]
    for choice in choices:
        if "right" in choice:
            choice["wrong"], choice["because"] = choice.pop("right"), "It is not."


def two_right(bank):
    wrong = next(choice for choice in first(bank)["choices"] if "wrong" in choice)
    wrong["right"] = wrong.pop("wrong")
    del wrong["because"]


def one_right_of_several(bank):
    choices = first(bank, "several")["choices"]
    last = [choice for choice in choices if "right" in choice][-1]
    last["wrong"], last["because"] = last.pop("right"), "It is not."


def twice_the_same_choice(bank):
    one, other = [choice for choice in first(bank)["choices"] if "wrong" in choice][:2]
    one["wrong"] = other["wrong"]


def same_id(bank):
    questions = list(bank.values())
    questions[3][2]["id"] = questions[0][1]["id"]


SPOILT = {
    "one choice must be right, and none is": without_right,
    "one choice must be right, and more are": two_right,
    "two or three choices must be right": one_right_of_several,
    "stands in measuring-features and in denoising-stacked-residual": same_id,
    "stands twice": twice_the_same_choice,
    "has questions on no-chapter, which is no chapter": lambda bank: bank.update(
        {"no-chapter": bank.pop("few-labels")}
    ),
    "has no questions on the chapter few-labels": lambda bank: bank.pop("few-labels"),
    "few-labels: a chapter has five questions, and this one has fewer": lambda bank: bank["few-labels"].pop(),
    "this one has more": lambda bank: bank["few-labels"].append(bank["few-labels"][0] | {"id": "another"}),
    "nmi-of-many-clusters, choices: a question has four choices, and this one has fewer": lambda bank: first(bank)[
        "choices"
    ].pop(0),
    "'because' is a required property": lambda bank: first(bank)["choices"][0].pop("because"),
    "'tolerance' is a required property": lambda bank: first(bank, "number").pop("tolerance"),
    "'explanation' is a required property": lambda bank: first(bank).pop("explanation"),
    "an id is made of small letters": lambda bank: first(bank).update(id="An Id"),
    "a text is one paragraph": lambda bank: first(bank).update(question="One.\n\nTwo."),
    "is not one of ['choice', 'several', 'number']": lambda bank: first(bank).update(kind="essay"),
    "'hint' was unexpected": lambda bank: first(bank).update(hint="Think."),
    "no objective of the chapter begins with": lambda bank: first(bank).update(objective="juggle"),
}


@pytest.mark.parametrize("said", SPOILT)
def test_a_spoilt_bank_is_refused_in_one_sentence(quizzes, said):
    bank = copy.deepcopy(BANK)
    SPOILT[said](bank)
    with pytest.raises(quizzes.BankError) as refused:
        quizzes.read(yaml.safe_dump(bank, sort_keys=False, allow_unicode=True))
    message = str(refused.value)
    assert said in message
    assert message.startswith("book/quizzes.yml")
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("- 5", "at the top"),
        ("few-labels: []\nfew-labels: []\n", "`few-labels` stands twice"),
    ],
)
def test_what_is_no_bank_is_refused_in_one_sentence(quizzes, text, said):
    with pytest.raises(quizzes.BankError, match=said):
        quizzes.read(text)


def subschemas(schema):
    if isinstance(schema, dict):
        yield schema
        for part in schema.values():
            yield from subschemas(part)


def test_the_schema_is_one_and_each_of_its_sentences_stands_beside_its_keyword(quizzes):
    schema = json.loads(quizzes.SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in subschemas(schema):
        assert set(part.get("sentences", {})) <= set(part)


def test_each_quiz_tests_at_least_three_objectives_of_its_chapter():
    for slug, questions in BANK.items():
        assert len({question["objective"] for question in questions}) >= 3, slug


# No right choice is known by its place or its length


def test_right_choices_stand_at_each_place_equally_often():
    places = Counter(right(question)[0] for question in QUESTIONS if question["kind"] == "choice")
    assert max(places.values()) - min(places[place] for place in range(4)) <= 2


def test_right_choices_are_seldom_the_longest_or_the_shortest():
    choices = [question for question in QUESTIONS if question["kind"] == "choice"]
    longer = []
    for question in choices:
        lengths = [len(choice.get("right", choice.get("wrong"))) for choice in question["choices"]]
        longer.append(sum(length > lengths[right(question)[0]] for length in lengths))
    for extreme in (0, 3):
        assert longer.count(extreme) <= 0.4 * len(choices)


def test_what_a_wrong_choice_is_told_does_not_name_the_right_one():
    for question in QUESTIONS:
        for choice, other in itertools.product(question.get("choices", []), repeat=2):
            if "because" in choice and "right" in other:
                assert other["right"].lower() not in choice["because"].lower(), question["id"]


# Answers that are numbers, by another way than the explanation's


def smallest_p_value():
    points = np.r_[np.zeros(20), np.ones(20)][:, None] + np.linspace(0, 0.01, 40)[:, None]
    labels = np.repeat([0, 1], 20)
    return separability.permutation_test(squareform(pdist(points)), labels, permutations=499).p_value


def transposed_pixels():  # every pixel is spread over 3 places, and pixels stand 2 places apart
    return len({2 * pixel + place for pixel, place in itertools.product(range(14), range(3))})


def beta_beside_the_average():
    errors = np.random.default_rng(0).random((10, 64))
    return 3.2 * np.square(errors).mean(axis=1).sum() / np.square(errors).sum(axis=1).sum()


def weight_beside_the_mean():
    penalties = np.random.default_rng(0).random(128)
    return 0.0001 * penalties.sum() / penalties.mean()


def gain_in_decibels():
    noise = np.random.default_rng(0).normal(0, 0.4, 1_000_000)
    return 10 * np.log10(np.mean(noise**2)) - 10 * np.log10(0.016)


def slope_where_the_best_denoiser_steps():  # data and noise are normal, so the best denoiser is known
    deviation, noise, step = 1.0, 0.1, 0.02
    shrink = deviation**2 / (deviation**2 + noise**2)
    noisy = step / (shrink - 1)
    density = stats.norm(0, np.hypot(deviation, noise)).logpdf
    return (density(noisy + 1e-5) - density(noisy - 1e-5)) / 2e-5


def price_in_nats():
    code, prior = stats.norm(2, 1), stats.norm(0, 1)
    return integrate.quad(lambda z: code.pdf(z) * (code.logpdf(z) - prior.logpdf(z)), -10, 14)[0]


def hidden_beta():
    divergences = np.random.default_rng(0).random((7, 10))
    return divergences.mean() / divergences.sum(axis=1).mean()


def weights_of_a_dense_head():
    inputs, outputs = np.empty((16, 16, 32)).size, np.empty((64, 64, 3)).size
    return (inputs * outputs + outputs) / 1e6


def margin_loss_of_one_distance():
    similar, apart = np.tile([0, 1], 50), 0.5
    return np.mean(similar * apart**2 / 2 + (1 - similar) * max(0, 1 - apart) ** 2 / 2)


def wrong_answers():
    views = [(pair, view) for pair in range(64) for view in range(2)]
    return sum(pair != views[0][0] for pair, _ in views)


def spread_of_distances():
    found = pdist(np.random.default_rng(0).normal(size=(300, 5000)))
    return found.std() / found.mean()


def share_at_the_end_of_a_walk():
    path = np.diag(np.ones(3), 1) + np.diag(np.ones(3), -1)  # 3, an image, the image that is asked about, 7
    return probing.label_propagation(path, [3, -1, -1, 7]).certainty[2]


def accuracy_with_given_labels():
    answers = np.zeros(600)
    answers[:500], answers[500::10] = 1, 1
    return answers.mean()


def class_weight():
    labels = np.repeat([0, 1, 2], [1000, 500, 500])
    return compute_class_weight("balanced", classes=np.arange(3), y=labels)[1]


def left_of_a_running_mean():
    mean = 1.0
    for _ in range(100):
        mean = 0.99 * mean + 0.01 * 0.0
    return mean


def share_of_a_mirroring_map():  # the areas of what three such maps make of a square
    square = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    maps = [[[0.8, 0.3], [0, 0.4]], [[0.1, 0.6], [0.4, 0]], [[0.2, 0], [0.5, 0.2]]]
    areas = [ConvexHull(square @ np.transpose(matrix)).volume for matrix in maps]
    assert np.allclose([np.linalg.det(matrix) for matrix in maps], [0.32, -0.24, 0.04])
    return areas[1] / sum(areas)


COMPUTED = {
    "floor-of-a-p-value": smallest_p_value,
    "size-after-a-transposed-convolution": transposed_pixels,
    "beta-beside-an-average": beta_beside_the_average,
    "weight-after-an-update": weight_beside_the_mean,
    "gain-in-decibels": gain_in_decibels,
    "slope-of-the-log-density": slope_where_the_best_denoiser_steps,
    "price-of-one-dimension": price_in_nats,
    "beta-in-an-average": hidden_beta,
    "weights-of-a-dense-head": weights_of_a_dense_head,
    "margin-loss-of-ignorance": margin_loss_of_one_distance,
    "wrong-answers-in-a-batch": wrong_answers,
    "spread-of-distances": spread_of_distances,
    "walk-between-two-labels": share_at_the_end_of_a_walk,
    "given-labels-in-the-score": accuracy_with_given_labels,
    "class-weight-by-hand": class_weight,
    "memory-of-a-running-mean": left_of_a_running_mean,
    "share-of-a-mirroring-map": share_of_a_mirroring_map,
}


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q["kind"] == "number"], ids=lambda q: q["id"])
def test_a_number_is_right(question):
    assert abs(COMPUTED[question["id"]]() - question["answer"]) <= question["tolerance"]


def test_an_answer_with_a_unit_is_asked_for_in_that_unit():
    for question in QUESTIONS:
        assert question.get("unit", "") in question["question"], question["id"]


def test_random_clusters_score_as_the_questions_say():
    random = np.random.default_rng(0)
    found = [clustering.nmi(random.integers(0, 10, 540), random.integers(0, 300, 540)) for _ in range(10)]
    assert min(found) > 0.30
    assert clustering.chance_agreement([233, 116, 117], [155, 155, 156]).nmi_p_value(0.007) > 0.1


# The chapters


def test_the_chapters_are_in_step_with_the_bank(quizzes, capsys):
    quizzes.main(["--check"])
    assert capsys.readouterr().out == "The quizzes of 12 chapters are as book/quizzes.yml has them.\n"


@pytest.mark.parametrize("slug", BANK)
def test_a_quiz_cell_is_read_alike_wherever_commonmark_is(slug):
    notebook = nbformat.read(ROOT / "notebooks" / f"{slug}.ipynb", as_version=4)
    source = next(cell.source for cell in notebook.cells if cell.id == "quiz")
    page = BeautifulSoup(MarkdownIt("commonmark").render(source), "html.parser")
    answers = page.find_all("details")
    assert len(answers) == 5
    lists = page.find_all("ul", recursive=False)
    asked = [question for question in BANK[slug] if "choices" in question]
    for question, listed in zip(asked, lists, strict=True):
        assert [item.strong.text for item in listed.find_all("li", recursive=False)] == ["A.", "B.", "C.", "D."]
        told = listed.find_next_sibling("details")
        wrong = [letter for place, letter in enumerate("ABCD") if place not in right(question)]
        assert [item.strong.text[0] for item in told.find_all("li")] == wrong
    assert not page.find_all("pre")
    assert "**" not in page.text


def test_a_quiz_cell_is_short():
    for slug in BANK:
        notebook = nbformat.read(ROOT / "notebooks" / f"{slug}.ipynb", as_version=4)
        source = next(cell.source for cell in notebook.cells if cell.id == "quiz")
        assert len(re.findall(r"\w+", source)) <= 700, slug


@pytest.fixture
def course(tmp_path):
    (tmp_path / "book").mkdir()
    for file in ("book/_toc.yml", "book/quizzes.yml"):
        shutil.copy(ROOT / file, tmp_path / file)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("assignments"))
    return tmp_path


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def reworded(course, old, new):
    bank = course / "book" / "quizzes.yml"
    text = bank.read_text(encoding="utf-8")
    assert text.count(old) == 1
    bank.write_text(text.replace(old, new), encoding="utf-8")


def test_a_reworded_question_is_noticed_and_nothing_else_is_written(quizzes, course):
    reworded(course, "That training gained 0.03", "That training gained 3 in 100")
    before = {path: path.read_text(encoding="utf-8") for path in course.glob("notebooks/*.ipynb")}
    with pytest.raises(SystemExit, match=r"Out of step with book/quizzes\.yml: measuring-features\.ipynb; run"):
        quizzes.main(["--check"], course)
    assert before == {path: path.read_text(encoding="utf-8") for path in before}
    quizzes.main([], course)
    changed = {path for path in before if path.read_text(encoding="utf-8") != before[path]}
    assert changed == {course / "notebooks" / "measuring-features.ipynb"}
    (path,) = changed
    pairs = zip(before[path].splitlines(), path.read_text(encoding="utf-8").splitlines(), strict=True)
    assert [new.strip() for old, new in pairs if old != new] == [
        json.dumps("- **A.** That training gained 3 in 100\n") + ","
    ]
    quizzes.main(["--check"], course)


def test_a_spoilt_bank_leaves_chapters_and_packages_as_they_were(quizzes, course):
    reworded(course, "kind: several\n    objective: build", "kind: choice\n    objective: build")
    before = contents(course)
    with pytest.raises(SystemExit, match="few-labels, graph-without-labels, choices: one choice must be right"):
        quizzes.main([], course)
    assert contents(course) == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace('"id": "quiz"', '"id": "test"'), "has 0 cells with the id `quiz`"),
        (lambda text: json.dumps(json.loads(text), indent=2), "is not as nbformat writes it"),
    ],
)
def test_a_chapter_whose_quiz_cannot_be_replaced_alone_is_refused(quizzes, course, spoil, said):
    path = course / "notebooks" / "few-labels.ipynb"
    path.write_text(spoil(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(SystemExit, match=said):
        quizzes.main([], course)


# The packages: complete, the same twice, and by the grammar


def files(packages, place):
    """Return the XML files of a package by name."""
    if place.endswith(".xml"):
        return {place: packages[place]}
    with zipfile.ZipFile(io.BytesIO(packages[place])) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_there_is_a_package_for_each_chapter_and_one_for_all_in_each_format(packages):
    assert set(packages) == {
        f"{kind}/{name}{ending}" for kind, ending in FORMATS.items() for name in [*BANK, "all-chapters"]
    }


def test_packages_are_the_same_twice(quizzes, packages):
    assert quizzes.packages(quizzes.read(TEXT)) == packages


def test_the_command_writes_the_packages(quizzes, packages, course):
    quizzes.main([], course)
    folder = course / "dist" / "quizzes"
    assert contents(folder) == packages
    quizzes.main(["--seed", "7"], course)
    assert set(contents(folder / "class-7")) == set(packages)


def grammar_of(place, name):
    if place.startswith("moodle"):
        return GRAMMARS["moodle"]
    if name == "imsmanifest.xml":
        return GRAMMARS["package"]
    if place.startswith("qti"):
        return GRAMMARS["qti-2.1"]
    return GRAMMARS["canvas-settings" if name.endswith("assessment_meta.xml") else "canvas"]


KINDS = {"name": r"[A-Za-z_][\w.-]*", "number": r"\d+", "text": r".+"}


def complaints(content, grammar):
    """Return how an XML file breaks a grammar, one sentence for each breach."""
    tree = ElementTree.fromstring(content)
    namespace, _, root = tree.tag.rpartition("}")
    found = [] if re.fullmatch(grammar["namespace"], namespace.lstrip("{")) else [f"the namespace is {namespace}"]
    found += [] if re.fullmatch(grammar["root"], root) else [f"the root is {root}"]
    for element in tree.iter():
        name = element.tag.removeprefix(namespace + "}")
        if name not in grammar["elements"]:
            found.append(f"{name} is unknown")
            continue
        rule = grammar["elements"][name]
        found += [f"{name}: {what}" for what in (*_attributes(element, rule), *_content(element, rule, namespace))]
    return found


def _attributes(element, rule):
    given = {key: value for key, value in element.attrib.items() if not key.startswith("{")}
    wanted = rule.get("attributes", {})
    for key, kind in wanted.items():
        value = given.pop(key.rstrip("?"), None)
        if value is None and not key.endswith("?"):
            yield f"no {key}"
        if value is not None and not re.fullmatch(KINDS.get(kind, kind), value):
            yield f"{key} is {value}"
    yield from (f"{key} is unknown" for key in given)


def _content(element, rule, namespace):
    children = "".join(f"{child.tag.removeprefix(namespace + '}')} " for child in element)
    pattern = re.sub(r"[A-Za-z_]\w*", r"(?:\g<0>_)", rule.get("children", "")).replace(" ", "").replace("_)", " )")
    if not re.fullmatch(pattern, children):
        yield f"its children are {children}"
    between = "".join([element.text or "", *(child.tail or "" for child in element)])
    if "value" in rule and not re.fullmatch(rule["value"], between, re.DOTALL):
        yield f"its text is {between}"
    if "value" not in rule and not rule.get("mixed") and between.strip():
        yield f"text between its children: {between}"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_file_of_every_package_keeps_the_grammar(packages, kind):
    for place in (place for place in packages if place.startswith(kind)):
        for name, content in files(packages, place).items():
            assert complaints(content, grammar_of(place, name)) == [], (place, name)


BREACHES = [
    ("qti-2.1", b'adaptive="false" ', b"", "assessmentItem: no adaptive"),
    ("qti-2.1", b'maxChoices="1"', b'maxChoices="5"', "choiceInteraction: maxChoices is 5"),
    ("qti-2.1", b"<correctResponse>", b"<correctResponse/><correctResponse>", "responseDeclaration: its children are"),
    ("qti-2.1", b"<itemBody>", b"<itemBody>Read: ", "itemBody: text between its children: Read: "),
    ("qti-2.1", b"imsqti_v2p1", b"imsqti_v2p2", "the namespace is"),
    ("qti-2.1", b"simpleChoice", b"response_label", "response_label is unknown"),
    ("canvas", b"<respcondition continue", b"<respcondition further", "respcondition: further is unknown"),
    ("canvas", b"setvar", b"set_var", "set_var is unknown"),
    ("moodle", b"idnumber", b"number", "number is unknown"),
    ("moodle", b"<single>true", b"<single>yes", "single: its text is yes"),
]


@pytest.mark.parametrize(("kind", "old", "new", "said"), BREACHES)
def test_the_grammar_notices_a_breach(packages, kind, old, new, said):
    place = f"{kind}/measuring-features{FORMATS[kind]}"
    contents = [content for content in files(packages, place).values() if old in content]
    found = [complaint for content in contents for complaint in complaints(content.replace(old, new), GRAMMARS[kind])]
    assert any(complaint.startswith(said) for complaint in found), found


@pytest.mark.parametrize("place", ["canvas/all-chapters.zip", "qti-2.1/all-chapters.zip", "qti-2.1/few-labels.zip"])
def test_the_manifest_lists_every_file_once_and_points_at_what_is_there(packages, place):
    held = files(packages, place)
    manifest = ElementTree.fromstring(held.pop("imsmanifest.xml"))
    listed = [file.get("href") for file in manifest.iter() if file.tag.endswith("}file")]
    assert sorted(listed) == sorted(held)
    resources = [each for each in manifest.iter() if each.tag.endswith("}resource")]
    names = [each.get("identifier") for each in resources]
    assert len(set(names)) == len(names)
    pointed = [each.get("identifierref") for each in manifest.iter() if each.tag.endswith("}dependency")]
    assert set(pointed) <= set(names)
    assert len(pointed) == len(set(pointed))


def test_a_test_of_qti_lists_the_questions_of_its_chapter_in_their_order(packages):
    held = files(packages, "qti-2.1/all-chapters.zip")
    for slug, questions in BANK.items():
        references = parsed(held[f"{slug}/test.xml"]).iter("assessmentItemRef")
        listed = [(each.get("identifier"), each.get("href")) for each in references]
        assert listed == [(question["id"], f"{question['id']}.xml") for question in questions]


# Reading the questions back


def parsed(content):
    """Return an XML file without namespaces."""
    tree = ElementTree.fromstring(content)
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    return tree


SIGNS = {"em": "*", "strong": "**", "code": "`"}


def markdown(element):
    """Return XHTML as the Markdown that it was, whatever paragraphs stand around it."""
    text = (element.text or "").replace(r"\(", "$").replace(r"\)", "$")
    for child in element:
        sign = SIGNS.get(child.tag, "")
        text += sign + markdown(child) + sign + (child.tail or "").replace(r"\(", "$").replace(r"\)", "$")
    return text


def of_html(text):
    return markdown(ElementTree.fromstring(f"<x>{text or ''}</x>"))


def of_canvas(item):
    entries = {each.findtext("fieldlabel"): each.findtext("fieldentry") for each in item.iter("qtimetadatafield")}
    told = {each.get("ident"): of_html(each.findtext(".//mattext")) for each in item.iter("itemfeedback")}
    shown = [each.get("linkrefid") for each in item.iter("displayfeedback")]
    assert sorted(told) == sorted(shown)
    condition = next(each for each in item.iter("respcondition") if each.find("setvar") is not None).find(
        "conditionvar"
    )
    refused = {each.findtext("varequal") for each in condition.iter("not")}
    accepted = {each.text for each in condition.iter("varequal")} - refused
    found = {
        "question": of_html(item.findtext("presentation/material/mattext")),
        "explanation": told["general_fb"],
        "kind": entries["question_type"].removesuffix("_question"),
    }
    if found["kind"] == "numerical":
        limits = float(condition.findtext(".//vargte")), float(condition.findtext(".//varlte"))
        return item.get("ident"), found | {"answer": float(*accepted), "limits": limits}
    choices = [
        (of_html(each.findtext(".//mattext")), each.get("ident") in accepted, told.get(f"{each.get('ident')}_fb", ""))
        for each in item.iter("response_label")
    ]
    return item.get("ident"), found | {"choices": choices}


def of_qti(item):
    values = [value.text for value in item.findall("responseDeclaration/correctResponse/value")]
    told = {
        each.get("identifier"): markdown(each)
        for each in item.iter("modalFeedback")
        if each.get("outcomeIdentifier") == "FEEDBACK"
    }
    explained = item.find("modalFeedback[@outcomeIdentifier='EXPLANATION']")
    body = item.find("itemBody")
    cardinality = item.find("responseDeclaration").get("cardinality")
    found = {"question": markdown(body.find("p")), "explanation": markdown(explained)}
    if body.find("choiceInteraction") is None:
        within = [float(value) for value in item.find(".//equal").get("tolerance", "0 0").split()]
        limits = float(values[0]) - within[0], float(values[0]) + within[1]
        return item.get("identifier"), found | {"kind": "numerical", "answer": float(*values), "limits": limits}
    choices = [
        (markdown(each), each.get("identifier") in values, told.get(each.get("identifier"), ""))
        for each in body.iter("simpleChoice")
    ]
    kind = {"single": "multiple_choice", "multiple": "multiple_answers"}[cardinality]
    return item.get("identifier"), found | {"kind": kind, "choices": choices}


def of_moodle(item):
    found = {
        "question": of_html(item.findtext("questiontext/text")),
        "explanation": of_html(item.findtext("generalfeedback/text")),
    }
    answers = item.findall("answer")
    if item.get("type") == "numerical":
        answer, within = float(answers[0].findtext("text")), float(answers[0].findtext("tolerance"))
        found |= {"kind": "numerical", "answer": answer, "limits": (answer - within, answer + within)}
        return item.findtext("idnumber"), found
    kind = "multiple_choice" if item.findtext("single") == "true" else "multiple_answers"
    shares = [float(each.get("fraction")) for each in answers]
    assert sum(share for share in shares if share > 0) == pytest.approx(100, abs=1e-3)
    choices = [
        (of_html(each.findtext("text")), share > 0, of_html(each.findtext("feedback/text")))
        for each, share in zip(answers, shares, strict=True)
    ]
    return item.findtext("idnumber"), found | {"kind": kind, "choices": choices}


def read_back(packages, kind, folder=""):
    """Return every question of the package of all chapters by its id, as the bank would have it."""
    held = files(packages, f"{folder}{kind}/all-chapters{FORMATS[kind]}")
    trees = [parsed(content) for name, content in held.items() if name != "imsmanifest.xml"]
    items = {
        "canvas": lambda tree: map(of_canvas, tree.iter("item")),
        "qti-2.1": lambda tree: map(of_qti, tree.iter("assessmentItem")),
        "moodle": lambda tree: (of_moodle(each) for each in tree.iter("question") if each.get("type") != "category"),
    }
    return dict(itertools.chain.from_iterable(items[kind](tree) for tree in trees))


def in_the_bank(question):
    kinds = {"choice": "multiple_choice", "several": "multiple_answers", "number": "numerical"}
    found = {
        "question": question["question"],
        "explanation": question["explanation"],
        "kind": kinds[question["kind"]],
    }
    if question["kind"] == "number":
        answer, within = question["answer"], question["tolerance"]
        limits = pytest.approx((answer - within, answer + within))
        return found | {"answer": pytest.approx(answer), "limits": limits}
    choices = [
        (choice.get("right", choice.get("wrong")), "right" in choice, choice.get("because", ""))
        for choice in question["choices"]
    ]
    return found | {"choices": choices}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_question_is_read_back_as_it_stands_in_the_bank(packages, kind):
    found = read_back(packages, kind)
    assert set(found) == {question["id"] for question in QUESTIONS}
    for question in QUESTIONS:
        assert found[question["id"]] == in_the_bank(question)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_seed_changes_the_order_of_choices_and_nothing_else(quizzes, read_bank, packages, kind):
    unshuffled = read_back(packages, kind)
    orders = []
    for seed in (7, 8):
        found = read_back(quizzes.packages(read_bank, seed), kind, f"class-{seed}/")
        orders.append([[choice[0] for choice in each.get("choices", [])] for each in found.values()])
        for name, question in found.items():
            assert sorted(question.pop("choices", [])) == sorted(unshuffled[name].get("choices", []))
            assert question == {key: value for key, value in unshuffled[name].items() if key != "choices"}
    as_they_stand = [[choice[0] for choice in each.get("choices", [])] for each in unshuffled.values()]
    changed = sum(one != other for one, other in zip(orders[0], as_they_stand, strict=True))
    assert changed > 25
    assert orders[0] != orders[1]


def test_a_choice_keeps_its_name_when_it_is_shuffled(quizzes, read_bank):
    for quiz in read_bank:
        for question in quiz.questions:
            named = {choice.name: choice.text for choice in question.choices}
            assert {choice.name: choice.text for choice in question.shuffled(7).choices} == named


def test_formulas_reach_platforms_between_the_marks_of_mathjax(packages):
    for kind in FORMATS:
        held = b"".join(files(packages, f"{kind}/all-chapters{FORMATS[kind]}").values()).decode()
        assert held.count(r"\(") == held.count(r"\)") > 20
        assert "$" not in held.replace("$course$", "")
