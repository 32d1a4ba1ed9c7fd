"""How the tests are spread over processes."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling


class ByFile(LoadFileScheduling):
    """The tests of a file go to one process, and so do all that look at the one demo played."""

    def _split_scope(self, nodeid: str) -> str:
        """Return what is not taken apart."""
        file = super()._split_scope(nodeid)
        return "tests/e2e" if file.startswith("tests/e2e/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Take the files as they come: the demo, which takes the longest, comes first."""
    config.option.loadscopereorder = False
    return ByFile(config, log)
