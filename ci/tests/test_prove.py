"""What is made of Eva's verdicts: each complaint once, and silence where all is as listed."""

import pytest

from lib.prove import shell

PLACE = {"directory": "src/shell", "file": "server.c", "line": "308", "function": "idle_ms"}
WRAP = PLACE | {"property kind": "unsigned_overflow", "property": "0 <= a - b"}
LISTED = {("server.c", "idle_ms", "unsigned_overflow"): 1}


class Run:
    harness, machine, text = shell.ALL[0], shell.MACHINES[0], ""
    without_body = shell.Run.without_body

    def __init__(self, *statuses, text=""):
        self.rows = [WRAP | {"status": status} for status in statuses]
        self.text = text


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    known = shell.Counter(LISTED)
    monkeypatch.setattr(shell, "_known", lambda: known)
    return known


def codes(runs, **options):
    return [line.rpartition(" ")[2] for line in shell.complaints(runs, **options)]


def test_what_is_listed_is_no_complaint():
    assert codes([Run("Unknown")]) == []


def test_what_is_not_listed_is_one(listed):
    listed.clear()
    assert codes([Run("Unknown")]) == ["[alarm]"]
    assert codes([Run("Invalid")], whole=False) == ["[alarm]"]


def test_a_listed_alarm_that_is_gone_is_one():
    assert codes([Run("Valid")]) == ["[alarm]"]
    assert codes([Run("Valid")], whole=False) == []


def test_what_no_run_reaches_is_one(listed):
    listed.clear()
    assert codes([Run("Dead"), Run("Valid")]) == []
    assert codes([Run("Dead"), Run("Dead")]) == ["[alarm]"]


def test_the_worst_verdict_counts(listed):
    listed.clear()
    assert codes([Run("Valid"), Run("Unknown"), Run("Dead")]) == ["[alarm]"]


def test_a_function_without_a_body_is_one():
    used = "[eva] using specification for function {}\n"
    assert codes([Run("Unknown", text=used.format("buffer_pending"))]) == ["[no-body]"]
    assert codes([Run("Unknown", text=used.format("strlen"))]) == []


def test_promises_of_the_core_are_no_help():
    contract = """/*@ requires a: x > 0;
  @ assigns  \\nothing;
  @ ensures  b: \\forall int i;
  @            i > 0;
  @ ensures  c: x;
  @*/
int f(int x);
"""
    kept = shell._without_promises(contract)
    assert "ensures" not in kept and "requires a: x > 0;" in kept and "\\forall" not in kept
