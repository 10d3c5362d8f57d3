"""ci/coverage complains of what is missed: one run over a copy in which much is."""

import re

import pytest

from lib import command
from lib.defects import Edit

SUITE = ["ci/coverage", "unit"]

# What is planted, and the complaints demanded. One run of the unit tests is enough to see them all.
DEFECTS = [
    Edit("src/core/outcome.c", "    if (count < 0 ||",
         "    if (asked == 12345)\n        return nothing(OUTCOME_END, FAULT_NONE);\n"
         "    if (count < 0 ||"),
    Edit("src/core/token.c", "    return slot->live && slot->generation == token.generation;",
         "    bool same = slot->generation == token.generation;\n"
         "    return (slot->live || same) && slot->live && same;"),
    Edit("src/core/upper.c", "b <= 'z')", "(b <= 'z') == (b > 0 && b >= 'a'))"),
    Edit("src/modules.txt", " upper.c ", " upper.c uncalled.c "),
    Edit("src/core/uncalled.c", None, "int uncalled(void);\nint uncalled(void) { return 1; }\n"),
    Edit("tests/CMakeLists.txt", "foreach(source ${unit_tests})",
         'list(FILTER unit_tests EXCLUDE REGEX "test_server")\nforeach(source ${unit_tests})'),
    Edit("ci/allowed-misses", "src/system/main.c: true: options_parse", "# not"),
    Edit("ci/allowed-misses", "# not",
         "# Reached.\nsrc/system/posix_error.c: true: i < ERRORS\n\n"
         "src/system/posix_error.c: false: i < ERRORS\n# not"),
]
COMPLAINTS = [
    r"src/core/outcome\.c:\d+: .*: asked == 12345 \[branch-true\]",
    r"src/core/outcome\.c: .*\[lines\]",
    r"src/core/token\.c:\d+: .*: same \[condition-alone\]",
    r"src/core/upper\.c:\d+: .*\[nested\]",
    r"src/core/uncalled\.c: .*\[uncounted\]",
    r"src/shell/server\.c:\d+: .*: s->slot_free == 0 \[branch-true\]",
    r"src/shell/server\.c: .*\[lines\]",
    r"src/system/main\.c:\d+: .*: options_parse.* \[branch-true\]",
    r"ci/allowed-misses: .*posix_error\.c: true: i < ERRORS \[no-miss\]",
    r"ci/allowed-misses: .*posix_error\.c: false: i < ERRORS \[reason\]",
]


@pytest.fixture(scope="module")
def complaints(copy):
    """The lines that defects add to what is printed of the unit tests, which never are enough."""
    before = command.run(SUITE)
    with copy.planted(*DEFECTS):
        after = copy.run(SUITE)
    for done in (before, after):
        assert done.returncode == command.FAILED, done.stdout
    return "\n".join(sorted(set(after.stdout.splitlines()) - set(before.stdout.splitlines())))


def test_the_defects_can_be_planted(copy):
    with copy.planted(*DEFECTS):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("pattern", COMPLAINTS)
def test_what_is_missed_is_complained_of(complaints, pattern):
    assert re.search(f"^{pattern}$", complaints, re.MULTILINE), complaints
