"""The kill matrix, and that it is noticed where a line of it is wrong."""

import signal

import kills
import pytest
from judged import TooSlow, failing, server_command

from touchstone_conform import spec

REQUIREMENTS = spec.read().requirements
LISTED = kills.read(kills.KILLS, REQUIREMENTS)


@pytest.mark.parametrize("name", LISTED)
def test_kills_are_as_listed(name):
    """The whole kit fails on a broken server as its line says."""
    failed, skipped = failing(server_command(name))
    assert kills.differences(name, LISTED[name], failed, skipped) == []


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
    "text, complaint",
    [
        ("a  ECHO-99\n", r"kills:1: 'ECHO-99', expected an ID of SPEC.md"),
        ("# so\n\na  ECHO-1\na  ECHO-1\n", r"kills:4: a is there twice, expected one line"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, complaint):
    path = tmp_path / "kills"
    path.write_text(text)
    with pytest.raises(kills.KillsError, match=complaint):
        kills.read(path, REQUIREMENTS)


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
