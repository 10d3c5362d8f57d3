"""Failure codes: each is documented, and every test of the suite fails with one."""

import ast
import re

import pytest
from running import INTEGRATION, ROOT, run_tests, server_command
from touchstone_conform.cli import expected
from touchstone_conform.cli.judging import SUITE
from touchstone_conform.failure import CODES, Failure
from touchstone_conform.harness import skips

TABLE = re.compile(r"^\| `([a-z0-9-]+)` \| (.+) \|$", re.MULTILINE)


def test_the_tables_in_porting_md():
    """They have exactly the codes of failures and of skips, with their meanings."""
    text = (INTEGRATION / "PORTING.md").read_text(encoding="utf-8")
    assert dict(TABLE.findall(text)) == {**CODES, **skips.CODES}


def test_the_codes_of_the_simulator():
    """What fails on the simulated kernel has a code of the kit."""
    used = set()
    for folder in ("sim", "scenario", "under"):
        for path in (ROOT / "tests" / folder).glob("*.c"):
            text = path.read_text(encoding="utf-8")
            used |= set(re.findall(r'oracle_fail\([^",]+,\s*"([^"]+)"', text))
            used |= set(re.findall(r' \[([a-z-]+)\]"', text)) - {"pollers-differ"}  # reference
    assert len(used) > 10 and used <= set(CODES)


def test_an_unknown_code_is_refused():
    with pytest.raises(ValueError, match="'frob'"):
        Failure("frob", "")


def test_every_code_can_be_expected(tmp_path):
    path = tmp_path / "known"
    path.write_text("".join(f"ECHO-1  {code}\n" for code in CODES))
    assert expected.read(path, {"ECHO-1"}) == {"ECHO-1": list(CODES)}


def test_what_was_not_judged_stays_listed(tmp_path):
    """Such as what --simulate would judge."""
    path = tmp_path / "known"
    path.write_text("SIM-3  server-died  flaky\n")
    earlier = expected.read(path, {"SIM-3"})
    expected.write(path, [], earlier)
    assert expected.read(path, {"SIM-3"}) == earlier


def codes_used(path):
    """The literal codes in a file, and whether it has assertions without a code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    literals = {each.value for each in ast.walk(tree) if isinstance(each, ast.Constant)}
    plain = any(isinstance(each, ast.Assert) for each in ast.walk(tree))
    return literals & set(CODES), plain


def test_every_code_is_used():
    """No code stands for a failure that cannot occur."""
    used = set()
    for path in SUITE.parent.rglob("*.py"):
        if path.name != "failure.py":
            used |= codes_used(path)[0]
    assert used == set(CODES)


@pytest.mark.parametrize("path", sorted(SUITE.glob("*.py")), ids=lambda path: path.stem)
def test_a_plain_assertion_has_a_code(path):
    """A file with plain assertions gives their code by a mark for all its tests."""
    has_mark = "marks.code(" in path.read_text(encoding="utf-8")
    assert not codes_used(path)[1] or has_mark


ASSERTIONS = """
import pytest
from touchstone_conform import marks
from touchstone_conform.failure import Failure

@marks.code("log-line")
def test_marked(): assert 1 == 2

def test_plain(): assert 1 == 2

def test_raised(): raise Failure("cpu", "too much")

def test_error(): raise ValueError("of the kit")

@pytest.fixture
def dead():
    yield
    raise Failure("server-died", "it died")

def test_cause(dead): raise Failure("no-answer", "nothing came")

def test_docstring():
    '''The first
    paragraph.

    Another.
    '''
    assert False
"""


def test_the_code_of_a_failure(tmp_path):
    """Of the exception or the mark; of several, the death of the server."""
    suite = tmp_path / "test_seeded.py"
    suite.write_text(ASSERTIONS)
    results = run_tests(server_command(), [str(suite)])
    codes = {name.rpartition("::")[2]: each.code for name, each in results.items()}
    assert codes == {
        "test_marked": "log-line",
        "test_plain": "kit-error",
        "test_raised": "cpu",
        "test_error": "kit-error",
        "test_cause": "server-died",
        "test_docstring": "kit-error",
    }
    purposes = {each.purpose for name, each in results.items() if "docstring" in name}
    assert purposes == {"The first paragraph."}
