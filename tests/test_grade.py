"""Grading: every notebook scores what it earned, whatever it, or its neighbour, tries.

The assignment here is a tiny one of its own. `test_assignments.py` grades the course's.
"""

import contextlib
import csv
import html
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup

pytest.importorskip("otter", reason="Otter is not installed.")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))

from teaching import grade, grading, sandbox, sandbox_wire  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Grading needs Linux or macOS.")

SECRET = "the secret of the hidden tests"
TESTS = {
    "q1": f"""
        # {SECRET}
        def test_total(total):
            assert total == 45, "The total is off: is the last number in the sum?"
        """,
    "q2": """
        def test_zeros(centred):
            import numpy as np
            assert not centred(np.zeros((2, 2))).any(), "Nothing centred is nothing."
        ---
        def test_random(centred):
            import numpy as np
            from helpers.checks import compare
            matrix = np.random.default_rng(3).normal(size=(4, 3))
            compare.array(centred(matrix), matrix - matrix.mean(axis=0))
        """,
    "q3": """
        def test_letter(letter):
            if letter != "B":
                raise AssertionError("This choice mixes up rows and columns.")
        """,
}
POINTS = {"q1": 2, "q2": 2, "q3": 1}

SETUP = """
class checks:
    begin = staticmethod(lambda slug, seed: seed)

def check(name, answer):
    assert name in ("q1", "q2", "q3"), f"There is no question {name}."

CLASS_SEED = 5
numbers = checks.begin("tiny", CLASS_SEED)
"""
RIGHT = {
    "q1": 'total = sum(range(10))\ncheck("q1", total)',
    "q2": 'def centred(matrix):\n    return matrix - matrix.mean(axis=0)\ncheck("q2", centred)',
    "q3": 'letter = "B"\ncheck("q3", letter)',
}
BLANK = {
    "q1": 'total = ...\ncheck("q1", total)',
    "q2": 'def centred(matrix):\n    ...\ncheck("q2", centred)',
    "q3": 'letter = ...\ncheck("q3", letter)',
}


def indented(body: str) -> str:
    """Take the indentation of the table above away."""
    return "\n".join(line[8:] for line in body.strip("\n").splitlines())


@pytest.fixture(scope="module")
def assignments(tmp_path_factory) -> Path:
    """Write the editions of the tiny assignment for class 5, and of a second one, as `make assignments` does."""
    folder = tmp_path_factory.mktemp("assignments")
    for slug in ("tiny", "other"):
        tests = folder / "class-5" / slug / "grader" / "tests"
        tests.mkdir(parents=True)
        questions = []
        for name, bodies in TESTS.items():
            cases = [f"@test_case(points=None, hidden=True)\n{indented(body)}" for body in bodies.split("---\n")]
            head = f"from otter.test_files import test_case\n\nname = {name!r}\npoints = {POINTS[name]}\n"
            (tests / f"{name}.py").write_text("\n\n".join([head, *cases]))
            questions.append({"name": name, "title": f"Title of {name}", "points": POINTS[name]})
            questions[-1] |= {"answer_cell": f"{name}-answer", "names": []}
        manifest = {"assignment": slug, "title": "A tiny assignment", "class_seed": 5, "version": "0.1.0"}
        manifest |= {"points": 5, "questions": questions, "files": {}}
        (tests.parents[1] / "manifest.json").write_text(json.dumps(manifest))
    return folder


def notebook(*sources: str, course: dict | None = None, ids: bool = True) -> nbformat.NotebookNode:
    """Return a notebook with a title and the cells; those of answers have the ids that the manifest names."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Assignment")])
    for source in sources:
        cell = nbformat.v4.new_code_cell(source)
        answered = [name for name in RIGHT if source in (RIGHT[name], BLANK[name])]
        if answered and ids:
            cell.id = f"{answered[0]}-answer"
        made.cells.append(cell)
    made.metadata["course"] = {"assignment": "tiny", "class_seed": 5, "version": "0.1.0"} if course is None else course
    return made


def text_of(*sources: str, **options) -> str:
    return nbformat.writes(notebook(*sources, **options))


def whole(*between: str) -> list[str]:
    """Return the cells of a right notebook, with more after the first answer."""
    return [SETUP, RIGHT["q1"], *between, RIGHT["q2"], RIGHT["q3"]]


@pytest.fixture
def graded(assignments):
    """Return a function that grades cells here, and returns the points by question and what became of it."""

    def run(*sources: str, seconds: float = 20, **limits) -> tuple[dict[str, float], grading.Graded]:
        tests = assignments / "class-5" / "tiny" / "grader" / "tests"
        allowed = sandbox.Limits(seconds=seconds, **{"memory": 1.5} | limits)
        result = grading.grade(list(enumerate(sources, start=2)), tests, allowed)
        return {question["name"]: question["points"] for question in result.questions}, result

    return run


ALL = {"q1": 2.0, "q2": 2.0, "q3": 1.0}


def test_right_answers_earn_all_points_and_blanks_none(graded):
    assert graded(*whole())[0] == ALL
    points, result = graded(SETUP, *BLANK.values())
    assert points == {"q1": 0, "q2": 0, "q3": 0}
    assert not result.errors, "a blank notebook runs to its end"


def test_a_failed_test_says_its_sentence_and_nothing_of_its_source(graded):
    points, result = graded(SETUP, "total = 44", RIGHT["q2"], 'letter = "A"')
    assert points == {"q1": 0, "q2": 2, "q3": 0}
    told = {question["name"]: question["messages"] for question in result.questions}
    assert told["q1"] == ["The total is off: is the last number in the sum?"]
    assert told["q3"] == ["This choice mixes up rows and columns."]


def test_each_test_of_a_question_earns_its_share(graded):
    points, result = graded(SETUP, "def centred(matrix):\n    return matrix - matrix.mean(axis=1, keepdims=True)")
    assert points["q2"] == 1
    assert len(result.questions[1]["messages"]) == 1


def test_an_error_in_a_cell_is_told_and_the_next_cells_run(graded):
    points, result = graded(*whole("count = 1\nunheard_of + 1"))
    assert points == ALL
    (error,) = result.errors
    assert (error["cell"], error["line"], error["first_line"]) == (4, 2, "count = 1")
    assert error["text"] == "NameError: name 'unheard_of' is not defined"


@pytest.mark.parametrize(
    "source",
    [
        "%matplotlib inline\n%%no_magic\nx",
        "%pip install something",
        "!ls /",
        "%load_ext tensorboard\nfiles = !ls",
        "exit()",
    ],
)
def test_lines_for_jupyter_alone_stop_nothing(graded, source):
    assert graded(*whole(source))[0] == ALL


def test_input_is_at_its_end(graded):
    points, result = graded(*whole('name = input("Who are you?")'))
    assert points == ALL
    assert result.errors[0]["text"].startswith("EOFError")


def test_a_missing_name_is_told_by_its_name(graded):
    points, result = graded(SETUP, RIGHT["q1"], RIGHT["q2"].replace("centred", "zentriert"), RIGHT["q3"])
    assert points == ALL | {"q2": 0}
    assert "`centred` could not be found" in result.questions[1]["messages"][0]


# what interrupts, kills or starves the process: the cells around it count, whatever it takes
FATAL = {
    "an endless loop": ("while True: pass", "and was interrupted"),
    "a loop that catches": (
        "while True:\n    try:\n        while True: pass\n    except BaseException:\n        pass",
        "and was interrupted",
    ),
    "a loop in C": ("sum(range(10**15))", "could not be interrupted"),
    "blocked signals": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True: pass",
        "could not be interrupted",
    ),
    "a list without end": ("kept = []\nwhile True: kept.append(bytes(2**27))", "MemoryError"),
    "a huge array": ("import numpy as np\nnp.ones(2**33)", "MemoryError"),
    "the exit": ("import os\nos._exit(0)", "ended itself (exit code 0)"),
    "a segmentation fault": ("import ctypes\nctypes.string_at(0)", "crashed (SIGSEGV)"),
    "an abort": ("import os\nos.abort()", "crashed"),
    "forks": ("import os\nwhile True: os.fork()", "PermissionError"),
    "threads": (
        "import threading\nfor _ in range(10**5): threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "can't start new thread",
    ),
    "built-in functions replaced": ("import builtins\nbuiltins.isinstance = lambda *_: True", "broke the process"),
    "noise in all pipes": (
        "import os\nfor pipe in range(3, 60):\n    try: os.write(pipe, b'x' * 4096)\n    except OSError: pass",
        "broke the process",
    ),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_stops_the_process_costs_its_cell_alone(graded, name):
    source, told = FATAL[name]
    if sys.platform != "linux" and name in ("a list without end", "a huge array", "threads"):
        pytest.skip("Only Linux bounds memory and threads.")
    points, result = graded(*whole(source), seconds=4 if "interrupted" in told else 60)
    assert points == ALL
    assert told in " ".join(error["text"] for error in result.errors)


def test_printing_without_end_keeps_a_bounded_text(graded):
    points, result = graded(*whole('while True: print("x" * 10_000)'), seconds=4)
    assert points == ALL
    assert 0 < len(result.output) <= sandbox.Limits().output


@pytest.mark.parametrize(
    "body", ["import os; os._exit(1)", "while True: pass", "raise KeyError('no')", "return object()"]
)
def test_a_function_that_fails_when_called_costs_its_question_alone(graded, body):
    points, _ = graded(SETUP, RIGHT["q1"], f"def centred(matrix):\n    {body}", RIGHT["q3"], seconds=10)
    assert points == ALL | {"q2": 0}


# what would have every comparison succeed, were it made in the student's process
FAKES = {
    "a number equal to everything": "class Yes:\n    __eq__ = lambda *_: True\n    __hash__ = None\ntotal = Yes()",
    "a number that is called an int": "class Liar:\n    __class__ = property(lambda self: int)\n"
    "    __eq__ = lambda *_: True\ntotal = Liar()",
    "an int equal to everything": "class Yes(int):\n    __eq__ = lambda *_: True\ntotal = Yes(3)",
    "comparisons replaced": "import numpy\nnumpy.allclose = numpy.array_equal = lambda *_, **__: True\ntotal = 3",
    "errors replaced": "import builtins\nclass Never(Exception): pass\nbuiltins.AssertionError = Never\ntotal = 3",
    "checks replaced": "from helpers.checks import compare\ncompare.array = lambda *_, **__: None\ntotal = 3",
    "a string": 'total = "45"',
    "a truth value": "total = True",
}


@pytest.mark.parametrize("name", FAKES)
def test_a_faked_success_earns_nothing(graded, name):
    points, _ = graded(SETUP, FAKES[name], 'def centred(matrix):\n    return "right"', RIGHT["q3"])
    assert points == {"q1": 0, "q2": 0, "q3": 1}


def test_no_object_runs_code_at_the_grader(graded, tmp_path):
    marker = tmp_path / "was-here"
    source = f"""
class Trap:
    def __reduce__(self):
        return (open, ({str(marker)!r}, "w"))
    def __array__(self, *_, **__):
        return open({str(marker)!r}, "w")
    def __eq__(self, other):
        open({str(marker)!r}, "w")
        return True
    __call__ = __getattr__ = __eq__
total = Trap()
letter = [Trap()]
"""
    points, _ = graded(SETUP, source, RIGHT["q2"])
    assert points == {"q1": 0, "q2": 2, "q3": 0}
    assert not marker.exists()


def test_changed_numbers_and_seeds_change_no_test(graded):
    assert graded(SETUP, "CLASS_SEED = 1\nnumbers = None", *list(RIGHT.values()))[0] == ALL


def test_hidden_tests_and_neighbours_cannot_be_read(graded, assignments):
    path = assignments / "class-5" / "tiny" / "grader" / "tests" / "q1.py"
    assert SECRET in path.read_text()
    source = f"""
import ctypes, io, os, pathlib, shutil
found, path = [], {str(path)!r}
os.symlink(path, "link") if not os.path.lexists("link") else None
ways = [
    lambda: open(path).read(), lambda: io.FileIO(path).read(), lambda: pathlib.Path(path).read_text(),
    lambda: os.listdir(os.path.dirname(path)), lambda: shutil.copy(path, "copy"), lambda: open("link").read(),
    lambda: os.read(os.open(path, os.O_RDONLY), 9), lambda: os.listdir({str(ROOT / "tests")!r}),
    lambda: open({str(ROOT / "notebooks" / "assignments" / "otter.yml")!r}).read(),
    lambda: open({str(ROOT / "tests" / "test_grade.py")!r}).read(),
]
for way in ways:
    try:
        found.append(way())
    except OSError:
        pass
letter = "C" if found else "B"
"""
    points, result = graded(SETUP, source)
    assert not result.errors
    assert points["q3"] == 1, "something was read"
    assert any("tried what is not allowed: reading" in remark for remark in result.remarks)


def test_code_in_c_cannot_read_them_either(graded, assignments):
    if not sandbox.protection()["Landlock"]:
        pytest.skip("This system has no Landlock.")
    path = assignments / "class-5" / "tiny" / "grader" / "tests" / "q1.py"
    source = f"""
import ctypes
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
own = open("own", "w").close() or library.fopen(b"own", b"r")
paths = [{str(path).encode()!r}, b"/proc/{os.getpid()}/environ", b"/proc/{os.getpid()}/mem"]
letter = "B" if own and not any(library.fopen(path, b"r") for path in paths) else "C"
"""
    points, result = graded(SETUP, source)
    assert not result.errors
    assert points["q3"] == 1


@pytest.mark.parametrize("namespaces", [True, False])
def test_code_in_c_starts_nothing_and_connects_to_nothing(graded, monkeypatch, namespaces):
    if not sandbox.protection()["seccomp"]:
        pytest.skip("This system has no filter of system calls.")
    if not namespaces:
        monkeypatch.setattr(sandbox, "_namespaces", lambda: ())
    # the hook does not know these, which fork and make a socket; a thread must still begin
    source = """
import ctypes, threading
library = ctypes.CDLL(None)
library.if_nameindex.restype = ctypes.c_void_p
threading.Thread(target=len, args=["x"]).start()
refused = [library.daemon(1, 1) == -1, library.forkpty(0, 0, 0, 0) == -1, library.if_nameindex() is None]
letter = "B" if all(refused) else "C"
"""
    points, result = graded(SETUP, source)
    assert not result.errors
    assert points["q3"] == 1


def test_nothing_is_written_outside_of_the_working_folder(graded, tmp_path):
    target = tmp_path / "left-behind"
    source = f"""
import os, pathlib
open("inside", "w").write("allowed")
target = {str(target)!r}
for way in (lambda: open(target, "w"), lambda: os.mkdir(target), lambda: os.rename("inside", target),
            lambda: os.symlink("inside", target), lambda: os.remove({str(__file__)!r})):
    try:
        way()
    except OSError:
        pass
letter = open("inside").read()[0].replace("a", "B")
"""
    assert graded(SETUP, source)[0]["q3"] == 1
    assert not target.exists()
    assert Path(__file__).exists()


def test_the_network_is_out_of_reach(graded):
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        points, result = graded(
            *whole(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1).send(b'hello')")
        )
        with contextlib.suppress(TimeoutError):
            heard.append(server.accept())
    assert not heard
    assert points == ALL
    assert "using the network" in " ".join(result.remarks)


def test_the_environment_of_the_instructor_stays_here(graded, monkeypatch):
    monkeypatch.setenv("LMS_TOKEN", "s3cret")
    source = f"""
import contextlib, os
seen = [*os.environ, *os.environ.values()]
with contextlib.suppress(OSError):
    seen.append("LMS_TOKEN" if open("/proc/{os.getpid()}/environ").read() else "")
letter = "C" if "LMS_TOKEN" in seen or "s3cret" in seen or os.path.exists(os.path.expanduser("~/.ssh")) else "B"
"""
    points, result = graded(SETUP, source)
    assert not result.errors
    assert points["q3"] == 1


def test_nothing_is_left_behind(graded, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert graded(*whole("open('file', 'w').write('x')", "import os; os._exit(1)"))[0] == ALL
    assert not list(tmp_path.iterdir())
    processes = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in processes


def test_a_model_arrives_with_its_weights_and_calls_no_code_of_its_own():
    source = """
import keras
import numpy as np
from keras import layers, ops
given = keras.Input((8, 8, 1))
hidden = layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(given)
hidden = layers.BatchNormalization()(hidden)
hidden = layers.Dropout(0.2)(hidden)
model = keras.Model(given, layers.Dense(2)(ops.mean(hidden, axis=(1, 2))))
images = np.random.default_rng(0).random((3, 8, 8, 1)).astype("float32")
outputs = model.predict(images, verbose=0)
called_by_name = keras.Sequential([given, layers.Lambda(lambda image: image)])

class Own(layers.Layer):
    def call(self, image):
        return image

own = keras.Sequential([given, Own()])
loss = lambda wanted, found: ops.mean((wanted - found) ** 2)
predict = lambda network, images: network(images)
"""
    with sandbox.Sandbox(sandbox.Limits(seconds=120, memory=4)) as box:
        assert box.run(source).error is None
        model, images, outputs = (box.fetch(name) for name in ("model", "images", "outputs"))
        np.testing.assert_allclose(model.predict(images, verbose=0), outputs, rtol=1e-5, atol=1e-6)
        assert box.fetch("loss")(images, images + 2) == pytest.approx(4, rel=1e-5)
        np.testing.assert_allclose(box.fetch("predict")(model, images), outputs, rtol=1e-5, atol=1e-6)
        for name in ("called_by_name", "own"):
            with pytest.raises(sandbox_wire.Unsuitable, match="use Keras' own layers"):
                box.fetch(name)


@pytest.mark.parametrize(
    "part",
    [
        {"module": "builtins", "class_name": "function", "config": "eval"},
        {"module": "keras.utils", "class_name": "function", "config": "get_file"},
        {"module": "os", "class_name": "system", "config": {}},
        {"module": "keras.layers", "class_name": "Lambda", "config": {}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "saved"}},
        {"module": "keras.saving", "class_name": "load_model", "config": {"filepath": "saved"}},
        {"class_name": "__lambda__", "config": {"value": "x"}},
        {"class_name": "__typespec__", "config": ["x"], "module": "os", "registered_name": None},
        {"module": "keras.layers", "class_name": ["Dense"], "config": {}},
    ],
    ids=lambda part: f"{part.get('module')}.{part['class_name']}",
)
def test_a_configuration_may_name_layers_only(part):
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2, "activation": part}}
    model = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [layer]}}
    with pytest.raises(sandbox_wire.Unsuitable, match=r"cannot be graded|uses the function"):
        sandbox_wire.Decoder([], None).decode({"is": "model", "config": model, "weights": []})


@pytest.mark.parametrize(
    "node",
    [
        {},
        [],
        None,
        {"is": "pickle", "value": "x"},
        {"is": "array", "dtype": "|O8", "shape": [1], "blob": 0},
        {"is": "array", "dtype": "<f8", "shape": [10**12], "blob": 0},
        {"is": "array", "dtype": "<f8", "shape": [-1], "blob": 0},
        {"is": "array", "dtype": "<f8", "shape": [1], "blob": 7},
        {"is": "array", "dtype": "<U2", "shape": [1], "blob": 1},
        {"is": "int", "value": "ten"},
        {"is": "float", "value": "x"},
        {"is": "dict", "pairs": [[{"is": "list", "items": []}, {"is": "none"}]]},
        {"is": "function"},
    ],
)
def test_a_forged_value_is_refused(node):
    with pytest.raises(sandbox_wire.Broken):
        sandbox_wire.Decoder([b"\0" * 8, b"\xff" * 8], lambda *_: None).decode(node)


VALUES = [
    *(
        None,
        ...,
        True,
        False,
        0,
        -(10**30),
        1.5,
        float("inf"),
        1j,
        "ä\n",
        [],
        (1, [2.0, "x"]),
        {"loss": [1.0], (1, 2): None},
    ),
    *(
        np.float32(0.1),
        np.arange(6).reshape(2, 3),
        np.array(["a", "bc"]),
        np.array([True, False]),
        np.zeros((0, 3), "float16"),
    ),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_arrives_as_it_was(value):
    encoder = sandbox_wire.Encoder(None)
    node = json.loads(json.dumps(encoder.encode(value)))
    back = sandbox_wire.Decoder(encoder.blobs, None).decode(node)
    assert type(back) is type(value)
    if isinstance(value, np.ndarray | np.generic):
        np.testing.assert_array_equal(back, value)
        assert back.dtype == value.dtype
    else:
        assert back == value


# a folder as it comes, graded by the command

BAD = {
    "picture.pdf": (b"%PDF-1.7 ...", "it is a PDF, not a notebook"),
    "all.zip": (b"PK\x03\x04...", "it is a zip archive, not a notebook"),
    "noise.ipynb": (bytes(range(128, 256)) * 9, "neither UTF-8 nor UTF-16"),
    "empty.ipynb": (b"", "the file is empty"),
    "cut.ipynb": (b'{"nbformat": 4, "cells": [', "not a notebook, or was cut off"),
    "deep.ipynb": (b"[" * 100_000, "not a notebook, or was cut off"),
    "list.ipynb": (b"[1, 2]", "it is not a notebook"),
    "old.ipynb": (b'{"nbformat": 3, "worksheets": []}', "another format than 4"),
    "damaged.ipynb": (b'{"nbformat": 4, "cells": [1, {"source": 3}]}', "its cells are damaged"),
    "chapter.ipynb": (b'{"nbformat": 4, "cells": []}', "it is no assignment of this course"),
    "stranger.ipynb": (text_of(course={"assignment": "few-labels", "class_seed": 5}), "the assignment 'few-labels'"),
    "last-year.ipynb": (
        text_of(course={"assignment": "tiny", "class_seed": 4}),
        "it is of class seed 4, and class seed 5",
    ),
    "latin.ipynb": (text_of(*whole("# é")).replace("\\u00e9", "é").encode("latin-1"), "neither UTF-8 nor UTF-16"),
}
ODD = "<b>&'\" ü\n.ipynb"
GOOD = {
    "ada.ipynb": (text_of(*whole()), 5),
    "sub/ada.ipynb": (text_of(SETUP, RIGHT["q1"]), 2),
    "sub/ADA.ipynb": (text_of(SETUP, RIGHT["q3"]), 1),
    "bom.ipynb": (b"\xef\xbb\xbf" + text_of(*whole()).encode(), 5),
    "sixteen.ipynb": (text_of(*whole()).encode("utf-16"), 5),
    "no-metadata.ipynb": (text_of(*whole(), course={}), 5),
    "changed-seed.ipynb": (text_of(SETUP.replace("= 5", "= 4"), *RIGHT.values()), 5),
    "elsewhere/other.ipynb": (text_of(*whole(), course={"assignment": "other", "class_seed": 5}), 5),
    "no-q2.ipynb": (text_of(SETUP, RIGHT["q1"], RIGHT["q3"]), 3),
    "unknown.ipynb": (text_of(*whole('check("q9", total)')), 5),
    "crash.ipynb": (text_of(*whole("import os; os._exit(1)")), 5),
    "hang.ipynb": (text_of(*whole("sum(range(10**15))")), 5),
    "=1+1.ipynb": (text_of(*whole('raise ValueError("<script>alert(1)</script>")')), 5),
    ODD: (text_of(*whole()), 5),
    "Bell, Ann_17_assignsubmission_file/tiny.ipynb": (text_of(*whole()), 5),
}


def executed_elsewhere() -> str:
    """Return a notebook with wrong answers, and outputs that claim the opposite."""
    made = notebook(SETUP, "total = 1")
    made.cells[-1].outputs = [nbformat.v4.new_output("stream", text="q1: 2 of 2 points")]
    return nbformat.writes(made)


@pytest.fixture(scope="module")
def report(assignments, tmp_path_factory):
    """Grade a folder with everything in it by the command, and return what it printed, and where the reports are."""
    folder, out = tmp_path_factory.mktemp("submissions"), tmp_path_factory.mktemp("grades")
    for name, (content, _) in (BAD | GOOD).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "executed.ipynb").write_text(executed_elsewhere())
    with (folder / "large.ipynb").open("wb") as stream:
        stream.truncate(100 * 2**20)
    (folder / "link.ipynb").symlink_to(assignments / "class-5" / "tiny" / "manifest.json")
    (folder / "away").symlink_to(assignments)
    os.mkfifo(folder / "pipe.ipynb")
    (folder / ".DS_Store").write_bytes(b"x")
    command = [
        sys.executable,
        "-m",
        "teaching.grade",
        str(folder),
        "--class-seed",
        "5",
        "--jobs",
        "2",
        "--seconds",
        "3",
    ]
    command += ["--memory", "2", "--assignments", str(assignments), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "book")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout, out / "class-5"


def rows(path: Path) -> dict[str, dict]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        return {next(iter(row.values())): row for row in csv.DictReader(stream)}


CALLED = {
    "sub/ada.ipynb": "sub/ada",
    "sub/ADA.ipynb": "sub/ADA",
    "=1+1.ipynb": "'=1+1",
    ODD: "<b>&'\" ü\N{REPLACEMENT CHARACTER}",
    "Bell, Ann_17_assignsubmission_file/tiny.ipynb": "Bell, Ann_17_assignsubmission_file",
    "elsewhere/other.ipynb": "elsewhere",
}


@pytest.mark.parametrize("name", GOOD)
def test_every_notebook_of_a_mixed_folder_gets_its_points(report, name):
    slug = "other" if name == "elsewhere/other.ipynb" else "tiny"
    student = CALLED.get(name, Path(name).stem)
    assert float(rows(report[1] / f"{slug}.csv")[student]["points"]) == GOOD[name][1]


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_graded_gets_one_line(report, name):
    printed, out = report
    why = rows(out / "not-graded.csv")[name]["why"]
    assert BAD[name][1] in why
    assert [line for line in printed.splitlines() if line.startswith("not graded") and name in line] == [
        f"not graded: {name}: {why}"
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("large.ipynb", "it has 100 MB, and 50 MB is the limit"),
        ("link.ipynb", "it is a link"),
        ("away", "it is a link"),
        ("pipe.ipynb", "it is no ordinary file"),
    ],
)
def test_what_is_no_plain_file_is_not_opened(report, name, told):
    assert told in rows(report[1] / "not-graded.csv")[name]["why"]


def test_hidden_files_are_passed_over(report):
    assert ".DS_Store" not in report[0]


def test_outputs_that_came_with_a_notebook_count_nothing(report):
    row = rows(report[1] / "tiny.csv")["executed"]
    assert (row["points"], row["of"], row["q1"]) == ("0", "5", "0")


@pytest.mark.parametrize(
    ("student", "told"),
    [
        ("ada", "Several files have this student's name (ada.ipynb, sub/ADA.ipynb, sub/ada.ipynb)"),
        ("sub/ADA", "Several files have this student's name"),
        ("no-q2", "The answer cell of q2 could not be found"),
        ("unknown", 'check("q9", ...) names no question; there are q1, q2, q3.'),
        ("changed-seed", "The set-up cell was changed to checks.begin('tiny', 4)"),
        ("crash", "The process ended itself (exit code 1)"),
        ("hang", "could not be interrupted"),
    ],
)
def test_the_table_says_what_an_instructor_should_know(report, student, told):
    assert told in rows(report[1] / "tiny.csv")[student]["remarks"]


def test_a_wrong_class_seed_still_stands_in_the_table(report):
    row = rows(report[1] / "tiny.csv")["last-year"]
    assert row["points"] == ""
    assert "not graded: it is of class seed 4" in row["remarks"]


def test_each_graded_notebook_has_one_page_that_runs_nothing(report):
    _, out = report
    pages = list((out / "feedback" / "tiny").iterdir())
    graded_here = [row for row in rows(out / "tiny.csv").values() if row["points"]]
    assert len({page.name.casefold() for page in pages}) == len(pages) == len(graded_here)
    for page in pages:
        assert page.name.replace(".html", "").replace("-", "").replace("_", "").isalnum()
        found = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        assert not found.find_all(["script", "b", "img", "link"])
        assert found.html["lang"] == "en"
        assert found.find("meta", attrs={"name": "viewport"})
        assert len(found.find_all("h1")) == 1


def test_a_page_holds_points_sentences_and_errors_but_no_test(report):
    page = (report[1] / "feedback" / "tiny" / "no-q2.html").read_text(encoding="utf-8")
    text = html.unescape(page)
    assert "3 of 5 points" in text
    assert "Title of q2" in text
    assert "centred could not be found" in BeautifulSoup(page, "html.parser").get_text()
    assert SECRET not in text
    assert "assert" not in text
    hostile = (report[1] / "feedback" / "tiny" / "1-1.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in hostile


def test_the_summary_counts_each_notebook_once(report):
    printed, out = report
    points = [float(row["points"]) for row in rows(out / "tiny.csv").values() if row["points"]]
    assert f"tiny: {len(points)} notebooks, mean {np.mean(points):.1f} of 5 points" in printed
    tiny = printed.split("\ntiny: ")[1]
    bars = [line.count("#") for line in tiny.splitlines()[1:6]]
    assert sum(bars) == len(points)
    assert bars == np.histogram(points, bins=5, range=(0, 5))[0].tolist()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: folder.mkdir(), "is empty"),
        (lambda folder: folder.write_text("x"), "is a file"),
    ],
)
def test_a_folder_without_notebooks_is_told_in_one_line(assignments, tmp_path, capsys, make, told):
    make(tmp_path / "given")
    assert grade.main([str(tmp_path / "given"), "--class-seed", "5", "--assignments", str(assignments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_editions_that_are_not_built_are_asked_for(assignments, tmp_path, capsys):
    assert grade.main([str(tmp_path), "--class-seed", "8", "--assignments", str(assignments)]) == 2
    assert "run `make assignments CLASS_SEED=8` first" in capsys.readouterr().err


def test_a_failure_of_the_grader_itself_is_told_and_the_rest_is_graded(assignments, tmp_path, capsys):
    broken = tmp_path / "assignments"
    shutil.copytree(assignments, broken)
    (broken / "class-5" / "other" / "grader" / "tests" / "q1.py").write_text("this is no Python")
    (tmp_path / "given").mkdir()
    course = {"assignment": "other", "class_seed": 5}
    (tmp_path / "given" / "bob.ipynb").write_text(text_of(*whole(), course=course))
    (tmp_path / "given" / "eve.ipynb").write_text(text_of(*whole()))
    places = ["--assignments", str(broken), "--out", str(tmp_path / "out")]
    assert grade.main([str(tmp_path / "given"), "--class-seed", "5", *places]) == 0
    printed = capsys.readouterr().out
    assert "bob (other): not graded: the grader itself failed: SyntaxError" in printed
    assert "eve (tiny): 5 of 5 points" in printed


def test_a_class_seed_in_other_digits_is_no_end_of_the_run():
    for said in ("²", "①", "٣"):  # of which only the last is a number to Python
        assert grade._seed("", said) == (3 if said == "٣" else said)


def test_names_of_any_script_and_length_become_names_of_files():
    taken = set()
    names = [grade.file_name("山" * 300, taken) for _ in range(3)]
    assert len(set(names)) == 3
    assert all(len(f"{name}.html".encode()) < 200 for name in names)


def test_a_place_that_takes_no_reports_is_told_before_anything_is_graded(assignments, tmp_path, capsys):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "eve.ipynb").write_text(text_of(*whole()))
    (tmp_path / "out").write_text("a file")
    places = ["--assignments", str(assignments), "--out", str(tmp_path / "out")]
    assert grade.main([str(tmp_path / "given"), "--class-seed", "5", *places]) == 2
    assert "The reports cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "told"), [(-35, "crashed (signal 35)"), (-11, "crashed (SIGSEGV)")])
def test_a_process_that_a_signal_without_a_name_ended_is_told_like_any_other(code, told):
    ended = SimpleNamespace(process=SimpleNamespace(wait=lambda timeout: code), close=lambda: None)
    assert told in str(sandbox.Sandbox._death(ended, 1))


def test_one_assignment_can_be_graded_alone(assignments, tmp_path, capsys):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "eve.ipynb").write_text(text_of(*whole()))
    places = ["--assignments", str(assignments), "--out", str(tmp_path / "out"), "--assignment", "other"]
    assert grade.main([str(tmp_path / "given"), "--class-seed", "5", *places]) == 0
    assert "it is of the assignment tiny, and only other is graded." in capsys.readouterr().out
    assert not (tmp_path / "out" / "class-5" / "tiny.csv").exists(), "an earlier table would be lost"


def test_an_interrupted_run_keeps_what_was_graded(assignments, tmp_path, monkeypatch):
    for name in ("ann", "ben"):
        (tmp_path / "given").mkdir(exist_ok=True)
        (tmp_path / "given" / f"{name}.ipynb").write_text(text_of(*whole()))
    earlier = grade.grade_one

    def interrupted(submission, job):
        if submission.student == "ben":
            raise KeyboardInterrupt
        earlier(submission, job)

    monkeypatch.setattr(grade, "grade_one", interrupted)
    places = ["--assignments", str(assignments), "--out", str(tmp_path / "out")]
    assert grade.main([str(tmp_path / "given"), "--class-seed", "5", *places]) == 130
    table = rows(tmp_path / "out" / "class-5" / "tiny.csv")
    assert (table["ann"]["points"], table["ben"]["points"]) == ("5", "")
    assert "interrupted" in table["ben"]["remarks"]


def test_the_values_of_a_comparison_of_several_lines_are_not_told(assignments, tmp_path):
    test = "from otter.test_files import test_case\n\nname = 'q1'\npoints = 1\n\n@test_case(hidden=True)\n"
    test += "def test_array(total):\n    import numpy as np\n    np.testing.assert_array_equal(total, 4711)\n"
    (tmp_path / "q1.py").write_text(test)
    result = grading.grade([(1, "total = 3")], tmp_path, sandbox.Limits(seconds=20, memory=1.5))
    assert result.questions[0]["messages"] == ["A test of this question failed."]


BORROWED = "from helpers.checks import few_labels as references"


@pytest.mark.parametrize(
    ("given", "line", "remarks"),
    [
        (["from helpers.checks import check"], BORROWED, [BORROWED]),
        (["from helpers.checks import check", BORROWED], BORROWED, []),
        (["from helpers.checks import check"], "print('nothing borrowed')", []),
        (None, BORROWED, []),
    ],
    ids=["borrowed", "handed out so", "not borrowed", "without a student edition"],
)
def test_a_notebook_that_uses_more_of_the_checks_than_was_handed_out_is_named(given, line, remarks, tmp_path):
    folder = tmp_path / "tiny"
    if given is not None:
        (folder / "student").mkdir(parents=True)
        (folder / "student" / "tiny.ipynb").write_text(nbformat.writes(notebook("\n".join(given))))
    manifest = {"questions": []} | grade._given(folder)
    submission = grade.Submission(Path("ada.ipynb"), "ada")
    source = f"from helpers.checks import check\n{line}"
    grade._look_for_questions(submission, json.loads(nbformat.writes(notebook(source))), manifest, source)
    assert [remark.split(": ", 1)[1] for remark in submission.remarks] == remarks


def test_a_page_of_an_earlier_run_does_not_stay(tmp_path):
    earlier = [tmp_path / "feedback" / "tiny" / name for name in ("bea.html", "ada.html")]
    earlier[0].parent.mkdir(parents=True)
    for page in earlier:
        page.write_text("10 of 10 points")
    refused = grade.Submission(Path("ada.ipynb"), "ada", "tiny", refusal="it is a PDF.")
    grade.write_reports([refused], {"tiny": {"title": "Tiny", "points": 5, "questions": []}}, tmp_path)
    assert not any(page.exists() for page in earlier)
    assert (tmp_path / "tiny.csv").read_bytes().startswith(b"\xef\xbb\xbf")
