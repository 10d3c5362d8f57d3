"""Which of the broken servers are judged: all, or a spread sample of them."""

import pytest

_SAMPLED = ("test_defect_is_found", "test_patch_is_found")
_SAMPLED_THINLY = ("test_kills_are_as_listed",)  # each is judged with the whole kit
_THINNER = 4


def pytest_addoption(parser):
    parser.addoption(
        "--sample",
        nargs=2,
        type=int,
        metavar=("N", "K"),
        help="of the broken servers only every Nth, from the Kth on; with the whole kit fewer",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    sample = config.getoption("--sample")
    if sample is None:
        return
    every, first = sample
    left_out = _left_out(items, _SAMPLED, every, first)
    left_out += _left_out(items, _SAMPLED_THINLY, every * _THINNER, first)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _left_out(items, names, every, first):
    broken = [item for item in items if item.originalname in names]
    return [each for i, each in enumerate(broken) if i % every != first % every]
