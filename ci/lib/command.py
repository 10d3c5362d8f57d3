"""Arguments, exit statuses, progress, and running other programs: the same for every verb."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys

from . import tree

PASSED, FAILED, USAGE, CANNOT_RUN = 0, 1, 2, 3
INTERRUPTED = 128 + signal.SIGINT


class CannotRun(Exception):
    """The environment is at fault: nothing is known about what was to be checked."""


class Parser(argparse.ArgumentParser):
    """A mistake is one line and status 2; the help is the verb's docstring."""

    def __init__(self, prog: str | None = None, doc: str | None = None, **options):
        super().__init__(prog=prog, allow_abbrev=False, **options)
        self.doc = doc

    def error(self, message):
        message = re.sub(r"^argument \S+: ", "", message)
        message = re.sub(r"invalid choice: ('.*') \(choose from (.*)\)",
                         r"unknown argument \1, expected \2", message)
        message = re.sub(r"unrecognized arguments: (\S+).*", r"unknown argument '\1'", message)
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog.split(' ')[0]} --help)\n")

    def format_help(self):
        return self.doc.strip() + "\n" if self.doc else super().format_help()


def main(run, parser: Parser):
    """Runs a verb: `run(options)` returns true or None if all holds, false if not, or a status."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    options = parser.parse_args()
    options.error = parser.error
    try:
        result = run(options)
    except CannotRun as problem:
        sys.stderr.write(f"{parser.prog}: {problem}\n")
        sys.exit(CANNOT_RUN)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if result is None or result is True:
        result = PASSED
    sys.exit(FAILED if result is False else result)


def _interrupt(*_):
    raise KeyboardInterrupt


def positive(text: str) -> int:
    """An argument that counts something."""
    return _number(text, 1)


def natural(text: str) -> int:
    return _number(text, 0)


def _number(text, least):
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"'{text}', expected a number from {least} on")
    return int(text)


def one_of(names):
    """An argument that is one of these."""
    names = list(names)

    def check(text: str) -> str:
        if text not in names:
            expected = ", ".join(names)
            raise argparse.ArgumentTypeError(f"unknown argument '{text}', expected {expected}")
        return text

    return check


def say(*text):
    """A result, on stdout."""
    print(*text, flush=True)


def progress(*text):
    """Progress, on stderr."""
    print(*text, file=sys.stderr, flush=True)


def require(what: str):
    """Has ci/deps install what is missing for a verb; says nothing if all is there."""
    done = subprocess.run([tree.TOP / "ci" / "deps", what], stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise CannotRun(f"ci/deps {what} failed with status {done.returncode}")


def environment(**more) -> dict:
    """Ours, less what an outer run wants of its own results."""
    kept = {name: value for name, value in os.environ.items() if name != "JUNIT"}
    return {**kept, **{name: str(value) for name, value in more.items()}}


def run(arguments, cwd=None, **options) -> subprocess.CompletedProcess:
    """Runs a program to its end, with its output, stdout and stderr in one, as text."""
    options = {"env": environment(), "stdin": subprocess.DEVNULL, **options}
    try:
        return subprocess.run(
            [str(each) for each in arguments], cwd=cwd or tree.TOP, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", **options,
        )
    except FileNotFoundError as error:
        raise CannotRun(f"cannot start {arguments[0]}: {error.strerror}") from None


def output_of(arguments, cwd=None, **options) -> str:
    """What a program prints; CannotRun, with all of it, unless it succeeds."""
    done = run(arguments, cwd, **options)
    if done.returncode != 0:
        shown = " ".join(map(str, arguments))
        raise CannotRun(f"status {done.returncode}: {shown}\n{done.stdout}")
    return done.stdout


def pytest(folder: str, *options) -> int:
    """Runs the tests of a folder with the packages of .venv; with JUNIT set, the results are also
    written there. Gives pytest's status."""
    junit = [f"--junitxml={os.environ['JUNIT']}"] if os.environ.get("JUNIT") else []
    python = tree.TOP / ".venv" / "bin" / "python"
    arguments = [python, "-m", "pytest", folder, *junit, *options]
    return subprocess.run(list(map(str, arguments)), cwd=tree.TOP, env=environment()).returncode
