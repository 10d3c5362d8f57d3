"""Seeded defects: copies a tree, plants a defect, runs a check there, and expects its complaint.

Every check that can fail is shown failing with it. A defect is a patch of tests/defects, or an edit
that only makes sense beside the check that has to see it.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from . import command, tree

FOLDER = tree.TOP / "tests" / "defects"


def patches(*kinds: str) -> dict[str, Path]:
    """The patches of these kinds by name, of all unless told; names are unique among all."""
    found = {}
    for path in sorted(FOLDER.glob("*/*.patch")):
        if path.stem in found:
            raise command.CannotRun(f"{path.stem} stands twice in tests/defects")
        found[path.stem] = path
    return {name: path for name, path in found.items() if not kinds or kinds_of(path) & set(kinds)}


def kinds_of(patch: Path) -> set[str]:
    """Its folder, or all that the line `Kinds: ...` names: each has a check that must find it."""
    named = re.search(r"^Kinds: (.*)$", patch.read_text(encoding="utf-8"), re.MULTILINE)
    return {patch.parent.name, *(named[1].split() if named else [])}


def touched(patch: Path) -> list[str]:
    """The files that a patch changes."""
    return re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(encoding="utf-8"), re.MULTILINE)


class Edit:
    """In a file `old` becomes `new`; a missing `old` is text that is appended, or a new file."""

    def __init__(self, path: str, old: str | None, new: str):
        self.path, self.old, self.new = path, old, new

    def plant(self, top: Path):
        path = top / self.path
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if self.old is None:
            text += self.new
        elif self.old in text:
            text = text.replace(self.old, self.new, 1)
        else:
            raise command.CannotRun(f"{self.path} has nothing like {self.old!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    @property
    def paths(self):
        return [self.path]


class Patch:
    """A file of tests/defects, by its name."""

    def __init__(self, name: str):
        found = patches()
        if name not in found:
            raise command.CannotRun(f"there is no seeded defect {name} in tests/defects")
        self.file = found[name]

    def plant(self, top: Path):
        # Or git would look for a repository around the copy, and take the paths to be in that.
        alone = command.environment(GIT_CEILING_DIRECTORIES=top.parent)
        command.output_of(["git", "apply", self.file], cwd=top, env=alone)

    @property
    def paths(self):
        return touched(self.file)


class Copy:
    """A copy of the tree, or of some of its folders, that defects are planted into one by one."""

    def __init__(self, place: Path, parts: tuple[str, ...] = ("",)):
        self.top = tree.fresh_folder(place)
        tree.copy(self.top, parts)
        if (tree.TOP / ".venv").exists():
            (self.top / ".venv").symlink_to(tree.TOP / ".venv")

    @contextlib.contextmanager
    def planted(self, *defects):
        """With these defects; afterwards the copy is as it was."""
        paths = {path for each in defects for path in each.paths}
        before = {path: _read(self.top / path) for path in paths}
        try:
            for each in defects:
                each.plant(self.top)
            yield self
        finally:
            for path, content in before.items():
                _restore(self.top / path, content)

    def run(self, arguments, **options):
        """Runs a command at the top of the copy."""
        return command.run(arguments, cwd=self.top, **options)

    def expect(self, complaint: str, arguments, status: int = command.FAILED) -> str:
        """The command ends with this status, and prints a line that the pattern matches: a code, or
        a name, not a sentence. Gives that line."""
        done = self.run(arguments)
        shown = " ".join(map(str, arguments))
        assert done.returncode == status, (
            f"expected status {status}, got {done.returncode}: {shown}\n{done.stdout}"
        )
        found = re.search(f"^.*{complaint}.*$", done.stdout, re.MULTILINE)
        assert found, f"expected a line like '{complaint}' of {shown}, got:\n{done.stdout}"
        return found.group()


def _read(path: Path):
    return path.read_bytes() if path.exists() else None


def _restore(path: Path, content):
    """Its time is new, or what was built of it would be taken for current."""
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)
