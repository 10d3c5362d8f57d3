"""The kill matrix: its lines, and that a wrong or missing line is found."""

import argparse

import judge
import kill_matrix
import pytest
from touchstone_conform import spec

REQUIREMENTS = spec.read().requirements
LISTED = kill_matrix.read(kill_matrix.KILLS, REQUIREMENTS)
REASONS = kill_matrix.read_reasons(kill_matrix.REASONS, REQUIREMENTS)
ALONE = [name for names in kill_matrix.alone(LISTED).values() for name in names]
WITH_OTHERS = [name for name in LISTED if name not in [*ALONE, "one-run-of-ten"]]
SERVERS = {each.name: each for each in judge.broken()}

# A matrix in which each MUST has a broken server of its own.
WHOLE = {f"breaks-{id}": [id] for id in kill_matrix.musts(REQUIREMENTS)}


def expect_as_listed(name, folder):
    options = argparse.Namespace(jobs=2, fix=False)
    result = judge.KillMatrix().judge(SERVERS[name], folder, options)
    assert result.outcome == judge.PASSED, result.summary + result.output


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ALONE)
def test_server_that_fails_one_requirement(name, tmp_path):
    """Only the tests of one requirement fail on this server."""
    expect_as_listed(name, tmp_path)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", WITH_OTHERS)
def test_server_that_fails_several_requirements(name, tmp_path):
    """The tests fail on a broken server as its line lists."""
    expect_as_listed(name, tmp_path)


def test_every_broken_server_has_a_line():
    assert list(LISTED) == [name for name in SERVERS if name != judge.CONFORMING]


def test_every_must_has_a_broken_server_of_its_own():
    """Or a reason why not."""
    assert kill_matrix.complaints(REQUIREMENTS, LISTED, REASONS) == []


def test_a_whole_matrix_has_no_complaint():
    assert kill_matrix.complaints(REQUIREMENTS, WHOLE, {}) == []


@pytest.mark.parametrize("id", kill_matrix.musts(REQUIREMENTS))
def test_a_missing_line_is_found(id):
    """Without its broken server a MUST needs a reason."""
    lacking = {name: ids for name, ids in WHOLE.items() if ids != [id]}
    (complaint,) = kill_matrix.complaints(REQUIREMENTS, lacking, {})
    assert complaint.startswith(f"{id}: ")
    assert kill_matrix.complaints(REQUIREMENTS, lacking, {id: "as is known"}) == []


@pytest.mark.parametrize("ids", [[], ["ECHO-3?"], ["ECHO-1", "ECHO-3"], ["ECHO-1?", "ECHO-3"]])
def test_only_a_certain_single_failure_counts(ids):
    """Neither a failure in some runs only, nor one together with others."""
    matrix = {**WHOLE, "breaks-ECHO-3": ids}
    assert len(kill_matrix.complaints(REQUIREMENTS, matrix, {})) == 1


@pytest.mark.parametrize("id", ["ECHO-3", "ECHO-7", "MIX-1", "REF-1"])
def test_a_needless_reason_is_found(id):
    """For a requirement with a broken server, a SHOULD, one left out, and one of the reference."""
    assert len(kill_matrix.complaints(REQUIREMENTS, WHOLE, {id: "as is known"})) == 1


@pytest.mark.parametrize(
    "listed, failed, skipped, wrong",
    [
        (["ECHO-1", "ECHO-3"], {"ECHO-1", "ECHO-3"}, set(), []),
        (["ECHO-1"], {"ECHO-1", "ECHO-3"}, set(), ["ECHO-3"]),
        (["ECHO-1", "ECHO-3"], {"ECHO-1"}, set(), ["ECHO-3"]),
        (["ECHO-1", "ECHO-3"], {"ECHO-1"}, {"ECHO-3"}, []),
        (["ECHO-1", "ECHO-3?"], {"ECHO-1"}, set(), []),
        (["ECHO-1", "ECHO-3?"], {"ECHO-1", "ECHO-3"}, set(), []),
    ],
)
def test_a_wrong_line_is_found(listed, failed, skipped, wrong):
    """A skipped requirement, and one that fails in some runs only, may pass or fail."""
    found = kill_matrix.differences("x", listed, failed, skipped)
    assert [each.split()[1] for each in found] == wrong


@pytest.mark.parametrize(
    "read, text, line",
    [
        (kill_matrix.read, "a  ECHO-99\n", 1),
        (kill_matrix.read, "# so\n\na  ECHO-1\na  ECHO-1\n", 4),
        (kill_matrix.read_reasons, "ECHO-99  so\n", 1),
        (kill_matrix.read_reasons, "ECHO-1  so\nECHO-1  so\n", 2),
        (kill_matrix.read_reasons, "# so\nECHO-1\n", 2),
    ],
)
def test_a_bad_file_is_refused(tmp_path, read, text, line):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(kill_matrix.KillMatrixError, match=f"^file:{line}: "):
        read(path, REQUIREMENTS)


@pytest.mark.parametrize(
    "expected, again, failed",
    [
        (["ECHO-1"], {"ECHO-3"}, {"ECHO-1", "ECHO-3"}),
        (["ECHO-1"], set(), {"ECHO-1"}),
        (["ECHO-1?", "ECHO-3"], None, {"ECHO-1", "ECHO-3"}),
    ],
)
def test_an_unlisted_failure_must_occur_again(monkeypatch, tmp_path, expected, again, failed):
    """With the usual timeout; only the tests that failed run again."""
    asked = []

    def run(self, server, folder, limit_s, *options):
        asked.append(options)
        return ({"ECHO-1", "ECHO-3"} if len(asked) == 1 else set(again)), set()

    monkeypatch.setattr(judge.KillMatrix, "_run", run)
    matrix = judge.KillMatrix()
    matrix.listed = {"x": expected}
    assert matrix.verdicts(judge.Server("x", []), tmp_path, 2) == (failed, set())
    assert "--client-timeout" in asked[0]
    profile = ("--profile", "service")
    assert asked[1:] == ([] if again is None else [("--jobs", 2, *profile, "--only", "ECHO-3")])


def test_a_server_that_is_not_judged_in_time(tmp_path):
    """The kit is interrupted, and no verdict follows."""
    with pytest.raises(judge.NotJudged):
        judge.KillMatrix().verdicts(SERVERS[judge.CONFORMING], tmp_path, 1, limit_s=1)


def test_a_written_matrix_can_be_read(tmp_path):
    """In the order of the servers and of SPEC.md."""
    path = tmp_path / "kills"
    kill_matrix.write(path, {"b": ["FLOW-1", "ECHO-1?"], "a": []}, ["a", "b", "c"], REQUIREMENTS)
    read = kill_matrix.read(path, REQUIREMENTS)
    assert list(read.items()) == [("a", []), ("b", ["ECHO-1?", "FLOW-1"])]
