"""What tests of several files share."""

import functools

import pytest


@pytest.fixture(scope="session")
def deep_network():
    """Return a network by its name, with random weights and at its least size; it is built once, so leave it alone."""
    from helpers import backbones

    least = {name: entry.least for name, entry in backbones._NETWORKS.items()}
    return functools.cache(lambda name: backbones.load(name, "random", size=least[name]))
