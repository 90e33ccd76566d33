"""The offline kit: whole, the same twice, installed and used with the network off; and what stands in its way."""

import ast
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed: `pip install uv`."),
    pytest.mark.timeout(1500),  # the wheels may come slowly, the first time
]


@pytest.fixture(scope="module")
def teaching():
    """The modules `kit` and `install` of the tools for instructors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "book"))
        yield importlib.import_module("teaching.kit")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small repository: the course's package, two chapters, a site of one page, an assignment of class 3."""
    root = tmp_path_factory.mktemp("repository")
    for name in ("pyproject.toml", "uv.lock", "README.md", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / name, root)
    for name in ("helpers", "data"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("notebooks/measuring-features.ipynb", "notebooks/few-labels.ipynb"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    made = root / "dist" / "assignments" / "class-3" / "one"
    for path in (made / "student" / "one.ipynb", made / "solution" / "one.ipynb", made / "grader" / "tests" / "q1.py"):
        path.parent.mkdir(parents=True)
        path.write_text(f'"{path.parent.name}"')
    (root / "_build" / "html").mkdir(parents=True)
    (root / "_build" / "html" / "index.html").write_text("<title>The book</title>")
    return root


def run(teaching, root, out, *options):
    """Run the command as `make offline-kit` does, with two small packages."""
    teaching.main(["--out", str(out), "--packages", "tqdm", "pyyaml", *options], root)
    return out


@pytest.fixture(scope="module")
def built(teaching, root, tmp_path_factory):
    return run(teaching, root, tmp_path_factory.mktemp("built") / "kit", "--class-seed", "3")


@pytest.fixture
def kit(built, tmp_path):
    """A kit that a test may damage, in a folder whose name is not a plain one."""
    return shutil.copytree(built, tmp_path / "a kit (copy)")


def check(kit):
    """Return the status and the lines of the kit's own check, in a Python that knows nothing of the course."""
    command = [sys.executable, "-I", str(kit / "install.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def names(kit):
    return sorted(path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file())


class _Free:
    """What `shutil.disk_usage` returns."""

    def __init__(self, free):
        self.free = free


# What the folder holds


def test_the_kit_holds_notebooks_site_data_and_student_editions_but_no_solutions(built):
    held = names(built)
    notebooks = [name for name in held if name.endswith(".ipynb")]
    chapters = ["notebooks/few-labels.ipynb", "notebooks/measuring-features.ipynb"]
    assert notebooks == ["notebooks/assignments/one.ipynb", *chapters]
    assert (built / "notebooks/assignments/one.ipynb").read_text() == '"student"'
    assert {"site/index.html", "data/README.md", "data/weights/README.md", "LICENSE"} <= {*held}
    assert not [name for name in held if "q1" in name or "solution" in name]


def test_every_wheel_has_the_version_and_the_digest_of_the_lock(built):
    locked = (ROOT / "uv.lock").read_text(encoding="utf-8")
    wheels = [path for path in (built / "wheels").iterdir() if re.match("tqdm|pyyaml", path.name, re.IGNORECASE)]
    assert len(wheels) == 2
    for wheel in wheels:
        assert f"/{wheel.name}" in locked
        assert f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" in locked


def test_the_digests_are_those_that_sha256sum_computes(built):
    tool = shutil.which("sha256sum") or pytest.skip("There is no sha256sum.")
    done = subprocess.run([tool, "--check", "--strict", "SHA256SUMS"], cwd=built, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == len(names(built)) - 1  # all but the list itself


def test_versions_names_course_python_and_platform(teaching, built):
    told = teaching.install.versions(built)
    assert told["course"] == "features-without-labels 0.1.0"
    assert told["python"] == "{}.{}".format(*sys.version_info)
    assert told["platform"] == teaching.install.this_platform()
    assert told["commit"] == "unknown"  # the small repository is none of git's


def test_the_archive_has_the_same_bytes_whenever_the_files_are_the_same(teaching, built, tmp_path):
    packed = []
    for place in ("one", "two"):
        again = shutil.copytree(built, tmp_path / place / "kit", copy_function=shutil.copyfile)
        os.utime(again / "VERSIONS", (0, 10**9 * len(place)))
        packed.append(teaching.archive(again))
    assert packed[0].read_bytes() == packed[1].read_bytes()
    with zipfile.ZipFile(packed[0]) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert check(tmp_path / "unpacked" / "kit")[0] == 0


def test_a_kit_for_other_machines_has_their_wheels_and_what_only_they_need(teaching, root, tmp_path):
    out = run(teaching, root, tmp_path / "kit", "--platform", "win_amd64", "--python", "3.13")
    wheels = [path.name.lower() for path in (out / "wheels").iterdir()]
    assert [name for name in wheels if re.fullmatch(r"pyyaml-.*-cp313-cp313-win_amd64\.whl", name)]
    assert [name for name in wheels if name.startswith("colorama-")]  # which tqdm asks for on Windows alone
    assert "py -3.13 install.py" in (out / "README.txt").read_text()
    command = [sys.executable, str(out / "install.py"), str(tmp_path / "course")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert done.stderr.startswith("This kit is for Python 3.13 on win_amd64, but this is Python ")
    assert not (tmp_path / "course").exists()


# The check


def test_the_check_passes_over_what_systems_leave_behind(kit):
    (kit / "notebooks" / ".DS_Store").write_text("")
    status, lines = check(kit)
    assert status == 0
    assert lines == [f"All {len(names(kit)) - 2} files of the kit are as they were when it was made."]


def test_the_check_names_each_missing_damaged_and_extra_file_in_one_line(kit):
    (kit / "site" / "index.html").unlink()
    with (kit / "data" / "README.md").open("ab") as stream:
        stream.write(b" ")
    (kit / "wheels" / "other.whl").write_text("")
    status, lines = check(kit)
    assert status == 1
    assert [line.split(" is ")[0] for line in lines] == ["data/README.md", "site/index.html", "wheels/other.whl"]
    assert [line.split(" is ")[1].split()[0] for line in lines] == ["damaged:", "missing.", "extra:"]


@pytest.mark.parametrize("line", ["no digest", "0" * 64 + "  ../../outside", "0" * 64 + "  /outside"])
def test_a_damaged_list_is_named_with_its_line(kit, line):
    (kit / "SHA256SUMS").write_text(line + "\n")
    done = subprocess.run([sys.executable, str(kit / "install.py")], capture_output=True, text=True, check=False)
    assert done.returncode
    assert done.stderr.startswith("Line 1 of ")


def test_a_damaged_kit_is_not_installed(kit, tmp_path):
    (kit / "site" / "index.html").write_text("cut")
    command = [sys.executable, str(kit / "install.py"), str(tmp_path / "course")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "site/index.html is damaged" in done.stderr
    assert not (tmp_path / "course").exists()


def test_a_disk_without_room_is_refused_before_anything_is_installed(teaching, kit, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: _Free(1_000_000))
    with pytest.raises(SystemExit, match=r"The course needs 0\.0 GB, but .* has 0\.0 GB free"):
        teaching.install.install(kit, tmp_path / "course")
    assert not (tmp_path / "course").exists()


def test_the_installer_can_be_read_by_any_python_3_so_that_it_can_name_the_right_one(teaching):
    source = Path(teaching.install.__file__).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))


# Installed with the network off


def test_a_folder_that_cannot_be_written_to_is_named(teaching, kit, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"file.course cannot be used .*: give another folder"):
        teaching.install.main([str(tmp_path / "file" / "course")], kit)


@pytest.mark.skipif(os.name == "nt", reason="start.bat stands in its place.")
def test_the_start_keeps_everything_in_the_folder_of_the_course(teaching, tmp_path):
    course = tmp_path / "my course"
    python = course / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nenv\necho "$@"\n')
    python.chmod(0o755)
    start = teaching.install.write_start(course)
    told = subprocess.run([start, "--port=1"], cwd="/", check=True, text=True, stdout=subprocess.PIPE).stdout
    variables = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    assert variables["COURSE_WEIGHTS"] == str(course / "data" / "weights")
    assert variables["COURSE_DATA"] == str(course / "data")
    assert Path(variables["COURSE_RESULTS"]).parent == Path(variables["KERAS_HOME"]).parent == course
    assert told.splitlines()[-1].startswith("-m jupyterlab --notebook-dir=notebooks ")
    assert told.splitlines()[-1].endswith(" --port=1")


def test_a_second_installation_keeps_the_notebooks_that_were_changed(teaching, kit, tmp_path, capfd):
    prefix, proxies = teaching.without_network()
    course = tmp_path / "course"
    command = [*prefix, sys.executable, str(kit / "install.py"), str(course)]
    for _ in range(2):
        subprocess.run(command, env=os.environ | proxies, check=True, stdout=subprocess.DEVNULL)
        (course / "notebooks" / "few-labels.ipynb").write_text("mine")
        (course / "site" / "index.html").write_text("broken")
    last = subprocess.run(command, env=os.environ | proxies, check=True, text=True, stdout=subprocess.PIPE).stdout
    assert (course / "notebooks" / "few-labels.ipynb").read_text() == "mine"
    assert "Kept your notebooks/few-labels.ipynb" in last.replace(os.sep, "/")
    assert (course / "site" / "index.html").read_text() == (kit / "site" / "index.html").read_text()
    assert not (course / "wheels").exists()


def test_a_newer_kit_replaces_the_notebooks_that_nobody_changed(teaching, tmp_path):
    kit, course = tmp_path / "kit", tmp_path / "course"
    (kit / "notebooks").mkdir(parents=True)
    for version in ("1", "2"):
        for name in ("left-alone", "changed"):
            (kit / "notebooks" / f"{name}.ipynb").write_text(version)
        (kit / "SHA256SUMS").unlink(missing_ok=True)
        teaching._write_sums(kit)
        kept = teaching.install.copy_course(kit, course)
        if version == "1":
            (course / "notebooks" / "changed.ipynb").write_text("mine")
    assert kept == [Path("notebooks/changed.ipynb")]
    assert (course / "notebooks" / "left-alone.ipynb").read_text() == "2"
    assert (course / "notebooks" / "changed.ipynb").read_text() == "mine"


# What stands in the way of a build


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--platform", "manylinux"], "Unknown platform 'manylinux': did you mean 'linux_x86_64'?"),
        (["--python", "3.14"], "The course runs on Python >=3.11,<3.14, not on 3.14"),
        (["--python", "three"], "The course runs on Python >=3.11,<3.14, not on three"),
        (["--weights", "nowhere"], "There is no folder nowhere"),
        (["--verify", "nowhere"], "There is no kit in"),
        (["--platform", "macosx_x86_64", "--packages", "numba"], "There is no wheel of numba "),
    ],
)
def test_bad_input_is_refused_in_one_sentence(teaching, root, tmp_path, options, sentence):
    with pytest.raises(SystemExit) as refusal:
        run(teaching, root, tmp_path / "kit", *options)
    assert str(refusal.value).startswith(sentence)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "kit").exists()


def test_without_a_network_one_sentence_says_what_is_kept(teaching, root, built, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    before = {path: path.read_bytes() for path in (root / "dist" / "wheels").glob("*.whl")}
    with pytest.raises(SystemExit, match=r"^The package index cannot be reached: connect and run again; the \d+ "):
        run(teaching, root, tmp_path / "kit")
    assert before
    assert {path: path.read_bytes() for path in (root / "dist" / "wheels").glob("*.whl")} == before


def test_a_full_disk_is_told_before_anything_is_fetched(teaching, root, built, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: _Free(1000))
    monkeypatch.setattr(teaching, "fetch", None)
    with pytest.raises(SystemExit, match=r"The kit needs \d+ MB in .*, but only 0 MB are free there"):
        run(teaching, root, tmp_path / "kit")


def test_what_has_come_is_measured_while_pip_clears_its_folders(teaching, tmp_path, monkeypatch):
    folder = tmp_path / "incoming"
    (folder / "pip-unpack" / "inner").mkdir(parents=True)
    (folder / "one.whl").write_bytes(bytes(5))
    (folder / "pip-unpack" / "two.whl").write_bytes(bytes(7))
    assert teaching._size(folder) == 12
    listed = os.scandir

    def cleared(path):
        if Path(path).name == "pip-unpack":
            os.rename(path, tmp_path / "gone")
        return listed(path)

    monkeypatch.setattr(os, "scandir", cleared)
    assert teaching._size(folder) == 5


def test_wheels_that_are_whole_are_not_fetched_again_and_a_cut_one_is(teaching, root, built, monkeypatch):
    kit = teaching.Kit(root=root, packages=("tqdm", "pyyaml"))
    wheels = teaching.choose_wheels(kit)
    assert teaching.missing_wheels(kit, wheels) == []
    cut = kit.store / wheels[0].file
    whole = cut.read_bytes()
    cut.unlink()  # not written to: the kit of the other tests shares the file
    cut.write_bytes(whole[:1000])
    assert teaching.missing_wheels(kit, wheels) == wheels[:1]
    teaching.fetch(kit, wheels)
    assert cut.read_bytes() == whole
    assert not list(kit.store.glob(".*"))


def test_a_folder_that_holds_anything_else_is_left_alone(teaching, root, kit, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    (kit / "notebooks" / "mine.ipynb").write_text("an evening")
    for folder, name in ((mine, "thesis.txt"), (kit, "notebooks/mine.ipynb")):
        with pytest.raises(SystemExit, match=f"holds {name}, which is no part of a kit"):
            run(teaching, root, folder)
        assert (folder / name).exists()


def test_an_interrupted_build_leaves_the_earlier_kit_whole(teaching, root, kit, monkeypatch):
    def interrupt(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(teaching, "_write_sums", interrupt)
    with pytest.raises(SystemExit, match=r"^Interrupted: the wheels in .* are kept"):
        run(teaching, root, kit)
    assert check(kit)[0] == 0
    assert [path.name for path in kit.parent.iterdir()] == [kit.name]


def test_a_second_build_replaces_the_kit(teaching, root, kit):
    assert (kit / "notebooks" / "assignments").exists()
    run(teaching, root, kit)  # class 0 was not built
    assert not (kit / "notebooks" / "assignments").exists()
    assert check(kit)[0] == 0
    assert [path.name for path in kit.parent.iterdir()] == [kit.name]


# Weights


@pytest.fixture
def weights(teaching, tmp_path, monkeypatch):
    """A folder with one good file."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "network.h5").write_bytes(b"numbers")
    known = {"network.h5": hashlib.md5(b"numbers").hexdigest(), "another.h5": "0" * 32}
    monkeypatch.setattr(teaching, "published", lambda: known)
    return folder


def own_weights(folder, shard):
    """Write weights of our own whose manifest is right, with the given bytes in their only shard."""
    (folder / "resnet50").mkdir()
    (folder / "resnet50" / "shard-00.npz").write_bytes(shard)
    sums = {"shard-00.npz": hashlib.sha256(b"shard").hexdigest()}
    manifest = {"format": "features-without-labels weights 1", "architecture": "resnet50", "about": {}}
    (folder / "resnet50" / "manifest.json").write_text(json.dumps(manifest | {"shards": sums, "variables": []}))


def test_known_weights_go_where_the_installed_course_looks_and_unknown_ones_are_named(
    teaching, root, weights, tmp_path, capsys
):
    (weights / "holiday.jpg").write_bytes(b"")
    own_weights(weights, b"shard")
    out = run(teaching, root, tmp_path / "kit", "--weights", str(weights))
    assert (out / "data" / "weights" / "network.h5").read_bytes() == b"numbers"
    assert (out / "data" / "weights" / "resnet50" / "shard-00.npz").read_bytes() == b"shard"
    assert not list(out.rglob("holiday.jpg"))
    assert "holiday.jpg was left out of the weights: the course knows no such file." in capsys.readouterr().out


def test_damaged_weights_are_refused_each_by_its_name(teaching, root, weights, tmp_path):
    (weights / "another.h5").write_bytes(b"cut")
    own_weights(weights, b"cut")
    with pytest.raises(SystemExit, match=r"another\.h5 \(its MD5 .*; resnet50 \(shard-00\.npz: missing, or its SHA"):
        run(teaching, root, tmp_path / "kit", "--weights", str(weights))
    assert not (tmp_path / "kit").exists()


def test_a_folder_without_any_known_weights_is_refused(teaching, root, weights, tmp_path):
    (weights / "network.h5").rename(weights / "network (1).h5")
    with pytest.raises(SystemExit, match=r"holds no weights that the course knows, such as another\.h5"):
        run(teaching, root, tmp_path / "kit", "--weights", str(weights))


def test_the_known_weights_are_those_that_the_data_pages_name(teaching):
    known = teaching.published()
    named = re.findall(r"`(\w+_notop\.h5)`", (ROOT / "data" / "weights" / "README.md").read_text(encoding="utf-8"))
    assert named
    assert {*named} <= {*known}
    assert all(re.fullmatch(r"[0-9a-f]{32}", md5) for md5 in known.values())


# The whole of it


def test_every_set_but_those_of_the_user_is_embedded(teaching):
    from helpers import datasets

    assert {*datasets.LOADERS} - {*teaching.EMBEDDED} == {"mnist", "kylberg", "affective", "folder", "clips"}


def test_the_whole_kit_installs_and_runs_a_chapter_with_the_network_off(teaching, tmp_path, capsys):
    out = tmp_path / "kit"
    try:
        teaching.main(["--out", str(out)])
        teaching.main(["--verify", str(out)])
    finally:
        shutil.rmtree(out, ignore_errors=True)  # half a gigabyte, where the wheels could not be shared
    told = capsys.readouterr().out
    assert re.search(r"the notebook measuring-features: \d+ s", told)
