"""The summary of results: what counts, and which skips are permitted."""

import pytest
from lib import command, junit

RESULTS = """<testsuites><testsuite>
<testcase classname="tests.test_log" name="test_plain"/>
<testcase classname="tests.test_log" name="test_wrong"><failure message="no"/></testcase>
<testcase classname="tests.test_log" name="test_broken"><error message="no"/></testcase>
<testcase classname="tests.test_log" name="test_turkish[a b]"><skipped message="tool: requires x"/>
</testcase>
<testcase classname="tests.test_log" name="test_lazy"><skipped message="load: requires y"/>
</testcase>
<testcase classname="buffer" name="buffer"><system-out>[==========] Running 3 test(s).
[ RUN      ] fills
[       OK ] fills
[ RUN      ] drains
[  SKIPPED ] drains
[  FAILED  ] wraps
[==========] 3 test(s) run.
[  PASSED  ] 1 test(s).
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] wraps
</system-out><failure message=""/></testcase>
<testcase classname="token" name="token"><system-out>[       OK ] issues
[  PASSED  ] 1 test(s).
</system-out><failure message="killed"/></testcase>
</testsuite></testsuites>
"""


@pytest.mark.parametrize(
    "allowed, counts",
    [
        ("", (3, 7, 0)),
        ("tests.test_log::test_turkish[a?b] tool", (3, 6, 1)),
        ("tests.test_log::test_turkish* load", (3, 7, 0)),
        ("# a comment\n\n* tool\n*lazy load\nbuffer::drains no-reason", (3, 4, 3)),
    ],
    ids=["none", "one", "for another reason", "by pattern"],
)
def test_a_skip_counts_as_a_failure_unless_it_is_permitted(tmp_path, allowed, counts):
    results, listed = tmp_path / "junit.xml", tmp_path / "allowed"
    results.write_text(RESULTS, encoding="utf-8")
    listed.write_text(allowed, encoding="utf-8")
    found = junit.summary(results, junit.read_allowed(listed))
    assert (found.passed, found.failed, found.skipped) == counts, found.lines


def test_a_line_in_another_form_is_refused(tmp_path):
    listed = tmp_path / "allowed"
    listed.write_text("# reasons were sentences\n* requires strace\n", encoding="utf-8")
    with pytest.raises(command.CannotRun, match="allowed:2: "):
        junit.read_allowed(listed)


def test_results_are_written_as_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "out.xml"
    monkeypatch.setenv("JUNIT", str(path))
    junit.write([("a", junit.PASSED, "", "0"), ("b", junit.FAILED, "why", "1")], "suite")
    found = junit.summary(path, [])
    assert (found.passed, found.failed, found.lines) == (1, 1, ["failed: suite::b"])
