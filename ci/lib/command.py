"""Arguments, exit statuses, progress, and running other programs: the same for every verb."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import signal
import subprocess
import sys

from . import tree

PASSED, FAILED, USAGE, CANNOT_RUN = 0, 1, 2, 3
INTERRUPTED = 128 + signal.SIGINT

PYTEST_USAGE = 4

# What a program gets to end by itself.
GRACE_S = 5


class CannotRun(Exception):
    """The environment is at fault: nothing is known about what was to be checked."""


class Parser(argparse.ArgumentParser):
    """A mistake is one line and status 2; the help is the verb's docstring."""

    def __init__(self, prog: str | None = None, doc: str | None = None, **options):
        super().__init__(prog=prog, allow_abbrev=False, **options)
        self.doc = doc
        self.verbs = None

    def error(self, message):
        message = re.sub(r"^argument \S+: ", "", message)
        message = re.sub(r"invalid choice: ('.*') \(choose from (.*)\)",
                         r"unknown argument \1, expected \2", message)
        message = re.sub(r"unrecognized arguments: (\S+).*", r"unknown argument '\1'", message)
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog.split(' ')[0]} --help)\n")

    def add_verbs(self):
        """Subparsers with the same help, one of which must be given. argparse would ask for it
        before it named an unknown option."""
        verb = functools.partial(Parser, doc=self.doc)
        self.verbs = self.add_subparsers(dest="verb", parser_class=verb)
        return self.verbs

    def parse_args(self, *arguments):
        options = super().parse_args(*arguments)
        if self.verbs and options.verb is None:
            self.error(f"expected one of {', '.join(self.verbs.choices)}")
        return options

    def format_help(self):
        return self.doc.strip() + "\n" if self.doc else super().format_help()


def main(run, parser: Parser):
    """Runs a verb with its options: `run(options)` as `guarded` takes it."""
    options = parser.parse_args()
    options.error = parser.error
    guarded(parser.prog, lambda: run(options))


def guarded(prog: str, run):
    """Exits as `run()` returns: true or None if all holds, false if not, or a status."""
    end_at_signals()
    try:
        result = run()
    except CannotRun as problem:
        sys.stderr.write(f"{prog}: {problem}\n")
        sys.exit(CANNOT_RUN)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if result is None or result is True:
        result = PASSED
    sys.exit(FAILED if result is False else result)


def refuse(prog: str, argument: str, expected: str):
    """Bad usage of a verb that hands its arguments on."""
    sys.stderr.write(f"{prog}: unknown argument '{argument}', expected {expected}"
                     f" (see {prog} --help)\n")
    sys.exit(USAGE)


def end_at_signals(handler=None):
    """SIGTERM and SIGINT end us, by KeyboardInterrupt, and all that run() has started."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler or end_all)


def end_all(*_):
    for each in list(_children):
        _ended.add(each)
        _signal_group(each, signal.SIGTERM)
    raise KeyboardInterrupt


def positive(text: str) -> int:
    """An argument that counts something."""
    return _number(text, 1)


def natural(text: str) -> int:
    return _number(text, 0)


def _number(text, least):
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a number of at least {least}, got '{text}'")
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


def in_venv(what: str):
    """Goes on in .venv's Python, beside the packages that a verb imports."""
    require(what)
    venv = tree.TOP / ".venv"
    if not os.path.samefile(sys.prefix, venv):
        python = str(venv / "bin" / "python")
        os.execv(python, [python, *sys.argv])


def environment(**more) -> dict:
    """Ours, less what an outer run wants of its own results."""
    kept = {name: value for name, value in os.environ.items() if name != "JUNIT"}
    return {**kept, **{name: str(value) for name, value in more.items()}}


# What run() has started and not seen the end of: each leads a process group.
_children: set[subprocess.Popen] = set()
# Those of them that end_all() has ended: their status says nothing.
_ended: set[subprocess.Popen] = set()


def _end_group(process: subprocess.Popen):
    """Ends a process and what it started; one that catches SIGTERM has a while to end its own."""
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen, number: int):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def run(arguments, cwd=None, timeout=None, input=None, **options) -> subprocess.CompletedProcess:
    """Runs a program to its end; its output is text, stdout and stderr in one unless told. What it
    started ends with it; after `timeout` seconds, subprocess.TimeoutExpired; KeyboardInterrupt if
    end_all() ended it."""
    source = subprocess.DEVNULL if input is None else subprocess.PIPE
    options = {"env": environment(), "stdin": source, "text": True, **options}
    if options["text"]:
        options["errors"] = "replace"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
    arguments = [str(each) for each in arguments]
    try:
        process = subprocess.Popen(
            arguments, cwd=cwd or tree.TOP, start_new_session=True, **options
        )
    except FileNotFoundError as error:
        raise CannotRun(f"cannot start {arguments[0]}: {error.strerror}") from None
    with process:
        _children.add(process)
        try:
            outputs = process.communicate(input, timeout)
        finally:
            _end_group(process)
            _children.discard(process)
    if process in _ended:
        raise KeyboardInterrupt
    return subprocess.CompletedProcess(arguments, process.returncode, *outputs)


def output_of(arguments, cwd=None, **options) -> str:
    """What a program prints; CannotRun, with all of it, unless it succeeds."""
    done = run(arguments, cwd, **options)
    if done.returncode != 0:
        shown = " ".join(map(str, arguments))
        output = [each for each in (done.stdout, done.stderr) if each and isinstance(each, str)]
        raise CannotRun("\n".join([f"status {done.returncode}: {shown}", *output]))
    return done.stdout


def pytest(folder: str, *options) -> int:
    """Runs the tests of a folder with the packages of .venv; with JUNIT set, the results are also
    written there. Gives pytest's status; what it does not know is bad usage."""
    junit = [f"--junitxml={os.environ['JUNIT']}"] if os.environ.get("JUNIT") else []
    python = tree.TOP / ".venv" / "bin" / "python"
    arguments = [python, "-m", "pytest", folder, *junit, *options]
    status = run(arguments, stdout=None, stderr=None).returncode
    return USAGE if status == PYTEST_USAGE else status
