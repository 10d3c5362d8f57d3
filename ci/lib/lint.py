"""The rules of the tree, the layout of C files, and clang-tidy."""

from __future__ import annotations

import concurrent.futures
import json
import os

from . import build, command, rules, tree

TOOLS = tree.TOP / ".venv" / "bin"
# The static analyzer takes nine tenths of clang-tidy's time. It sees the product each time, of the
# tests a sample that differs from commit to commit.
ANALYZED = ("/src/",)
SAMPLED = 8
PLAIN_CHECKS = "-clang-analyzer-*"


def check_rules(_) -> list[str]:
    lines = rules.code_lines(tree.TOP)
    command.progress(f"{lines} lines of code in src and include (at most {rules.CODE_LINES_MAX})")
    return rules.complaints(tree.TOP)


def check_format(options) -> list[str]:
    """clang-format's complaints; with --fix it rewrites the files."""
    files = [name for name in tree.files() if name.endswith((".c", ".h"))]
    if not files:
        raise command.CannotRun("no C files, expected at least one")
    mode = ["-i"] if options.fix else ["--dry-run", "--Werror"]
    done = command.run([TOOLS / "clang-format", "--style=file", *mode, *files])
    if done.returncode == 0:
        return []
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    return [f"{line.partition(' error: ')[0]} layout differs (expected: ci/lint --fix) [format]"
            for line in found] or [done.stdout]


def check_tidy(options) -> list[str]:
    """clang-tidy's findings in every C file that this system compiles."""
    folder = build.configure("dev", "clang")
    compiled = json.loads((folder / "compile_commands.json").read_text())
    files = sorted({entry["file"] for entry in compiled})
    rest = [name for name in files if not any(part in name for part in ANALYZED)]
    skipped = set() if options.full else set(rest) - set(tree.rotated(rest, SAMPLED))
    # stddef.h and its like are clang's own.
    headers = command.output_of(["clang", "-print-resource-dir"]).strip()

    def tidy(name):
        checks = [f"--checks={PLAIN_CHECKS}"] if name in skipped else []
        done = command.run([
            TOOLS / "clang-tidy", "-p", folder, "--quiet", "--warnings-as-errors=*",
            f"--extra-arg=-resource-dir={headers}", *checks, name,
        ])
        return done.stdout.strip() if done.returncode else None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [found for found in pool.map(tidy, files) if found]


CHECKS = {"rules": check_rules, "format": check_format, "tidy": check_tidy}


def run(options) -> bool:
    names = options.checks or list(CHECKS)
    if set(names) != {"rules"}:
        command.require("lint")
    found = []
    for name in names:
        command.progress(f"{name} ...")
        found += CHECKS[name](options)
    command.say("\n".join([*found, f"{len(found)} complaints by {', '.join(names)}"]))
    return not found
