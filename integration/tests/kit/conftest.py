"""Which broken servers are judged, and which tests start the kit: all, or a sample; and what each
test begins with."""

import pytest
import running  # noqa: F401  (it extends sys.path)
from touchstone_conform import transform
from touchstone_conform.harness import samples

_SAMPLED = ("test_defect_is_found", "test_patch_is_found", "test_documented_limits")
# Each is judged with the whole kit, which takes half a minute or more.
_SAMPLED_THINLY = (
    "test_server_that_fails_one_requirement",
    "test_one_defect_fails_one_requirement",
    "test_a_bounded_pool_is_no_leak",
)
_THINNER = 4
# Most of their other tests start the kit as a command, which takes seconds: the one half or the
# other, as the commit has it.
_SAMPLED_OTHERWISE = (*_SAMPLED, *_SAMPLED_THINLY)
_HALVED = ("test_command", "test_foundations", "test_judge", "test_own_trouble", "test_simulation")
_NOT_SAMPLED = ("test_server_that_fails_several_requirements",)


@pytest.fixture(autouse=True)
def settings_of_this_process(monkeypatch):
    """What the kit sets when a test runs it in this process does not outlive the test."""
    monkeypatch.setattr(transform, "_table", transform.UPPER)
    monkeypatch.setattr(samples, "_plain", False)


def pytest_addoption(parser):
    parser.addoption(
        "--sample",
        nargs=2,
        type=int,
        metavar=("N", "K"),
        help="judge every Nth broken server, from the Kth on, fewer with the whole kit; and run "
        "every second test of what starts the kit",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    sample = config.getoption("--sample")
    if sample is None:
        return
    every, first = sample
    left_out = _left_out(items, _SAMPLED, every, first)
    left_out += _left_out(items, _SAMPLED_THINLY, every * _THINNER, first)
    left_out += [item for item in items if item.originalname in _NOT_SAMPLED]
    left_out += every_second(items, first)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _left_out(items, names, every, first):
    broken = [item for item in items if item.originalname in names]
    return [each for i, each in enumerate(broken) if i % every != first % every]


def every_second(items, first):
    """Of each module by itself, so that a test that is added moves no other module's."""
    left_out = []
    for name in _HALVED:
        of_module = [each for each in items if each.module.__name__ == name]
        of_module = [each for each in of_module if each.originalname not in _SAMPLED_OTHERWISE]
        left_out += of_module[(first + 1) % 2 :: 2]
    return left_out
