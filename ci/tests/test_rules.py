"""Each rule of the tree reports its violation in a copy, and nothing else."""

import re

import pytest
from lib import defects, rules

UPPER, SERVER = "src/core/upper.c", "src/shell/server.c"
NEW_C, NEW_H = "tests/seeded.c", "tests/seeded.h"


def function(head, lines):
    """A function of so many lines, its head included."""
    return f"{head}\n" + ";\n" * (lines - head.count("\n") - 2) + "}\n"


# (file, what is appended, what the complaint names, its code)
VIOLATIONS = [
    (UPPER, "#include <string.h>\n", "string.h", "include"),
    ("include/core/upper.h", "#include <stdio.h>\n", "stdio.h", "include"),
    (UPPER, '#include "shell/log.h"\n', "shell/log.h", "include"),
    (UPPER, '#include "upper.h"\n', "upper.h", "include"),
    (SERVER, "#include <unistd.h>\n", "unistd.h", "include"),
    ("include/shell/server.h", "#include <sys/socket.h>\n", "sys/socket.h", "include"),
    (SERVER, '#include "server.h"\n', "server.h", "include"),
    (SERVER, '#include "system/system.h"\n', "system/system.h", "include"),
    ("src/system/seeded.c", "#include <locale.h>\n", "locale.h", "include"),
    ("src/system/seeded.c", '#include "sim/kernel.h"\n', "sim/kernel.h", "include"),
    ("tests/sim/seeded.c", '#include "shell/server.h"\n', "shell/server.h", "include"),
    ("tests/sim/seeded.c", "#include <unistd.h>\n", "unistd.h", "include"),
    ("tests/sim/oracle.c", '#include "core/upper.h"\n', "core/upper.h", "include"),
    ("tests/sim/oracle.h", '#include "sim/kernel.h"\n', "sim/kernel.h", "include"),
    ("tests/sim/stream.h", '#include "core/token.h"\n', "core/token.h", "include"),
    ("fuzz/seeded.c", '#include "../tests/model.h"\n', "model.h", "include"),
    (NEW_C, '#include "upper.c"\n', "upper.c", "include"),
    (NEW_H, "int f(void);\n", ":1:", "once"),
    ("include/core/upper.h", "#ifndef A\n#endif\n", "#ifndef A", "conditional"),
    (SERVER, "#ifdef __linux__\n#endif\n", "#ifdef __linux__", "conditional"),
    (UPPER, "# if 1\n# endif\n", "# if 1", "conditional"),
    (UPPER, function("int f(void)\n{", 41), "f has 41 lines", "function-lines"),
    (NEW_C, function("int f(void) {", 71), "f has 71 lines", "function-lines"),
    (NEW_C, function("int f(int a,\n      int b)\n{", 72), "f has 72 lines", "function-lines"),
    ("fuzz/seeded.c", function("int f(void)\n{", 71), "f has 71 lines", "function-lines"),
    (UPPER, f"/*{98 * '-'}*/\n", "102", "columns"),
    ("ci/seeded", f"#{100 * '-'}\n", "101", "columns"),
    ("integration/seeded.rs", f"//{99 * '-'}\n", "101", "columns"),
    ("README.md", "\tindented\n", "README.md", "blanks"),
    ("README.md", "at the end \n", "README.md", "blanks"),
    (NEW_C, "/* TO" "DO: think */\n", "TO" "DO", "marker"),
    (UPPER, "/* X" "XX */\n", "X" "XX", "marker"),
    ("seeded.txt", "\n", "seeded.txt", "top"),
    ("doc/seeded.md", "\n", "doc", "top"),
    ("include/core/seeded.h", "#pragma once\nint f(void);\n", "seeded.h", "source"),
    (SERVER, "int a;\n" * rules.CODE_LINES_MAX, "src:1:", "size"),
]

HARMLESS = [
    (UPPER, '/* #if 1 */\nstatic const char *text = "/* not a comment";\n'),
    (UPPER, function("int f(void)\n{", 40)),
    ("src/system/main.c", "#include <errno.h>\n#include <netinet/in.h>\n"),
    ("tests/sim/seeded.c", '#include "shell/kernel.h"\n#include "sim/kernel.h"\n'),
    ("tests/sim/oracle.c", '#include "scenario/scenario.h"\n#include <limits.h>\n'),
    (NEW_C, 'static char path[] = "/tmp/XX' 'XXXX";\n'),
    ("fuzz/seeded.c", '#include "sim/kernel.h"\n'),
    ("integration/seeded.go", "\tindented\n"),
]


def complaints_with(copy, path, text):
    """The complaints that appending the text to the file adds."""
    before = set(rules.complaints(copy.top))
    with copy.planted(defects.Edit(path, None, text)):
        return sorted(set(rules.complaints(copy.top)) - before)


@pytest.mark.parametrize("path, text, named, code", VIOLATIONS)
def test_a_violation_is_reported_with_its_code(copy, path, text, named, code):
    found = complaints_with(copy, path, text)
    assert any(named in line and line.endswith(f"[{code}]") for line in found), found


@pytest.mark.parametrize("path, text", HARMLESS)
def test_what_is_allowed_is_not_reported(copy, path, text):
    assert [line for line in complaints_with(copy, path, text) if "[size]" not in line] == []


def test_a_complaint_names_file_line_and_code(copy):
    (line,) = complaints_with(copy, NEW_C, '#include "upper.c"\n')
    assert re.fullmatch(r"tests/seeded\.c:1: .+ \(expected: .+\) \[include\]", line)
