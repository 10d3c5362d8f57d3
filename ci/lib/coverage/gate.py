"""The verdict: what is missed, and what ci/allowed-misses lists."""

import collections
from pathlib import Path

from .. import modules, tree
from .counted import percent

ALLOWED = tree.TOP / "ci" / "allowed-misses"
SYSTEM = "system"
SYSTEM_LINES_MIN = 95
# What a word in a line of the list means.
MISSES = {
    "true": "never true: {} [branch-true]",
    "false": "never false: {} [branch-false]",
    "alone": "never decides alone: {} [condition-alone]",
}


def module_of(path):
    """The module's name; for a header, the library and what it is called."""
    found = modules.of_path(path)
    return found.name if found else "/".join(Path(path).with_suffix("").parts[-2:])


def read_allowed(path):
    """The misses listed, and those without a comment above that says why."""
    allowed, bare, reason = collections.Counter(), [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            reason = line.startswith("#")
            continue
        allowed[line.strip()] += 1
        if not reason:
            bare.append(line.strip())
    return allowed, bare


def complaints(files, sources):
    """`sources`: all that should have been counted."""
    for path in sorted(sources - {file.path for file in files}):
        yield f"{path}: compiled, but in no program that was counted [uncounted]"
    allowed, bare = read_allowed(ALLOWED)
    left = collections.Counter(allowed)
    for file in files:
        yield from complaints_of(file, left)
    for key in left.elements():
        yield f"{tree.shown(ALLOWED)}: listed, but no miss: {key} [no-miss]"
    for key in bare:
        yield f"{tree.shown(ALLOWED)}: without a reason above it: {key} [reason]"


def complaints_of(file, left):
    """Takes what is listed out of `left`."""
    is_system = module_of(file.path) == SYSTEM
    at_least = SYSTEM_LINES_MIN if is_system else 100
    if percent(*file.lines) < at_least:
        reached, of = file.lines
        yield f"{file.path}: {reached} of {of} lines, expected {at_least} % [lines]"
    for line in file.uncounted():
        yield f"{file.path}:{line}: a decision that clang does not count, in another [nested]"
    for line, key in file.misses():
        if is_system and left[key] > 0:
            left[key] -= 1
        else:
            _, what, text = key.split(": ", 2)
            yield f"{file.path}:{line}: {MISSES[what].format(text)}"
