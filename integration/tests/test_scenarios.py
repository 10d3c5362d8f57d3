"""Every scenario that needs no simulated kernel, played over real sockets.

Each file says why it is there, and which requirement it shows; `--scenarios` names another folder
of them.
"""

import pathlib
import re

import pytest

from touchstone_conform import scenario
from touchstone_conform.player import play

SCENARIOS = pathlib.Path(__file__).parents[2] / "tests" / "scenarios"

# What a step needs beyond sockets; an urgent byte may be dropped by others than the reference.
PROCESS_STEPS = ("freeze", "thaw", "settle", "descriptors", "stop")


def pytest_generate_tests(metafunc):
    folder = pathlib.Path(metafunc.config.getoption("--scenarios") or SCENARIOS)
    found = [parameter(path) for path in sorted(folder.glob("*.scenario"))]
    metafunc.parametrize("path", [each for each in found if each])


def parameter(path):
    """A scenario as a test, or nothing; one that cannot be read fails when it is played."""
    text = path.read_bytes()
    marks = [pytest.mark.requirement(*shown(text))]
    try:
        parsed = scenario.parse(text)
    except scenario.ScenarioError:
        return pytest.param(path, id=path.stem, marks=pytest.mark.wire)
    if parsed.simulated:
        return None
    if parsed.server_options() or parsed.uses("urgent"):
        marks.append(pytest.mark.reference)
    elif parsed.uses(*PROCESS_STEPS):
        marks.append(pytest.mark.process)
    else:
        marks.append(pytest.mark.wire)
    return pytest.param(path, id=path.stem, marks=marks)


def shown(text):
    """The requirements that a scenario's comments name."""
    comments = re.findall(rb"^#(.*)$", text, re.MULTILINE)
    return [found.decode() for found in re.findall(rb"\b[A-Z]+-[0-9]+\b", b" ".join(comments))]


def skip_unless_ours(parsed, words):
    ours = any(word.startswith(("-l", "--listen")) for word in words)
    if parsed.server_options() and not ours:
        pytest.skip(f"only Touchstone's own server has --{next(iter(parsed.server_options()))}")
    if parsed.uses("urgent") and not ours:
        pytest.skip("another server may drop an urgent byte")


def test_scenario(path, server_words, start_server):
    """What a scenario's clients must see, they see."""
    parsed = scenario.parse(path.read_bytes())
    skip_unless_ours(parsed, server_words)
    options = [f"--{name}={value}" for name, value in parsed.server_options().items()]
    play(parsed, start_server(*options))
