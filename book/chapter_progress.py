"""A pytest plugin for `build.py`: tells, cell by cell, how far nbmake has come and where it failed.

Each event is one line of JSON on standard output behind `MARK`; pytest runs with ``-s``, so nothing is captured.
"""

import json
import sys

import nbmake.nb_run
from nbclient import NotebookClient

MARK = "\x1e"  # ASCII's record separator: no other output begins with it


def tell(**event):
    print(f"{MARK}{json.dumps(event)}", file=sys.__stdout__, flush=True)


class TellingClient(NotebookClient):
    """nbmake's client, which also says which cell it begins."""

    def __init__(self, nb, **options):
        super().__init__(nb, **options)
        code = [index for index, cell in enumerate(nb.cells) if cell.cell_type == "code"]
        tell(cells=len(code))
        self.on_cell_start = lambda cell, cell_index: tell(began=code.index(cell_index)) if cell_index in code else None


nbmake.nb_run.NotebookClient = TellingClient


def pytest_exception_interact(node, call, report):
    result = next((value for value in call.excinfo.value.args if hasattr(value, "error")), None)
    if result is None or result.error is None:  # an error of nbmake's own, such as a kernel that died
        tell(failed={"cell": None, "error": str(call.excinfo.value).strip().splitlines()[-1]})
        return
    cell = result.nb.cells[result.error.failing_cell_index]
    tell(failed={"cell": cell.get("id"), "source": cell.source, "error": result.error.summary})
