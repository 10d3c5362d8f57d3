"""The list of those that may survive, each with its reason: tests/mutation/survivors.txt.

Blocks with blank lines between them. A reason begins with `equivalent:` (no test can tell the
mutant from the original, and why), `lives:` (one could, and why there is none) or `timed:` (the
same, but socket tests, which measure time, may see it by chance). The mutants under it, until the
next reason, are as ci/mutate prints them.
"""

import re

from .. import command, tree

PATH = tree.TOP / "tests" / "mutation" / "survivors.txt"
KINDS = EQUIVALENT, LIVES, TIMED = "equivalent", "lives", "timed"

WHERE = re.compile(r"(src/\S+\.c)(?: in (\w+))?(?: #(\d+))?")


def read(path=PATH):
    """Identity to kind, and to the line where it stands."""
    listed, kind = {}, None
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    number = 0
    while number < len(lines):
        block, first = [], number + 1
        while number < len(lines) and lines[number].strip():
            block.append(lines[number])
            number += 1
        number += 1
        if not block or block[0].startswith("#"):
            continue
        where = WHERE.fullmatch(block[0])
        if where:
            if kind is None:
                raise command.CannotRun(f"{path.name}:{first}: a mutant before the first reason")
            name = identity(where, block[1:], path, first)
            if name in listed:
                before = listed[name][1]
                raise command.CannotRun(f"{path.name}:{first}: stands on line {before} already")
            listed[name] = kind, first
            continue
        kind = block[0].partition(":")[0]
        if kind not in KINDS:
            raise command.CannotRun(
                f"{path.name}:{first}: {block[0]!r} (expected a reason, which begins with "
                f"{', '.join(KINDS)} and a colon, or a mutant: 'src/FILE.c in FUNCTION')"
            )
    return listed


def remove(firsts, path=PATH):
    """Takes out the mutants that begin at these lines, and reasons that are left with none."""
    blocks, begin = [], 1
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        if begin not in firsts:
            blocks.append(block)
        begin += block.count("\n") + 2
    kept = []
    for block, after in zip(blocks, [*blocks[1:], ""]):
        if is_reason(block) and not WHERE.match(after):
            continue
        kept.append(block)
    path.write_text("\n\n".join(kept).rstrip("\n") + "\n", encoding="utf-8")


def is_reason(block):
    return block.partition(":")[0] in KINDS


def identity(where, lines, path, first):
    old = [line[1:].strip() for line in lines if line.startswith("-")]
    new = [line[1:].strip() for line in lines if line.startswith("+")]
    if len(old) != 1 or not new or len(old) + len(new) != len(lines):
        expected = "one line with '-' and at least one with '+'"
        raise command.CannotRun(f"{path.name}:{first}: expected {expected}")
    file, function, nth = where.groups()
    return file, function or "", int(nth or 1), old[0], tuple(new)
