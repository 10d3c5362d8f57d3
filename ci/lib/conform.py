"""Servers that the conformance kit judges, and the kit's own tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from . import build, command, tree

PROGRAMS = tree.TOP / ".venv" / "bin"
JUDGE = "integration/judge.py"
KIT_TESTS = "integration/tests/kit"
PAGE_TESTS = "integration/tests/page"


def run(arguments) -> int:
    verbs = {
        "reference": reference, "ports": ports, "third-party": third_party, "broken": broken,
        "self-test": self_test, "page": page, "pictures": pictures,
    }
    first = arguments[0] if arguments else ""
    if first in verbs:
        return verbs[first](arguments[1:])
    if not first.startswith("-"):
        command.refuse("ci/conform", first, f"an option, -- or {', '.join(verbs)}")
    command.require("venv")
    return _run(PROGRAMS / "touchstone-conform", *arguments)


def reference(arguments) -> int:
    preset, compiler, *options = [*arguments, *["release", "gcc"][len(arguments) :]]
    build.check("ci/conform reference", preset, compiler)
    command.require("venv")
    folder = build.make(build.configure(preset, compiler), "touchstone")
    junit = ["--junit", os.environ["JUNIT"]] if os.environ.get("JUNIT") else []
    server = [folder / "touchstone", "--listen", "127.0.0.1:{port}"]
    kit = [PROGRAMS / "touchstone-conform", "--profile", "reference", *junit, *options]
    return _run(*kit, "--", *server)


def ports(arguments) -> int:
    return _judge("ports", arguments)


def broken(arguments) -> int:
    return _judge("broken", arguments)


def _judge(servers, arguments) -> int:
    command.require("venv")
    return _run(PROGRAMS / "python", JUDGE, servers, *_sampled(arguments))


def third_party(arguments) -> int:
    command.require("third-party")
    return _judge("third-party", arguments)


def self_test(arguments) -> int:
    command.require("venv")
    folder = build.configure("release", "gcc")
    build.make(folder, "scenario", "touchstone")
    return command.pytest(KIT_TESTS, "-n", os.cpu_count(), *_sampled(arguments))


def _sampled(arguments) -> list:
    """After --sample N stands where the sample begins: with each commit somewhere else."""
    options = list(arguments)
    if options[:1] == ["--sample"]:
        options[2:2] = [tree.commit_number()]
    return options


def page(arguments) -> int:
    command.require("page")
    return command.pytest(PAGE_TESTS, *arguments)


def pictures(arguments) -> int:
    if not arguments:
        sys.stderr.write("ci/conform pictures: expected a page, such as build/ports/report.html\n")
        return command.USAGE
    command.require("page")
    (tree.BUILD / "page").mkdir(parents=True, exist_ok=True)
    return _run(PROGRAMS / "python", f"{PAGE_TESTS}/pictures.py", "build/page", *arguments)


def _run(*arguments) -> int:
    """Its status; its output is ours. A signal is passed on, once, though a terminal sends it to
    its whole group: the kit gives the verdict so far at the first, and ends at the second."""
    child = subprocess.Popen([str(each) for each in arguments], cwd=tree.TOP,
                             env={**os.environ, **build.SANITIZERS}, start_new_session=True)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGTERM)
