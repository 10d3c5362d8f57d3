"""The kill matrix, and that it is noticed where a line of it is wrong or missing."""

import signal

import judged
import kills
import pytest
from judged import TooSlow, defects, failing, server_command

from touchstone_conform import spec

REQUIREMENTS = spec.read().requirements
LISTED = kills.read(kills.KILLS, REQUIREMENTS)
REASONS = kills.read_reasons(kills.REASONS, REQUIREMENTS)
ALONE = [name for names in kills.alone(LISTED).values() for name in names]
WITH_OTHERS = [name for name in LISTED if name not in [*ALONE, "one-run-of-ten"]]

# A matrix in which each MUST has a broken server of its own.
WHOLE = {f"breaks-{id}": [id] for id in kills.musts(REQUIREMENTS)}


def expect_as_listed(name):
    failed, skipped = failing(server_command(name), LISTED[name], jobs=2)
    assert kills.differences(name, LISTED[name], failed, skipped) == []


@pytest.mark.parametrize("name", ALONE)
def test_what_fails_alone(name):
    """Of all requirements the tests of one alone fail on this server."""
    expect_as_listed(name)


@pytest.mark.parametrize("name", WITH_OTHERS)
def test_what_fails_with_others(name):
    """The whole kit fails on a broken server as its line says."""
    expect_as_listed(name)


def test_every_broken_server_has_a_line():
    assert list(LISTED) == defects()


def test_every_must_has_a_broken_server_of_its_own():
    """Or it is said why it has none."""
    assert kills.complaints(REQUIREMENTS, LISTED, REASONS) == []


def test_a_whole_matrix_has_no_complaint():
    assert kills.complaints(REQUIREMENTS, WHOLE, {}) == []


@pytest.mark.parametrize("id", kills.musts(REQUIREMENTS))
def test_a_line_that_is_missing_is_noticed(id):
    """Without its broken server a MUST needs a reason, and one is enough."""
    lacking = {name: ids for name, ids in WHOLE.items() if ids != [id]}
    complaint = f"{id}: no broken server fails it alone, and no reason is given"
    assert kills.complaints(REQUIREMENTS, lacking, {}) == [complaint]
    assert kills.complaints(REQUIREMENTS, lacking, {id: "as is known"}) == []


@pytest.mark.parametrize("ids", [[], ["ECHO-3?"], ["ECHO-1", "ECHO-3"], ["ECHO-1?", "ECHO-3"]])
def test_only_one_that_fails_alone_counts(ids):
    """Neither one that fails at times, nor one that fails with others."""
    matrix = {**WHOLE, "breaks-ECHO-3": ids}
    assert len(kills.complaints(REQUIREMENTS, matrix, {})) == 1


@pytest.mark.parametrize("id", ["ECHO-3", "ECHO-7", "MIX-1", "REF-1"])
def test_a_needless_reason_is_noticed(id):
    """Of what has a broken server of its own, is no MUST, is disregarded, or is the reference's."""
    assert len(kills.complaints(REQUIREMENTS, WHOLE, {id: "as is known"})) == 1


@pytest.mark.parametrize(
    "listed, failed, skipped, said",
    [
        (["ECHO-1", "ECHO-3"], {"ECHO-1", "ECHO-3"}, set(), []),
        (["ECHO-1"], {"ECHO-1", "ECHO-3"}, set(), ["x: ECHO-3 fails, and is not listed"]),
        (["ECHO-1", "ECHO-3"], {"ECHO-1"}, set(), ["x: ECHO-3 passes, but is listed"]),
        (["ECHO-1", "ECHO-3"], {"ECHO-1"}, {"ECHO-3"}, []),
        (["ECHO-1", "ECHO-3?"], {"ECHO-1"}, set(), []),
        (["ECHO-1", "ECHO-3?"], {"ECHO-1", "ECHO-3"}, set(), []),
    ],
)
def test_a_wrong_line_is_noticed(listed, failed, skipped, said):
    """What was not judged, and what fails at times, may be either."""
    assert kills.differences("x", listed, failed, skipped) == said


@pytest.mark.parametrize(
    "read, text, complaint",
    [
        (kills.read, "a  ECHO-99\n", r"file:1: 'ECHO-99', expected an ID of SPEC.md"),
        (kills.read, "# so\n\na  ECHO-1\na  ECHO-1\n", r"file:4: a is there twice, expected one"),
        (kills.read_reasons, "ECHO-99  so\n", r"file:1: 'ECHO-99', expected an ID of SPEC.md"),
        (kills.read_reasons, "ECHO-1  so\nECHO-1  so\n", r"file:2: 'ECHO-1', .* each once"),
        (kills.read_reasons, "# so\nECHO-1\n", r"file:2: ECHO-1 alone, expected the reason too"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, read, text, complaint):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(kills.KillsError, match=complaint):
        read(path, REQUIREMENTS)


@pytest.mark.parametrize(
    "expected, again, failed",
    [
        (["ECHO-1"], {"ECHO-3"}, {"ECHO-1", "ECHO-3"}),
        (["ECHO-1"], set(), {"ECHO-1"}),
        (["ECHO-1?", "ECHO-3"], None, {"ECHO-1", "ECHO-3"}),
    ],
)
def test_what_is_not_expected_is_seen_again(monkeypatch, expected, again, failed):
    """With the usual patience, and that alone; what fails no more does not count."""
    asked = []

    def verdicts(command, requirements, patience, jobs):
        asked.append((set(requirements), patience))
        return ({"ECHO-1", "ECHO-3"} if len(asked) == 1 else set(again)), set()

    monkeypatch.setattr(judged, "verdicts", verdicts)
    assert failing(server_command(), expected) == (failed, set())
    assert asked[1:] == ([] if again is None else [({"ECHO-3"}, judged.PATIENCE_S)])


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_who_is_not_judged_in_time_is_told(handler):
    """Also where SIGINT is ignored, as in a shell's background."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(TooSlow, match="not judged within 1 s"):
            failing(server_command(), limit_s=1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_is_written_can_be_read(tmp_path):
    """In the order of the servers and of SPEC.md."""
    path = tmp_path / "kills"
    kills.write(path, {"b": ["FLOW-1", "ECHO-1?"], "a": []}, ["a", "b", "c"], REQUIREMENTS)
    assert list(kills.read(path, REQUIREMENTS).items()) == [("a", []), ("b", ["ECHO-1?", "FLOW-1"])]
