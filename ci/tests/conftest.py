"""The tests of the tools in ci/. Slow ones can be sampled: a part of them each time."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib import command, defects, tree  # noqa: E402


def pytest_configure(config):
    command.end_at_signals()
    config.addinivalue_line("markers", "slow: takes more than some seconds; may be sampled")


def pytest_addoption(parser):
    parser.addoption("--sample", type=int, metavar="N", help="of the slow tests N, by the commit")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    count = config.getoption("--sample")
    slow = [item for item in items if item.get_closest_marker("slow")]
    if count is None or not slow:
        return
    left_out = set(slow) - set(tree.rotated(slow, count))
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="module")
def copy(request):
    """A copy of the whole tree, one for each file of tests, to plant defects into; at a path that
    not every tool takes."""
    return defects.Copy(tree.BUILD / "seeded defects ü" / request.module.__name__)
