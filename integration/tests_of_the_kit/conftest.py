"""Which of the broken servers are judged: all, or a spread sample of them."""

import pytest

_SAMPLED = ("test_defect_is_found", "test_patch_is_found")


def pytest_addoption(parser):
    parser.addoption(
        "--sample",
        nargs=2,
        type=int,
        metavar=("N", "K"),
        help="of the broken servers only every Nth, from the Kth on",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    sample = config.getoption("--sample")
    if sample is None:
        return
    every, first = sample
    broken = [item for item in items if item.originalname in _SAMPLED]
    left_out = [each for i, each in enumerate(broken) if i % every != first % every]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
