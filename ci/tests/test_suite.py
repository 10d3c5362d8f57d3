"""ci/test itself: steps side by side, failures, time limits, and going on where it was."""

import os
import sys
import time

import pytest
from lib import plan, suite, tree


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Logs and results of these steps lie in a folder of their own."""
    monkeypatch.setattr(tree, "BUILD", tmp_path)
    monkeypatch.setattr(tree, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(suite, "STATE", tmp_path / "passed.json")
    monkeypatch.setattr(suite, "_state", lambda: "state")
    (tmp_path / "results").mkdir()


def python(code):
    return f"{sys.executable} -c '{code}'"


def run(*steps, limit_s=60, resume=False):
    ran = suite.Suite(list(steps), limit_s, resume)
    good = ran.run()
    return good, {each.step.name: each for each in ran.results}


def test_a_step_that_fails_does_not_keep_others_from_running(capsys):
    bad, good = plan.Step("bad", python("raise SystemExit(1)")), plan.Step("good", python("1"))
    passed, results = run(bad, good)
    assert not passed and results["bad"].failed and not results["good"].failed
    assert capsys.readouterr().out.endswith("\n1 passed, 1 failed, 0 skipped\n")


def test_a_step_that_does_not_end_is_ended_and_fails():
    passed, results = run(plan.Step("slow", python("import time; time.sleep(60)")), limit_s=0.2)
    assert not passed and results["slow"].seconds < 30


def test_two_steps_run_side_by_side(tmp_path):
    wait = (
        "import pathlib, sys, time; here = pathlib.Path(sys.argv[1]);"
        " (here / sys.argv[2]).touch(); deadline = time.monotonic() + 30\n"
        "while not (here / sys.argv[3]).exists():\n"
        "    assert time.monotonic() < deadline; time.sleep(0.01)"
    )
    script = tmp_path / "wait.py"
    script.write_text(wait)
    first = plan.Step("first", f"{sys.executable} {script} {tmp_path} a b")
    second = plan.Step("second", f"{sys.executable} {script} {tmp_path} b a")
    assert run(first, second)[0]


def test_results_that_cannot_be_read_are_a_failure(tmp_path):
    code = "import os; open(os.environ[\"JUNIT\"], \"w\").write(\"<testsuite>\")"
    passed, results = run(plan.Step("cut", python(code)))
    assert not passed and results["cut"].failed


def test_an_interrupt_ends_the_steps(tmp_path):
    """Ctrl-C reaches the verb; its steps have sessions of their own, and are ended by it."""
    mark = tmp_path / "pid"
    code = (
        "import os, signal, time; "
        f"open(\"{mark}\", \"w\").write(str(os.getpid())); "
        f"os.kill({os.getpid()}, signal.SIGINT); time.sleep(60)"
    )
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(plan.Step("long", python(code)))
    assert time.monotonic() - begin < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    mark = tmp_path / "ran"
    once = plan.Step("once", python(f"open(\"{mark}\", \"a\").write(\"x\")"))
    for _ in range(2):
        assert run(once, resume=True)[0]
    assert mark.read_text() == "x"


def test_a_full_run_has_every_step_and_a_short_one_a_sample():
    full, short = ({step.name for step in plan.steps(mode)[0]} for mode in ("full", "test"))
    assert short < full
    assert len(full - short) == len(plan.ROTATING) - plan.ROTATED + len(plan.FULL_ALONE)
