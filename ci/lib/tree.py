"""The files of this checkout, and copies of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
RESULTS = BUILD / "results"

# What no archive has, and no walk over the tree looks into.
NOT_SOURCES = {".git", ".venv", "build", "__pycache__", ".hypothesis", ".pytest_cache"}


def files(top: Path = TOP) -> list[str]:
    """Every file that is, or could be, under version control, relative to the top; in a tree
    without git, every file but what builds and tests leave behind."""
    if (top / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=top, stdout=subprocess.PIPE, check=True).stdout
        names = sorted(set(os.fsdecode(listed).split("\0")) - {""})
    else:
        names = sorted(_walk(top))
    return [name for name in names if (top / name).is_file()]


def _walk(top: Path):
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in NOT_SOURCES]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), top)


def copy(to: Path, parts: tuple[str, ...] = ("",), top: Path = TOP):
    """Copies the files below these folders (default: all) into `to`, links as links."""
    for name in files(top):
        if name.startswith(parts):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(top / name, to / name, follow_symlinks=False)


def fresh_folder(path: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def commit() -> str:
    """Names the state of the tree; `none` without git."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return done.stdout.decode().strip() if done.returncode == 0 else "none"


def commit_number() -> int:
    """Seeds samples that differ from commit to commit, and are the same each time for one."""
    return int(hashlib.sha256(commit().encode()).hexdigest()[:8], 16)


def rotated(items: list, count: int) -> list:
    """`count` consecutive items, in a ring that the commit chooses the beginning of."""
    first = commit_number()
    return [items[(first + i) % len(items)] for i in range(min(count, len(items)))]


def digest(*parts) -> str:
    made = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        made.update(len(data).to_bytes(8, "big") + data)
    return made.hexdigest()


def shown(path) -> str:
    """A path as one would type it at the top of the tree."""
    return os.path.relpath(path, TOP)
