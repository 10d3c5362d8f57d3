"""--simulate: the server, unchanged, on a simulated kernel."""

import html
import shlex
import subprocess
import tempfile

import hatch_build
import pytest
from running import ROOT
from test_command import conform  # noqa: F401
from test_foundations import CONFORMS, DOES_NOT, USAGE
from touchstone_conform import simulation

BUILT = ROOT / "build" / "release" / "tests" / "under" / "broken"
JUDGED = ["--simulate", "-k", "CLOSE-2", "SIM"]
WAYS = [f"SIM-{i}" for i in range(1, 5)]


@pytest.fixture
def judge(conform, monkeypatch, tmp_path_factory):  # noqa: F811
    """Judges the C server of tests/under, in a style or with a mistake."""
    if not BUILT.exists():
        pytest.skip("tool: requires build/release/tests/under/broken")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    return lambda *how, asked=JUDGED: conform(*asked, "--", BUILT, "{port}", *how)


def test_a_server_without_a_mistake(judge, tmp_path, monkeypatch):
    """It leaves no folder for scenarios."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    status, output = judge("edges")
    assert "simulated: conforms (4 pass)" in output
    assert status == CONFORMS
    assert not list(tmp_path.glob("touchstone-conform-*"))


@pytest.mark.parametrize(
    "mistake, told",
    [
        ("abort-without-registration", "server-died: fault control "),
        ("short-write-resumed-wrong", "wrong-byte: client a"),  # whether a call fails or not
    ],
)
def test_a_mistake_and_its_replay(judge, mistake, told):
    """The command that is shown shows it again."""
    status, output = judge("level", mistake, asked=["--simulate", "--only", "SIM-3"])
    assert status == DOES_NOT
    assert "FAIL    SIM-3" in output and told in output
    replays = [line.partition("replay: ")[2] for line in output.splitlines() if "replay: " in line]
    replays = [each for each in replays if "--under" in each]
    assert replays
    for each in replays:
        again = subprocess.run(shlex.split(each), capture_output=True, text=True)
        assert again.returncode == 1 and "FAILED" in again.stdout, again


def test_one_mistake_fails_one_requirement(judge, tmp_path):
    """The others are blocked, and take no time."""
    asked = [*JUDGED, "--report", tmp_path]
    output = judge("level", "short-write-resumed-wrong", asked=asked)[1]
    assert "simulated: does not conform (1 fail, 3 blocked)" in output
    assert "blocked SIM-4    blocked by SIM-1" in output
    page = html.unescape((tmp_path / "index.html").read_text(encoding="utf-8"))
    (replay,) = (line.partition("replay: ")[2] for line in output.splitlines() if "replay:" in line)
    assert replay in page and "--simulate --only SIM-1" in page


def test_a_random_scenario_stays_in_the_report(judge, tmp_path):
    """SIM-4 alone: what it drew is shrunk, and lies beside the report."""
    asked = ["--simulate", "--only", "SIM-4", "--report", tmp_path]
    status, output = judge("level", "short-write-resumed-wrong", asked=asked)
    assert status == DOES_NOT and "CLOSE-2" not in output
    drawn = tmp_path / "scenarios" / "SIM-4.scenario"
    assert "--under" in drawn.read_text(encoding="utf-8").splitlines()[2]
    assert str(drawn) in output


@pytest.mark.parametrize("profile, verdict", [("process", CONFORMS), ("service", DOES_NOT)])
def test_a_stop(judge, profile, verdict):
    """It is judged with the service profile alone; below, a server may end as it likes."""
    asked = ["--simulate", "--only", "SIM-1", "--profile", profile]
    assert judge("level", "stop-drops-the-backlog", asked=asked)[0] == verdict


def test_without_simulate(conform):  # noqa: F811
    status, output = conform("--only", "SIM-1", "--", BUILT, "{port}")
    assert status == USAGE and "SIM-1" in output


def test_a_call_that_is_not_modelled(judge):
    """It gives no verdict."""
    status, output = judge("level", "duplicated-descriptor")
    assert "simulated: not judged (4 skip): unsupported: dup" in output
    assert status == CONFORMS


@pytest.mark.parametrize("compiler", ["/no/such/compiler", "false"])
def test_no_compiler(judge, monkeypatch, tmp_path, compiler):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    status, output = judge("level")
    assert "simulated: not judged (4 skip): tool: " in output
    assert status == CONFORMS
    assert not list(tmp_path.glob("*/*"))


def test_no_compiler_where_nothing_may_be_skipped(judge, monkeypatch):
    monkeypatch.setenv("CC", "/no/such/compiler")
    status, output = judge("level", asked=["--simulate", "--only", "SIM-1", "--require-all"])
    assert status == DOES_NOT and "unexpected-skip: " in output


def test_another_mapping(judge, conform):  # noqa: F811
    status, output = conform("--transform", "identity", *JUDGED, "--", BUILT, "{port}", "level")
    assert "(4 skip): not-offered: " in output


def test_bad_usage(conform):  # noqa: F811
    status, output = conform("--simulate", "--address", "127.0.0.1:1")
    assert status == USAGE and "--simulate" in output


def test_the_sources_are_complete():
    """All that is compiled is in the package as well: hatch_build.py has the same folders."""
    packaged = {path for each in hatch_build.SIMULATOR for path in ROOT.glob(each)}
    every = [*simulation._PROGRAM, *simulation._LIBRARY, *simulation._HEADERS]
    assert [each for each in simulation._files(every) if each not in packaged] == []
