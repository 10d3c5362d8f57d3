"""Every scenario that needs no simulated kernel, run over real sockets.

Each file says its purpose and the requirements it shows; `--touchstone-scenarios` selects others.
"""

import pathlib
import re

import pytest

from touchstone_conform import marks
from touchstone_conform.foundations import STREAM_FROM
from touchstone_conform.harness.skips import NotRequired
from touchstone_conform.scenario import language
from touchstone_conform.scenario.runner import run
from touchstone_conform.spec import SCENARIOS

# Steps that need more than sockets.
# What a scenario depends on beside the end of its clients by FIN, by its steps.
LEANS_ON = {
    "send": ["bytes"],
    "reset": ["reset"],
    "urgent": ["urgent"],
    "pause": ["resume"],
    "freeze": ["interrupt"],
    "stop": ["stop"],
    "descriptors": ["release", "exhausted"],
}
PROCESS_STEPS = ("freeze", "thaw", "settle", "descriptors")


def pytest_generate_tests(metafunc):
    found = []
    given = metafunc.config.getoption("--touchstone-scenarios") or [SCENARIOS]
    for each in map(pathlib.Path, given):
        if each.is_dir():
            found += [parameter(path, path.stem) for path in sorted(each.glob("*.scenario"))]
        else:
            found.append(parameter(each, str(each)))
    metafunc.parametrize("path", [each for each in found if each])


def parameter(path, name):
    """A scenario as a test, or None; one that cannot be read fails when it is run."""
    text = path.read_bytes()
    ours = path.parent == SCENARIOS  # in other files, what looks like an ID may not be one
    chosen = [marks.requirement(*shown(text))] if ours else []
    try:
        parsed = language.parse(text)
    except language.ScenarioError:
        return pytest.param(path, id=name, marks=marks.wire)
    if parsed.simulated and name == path.stem:
        return None
    chosen.append(marks.leans_on(*leanings(parsed)))
    if parsed.server_options() or parsed.uses("urgent"):
        chosen.append(marks.reference)
    elif parsed.uses("stop"):
        chosen.append(marks.service)
    elif parsed.uses(*PROCESS_STEPS):
        chosen.append(marks.process)
    else:
        chosen.append(marks.wire)
    return pytest.param(path, id=name, marks=chosen)


def leanings(parsed):
    """The foundations without which its clients cannot do or see what the scenario expects."""
    names = ["fin", "farewell", "data-and-fin"]
    names += [name for step in LEANS_ON if parsed.uses(step) for name in LEANS_ON[step]]
    names += ["neighbours"] * (len(parsed.names) > 1)
    may_wait = parsed.uses("freeze", "descriptors")  # to be accepted
    names += ["backlog"] * (may_wait and parsed.uses("reset"))
    return names + ["stream"] * any(step.count > STREAM_FROM for step in parsed.steps)


def shown(text):
    """The requirements that a scenario's comments name."""
    comments = re.findall(rb"^#(.*)$", text, re.MULTILINE)
    return [found.decode() for found in re.findall(rb"\b[A-Z]+-[0-9]+\b", b" ".join(comments))]


def skip_unless_applicable(parsed, ours):
    if parsed.simulated:
        raise NotRequired("a simulated kernel")
    if parsed.server_options() and not ours:
        raise NotRequired(f"a server with the option --{next(iter(parsed.server_options()))}")
    if parsed.uses("urgent") and not ours:
        raise NotRequired("Touchstone's own server: others may drop an urgent byte")


@pytest.fixture(scope="session")
def may_shed(request):
    """Whether new connections may be closed when descriptors are exhausted: not under REF-6."""
    reference = f"{marks.PREFIX}reference"
    return not any(each.get_closest_marker(reference) for each in request.session.items)


def test_scenario(path, is_reference, may_shed, record, start_server):
    """The clients of a scenario see what it expects."""
    record.replayed = path.read_bytes()
    parsed = language.parse(record.replayed)
    skip_unless_applicable(parsed, is_reference)
    options = [f"--{name}={value}" for name, value in parsed.server_options().items()]
    run(parsed, start_server(*options), may_shed=may_shed)
