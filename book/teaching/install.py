"""Install the course from this folder; no network is needed.

    python install.py             into the folder features-without-labels in your home
    python install.py FOLDER      into another folder
    python install.py --check     only compare every file of the kit with SHA256SUMS

On Windows write py -3.X in place of python; README.txt says which Python the kit is for. Nothing but that Python is
needed, not even its pip. Run it again at any time: notebooks that you have changed are kept.
"""

# `make offline-kit` copies this file into the kit. It must start on any Python 3, to say which one is needed.

import argparse
import fnmatch
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

KIT = Path(__file__).resolve().parent
SUMS = "SHA256SUMS"
_LEFT_BY_SYSTEMS = (".DS_Store", "._*", ".Spotlight-V100", ".Trashes", ".fseventsd", "Thumbs.db", "desktop.ini")
_LEFT_BY_SYSTEMS += ("System Volume Information", "__pycache__")
# stays in the kit; the rest is copied to the student
_FOR_INSTALLING = ("wheels", "requirements.txt", "install.py")
_LONGEST_WINDOWS_PATH = 259  # characters, unless the administrator has allowed longer ones


def digest(path):
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(2**20), b""):
            found.update(block)
    return found.hexdigest()


def sums(kit):
    """Return the digest that SHA256SUMS has for each file of a kit, by its path within the kit.

    Raises
    ------
    SystemExit
        If there is no such list, or it is damaged.
    """
    path = kit / SUMS
    if not path.is_file():
        raise SystemExit(f"There is no {SUMS} in {kit}: the kit is not complete, copy it again.")
    listed = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        known, separator, name = line.partition("  ")
        if not separator or len(known) != 64 or name.startswith("/") or ".." in name.split("/"):
            raise SystemExit(f"Line {number} of {path} is damaged: copy the kit again.")
        listed[name] = known
    return listed


def missing_or_damaged(kit):
    """Return one sentence for each file of the list that is not there, or not as it was."""
    told = []
    for name, known in sums(kit).items():
        if not (kit / name).is_file():
            told.append(f"{name} is missing.")
        elif digest(kit / name) != known:
            told.append(f"{name} is damaged: its SHA-256 is not the one in {SUMS}.")
    return told


def extra(kit):
    """Return one sentence for each file that is not on the list; what systems leave behind is passed over."""
    listed = sums(kit)
    found = (path.relative_to(kit) for path in sorted(kit.rglob("*")) if not path.is_dir())
    names = [path.as_posix() for path in found if not any(map(left_by_a_system, path.parts))]
    return [f"{name} is extra: {SUMS} does not list it." for name in names if name not in listed and name != SUMS]


def left_by_a_system(name):
    """Return whether a file or folder of this name is one that systems leave on every disk that they touch."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _LEFT_BY_SYSTEMS)


def versions(kit):
    """Return what VERSIONS says, as a dict of text."""
    lines = (kit / "VERSIONS").read_text(encoding="utf-8").splitlines()
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def this_platform():
    """Return the platform of this Python, for example ``linux_x86_64``, ``macosx_arm64`` or ``win_amd64``."""
    name = sysconfig.get_platform()
    if name.startswith("macosx"):  # such a Python may hold two architectures and names neither
        return f"macosx_{platform.machine()}"
    return name.replace("-", "_")


def check_machine(kit):
    """Raise SystemExit if this Python cannot use the wheels of the kit."""
    wanted = versions(kit)
    here = (".".join(map(str, sys.version_info[:2])), this_platform())
    if here != (wanted["python"], wanted["platform"]):
        raise SystemExit(
            f"This kit is for Python {wanted['python']} on {wanted['platform']}, but this is Python {here[0]} on "
            f"{here[1]}: start install.py with that Python, or ask for a kit for this machine."
        )


def check_room(kit, folder):
    """Raise SystemExit if the disk has no room for what will be installed, or its paths would be too long."""
    inside = [item for wheel in (kit / "wheels").glob("*.whl") for item in zipfile.ZipFile(wheel).infolist()]
    # a tenth more for the bytecode that pip writes, and a tenth to spare
    need = sum(item.file_size for item in inside) * 6 // 5 + sum(path.stat().st_size for path in _course_files(kit))
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if need > free:
        raise SystemExit(
            f"The course needs {need / 1e9:.1f} GB, but {place} has {free / 1e9:.1f} GB free: free some, or give "
            f"another folder, as in `install.py FOLDER`."
        )
    longest = len(str(_packages(folder))) + 1 + max((len(item.filename) for item in inside), default=0)
    if os.name == "nt" and longest > _LONGEST_WINDOWS_PATH:
        raise SystemExit(
            f"Below {folder} the longest path would have {longest} characters, and Windows allows "
            f"{_LONGEST_WINDOWS_PATH}: give a shorter folder, as in `install.py C:\\course`."
        )


def _packages(folder):
    return folder / "environment" / "Lib" / "site-packages"


def _course_files(kit):
    return [kit / name for name in sums(kit) if name.split("/")[0] not in _FOR_INSTALLING]


def make_environment(kit, folder):
    """Make the environment anew and install every wheel of the kit into it; return its Python.

    Raises
    ------
    SystemExit
        If pip fails; it has said why.
    """
    environment = folder / "environment"
    # without pip, which some Linux systems take out of Python's own venv; the kit has it as a wheel
    venv.EnvBuilder(clear=True, symlinks=os.name != "nt").create(environment)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = next((kit / "wheels").glob("pip-*.whl")) / "pip"
    # the list is complete and has a hash for every wheel: nothing is left for pip to choose
    options = ["--no-index", "--no-deps", "--require-hashes", "--no-cache-dir", "--disable-pip-version-check"]
    chosen = ["--find-links", str(kit / "wheels"), "-r", str(kit / "requirements.txt")]
    command = [str(python), "-I", str(pip), "install", *options, *chosen]
    if subprocess.call(command, env=_own_settings()):
        raise SystemExit(f"pip could not install the packages, and says why above; {environment} is not usable yet.")
    return python


def _own_settings():
    """Return the environment without the settings of another pip."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    return {**kept, "PIP_CONFIG_FILE": os.devnull}


def copy_course(kit, folder):
    """Copy notebooks, site and data; return the notebooks that were kept because the student has changed them."""
    kept, before = [], sums(folder) if (folder / SUMS).is_file() else {}
    for source in _course_files(kit):
        name = source.relative_to(kit)
        target = folder / name
        if target.is_file() and digest(target) == digest(source):
            continue
        untouched = target.is_file() and digest(target) == before.get(name.as_posix())
        if target.exists() and name.parts[0] == "notebooks" and not untouched:
            kept.append(name)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(target.name + ".part")
        shutil.copyfile(source, unfinished)
        os.replace(unfinished, target)
    shutil.copyfile(kit / SUMS, folder / SUMS)  # by which a later kit tells what the student has changed
    return kept


# Everything that a run writes stays in the course's folder, and Jupyter asks nobody for news.
_FOLDERS = {
    "COURSE_DATA": "data",
    "COURSE_WEIGHTS": "data/weights",
    "COURSE_RESULTS": "results",
    "KERAS_HOME": "keras",
}
_JUPYTER = (
    "-m jupyterlab --notebook-dir=notebooks --LabApp.news_url=None "
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"
)


def write_start(folder):
    """Write the script that opens Jupyter, and return its path."""
    if os.name == "nt":
        path = folder / "start.bat"
        lines = ["@echo off", 'cd /d "%~dp0"']
        lines += [f'set "{name}=%CD%\\{place}"'.replace("/", "\\") for name, place in _FOLDERS.items()]
        lines += [f"environment\\Scripts\\python.exe {_JUPYTER} %*"]
    else:
        path = folder / "start.sh"
        lines = ["#!/bin/sh", 'cd "$(dirname "$0")" || exit 1']
        lines += [f'export {name}="$PWD/{place}"' for name, place in _FOLDERS.items()]
        lines += [f'exec environment/bin/python {_JUPYTER} "$@"']
    ending = "\r\n" if os.name == "nt" else "\n"
    path.write_bytes((ending.join(lines) + ending).encode())
    path.chmod(0o755)
    return path


def install(kit, folder):
    """Install the kit into a folder and say how to start."""
    check_machine(kit)
    folder = Path(folder).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise SystemExit(f"{folder} is a file: give a folder to install into.")
    if kit == folder.resolve() or kit in folder.resolve().parents:
        raise SystemExit(f"{folder} lies in the kit, which would no longer be as it was: give another folder.")
    print("Checking the kit ...", flush=True)
    told = missing_or_damaged(kit)
    if told:
        raise SystemExit("\n".join([*told, "Nothing was installed: copy the kit again."]))
    check_room(kit, folder)
    folder.mkdir(parents=True, exist_ok=True)
    print("Installing the packages, which takes some minutes ...", flush=True)
    make_environment(kit, folder)
    for name in copy_course(kit, folder):
        print(f"Kept your {name}; the kit's own is {kit / name}")
    start = write_start(folder)
    where = " in the Command Prompt" if os.name == "nt" else ""
    print(f'The course is in {folder}. To open it in Jupyter, run{where}\n\n    "{start}"\n')


def main(arguments=None, kit=KIT):
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="~/features-without-labels")
    parser.add_argument("--check", action="store_true", help="only check the files of the kit")
    options = parser.parse_args(arguments)
    if not options.check:
        try:
            install(kit, options.folder)
        except OSError as error:
            raise SystemExit(f"{error.filename} cannot be used ({error.strerror}): give another folder.") from error
        except KeyboardInterrupt:
            raise SystemExit("Interrupted: start install.py again, and it installs anew.") from None
        return 0
    told = missing_or_damaged(kit) + extra(kit)
    print("\n".join(told) or f"All {len(sums(kit))} files of the kit are as they were when it was made.")
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main())
