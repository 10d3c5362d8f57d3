"""Builds the reference and the ports in integration/ports, judges each with the conformance kit,
and draws the matrix: build/ports/report.html.

    ci/conform --ports [NAME...]           all, or those named
    ci/conform --ports --smoke             one test for each MUST
    ci/conform --ports --repeat N          N rounds of each; counts flakes
    ci/conform --ports --fix NAME          writes the port's list of expected failures anew
    ci/conform --ports --prove             shows that it notices what it should

A port whose toolchain is not here is named as skipped; `ci/deps ports` installs all of them. The
failures that a port's expected-failures file lists must be there, and no others. What each did lies
in build/ports/NAME: report.json, index.html, judged.txt; the matrix has all that lie there, those
of earlier runs included. With JUNIT set, the results are also written there.

Exit status: 0 all is as expected, 1 it is not, 2 bad usage.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "integration" / "ports"
BUILT = ROOT / "build" / "ports"
MATRIX = BUILT / "report.html"
VECTORS = ROOT / "tests" / "vectors"
KIT = ROOT / ".venv" / "bin" / "touchstone-conform"
AT_ONCE = 3  # servers judged side by side: judging is mostly waiting
SHOWN = 60  # lines of what went wrong

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
CARGO_TARGET = BUILT / "rust" / "target"
RELEASE = ["--release", "--locked", "--target-dir", str(CARGO_TARGET)]


@dataclasses.dataclass
class Port:
    """How it is built, in its folder, and started."""

    name: str
    start: list
    build: list = dataclasses.field(default_factory=list)  # commands
    needs: list = dataclasses.field(default_factory=list)  # (what, asking its version, the least)

    @property
    def sources(self):
        return SOURCES / self.name

    @property
    def place(self):
        return BUILT / self.name

    @property
    def report(self):
        return self.place / "report.json"


class Reference(Port):
    """Ours, which has a profile of its own."""

    sources = ROOT


@dataclasses.dataclass
class Result:
    name: str
    outcome: str
    said: str = ""  # one line
    text: str = ""  # all of it
    seconds: float = 0.0


CARGO = ("cargo", ["cargo", "--version"], (1, 85))
CMAKE = ("cmake", ["cmake", "--version"], (3, 25))
NINJA = ("ninja", ["ninja", "--version"], (1, 0))
GO = ("go", ["go", "version"], (1, 19))
NODE = ("node", ["node", "--version"], (18, 0))
LIBUV = ("libuv1-dev and pkg-config", ["pkg-config", "--modversion", "libuv"], (1, 40))
COMPILER = ("cc", ["cc", "-dumpversion"], (0, 0))
LIBUV_SERVER = BUILT / "libuv" / "server"
COMPILE_WITH_LIBUV = (
    "cc -std=gnu11 -O2 -Wall -Wextra -Wno-unused-parameter -Werror $(pkg-config --cflags libuv)"
    f' -o "{LIBUV_SERVER}" server.c $(pkg-config --libs libuv)'
)

PORTS = [
    Port(
        "rust",
        [CARGO_TARGET / "release" / "port-rust", "{port}"],
        [["cargo", "build", *RELEASE], ["cargo", "test", *RELEASE, "--bin", "port-rust"]],
        [CARGO],
    ),
    Port(
        "go",
        [BUILT / "go" / "server", "{port}"],
        [["go", "vet", "."], ["go", "build", "-o", str(BUILT / "go" / "server"), "."]],
        [GO],
    ),
    Port("python", [sys.executable, SOURCES / "python" / "server.py", "{port}"]),
    Port("node", ["node", SOURCES / "node" / "server.mjs", "{port}"], needs=[NODE]),
    Port("libuv", [LIBUV_SERVER, "{port}"], [["sh", "-c", COMPILE_WITH_LIBUV]], [COMPILER, LIBUV]),
    Port(
        "naive",  # stands in the same package
        [CARGO_TARGET / "release" / "naive", "{port}"],
        [["cargo", "build", *RELEASE, "--manifest-path", str(SOURCES / "rust" / "Cargo.toml")]],
        [CARGO],
    ),
]
REFERENCE = Reference(
    "touchstone",
    [ROOT / "build" / "release" / "touchstone", "--listen", "127.0.0.1:{port}"],
    [
        ["cmake", "--preset", "release"],
        ["cmake", "--build", "--preset", "release", "--target", "touchstone"],
    ],
    [COMPILER, CMAKE, NINJA],
)
CONFORMING = [port for port in PORTS if port.name != "naive"]


def say(*words):
    print(*words, flush=True)


# One port.


def lack(port):
    """What this machine has too little of; empty if nothing."""
    for what, question, least in port.needs:
        try:
            answer = subprocess.run(question, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return f"this machine has no {what}"
        found = tuple(map(int, re.search(r"(\d+)(?:\.(\d+))?", answer).groups("0")))
        if found < least:
            have, wanted = (".".join(map(str, version)) for version in (found, least))
            return f"this machine has {what} {have}, expected {wanted} or newer"
    return ""


def build(port):
    """What the failing command said; empty if it is built."""
    port.place.mkdir(parents=True, exist_ok=True)
    for command in port.build:
        done = subprocess.run(
            command,
            cwd=port.sources,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
        if done.returncode != 0:
            return f"{' '.join(command)}\n{done.stdout}"
    return ""


def judge(port, words):
    """What the kit says of it, with these options."""
    command = [KIT, *words, "--report", port.place, "--", *port.start]
    port.report.unlink(missing_ok=True)
    began = time.monotonic()
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    (port.place / "judged.txt").write_text(done.stdout, encoding="utf-8")
    outcome = PASSED if done.returncode == 0 else FAILED
    said = "; ".join(re.findall(r"^\w+: (?:conforms|does not|not judged).*", done.stdout, re.M))
    if known_failures(port).exists() and done.returncode == 0:
        said += "; all as expected"
    return Result(port.name, outcome, said, done.stdout, time.monotonic() - began)


def known_failures(port):
    return port.sources / "expected-failures"


def options_for(port, options):
    words = ["--jobs", options.jobs, "--repeat", options.repeat]
    words += ["--smoke"] * options.smoke
    words += ["--profile", "reference"] * (port is REFERENCE)
    if options.fix or known_failures(port).exists():
        words += ["--expected-failures", known_failures(port)]
    return words + ["--fix"] * options.fix


def built_ports(ports):
    """Those that can be judged; and results for the others."""
    ready, results = [], []
    for port in ports:
        began = time.monotonic()
        reason = lack(port)
        wrong = "" if reason else build(port)
        if reason:
            results.append(Result(port.name, SKIPPED, reason))
        elif wrong:
            seconds = time.monotonic() - began
            results.append(Result(port.name, FAILED, "it cannot be built", wrong, seconds))
        else:
            ready.append(port)
    return ready, results


def judge_all(options):
    results = []

    def note(result):
        say(f"{result.name:8} {result.outcome:8} {result.seconds:6.1f} s  {result.said}")
        if result.outcome == FAILED:
            say("\n".join(result.text.splitlines()[-SHOWN:]))
        results.append(result)

    ready, others = built_ports(options.ports)
    for result in others:
        note(result)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = [pool.submit(judge, port, options_for(port, options)) for port in ready]
        for task in concurrent.futures.as_completed(tasks):
            note(task.result())
    reports = [port.report for port in [REFERENCE, *PORTS] if port.report.exists()]
    if reports:
        note(draw(reports, MATRIX))
    return results


def draw(reports, page):
    """The matrix."""
    done = subprocess.run(
        [KIT, "report", *reports, "-o", page],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    outcome = FAILED if done.returncode else PASSED
    return Result("matrix", outcome, done.stdout.strip(), done.stdout)


def write_junit(path, results):
    suite = ElementTree.Element("testsuite", name="ports")
    for each in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname="ports", name=each.name, time=f"{each.seconds:.1f}"
        )
        if each.outcome != PASSED:
            kind = {FAILED: "failure", SKIPPED: "skipped"}[each.outcome]
            ElementTree.SubElement(case, kind, message=each.said)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8")


# The proof: each thing that must be noticed, done on purpose.


def prove():
    python = next(port for port in PORTS if port.name == "python")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        checks = [unlisted, listed_wrongly, not_there, too_old, not_built, not_drawn, by_action]
        checks += rust_checks()
        missed = [check.__doc__ for check in checks if not check(python, scratch)]
    for each in missed:
        say(f"went unnoticed: {each}")
    say(f"{len(checks)} mistakes made, {len(checks) - len(missed)} noticed")
    return not missed


def somewhere(port, scratch, **changes):
    """The port, with its report elsewhere."""
    return dataclasses.replace(Scratch(**vars(port)), folder=scratch, **changes)


@dataclasses.dataclass
class Scratch(Port):
    folder: Path = None

    @property
    def place(self):
        return self.folder


def unlisted(python, scratch):
    """a failure that is not listed"""
    gallery = ROOT / "integration" / "broken" / "server.py"
    start = [sys.executable, gallery, "--defect", "banner", "--port", "{port}"]
    result = judge(somewhere(python, scratch, start=start), ["--smoke", "-k", "ECHO-6"])
    return result.outcome == FAILED and "FAIL  ECHO-6" in result.text


def listed_wrongly(python, scratch):
    """a failure that is listed, and is none"""
    known = scratch / "expected-failures"
    known.write_text("ECHO-6 *\n", encoding="utf-8")
    words = ["-k", "ECHO-6", "--expected-failures", known]
    result = judge(somewhere(python, scratch), words)
    return result.outcome == FAILED and "ECHO-6 passes, but is listed" in result.text


def not_there(python, scratch):
    """a toolchain that is not there"""
    need = ("toolchain", [str(scratch / "no-such-tool")], (1, 0))
    _, results = built_ports([somewhere(python, scratch, needs=[need])])
    return [(each.outcome, each.said) for each in results] == [
        (SKIPPED, "this machine has no toolchain")
    ]


def too_old(python, scratch):
    """a toolchain that is too old"""
    need = ("python", [sys.executable, "--version"], (99, 0))
    return "expected 99.0 or newer" in lack(somewhere(python, scratch, needs=[need]))


def not_built(python, scratch):
    """a port that cannot be built"""
    command = [sys.executable, "-c", "raise SystemExit('no')"]
    _, results = built_ports([somewhere(python, scratch, build=[command])])
    return [each.outcome for each in results] == [FAILED]


def not_drawn(python, scratch):
    """a result that is none, so that there is no matrix"""
    bad = scratch / "report.json"
    bad.write_text("{}", encoding="utf-8")
    return draw([bad], scratch / "report.html").outcome == FAILED


def by_action(python, scratch):
    """a failure, or a success, of what integration/action.yml judges"""
    text = (ROOT / "integration" / "action.yml").read_text(encoding="utf-8")
    step = text.partition("name: judge the server\n")[2].partition("run: |\n")[2]
    step = step.partition("\n    - ")[0]
    (scratch / "touchstone").symlink_to(ROOT / ".venv")
    gallery = f"{sys.executable} {ROOT}/integration/broken/server.py --port {{port}}"
    results = []
    for command in (gallery, f"{gallery} --defect banner"):
        given = {
            "RUNNER_TEMP": str(scratch),
            "COMMAND": command,
            "OPTIONS": "--smoke -k ECHO-6",
        }
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step]
        done = subprocess.run(
            words, cwd=scratch, capture_output=True, text=True, env={**os.environ, **given}
        )
        results.append(done.returncode)
    return results == [0, 1] and (scratch / "touchstone-report" / "report.json").exists()


def rust_checks():
    rust = next(port for port in PORTS if port.name == "rust")
    return [] if lack(rust) else [wrong_room]


def wrong_room(_, scratch):
    """a room of the Rust port that decides otherwise than the reference's"""
    copy = scratch / "tree" / "integration" / "ports"
    for name in ("rust", "naive"):
        shutil.copytree(SOURCES / name, copy / name)
    shutil.copytree(VECTORS, scratch / "tree" / "tests" / "vectors")
    room = copy / "rust" / "src" / "main.rs"
    right = "Err(ErrorKind::WouldBlock | ErrorKind::Interrupted)"
    wrong = room.read_text(encoding="utf-8").replace(right, "Err(ErrorKind::WouldBlock)")
    room.write_text(wrong, encoding="utf-8")
    own = ["--target-dir", str(BUILT / "prove")]  # else cargo takes one tree's for the other's
    tests = ["cargo", "test", "--locked", *own, "--bin", "port-rust"]
    done = subprocess.run(tests, cwd=copy / "rust", capture_output=True, text=True)
    return done.returncode != 0 and "outcome_says_what_the_reference_says" in done.stdout


# The command line.


def parse():
    parser = argparse.ArgumentParser(
        prog="ci/conform --ports", description=__doc__, add_help=True, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="ci/conform --ports [--smoke] [--repeat N] [--jobs N] [--fix] [NAME...] | --prove",
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--repeat", type=int, default=1, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="tests at a time, of each")
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--prove", action="store_true")
    options = parser.parse_args()
    known = {port.name: port for port in [REFERENCE, *PORTS]}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no port is named {unknown[0]}: expected {', '.join(known)}")
    if options.fix and (not options.names or REFERENCE.name in options.names):
        parser.error("--fix: expected the NAME of the port whose list is to be written")
    options.ports = [known[name] for name in options.names] or list(known.values())
    return options


def main():
    options = parse()
    if options.prove:
        sys.exit(0 if prove() else 1)
    results = judge_all(options)
    if os.environ.get("JUNIT"):
        write_junit(os.environ["JUNIT"], results)
    counts = [sum(each.outcome == word for each in results) for word in (PASSED, FAILED, SKIPPED)]
    say("{} passed, {} failed, {} skipped".format(*counts))
    sys.exit(1 if counts[1] else 0)


if __name__ == "__main__":
    main()
