"""Write one folder with everything that a class without a network needs: ``make offline-kit`` calls this.

    python -m teaching.kit                                        for this machine
    python -m teaching.kit --platform win_amd64 --python 3.12     for a classroom of other machines
    python -m teaching.kit --verify dist/offline-kit              install it and run a chapter, network off

The folder holds wheels, notebooks, the built site, data and pretrained weights, an installer that needs nothing but
Python, and the SHA-256 of every file. uv chooses the packages, at the versions of ``uv.lock`` where they stand there,
and pip fetches them. Wheels are kept in ``dist/wheels`` from run to run. The folder changes in one step at the very
end: whatever goes wrong before, an earlier kit is still there.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.specifiers import SpecifierSet
from tqdm import tqdm

from helpers import runtime
from helpers.validation import check_choice

from . import install

ROOT = Path(__file__).resolve().parents[2]

# our name: the name that uv has for it
PLATFORMS = {
    "linux_x86_64": "x86_64-manylinux_2_28",
    "linux_aarch64": "aarch64-manylinux_2_28",
    "macosx_arm64": "aarch64-apple-darwin",
    "macosx_x86_64": "x86_64-apple-darwin",
    "win_amd64": "x86_64-pc-windows-msvc",
}
# what students need beside the course and its extra `tensorflow`
BESIDE_THE_COURSE = ("jupyterlab", "ipykernel")
# what is loaded to try a kit: every set that is no file of the user's, as small as it can be had
EMBEDDED = {
    "digits": {},
    "shifted-digits": {},
    "shapes": {"per_class": 1},
    "textures": {"per_class": 1},
    "paintings": {"per_class": 1},
    "blood-cells": {"part": "test", "size": 32},
    "moving-digits": {"clips": 1},
    "patches": {},
}
CHUNK = 32_000_000  # bytes that one call of pip fetches, if it is not a single larger wheel
_COMPRESSED = (".whl", ".npz", ".png", ".webp", ".woff2", ".h5")


class Refused(Exception):
    """What stands in the way, in one sentence."""


@dataclass(frozen=True)
class Wheel:
    """One file of a package, as the index offers it."""

    name: str
    version: str
    url: str
    sha256: str
    size: int

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1].replace("%2B", "+")


@dataclass(frozen=True)
class Kit:
    """What to build, from where, for whom.

    Attributes
    ----------
    root : Path
        The repository.
    out : Path
        The folder to write.
    platform : str
        One of `PLATFORMS`.
    python : str
        For example ``"3.12"``.
    class_seed : int
        Whose student editions of the assignments go in.
    weights : Path, optional
        A folder with pretrained weights.
    packages : tuple of str, optional
        In place of the course's dependencies and `BESIDE_THE_COURSE`, for a kit that is small.
    """

    root: Path = ROOT
    out: Path = ROOT / "dist" / "offline-kit"
    platform: str = field(default_factory=install.this_platform)
    python: str = field(default_factory=lambda: "{}.{}".format(*sys.version_info))
    class_seed: int = 0
    weights: Path | None = None
    packages: tuple[str, ...] = ()

    @property
    def store(self) -> Path:
        """The wheels that were fetched so far, for any platform."""
        return self.root / "dist" / "wheels"

    @property
    def project(self) -> dict:
        return tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def optional_folders(self) -> dict[str, tuple[Path, str]]:
        """Return what goes in if it was built: the folder in the kit, where it is now, how to build it."""
        return {
            "site": (self.root / "_build" / "html", "make book"),
            "slides": (self.root / "dist" / "slides", "make slides"),
            "notebooks/assignments": (
                self.root / "dist" / "assignments" / f"class-{self.class_seed}",
                f"make assignments CLASS_SEED={self.class_seed}",
            ),
        }


def build(kit: Kit) -> list[str]:
    """Write the kit; return a sentence for each thing that it lacks.

    Raises
    ------
    Refused
        If the platform, the Python, the folder or a file of weights will not do, a package has no wheel, the index
        cannot be reached, or the disk has no room. What was there before is still there.
    """
    check(kit)
    weights, left_out = chosen_weights(kit)
    print(f"Choosing the packages for Python {kit.python} on {kit.platform} ...", flush=True)
    wheels = choose_wheels(kit)
    check_room(kit, wheels, weights)
    fetch(kit, wheels)
    partial = kit.out.with_name(f".{kit.out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        lacks = assemble(kit, partial, wheels, weights)
        _replace_folder(partial, kit.out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return left_out + lacks


def check(kit: Kit) -> None:
    """Raise Refused if the platform or the Python is unknown, or the folder holds something else than a kit."""
    try:
        check_choice(kit.platform, PLATFORMS, "platform")
    except ValueError as error:
        raise Refused(f"{error}.") from error
    covered = kit.project["requires-python"]
    if not re.fullmatch(r"3\.\d+", kit.python) or kit.python not in SpecifierSet(covered):
        raise Refused(f"The course runs on Python {covered}, not on {kit.python}: give one of these by --python.")
    if not kit.out.exists():
        return
    if not kit.out.is_dir():
        raise Refused(f"{kit.out} is a file: give a folder by --out.")
    ours = all((kit.out / name).is_file() for name in (install.SUMS, "VERSIONS"))
    foreign = install.extra(kit.out) if ours else sorted(path.name for path in kit.out.iterdir())
    if foreign:
        named = foreign[0].split(" is extra")[0]
        raise Refused(f"{kit.out} holds {named}, which is no part of a kit: move it away, or give another --out.")


# Weights


def published() -> dict[str, str]:
    """Return the MD5 of each file of ImageNet weights that the course can load, by its name."""
    from helpers import backbones  # here, for it imports Keras

    return backbones.published_files()


def chosen_weights(kit: Kit) -> tuple[list[Path], list[str]]:
    """Return the files of weights to take, and a sentence for each file that is left out.

    A file is taken if it has the name and the MD5 of one that Keras publishes, a folder if it holds weights of our
    own whose digests are right. What is unknown is left out. What is known but damaged stops the build, before
    anything was fetched: whoever named it wants it in the kit.

    Raises
    ------
    Refused
        If the folder is missing, holds nothing that the course knows, or holds damaged files.
    """
    if kit.weights is None:
        return [], []
    if not kit.weights.is_dir():
        raise Refused(f"There is no folder {kit.weights}: give a folder that holds weights.")
    taken, unknown, damaged, known = [], [], [], published()
    for path in sorted(path for path in kit.weights.iterdir() if not install.left_by_a_system(path.name)):
        if path.is_dir() and (path / "manifest.json").is_file():
            told = _complaint_about_own(path)
            taken += sorted(inside for inside in path.rglob("*") if inside.is_file())
        elif path.name in known:
            told = None if _md5(path) == known[path.name] else "its MD5 is not the one that Keras publishes"
            taken.append(path)
        else:
            told = None
            unknown.append(f"{path.name} was left out of the weights: the course knows no such file.")
        damaged += [f"{path.name} ({told})"] if told else []
    if damaged:
        raise Refused(f"Damaged weights in {kit.weights}: {'; '.join(damaged)}. Fetch them again, or take them away.")
    if not taken:
        raise Refused(f"{kit.weights} holds no weights that the course knows, such as {min(known)}.")
    return taken, unknown


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _complaint_about_own(folder: Path) -> str | None:
    from helpers import weights

    try:
        shards = weights.describe(folder)["shards"]
    except ValueError as error:
        return str(error)
    wrong = [name for name in shards if not _is(folder / Path(name).name, shards[name])]
    return f"{', '.join(wrong)}: missing, or its SHA-256 differs" if wrong else None


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and install.digest(path) == sha256


# Wheels


def choose_wheels(kit: Kit) -> list[Wheel]:
    """Let uv resolve the packages for the kit's platform, at the locked versions where there are any."""
    with tempfile.TemporaryDirectory() as folder:
        locked, wanted, chosen = (Path(folder, name) for name in ("locked.txt", "wanted.in", "pylock.toml"))
        every = ["--all-extras", "--no-extra", "gpu", "--no-emit-project", "--no-hashes"]
        _uv(kit, "export", "--frozen", *every, "--output-file", locked)
        # pip too: the installer starts it from its wheel
        wanted.write_text("\n".join((*(kit.packages or BESIDE_THE_COURSE), "pip")), encoding="utf-8")
        course = [] if kit.packages else ["pyproject.toml", "--extra", "tensorflow"]
        target = ["--python-platform", PLATFORMS[kit.platform], "--python-version", kit.python]
        options = ["--constraints", locked, "--only-binary", ":all:", "--format", "pylock.toml"]
        _uv(kit, "pip", "compile", wanted, *course, *target, *options, "--output-file", chosen)
        packages = tomllib.loads(chosen.read_text(encoding="utf-8"))["packages"]
    return [_wheel(package) for package in packages]


def _wheel(package: dict) -> Wheel:
    best = package["wheels"][0]  # of those that fit the platform; uv lists the most specific one first
    return Wheel(package["name"], package["version"], best["url"], best["hashes"]["sha256"], best["size"])


def _uv(kit: Kit, *arguments: str | Path) -> None:
    command = shutil.which("uv")
    if command is None:
        raise Refused("uv was not found: run `make offline-kit`, which fetches it, or `pip install uv`.")
    options = [command, *map(str, arguments), "--quiet", "--color", "never"]
    done = subprocess.run(options, cwd=kit.root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(explained(done.stderr, kit))


def explained(told: str, kit: Kit) -> str:
    """Return one sentence for what uv or pip told about its failure."""
    told = " ".join(told.split())
    no_wheel = re.search(r"(?:Because|and) ([\w.-]+)(?:\{[^}]*\})?==([\w.]+) has no (?:usable )?wheels", told)
    if no_wheel:
        machine = f"Python {kit.python} on {kit.platform}"
        return f"There is no wheel of {no_wheel[1]} {no_wheel[2]} for {machine}: name another Python or platform."
    if re.search(r"Failed to fetch|error sending request|NewConnectionError|NameResolution|ConnectionError", told):
        kept = len(list(kit.store.glob("*.whl")))
        return f"The package index cannot be reached: connect and run again; the {kept} wheels in {kit.store} are kept."
    return f"The packages cannot be had: {told.removeprefix('error: ')}"


def fetch(kit: Kit, wheels: list[Wheel]) -> None:
    """Let pip fetch the wheels that the store lacks, some at a time, and show how far it is."""
    kit.store.mkdir(parents=True, exist_ok=True)
    missing = missing_wheels(kit, wheels)
    total = sum(wheel.size for wheel in wheels)
    with tqdm(total=total, unit="B", unit_scale=True, desc=f"{len(wheels)} wheels") as bar:
        bar.update(total - sum(wheel.size for wheel in missing))
        for chunk in _chunks(missing):
            _fetch_chunk(kit, chunk, bar)


def missing_wheels(kit: Kit, wheels: list[Wheel]) -> list[Wheel]:
    """Return the wheels that are not in the store as the index has them."""
    return [wheel for wheel in wheels if not _is(kit.store / wheel.file, wheel.sha256)]


def _chunks(wheels: list[Wheel]):
    chunk: list[Wheel] = []
    for wheel in sorted(wheels, key=lambda wheel: wheel.size):
        if chunk and sum(one.size for one in chunk) + wheel.size > CHUNK:
            yield chunk
            chunk = []
        chunk.append(wheel)
    if chunk:
        yield chunk


def _fetch_chunk(kit: Kit, chunk: list[Wheel], bar: tqdm) -> None:
    with tempfile.TemporaryDirectory(dir=kit.store, prefix=".incoming-") as folder:
        listed = Path(folder, "wheels.txt")
        listed.write_text("".join(f"{wheel.url}#sha256={wheel.sha256}\n" for wheel in chunk), encoding="utf-8")
        platforms = {name for wheel in chunk for name in wheel.file.removesuffix(".whl").split("-")[-1].split(".")}
        options = ["--no-deps", "--only-binary", ":all:", "--python-version", kit.python, "--no-cache-dir"]
        options += [option for name in sorted(platforms) for option in ("--platform", name)]
        command = [shutil.which("uv"), "tool", "run", "--quiet", "pip", "download", *options]
        command += ["--quiet", "--dest", folder, "--requirement", listed]
        _run_with_bar(command, Path(folder), sum(wheel.size for wheel in chunk), bar, kit)
        for wheel in chunk:
            if not _is(Path(folder, wheel.file), wheel.sha256):
                raise Refused(f"pip fetched no {wheel.file} with the SHA-256 of the index: run again.")
            os.replace(Path(folder, wheel.file), kit.store / wheel.file)


def _run_with_bar(command: list, incoming: Path, total: int, bar: tqdm, kit: Kit) -> None:
    """Run pip and move the bar by what has come so far, part of a large wheel too."""
    began = bar.n
    environment = os.environ | {"TMPDIR": str(incoming), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=told)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                bar.update(max(0, began + min(_size(incoming), total) - bar.n))
        finally:
            process.kill()  # where the user has interrupted
            process.wait()
        told.seek(0)
        if process.returncode:
            raise Refused(explained(told.read(), kit))
    bar.update(began + total - bar.n)


def _size(folder: Path) -> int:
    """Return the bytes of the files in a folder; files and folders in it may vanish meanwhile."""
    found = 0
    for place, _, files in os.walk(folder):  # which passes over folders that are gone
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                found += os.stat(os.path.join(place, file)).st_size
    return found


# The folder


def check_room(kit: Kit, wheels: list[Wheel], weights: list[Path]) -> None:
    """Raise Refused if a disk has no room for the wheels to fetch and the folder to write."""
    sources = [kit.root / "notebooks", kit.root / "data", *(place for place, _ in kit.optional_folders().values())]
    rest = sum(map(_size, sources)) + sum(path.stat().st_size for path in weights)
    store, out = (next(p for p in (path, *path.parents) if p.exists()) for path in (kit.store, kit.out.absolute()))
    needs = {store: sum(wheel.size for wheel in missing_wheels(kit, wheels))}
    one_disk = store.stat().st_dev == out.stat().st_dev
    # on one disk the kit shares its wheels with the store
    needs[out] = rest + (needs[store] if one_disk else sum(wheel.size for wheel in wheels))
    for place, need in needs.items():
        free = shutil.disk_usage(place).free
        if need > free:
            raise Refused(
                f"The kit needs {need / 1e6:,.0f} MB in {place}, but only {free / 1e6:,.0f} MB are free there: free "
                f"some, or give another --out."
            )


def assemble(kit: Kit, folder: Path, wheels: list[Wheel], weights: list[Path]) -> list[str]:
    """Fill an empty folder; return a sentence for each thing that is not built. The list of digests comes last."""
    course = _course_wheel(kit, folder / "wheels")
    for wheel in wheels:
        _link(kit.store / wheel.file, folder / "wheels" / wheel.file)
    for path in sorted((kit.root / "notebooks").glob("*.ipynb")):
        _link(path, folder / "notebooks" / path.name, copy=True)
    for path in sorted(path for path in (kit.root / "data").rglob("*") if path.is_file()):
        _link(path, folder / path.relative_to(kit.root), copy=True)
    for path in weights:
        _link(path, folder / "data" / "weights" / path.relative_to(kit.weights), copy=True)
    lacks = [sentence for name in kit.optional_folders() if (sentence := _add_optional(kit, folder, name))]
    for name in ("LICENSE", "LICENSE-TEXT"):
        _link(kit.root / name, folder / name, copy=True)
    _link(Path(install.__file__), folder / "install.py", copy=True)
    requirements = [f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}" for wheel in wheels]
    name, version = kit.project["name"], kit.project["version"]
    requirements.append(f"{name}=={version} --hash=sha256:{install.digest(course)}")
    _write(folder / "requirements.txt", *requirements)
    _write(folder / "VERSIONS", *(f"{name}: {value}" for name, value in _versions(kit, wheels).items()))
    _write(folder / "README.txt", _readme(kit))
    _write_sums(folder)
    return lacks


def _link(source: Path, target: Path, copy: bool = False) -> None:
    """Put a file into the kit; a wheel, which nobody edits, without a second copy where the disk allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if copy:
            raise OSError
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _course_wheel(kit: Kit, folder: Path) -> Path:
    _uv(kit, "build", "--wheel", "--out-dir", folder, ".")
    (folder / ".gitignore").unlink(missing_ok=True)  # uv's
    (wheel,) = folder.glob("*.whl")
    return wheel


def _add_optional(kit: Kit, folder: Path, name: str) -> str | None:
    place, command = kit.optional_folders()[name]
    pattern = "*/student/*.ipynb" if name == "notebooks/assignments" else "**/*"
    files = sorted(path for path in place.glob(pattern) if path.is_file())
    for path in files:
        inside = path.name if name == "notebooks/assignments" else path.relative_to(place)
        _link(path, folder / name / inside, copy=True)
    return None if files else f"The kit has no {name}, which `{command}` builds."


def _versions(kit: Kit, wheels: list[Wheel]) -> dict[str, str]:
    found = {wheel.name: wheel.version for wheel in wheels}
    found["tensorflow"] = found.pop("tensorflow-cpu", None) or found.get("tensorflow")
    told = {"course": f"{kit.project['name']} {kit.project['version']}", "commit": _commit(kit.root)}
    told |= {"python": kit.python, "platform": kit.platform}
    return told | {name: found[name] for name in ("keras", "tensorflow", "numpy", "jupyterlab") if found.get(name)}


def _commit(root: Path) -> str:
    git = ["git", "-C", str(root)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return head.stdout.strip() + (", with changes that are not committed" if changed else "")


def _readme(kit: Kit) -> str:
    python = f"py -{kit.python}" if kit.platform.startswith("win") else f"python{kit.python}"
    start, where = '"$HOME/features-without-labels/start.sh"', "a terminal"
    if kit.platform.startswith("win"):
        start = '"%USERPROFILE%\\features-without-labels\\start.bat"'
        where = "the Command Prompt (cmd, not PowerShell)"
    return f"""\
Features Without Labels, without a network
==========================================

This folder holds the course for Python {kit.python} on {kit.platform}. You need that Python and nothing else.
Open {where} in this folder and type these two lines:

    {python} install.py
    {start}

The first one installs, the second one opens Jupyter with the notebooks; from then on the second one is enough.
To install elsewhere, name the folder: {python} install.py FOLDER. All that the course writes stays in that folder;
to remove the course, delete it. Installing again keeps the notebooks that you have changed.

Whether this copy of the kit is whole:      {python} install.py --check
or, where there is sha256sum:               sha256sum --check --quiet SHA256SUMS

To read the book, open site/index.html in a browser, if this kit has it.

That second line sets four variables, all to folders of the course:
COURSE_WEIGHTS (data/weights) where weights of pretrained networks are looked for,
COURSE_DATA    (data)         where data sets of your own are looked for: mnist.npz for example,
COURSE_RESULTS (results)      where the chapters keep their scores,
KERAS_HOME     (keras)        where Keras keeps its settings and its cache.

VERSIONS says what is in here, requirements.txt lists every package with its version and its digest."""


def _write(path: Path, *lines: str) -> None:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def _write_sums(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    _write(folder / install.SUMS, *(f"{install.digest(path)}  {path.relative_to(folder).as_posix()}" for path in files))


def _replace_folder(new: Path, old: Path) -> None:
    """Put a folder where another one is, which `check` has found to be a kit and nothing else."""
    before = old.with_name(f".{old.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if old.exists():
        old.rename(before)
    new.rename(old)
    shutil.rmtree(before, ignore_errors=True)


def archive(folder: Path) -> Path:
    """Write a kit as one ZIP file beside it, of the same bytes whenever the kit is the same; return its path."""
    target = folder.with_name(f"{folder.name}.zip")
    files = sorted(path for path in folder.rglob("*") if path.is_file())

    def write(stream) -> None:
        with zipfile.ZipFile(stream, "w") as packed:
            for path in tqdm(files, desc=target.name, unit="file"):
                _pack(packed, path, f"{folder.name}/{path.relative_to(folder).as_posix()}")

    runtime.replace_file(target, write)
    return target


def _pack(packed: zipfile.ZipFile, path: Path, name: str) -> None:
    about = zipfile.ZipInfo(name)  # of 1980, the same for all
    about.external_attr = 0o644 << 16
    about.create_system = 3  # Unix, whoever packs
    about.compress_type = zipfile.ZIP_STORED if path.suffix in _COMPRESSED else zipfile.ZIP_DEFLATED
    about.file_size = path.stat().st_size  # tells whether the entry needs the larger form
    with path.open("rb") as source, packed.open(about, "w") as target:
        shutil.copyfileobj(source, target, 2**20)


# Trying it


# A new network namespace has a loopback device that is down, and Jupyter talks to its kernels through it.
_IN_NAMESPACE = """\
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh22x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
os.execvp(sys.argv[1], sys.argv[1:])
"""
_NOWHERE = "http://127.0.0.1:9"


def without_network() -> tuple[list[str], dict[str, str]]:
    """Return what to put before a command, and into its environment, so that it has no network.

    A network namespace of its own where the system allows one; else a proxy that does not exist.
    """
    prefix = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-I", "-c", _IN_NAMESPACE]
    if shutil.which("unshare") and not subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        return prefix, {}
    proxies = {name: _NOWHERE for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
    return [], proxies | {"no_proxy": "localhost,127.0.0.1", "NO_PROXY": "localhost,127.0.0.1"}


LOAD_EMBEDDED = f"""
from helpers import datasets
for name, options in {EMBEDDED}.items():
    print(datasets.load(name, **options))
"""


def verify(folder: Path, notebooks: Sequence[str]) -> None:
    """Install a kit into an empty folder with the network off, use it, and print what each step took.

    Raises
    ------
    Refused
        At the first step that fails; what it printed comes before.
    """
    if not (folder / install.SUMS).is_file():
        raise Refused(f"There is no kit in {folder}: build one with `make offline-kit`.")
    print(f"{folder}: {_size(folder) / 1e6:,.0f} MB in {len(install.sums(folder)) + 1} files")
    with tempfile.TemporaryDirectory(prefix="offline-kit-") as place:
        home = Path(place)
        course = home / "features-without-labels"
        _step("a look for the network, which must fail", [sys.executable, "-c", _LOOK_FOR_NETWORK], folder, home)
        _step("the check", [sys.executable, "install.py", "--check"], folder, home)
        _step("the installation", [sys.executable, "install.py", str(course)], folder, home)
        print(f"installed: {_size(course) / 1e6:,.0f} MB")
        python = str(course / "environment" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        _step("pip's check of the dependencies", [python, "-m", "pip", "check"], course, home)
        _step("all embedded data sets", [python, "-c", LOAD_EMBEDDED], course, home)
        _step("Jupyter's start", [python, "-c", _TRY_JUPYTER, *start_command(course)], course, home)
        execute = ["-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(home)]
        for notebook in notebooks:
            _step(f"the notebook {notebook}", [python, *execute, f"notebooks/{notebook}.ipynb"], course, home)


def start_command(course: Path) -> list[str]:
    """Return the command that opens Jupyter."""
    return [str(course / ("start.bat" if os.name == "nt" else "start.sh"))]


_LOOK_FOR_NETWORK = """
import urllib.request
try:
    urllib.request.urlopen("https://pypi.org", timeout=10)
except OSError as error:
    print(error)
else:
    raise SystemExit("The network is on.")
"""
_TRY_JUPYTER = """
import os, signal, subprocess, sys, time, urllib.request
address = "http://127.0.0.1:8899/api"
options = ["--no-browser", "--ip=127.0.0.1", "--port=8899", "--ServerApp.port_retries=0", "--allow-root"]
server = subprocess.Popen([*sys.argv[1:], *options])
try:
    for attempt in range(120):
        time.sleep(1)
        try:
            print(urllib.request.urlopen(address).read().decode())
            break
        except OSError:
            if server.poll() is not None:
                raise SystemExit("Jupyter ended before it answered.")
    else:
        raise SystemExit("Jupyter did not answer within two minutes.")
finally:
    server.terminate()
    server.wait()
"""


def _step(what: str, command: list[str], folder: Path, home: Path) -> None:
    prefix, proxies = without_network()
    others = ("COURSE_", "JUPYTER_", "KERAS_", "PIP_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment = kept | proxies | {"HOME": str(home), "PIP_CONFIG_FILE": os.devnull, "COURSE_PROFILE": "quick"}
    began = time.perf_counter()
    done = subprocess.run(
        [*prefix, *command],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        print(done.stdout)
        raise Refused(f"{what} failed: see above.")
    print(f"{what}: {time.perf_counter() - began:.0f} s", flush=True)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> None:
    """Run the command."""
    what_to_run = "notebooks for --verify to run, as few-labels or assignments/few-labels"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=root / "dist" / "offline-kit", help="the folder to write")
    parser.add_argument("--platform", default=install.this_platform(), help=f"one of {', '.join(PLATFORMS)}")
    parser.add_argument("--python", default="{}.{}".format(*sys.version_info), help="of the students, as 3.12")
    parser.add_argument("--weights", type=Path, help="a folder with pretrained weights to put in")
    parser.add_argument("--class-seed", type=int, default=0, help="whose assignments to put in")
    parser.add_argument("--packages", nargs="+", default=(), help="only these, for a small kit that tries the way")
    parser.add_argument("--archive", action="store_true", help="write a ZIP file beside the folder, too")
    parser.add_argument("--verify", type=Path, metavar="DIR", help="install and use the kit DIR with the network off")
    parser.add_argument("--run", nargs="+", metavar="NOTEBOOK", default=["measuring-features"], help=what_to_run)
    options = parser.parse_args(arguments)
    kit = Kit(
        root,
        options.out.absolute(),
        options.platform,
        options.python,
        options.class_seed,
        options.weights,
        tuple(options.packages),
    )
    try:
        if options.verify:
            verify(options.verify.absolute(), options.run)
            return
        for sentence in build(kit):
            print(sentence)
        print(f"The kit: {kit.out} ({_size(kit.out) / 1e6:,.0f} MB)")
        if options.archive:
            print(f"The archive: {archive(kit.out)}")
    except Refused as refusal:
        sys.exit(str(refusal))
    except OSError as error:
        sys.exit(f"{error.filename or kit.out} cannot be used: {error.strerror or error}.")
    except KeyboardInterrupt:
        sys.exit(f"Interrupted: the wheels in {kit.store} are kept, and so is an earlier kit.")


if __name__ == "__main__":
    main()
