"""CMake presets, and where they build."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from pathlib import Path

from . import command, tree

# The presets whose usual compiler is not gcc build with it in build/PRESET.
USUAL = {"msan": "clang", "coverage": "clang-19"}

# A sanitizer's finding ends the process by a signal, so that no test takes it for a clean exit.
SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
    "MSAN_OPTIONS": "abort_on_error=1",
}


def presets() -> list[str]:
    """The presets that have tests."""
    listed = json.loads((tree.TOP / "CMakePresets.json").read_text())
    return [each["name"] for each in listed["testPresets"] if not each.get("hidden")]


def check(prog: str, preset: str, compiler: str):
    """Refuses a preset without tests, and a compiler that is not there."""
    if preset not in presets():
        command.refuse(prog, preset, f"one of {', '.join(presets())}")
    if not shutil.which(compiler):
        command.refuse(prog, compiler, "a C compiler in PATH, such as gcc or clang")


def directory(preset: str, compiler: str, top: Path = tree.TOP) -> Path:
    """build/PRESET for the preset's usual compiler, else build/PRESET-COMPILER."""
    usual = USUAL.get(preset, "gcc")
    return top / "build" / (preset if compiler == usual else f"{preset}-{compiler}")


def configure(preset: str, compiler: str, build_type: str = "", top: Path = tree.TOP) -> Path:
    """Configures, afresh if the compiler is not the one from before; gives the directory."""
    path = directory(preset, compiler, top)
    if build_type:
        path = path.with_name(f"{path.name}-{build_type}")
    arguments = ["cmake", "--preset", preset, "-B", path]
    if not _configured_with(path, compiler):
        arguments += ["--fresh", f"-DCMAKE_C_COMPILER={compiler}"]
    if build_type:
        arguments.append(f"-DCMAKE_BUILD_TYPE={build_type}")
    with locked(path):
        command.output_of(arguments, cwd=top)
    return path


def make(path: Path, *targets: str) -> Path:
    """Builds these targets there (default: all); gives the directory."""
    wanted = ["--target", *targets] if targets else []
    with locked(path):
        command.output_of(["cmake", "--build", path, *wanted])
    return path


@contextlib.contextmanager
def locked(path: Path):
    """One process builds there at a time, others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _configured_with(path: Path, compiler: str) -> bool:
    cache = path / "CMakeCache.txt"
    if not cache.exists():
        return False
    found = re.search(r"^CMAKE_C_COMPILER:[A-Z]*=(.*)$", cache.read_text(), re.MULTILINE)
    return bool(found) and _real(found[1]) == _real(compiler)


def _real(compiler: str) -> str:
    """The file behind it, through links and alternatives."""
    return os.path.realpath(shutil.which(compiler) or compiler)
