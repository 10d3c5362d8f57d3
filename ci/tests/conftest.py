"""What the self-tests of the tools share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib import command, defects, tree  # noqa: E402


def pytest_configure(config):
    command.end_at_signals()
    config.addinivalue_line("markers", "slow: takes more than some seconds")


@pytest.fixture(scope="module")
def copy(request):
    """A copy of the tree, for one file of tests, at a path that not every tool can take."""
    name = request.module.__name__.removeprefix("test_")
    return defects.Copy(tree.BUILD / "self-test ü" / name)
