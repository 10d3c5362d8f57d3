"""The specification and the tests agree: each has exactly what the other has."""

import re

import pytest
from touchstone_conform import spec
from touchstone_conform.cli.judging import SUITE
from touchstone_conform.plugin import requirements_of

SPEC = spec.SPEC.read_text(encoding="utf-8")

# The last number that was used in each topic: raised with a new requirement, never lowered.
USED = {
    "ECHO": 7,
    "CLOSE": 9,
    "FLOW": 8,
    "FAIR": 6,
    "MIX": 1,
    "COST": 6,
    "FAULT": 5,
    "LOG": 5,
    "STOP": 6,
    "START": 3,
    "REF": 18,
}


class Collected:
    """Collects the requirements of each test."""

    def __init__(self):
        self.ids = {}

    def pytest_collection_finish(self, session):
        self.ids = {item.nodeid: requirements_of(item) for item in session.items}


@pytest.fixture(scope="module")
def judged():
    """For each test its requirements."""
    collected = Collected()
    arguments = ["--collect-only", "-qq", "-p", "no:cacheprovider", "-p", "no:xdist"]
    arguments += ["-p", "touchstone_conform.plugin"]
    assert pytest.main([*arguments, str(SUITE)], plugins=[collected]) == 0
    return collected.ids


def test_every_test_judges_a_requirement(judged):
    """No test judges something else than a requirement."""
    assert [name for name, ids in judged.items() if not ids] == []


def test_every_requirement_is_judged(judged):
    """No requirement is without a test."""
    wanted = set(spec.read().requirements)
    assert wanted - {each for ids in judged.values() for each in ids} == set()


@pytest.mark.parametrize(
    "found, seeded, complaint",
    [
        ("### ECHO-2 (process)", "### ECHO-2 (proces)", r"SPEC.md:\d+: '### ECHO-2 \(proces\)'"),
        ("### ECHO-2 (process)", "### ECHO-1 (process)", r"ECHO-1"),
        ("MUST NOT depend on the locale", "must not depend on it", r"ECHO-2"),
        ("Tested by: the server run under a", "Look: the server run", r"'Look: "),
        ("\nWhy: TCP has no messages.\n", "\n", r"ECHO-4 .*'Why: …'"),
        ("Version ", "Draft ", r"Version"),
    ],
)
def test_an_error_is_reported(tmp_path, found, seeded, complaint):
    """An error in SPEC.md is reported with its line."""
    assert found in SPEC
    broken = tmp_path / "SPEC.md"
    broken.write_text(SPEC.replace(found, seeded, 1), encoding="utf-8")
    with pytest.raises(spec.SpecError, match=complaint):
        spec.read(broken)


def ids(text):
    """The IDs in the headings of a specification, in their order."""
    return re.findall(r"^### (\S+)", text, re.MULTILINE)


def test_no_id_is_lost():
    """An ID that was used once stays, so that it is never used again."""
    used = {f"{topic}-{n}" for topic, last in USED.items() for n in range(1, last + 1)}
    assert set(ids(SPEC)) == used


def test_a_withdrawn_requirement_is_not_judged(tmp_path):
    """Its heading only keeps the ID used."""
    changed = tmp_path / "SPEC.md"
    changed.write_text(SPEC.replace("### ECHO-2 (process)", "### ECHO-2 (withdrawn)", 1))
    found = spec.read(changed).requirements
    assert list(found) == [id for id in ids(SPEC) if id != "ECHO-2"]


def test_a_withdrawn_id_is_not_used_again(tmp_path):
    changed = tmp_path / "SPEC.md"
    withdrawn = SPEC.replace("### ECHO-2 (process)", "### ECHO-2 (withdrawn)", 1)
    changed.write_text(withdrawn.replace("### ECHO-3 (", "### ECHO-2 (", 1))
    with pytest.raises(spec.SpecError, match="ECHO-2"):
        spec.read(changed)


def test_an_unknown_requirement_is_refused(tmp_path):
    """A test with an ID that SPEC.md does not have is not run."""
    test = tmp_path / "test_seeded.py"
    test.write_text(
        "from touchstone_conform import marks\n\n\n"
        "@marks.requirement('ECHO-99')\ndef test_it():\n    pass\n"
    )
    plugins = ["-p", "no:cacheprovider", "-p", "touchstone_conform.plugin"]
    assert pytest.main(["-qq", *plugins, str(test)]) == pytest.ExitCode.USAGE_ERROR
