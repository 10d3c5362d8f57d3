"""judge.py: unexpected results, servers that cannot be judged, and usage."""

import argparse
import contextlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import conftest
import judge
import pytest
from running import INTEGRATION, ROOT, server_command
from test_own_trouble import is_there
from touchstone_conform.harness.waiting import wait_until

OPTIONS = argparse.Namespace(jobs=1, repeat=1, smoke=False, fix=False)


def judged(folder, **server):
    """The result for a server of which only ECHO-6 is judged."""
    server.setdefault("start", server_command())
    made = judge.Server("x", options=["-k", "ECHO-6"], **server)
    return judge.judge(made, folder, OPTIONS)


def test_a_conforming_server(tmp_path):
    assert judged(tmp_path).outcome == judge.PASSED
    assert (tmp_path / "report.json").exists()


def test_a_failure_that_is_not_listed(tmp_path):
    result = judged(tmp_path, start=server_command("banner"))
    assert result.outcome == judge.FAILED
    assert "FAIL    ECHO-6" in result.output


@pytest.mark.parametrize(
    "defect, listed, outcome",
    [
        ("farewell", "ECHO-6 unasked-data", judge.PASSED),
        ("farewell", "ECHO-6 wrong-byte", judge.FAILED),
        (None, "ECHO-6 unasked-data", judge.FAILED),
    ],
)
def test_a_list_of_expected_failures(tmp_path, defect, listed, outcome):
    expected = tmp_path / "expected-failures"
    expected.write_text(f"{listed}\n")
    result = judged(tmp_path, start=server_command(defect), expected=expected)
    assert result.outcome == outcome, result.output


def test_what_changes_a_server_in_python_does_not_reach_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    names = "import os; print([name for name in os.environ if name.startswith('PYTHON')])"
    monkeypatch.setattr(judge, "KIT", [sys.executable, "-c", names])
    server = judge.Server("any", [])
    assert judge.run_kit(server, tmp_path) == (0, "[]\n")


def test_a_tool_that_is_not_installed(tmp_path):
    need = ("toolchain", [str(tmp_path / "no-such-tool")], (1, 0))
    ready, results = judge.prepared([judge.Server("x", [], needs=[need])], tmp_path)
    assert (ready, [each.outcome for each in results]) == ([], [judge.SKIPPED])
    assert "toolchain" in results[0].summary


def test_a_tool_that_is_too_old():
    need = ("python", [sys.executable, "--version"], (99, 0))
    assert "99.0" in judge.lacking(judge.Server("x", [], needs=[need]))


def test_a_server_that_cannot_be_built(tmp_path):
    fails = [sys.executable, "-c", "raise SystemExit('no')"]
    ready, results = judge.prepared([judge.Server("x", [], build=[fails])], tmp_path)
    assert (ready, [each.outcome for each in results]) == ([], [judge.FAILED])


# Third-party servers.


STANZA = """
[x]
language = C
packages = {package}
example = example.md
program = main.c
edit =
    /^```c/,/^```$/!d
    /^```/d
    s/7000/PORT/
build = test -e main.c
command = {{here}}/server {{port}}
"""


@pytest.fixture
def stanza(tmp_path, monkeypatch):
    """A function that reads a stanza of a package at hand."""
    monkeypatch.setattr(judge.manifest, "BUILT", tmp_path / "built")
    monkeypatch.setitem(judge.manifest.KINDS, "local", lambda here, packages: tmp_path)

    def read(package="local example 1.2"):
        path = tmp_path / "servers.ini"
        path.write_text(STANZA.format(package=package))
        return judge.manifest.stanzas(path)["x"]

    return read


def test_the_block_of_a_readme_is_built(stanza, tmp_path):
    (tmp_path / "example.md").write_text("Text\n```c\nlisten(7000);\n```\nmore\n")
    judge.manifest.build(stanza())
    assert (stanza().folder / "main.c").read_text() == "listen(PORT);\n"
    assert stanza().command == [f"{stanza().folder}/server", "{port}"]
    assert stanza().title == "x 1.2 (C)"


def test_an_example_without_its_block(stanza, tmp_path):
    """As when another version of the package says it in another way."""
    (tmp_path / "example.md").write_text("Text\n")
    with pytest.raises(judge.manifest.BuildFails):
        judge.manifest.build(stanza())


@pytest.mark.parametrize("package", ["apt no-such-package 1", "apt dpkg 0.1"])
def test_a_package_that_is_not_to_be_had(stanza, package):
    """It is absent, or another version is there."""
    if not shutil.which("dpkg-query"):
        pytest.skip("tool: requires dpkg")
    with pytest.raises(judge.manifest.Unavailable, match=package.split()[1]):
        judge.manifest.build(stanza(package))


def test_a_server_that_is_not_to_be_had_is_skipped(tmp_path):
    script = f"print('no such version'); raise SystemExit({judge.manifest.UNAVAILABLE})"
    server = judge.Server("x", [], build=[[sys.executable, "-c", script]])
    ready, results = judge.prepared([server], tmp_path)
    assert ready == []
    assert [(each.outcome, each.summary) for each in results] == [
        (judge.SKIPPED, "no such version")
    ]


def test_toolchains_and_lists_of_third_party_servers():
    """Every one that is named exists; every list is of a server."""
    stanzas = judge.manifest.stanzas()
    assert {tool for each in stanzas.values() for tool in each.toolchain} <= set(judge.TOOLCHAINS)
    known = INTEGRATION / "third_party" / "known"
    assert {each.name for each in known.iterdir()} == set(stanzas)


def test_a_page_that_cannot_be_drawn(tmp_path):
    bad = tmp_path / "report.json"
    bad.write_text("{}")
    assert judge.draw([bad], tmp_path / "report.html").outcome == judge.FAILED


def test_junit(tmp_path):
    results = [judge.Result("a", judge.PASSED), judge.Result("b", judge.FAILED, "why")]
    judge.write_junit(tmp_path / "x.xml", "ports", results)
    passed, failed = ElementTree.parse(tmp_path / "x.xml").getroot()
    assert list(passed) == []
    assert failed.find("failure").get("message") == "why"


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["frob"], "'frob'"),
        (["ports", "frob"], "'frob'"),
        (["ports", "--frob"], "--frob"),
        (["ports", "--sample", "0", "1"], "--sample"),
        (["ports", "--fix"], "--fix"),
        (["broken", "--smoke"], "--smoke"),
    ],
)
def test_bad_usage(capfd, arguments, named):
    """One line that names what was wrong, and status 2."""
    with pytest.raises(SystemExit) as ended:
        judge.parse(arguments)
    assert ended.value.code == 2
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and named in printed.err


def words_of(pid):
    """Of its command line; none once it has ended."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def test_a_signal_ends_the_kits():
    """And they end their servers."""
    running = subprocess.Popen(
        [sys.executable, judge.__file__, "broken", "banner"], stdout=subprocess.DEVNULL
    )

    def kits():
        tasks = pathlib.Path(f"/proc/{running.pid}/task").glob("*/children")
        children = [int(pid) for each in tasks for pid in each.read_text().split()]
        return [each for each in children if "touchstone_conform" in words_of(each)]

    try:
        started = wait_until(kits, 60)
        running.terminate()
        assert running.wait(60) == 130
        assert started and not any(map(is_there, started))
    finally:
        running.kill()


def test_a_kit_that_starts_during_an_interrupt_ends(tmp_path, monkeypatch):
    """It was not listed yet when the signal came."""
    interrupted = threading.Event()
    interrupted.set()
    monkeypatch.setattr(judge, "INTERRUPTED", interrupted)
    monkeypatch.setattr(judge, "KIT", [sys.executable, "-c", "import time; time.sleep(600)"])
    server = SimpleNamespace(options=[], own_network=False, start=["./server"])
    status, _ = judge.run_kit(server, tmp_path, limit_s=10)
    assert status not in (None, 0)


@pytest.mark.parametrize("group", judge.GROUPS)
def test_every_server_of_a_group_is_unique(group):
    names = [each.name for each in judge.GROUPS[group]()]
    assert names and len(set(names)) == len(names)


def test_names_may_follow_options():
    options = judge.parse(["broken", "--jobs", "1", "banner", "--fix", "farewell"])
    assert options.fix and options.names == ["banner", "farewell"]


def test_samples_one_after_the_other_are_all_servers():
    every = len(judge.GROUPS["ports"]())
    found = [judge.parse(["ports", "--sample", "2", str(k)]).servers for k in range(0, every, 2)]
    assert all(len(each) == 2 for each in found)
    assert len({server.name for each in found for server in each}) == every


def test_two_samples_of_the_kits_tests_are_all_that_start_it():
    """But for those that are sampled otherwise: by both, some would never run."""
    names = ["test_json", "test_documented_limits", "test_page", "test_help"]
    module = SimpleNamespace(__name__="test_foundations")
    tests = [SimpleNamespace(module=module, originalname=name) for name in names]
    left_out = [conftest.every_second(tests, first) for first in (7, 8)]
    found = sorted(each.originalname for each in sum(left_out, []))
    assert found == ["test_help", "test_json", "test_page"]


# action.yml


def step_of_action():
    """The script of the step that judges."""
    text = (INTEGRATION / "action.yml").read_text(encoding="utf-8")
    step = text.partition("name: judge the server\n")[2].partition("run: |\n")[2]
    return step.partition("\n    - ")[0]


def run_action(folder, command, options):
    """The exit status of the step that judges, with these inputs."""
    given = {"RUNNER_TEMP": str(folder), "COMMAND": command, "OPTIONS": options}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step_of_action()],
        cwd=folder,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("defect, status", [("", 0), (" --defect banner", 1)])
def test_the_action_judges(tmp_path, defect, status):
    (tmp_path / "touchstone").symlink_to(sys.prefix)
    server = shlex.join([sys.executable, str(INTEGRATION / "broken" / "server.py")])
    command = f"{server} --port {{port}}{defect}"
    assert run_action(tmp_path, command, "--smoke -k ECHO-6").returncode == status
    assert (tmp_path / "touchstone-report" / "report.json").exists()


@pytest.mark.parametrize(
    "options", ["--smoke -k ECHO-6", "--smoke\n-k ECHO-6\n", "\n  --smoke\n\n  -k\n  ECHO-6", ""]
)
def test_the_action_passes_every_line_of_options(tmp_path, options):
    """Blanks and ends of lines separate arguments; no pattern is expanded."""
    program = tmp_path / "touchstone" / "bin" / "touchstone-conform"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >arguments\n')
    program.chmod(0o755)
    assert run_action(tmp_path, "./server\n * {port}", options).returncode == 0
    passed = (tmp_path / "arguments").read_text().splitlines()
    given = options.split()
    assert passed == ["--report", "touchstone-report", *given, "--", "./server", "*", "{port}"]


# The vectors in the Rust port.

RUST = next(each for each in judge.ports() if each.name == "rust")


@pytest.mark.skipif(bool(judge.lacking(RUST)), reason=judge.lacking(RUST))
def test_a_wrong_module_of_the_rust_port(tmp_path):
    """A module that decides otherwise than the reference fails its vectors."""
    copy = tmp_path / "integration" / "ports"
    for name in ("rust", "naive"):
        shutil.copytree(INTEGRATION / "ports" / name, copy / name)
    shutil.copytree(ROOT / "tests" / "vectors", tmp_path / "tests" / "vectors")
    module = copy / "rust" / "src" / "main.rs"
    right = "Err(ErrorKind::WouldBlock | ErrorKind::Interrupted)"
    text = module.read_text(encoding="utf-8")
    assert right in text
    module.write_text(text.replace(right, "Err(ErrorKind::WouldBlock)"), encoding="utf-8")
    own = ["--target-dir", str(ROOT / "build" / "ports" / "seeded")]  # a cache of its own
    tests = ["cargo", "test", "--locked", *own, "--bin", "port-rust"]
    done = subprocess.run(tests, cwd=copy / "rust", capture_output=True, text=True)
    assert done.returncode != 0
    assert "outcome_says_what_the_reference_says" in done.stdout
