"""What tests of several files share."""

import functools
import sys
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[1] / "book"


@pytest.fixture(scope="session")
def deep_network():
    """Return a network by its name, with random weights and at its least size; it is built once, so leave it alone."""
    from helpers import backbones

    least = {name: entry.least for name, entry in backbones._NETWORKS.items()}
    return functools.cache(lambda name: backbones.load(name, "random", size=least[name]))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of Chromium; tests that ask for it are skipped where there is none."""
    pytest.importorskip("playwright", reason="Playwright is not installed.")
    sys.path.insert(0, str(BOOK))
    try:
        import pdf
    finally:
        sys.path.remove(str(BOOK))
    path = pdf.chromium()
    if path is None:
        pytest.skip("No Chromium was found: install one, or run `playwright install chromium`.")
    return path
