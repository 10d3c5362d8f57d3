"""Every scenario that needs no simulated kernel, played over real sockets.

Each file says why it is there, and which requirement it shows; `--scenarios` names others.
"""

import pathlib
import re

import pytest

from touchstone_conform import scenario
from touchstone_conform.player import play

SCENARIOS = pathlib.Path(__file__).parents[1] / "scenarios"

# What a step needs beyond sockets; an urgent byte may be dropped by others than the reference.
PROCESS_STEPS = ("freeze", "thaw", "settle", "descriptors", "stop")


def pytest_generate_tests(metafunc):
    found = []
    for each in map(pathlib.Path, metafunc.config.getoption("--scenarios") or [SCENARIOS]):
        if each.is_dir():
            found += [parameter(path, path.stem) for path in sorted(each.glob("*.scenario"))]
        else:
            found.append(parameter(each, str(each)))
    metafunc.parametrize("path", [each for each in found if each])


def parameter(path, name):
    """A scenario as a test, or nothing; one that cannot be read fails when it is played."""
    text = path.read_bytes()
    ours = path.parent == SCENARIOS  # what looks like an ID elsewhere need not be one
    marks = [pytest.mark.requirement(*shown(text))] if ours else []
    try:
        parsed = scenario.parse(text)
    except scenario.ScenarioError:
        return pytest.param(path, id=name, marks=pytest.mark.wire)
    if parsed.simulated and name == path.stem:
        return None
    if parsed.server_options() or parsed.uses("urgent"):
        marks.append(pytest.mark.reference)
    elif parsed.uses(*PROCESS_STEPS):
        marks.append(pytest.mark.process)
    else:
        marks.append(pytest.mark.wire)
    return pytest.param(path, id=name, marks=marks)


def shown(text):
    """The requirements that a scenario's comments name."""
    comments = re.findall(rb"^#(.*)$", text, re.MULTILINE)
    return [found.decode() for found in re.findall(rb"\b[A-Z]+-[0-9]+\b", b" ".join(comments))]


def skip_if_not_meant(parsed, ours):
    if parsed.simulated:
        pytest.skip("it is for a simulated kernel alone")
    if parsed.server_options() and not ours:
        pytest.skip(f"only Touchstone's own server has --{next(iter(parsed.server_options()))}")
    if parsed.uses("urgent") and not ours:
        pytest.skip("another server may drop an urgent byte")


@pytest.fixture(scope="session")
def may_shed(request):
    """Whether newcomers may be closed for want of descriptors: not where REF-6 is asked for."""
    return not any(each.get_closest_marker("reference") for each in request.session.items)


def test_scenario(path, is_reference, may_shed, record, start_server):
    """What a scenario's clients must see, they see."""
    record.told = path.read_bytes()
    parsed = scenario.parse(record.told)
    skip_if_not_meant(parsed, is_reference)
    options = [f"--{name}={value}" for name, value in parsed.server_options().items()]
    play(parsed, start_server(*options), may_shed=may_shed)
