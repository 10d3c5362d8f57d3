"""The marks of the suite's tests: `marks.wire`, `marks.requirement("ECHO-1")`.

Their names in pytest carry the kit's: a plugin's marks are known to all tests of a run.
"""

import pytest

PREFIX = "touchstone_"
MEANINGS = {
    "wire": "any client of any server can see it",
    "process": "needs a server that the kit started, and observes it from outside",
    "service": "needs one that promises what a long-running service does: stops, logs",
    "reference": "holds for Touchstone's own server only: its options, its log, its system calls",
    "requirement(*IDs)": "the requirements of SPEC.md that the test judges",
    "foundation(NAME)": "the foundation that the test judges, and so its requirement",
    "leans_on(*NAMES)": "foundations that the test needs, beside those the harness knows of",
    "code(CODE)": "the failure code of the plain assertions in a test",
}


def __getattr__(name):
    """The mark of that name, once the plugin has made it known."""
    if name in {each.partition("(")[0] for each in MEANINGS}:
        return getattr(pytest.mark, PREFIX + name)
    raise AttributeError(f"no mark {name!r}: expected one of {', '.join(MEANINGS)}")
