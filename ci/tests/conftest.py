"""The tests of the tools in ci/. Slow ones can be sampled: a part of them each time."""

import sys
from inspect import signature
from pathlib import Path
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib import command, defects, tree  # noqa: E402

PLANTS_ONLY = pytest.StashKey[bool]()


def pytest_configure(config):
    command.end_at_signals()
    config.addinivalue_line("markers", "slow: takes more than some seconds; may be sampled")


def pytest_addoption(parser):
    parser.addoption("--sample", type=int, metavar="N", help="of the slow tests N, by the commit;"
                     " of the others each defect is only planted")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    count = config.getoption("--sample")
    slow = [item for item in items if item.get_closest_marker("slow")]
    if count is None or not slow:
        return
    others = set(slow) - set(tree.rotated(slow, count))
    left_out = {item for item in others if "copy" not in signature(item.function).parameters}
    for item in others - left_out:
        item.stash[PLANTS_ONLY] = True
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


class Planted(Exception):
    """The defect is in the copy, and the check would follow."""


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """A slow test that was not drawn ends where its check would begin: so a defect that fits the
    code no more is seen with the change, not with the commit that happens to draw the test."""
    if PLANTS_ONLY not in pyfuncitem.stash:
        return (yield)
    with mock.patch.object(defects.Copy, "run", side_effect=Planted):
        try:
            return (yield)
        except Planted:
            return True


@pytest.fixture(scope="module")
def copy(request):
    """A copy of the whole tree, one for each file of tests, to plant defects into; at a path that
    not every tool takes."""
    return defects.Copy(tree.BUILD / "seeded defects ü" / request.module.__name__)
