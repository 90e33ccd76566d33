import gc
import subprocess
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers import runtime


def test_start_prints_one_line_about_what_runs(capsys, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    run = runtime.start(seed=4)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    for part in ("profile quick", "seed 4", f"keras {keras.__version__}", f"numpy {np.__version__}", run.device):
        assert part in printed
    assert run.backend == keras.backend.backend()


def test_start_seeds_every_generator():
    def draws():
        runtime.start(seed=1)
        return np.random.random(), keras.ops.convert_to_numpy(keras.random.normal((3,))).tolist()  # noqa: NPY002

    assert draws() == draws()


def test_a_second_start_lets_go_of_what_the_first_left_alive():
    class Network:
        def __init__(self):
            self.me = self  # models refer to themselves: only a collection frees them

    network = Network()
    alive = weakref.ref(network)
    runtime.start(seed=0)
    del network
    gc.collect()
    assert alive() is not None  # frozen, and so passed over
    runtime.start(seed=0)
    assert alive() is None


def test_an_argument_beats_the_environment(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    assert runtime.start(profile="full").profile == "full"


def test_without_a_gpu_the_profile_is_quick(monkeypatch):
    monkeypatch.delenv("COURSE_PROFILE", raising=False)
    monkeypatch.setattr(runtime, "device", lambda: "CPU, 2 cores")
    assert runtime.start().profile == "quick"
    monkeypatch.setattr(runtime, "device", lambda: "GPU, NVIDIA T4")
    assert runtime.start().profile == "full"


def test_an_unknown_profile_suggests_the_nearest(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "quik")
    with pytest.raises(ValueError, match="did you mean 'quick'"):
        runtime.start()


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        runtime.start(seed=-1)


def test_pick_takes_the_value_of_the_profile():
    run = runtime.Runtime("full", 0, "tensorflow", "CPU, 2 cores")
    assert run.pick(quick=1, full=2) == 2


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept"
    runtime.replace_file(path, lambda stream: stream.write(b"old"))

    def fail(stream):
        stream.write(b"half of the new")
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        runtime.replace_file(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_may_be_read_by_those_who_may_read_others(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    runtime.replace_file(tmp_path / "replaced", lambda stream: stream.write(b""))
    assert (tmp_path / "replaced").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_folder_of_the_users_weights_is_the_one_that_the_environment_names(monkeypatch):
    monkeypatch.delenv("COURSE_WEIGHTS", raising=False)
    assert runtime.weights_folder() is None
    monkeypatch.setenv("COURSE_WEIGHTS", "~/weights")
    assert runtime.weights_folder() == Path.home() / "weights"


def test_the_commit_is_that_of_the_code_and_marked_where_files_differ(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet", tmp_path], check=True)
    module = tmp_path / "runtime.py"
    module.write_text("")
    monkeypatch.setattr(runtime, "__file__", str(module))
    for arguments in (["add", "."], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *arguments], cwd=tmp_path, check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert runtime.commit() == head.stdout[:12]
    module.write_text("changed")
    assert runtime.commit() == f"{head.stdout[:12]}-dirty"


def test_outside_of_a_repository_and_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "runtime.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert runtime.commit() == ""
    monkeypatch.setenv("PATH", "")
    assert runtime.commit() == ""
