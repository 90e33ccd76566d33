"""Our statistics against their peers: `make bench`, or `python -m tests.bench --help`."""
