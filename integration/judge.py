"""Judges many servers side by side, and compares the results with what is expected of each.

    judge.py ports [NAME...]         the reference and its ports (integration/ports)
    judge.py third-party [NAME...]   servers of others (integration/third_party/servers.ini)
    judge.py broken [NAME...]        servers with a seeded defect (integration/broken)

Without a NAME all servers of the group are judged. A server whose tools are not installed, or whose
package is not to be had, is skipped. Expected are exactly the failures in a server's
expected-failures file, or, of a broken server, its line of the kill matrix; of any other server,
none.

For each server build/GROUP/NAME has report.json, index.html and output.txt, and
build/GROUP/report.html shows all results that are there, those of earlier runs included.
The environment variable JUNIT names a file for the results as JUnit XML.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INTEGRATION = ROOT / "integration"
BUILT = ROOT / "build"
KIT = [sys.executable, "-m", "touchstone_conform"]
AT_ONCE = 3  # servers judged side by side: judging is mostly waiting
SHOWN = 60  # lines of output of a failure
LIMIT_S = 1800  # for one run of the kit
RUNNING = set()  # kits
INTERRUPTED = threading.Event()

sys.path[:0] = [str(INTEGRATION / "broken"), str(INTEGRATION / "third_party")]
import build as manifest  # noqa: E402
import kill_matrix  # noqa: E402
from touchstone_conform import spec  # noqa: E402

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
EXIT_STATUSES = """
Exit status:
  0  all results are as expected
  1  some are not
  2  bad usage
  130  it was interrupted
"""


@dataclasses.dataclass
class Server:
    """How a server is built and started, and what is expected of it."""

    name: str
    start: list  # command
    build: list = dataclasses.field(default_factory=list)  # commands
    sources: Path = ROOT  # where they run
    needs: list = dataclasses.field(default_factory=list)  # (tool, command, least version)
    options: list = dataclasses.field(default_factory=list)  # of the kit
    expected: Path | None = None  # expected failures
    own_network: bool = False  # judged in a network namespace of its own


@dataclasses.dataclass
class Result:
    name: str
    outcome: str
    summary: str = ""  # one line
    output: str = ""
    seconds: float = 0.0


# The servers: ports.

CARGO_TARGET = BUILT / "ports" / "rust" / "target"
CARGO_OPTIONS = ["--release", "--locked", "--target-dir", str(CARGO_TARGET)]
CARGO = ("cargo", ["cargo", "--version"], (1, 85))
CMAKE = ("cmake", ["cmake", "--version"], (3, 25))
NINJA = ("ninja", ["ninja", "--version"], (1, 0))
GO = ("go", ["go", "version"], (1, 19))
NODE = ("node", ["node", "--version"], (18, 0))
LIBUV = ("libuv1-dev and pkg-config", ["pkg-config", "--modversion", "libuv"], (1, 40))
LIBEVENT = ("libevent-dev and pkg-config", ["pkg-config", "--modversion", "libevent_core"], (2, 1))
COMPILER = ("cc", ["cc", "-dumpversion"], (0, 0))


def ports():
    built, sources = BUILT / "ports", INTEGRATION / "ports"

    def compiled(name, library):
        command = (
            "cc -std=gnu11 -O2 -Wall -Wextra -Wno-unused-parameter -Werror"
            f' $(pkg-config --cflags {library}) -o "{built}/{name}/server" server.c'
            f" $(pkg-config --libs {library})"
        )
        return [["sh", "-c", command]]

    naive = ["cargo", "build", *CARGO_OPTIONS, "--manifest-path", f"{sources}/rust/Cargo.toml"]
    builds = {
        "rust": [
            ["cargo", "build", *CARGO_OPTIONS],
            ["cargo", "test", *CARGO_OPTIONS, "--bin", "port-rust"],
        ],
        "go": [["go", "vet", "."], ["go", "build", "-o", str(built / "go" / "server"), "."]],
        "python": [],
        "node": [],
        "libuv": compiled("libuv", "libuv"),
        "libevent": compiled("libevent", "libevent_core"),
        "naive": [naive],  # a binary of the same package as rust
    }
    starts = {
        "rust": [CARGO_TARGET / "release" / "port-rust"],
        "go": [built / "go" / "server"],
        "python": [sys.executable, sources / "python" / "server.py"],
        "node": ["node", sources / "node" / "server.mjs"],
        "libuv": [built / "libuv" / "server"],
        "libevent": [built / "libevent" / "server"],
        "naive": [CARGO_TARGET / "release" / "naive"],
    }
    needs = {
        "rust": [CARGO],
        "go": [GO],
        "node": [NODE],
        "libuv": [COMPILER, LIBUV],
        "libevent": [COMPILER, LIBEVENT],
        "naive": [CARGO],
    }
    reference = Server(
        "touchstone",
        [BUILT / "release" / "touchstone", "--listen", "127.0.0.1:{port}"],
        [
            ["cmake", "--preset", "release"],
            ["cmake", "--build", "--preset", "release", "--target", "touchstone"],
        ],
        needs=[COMPILER, CMAKE, NINJA],
        options=["--profile", "reference"],
    )
    return [reference] + [
        Server(
            name,
            [*starts[name], "{port}"],
            builds[name],
            sources / name,
            needs.get(name, []),
            expected=sources / name / "expected-failures",
        )
        for name in starts
    ]


# The servers: third-party.

TOOLCHAINS = {
    "cargo": CARGO,
    "cc": COMPILER,
    "cmake": ("cmake", ["cmake", "--version"], (3, 13)),
    "go": ("go", ["go", "version"], (1, 21)),  # which can fetch the version that is pinned
    "java": ("java", ["sh", "-c", "java -version 2>&1"], (17, 0)),
    "maven": ("maven", ["sh", "-c", "mvn --version | sed 's/.*Maven//'"], (3, 0)),
    "npm": ("npm", ["npm", "--version"], (6, 0)),
}


def third_party():
    folder = INTEGRATION / "third_party"
    return [
        Server(
            name,
            stanza.command,
            [[sys.executable, folder / "build.py", name]],
            needs=[TOOLCHAINS[tool] for tool in stanza.toolchain],
            options=["--transform", "identity", "--title", stanza.title, *stanza.options],
            expected=folder / "known" / name,
            own_network=True,
        )
        for name, stanza in manifest.stanzas().items()
    ]


# The servers: broken.

CONFORMING = "conforming"  # the one without a defect


def broken():
    script = INTEGRATION / "broken" / "server.py"
    listed = subprocess.run(
        [sys.executable, script, "--list-defects"], capture_output=True, text=True, check=True
    )
    start = [sys.executable, script, "--port", "{port}"]
    servers = [Server(name, [*start, "--defect", name]) for name in listed.stdout.split()]
    return [Server(CONFORMING, start), *servers]


GROUPS = {"ports": ports, "third-party": third_party, "broken": broken}


# One server.


def lacking(server):
    """The reason for a skip: the tool that this machine lacks; empty if none."""
    for tool, command, least in server.needs:
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return f"tool: requires {tool}"
        if least is None:
            continue
        found = tuple(map(int, re.search(r"(\d+)(?:\.(\d+))?", answer).groups("0")))
        if found < least:
            have, expected = (".".join(map(str, version)) for version in (found, least))
            return f"tool: requires {tool} {expected} or newer, found {have}"
    return ""


def build(server):
    """The status and the output of the command that fails; 0 if none does."""
    for command in server.build:
        done = subprocess.run(
            [str(each) for each in command],
            cwd=server.sources,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
        if done.returncode != 0:
            return done.returncode, done.stdout
    return 0, ""


def prepared(servers, folder):
    """The servers that can be judged, and results for the others."""
    ready, results = [], []
    for server in servers:
        began = time.monotonic()
        (folder / server.name).mkdir(parents=True, exist_ok=True)
        reason = lacking(server)
        status, output = (0, "") if reason else build(server)
        if status == manifest.UNAVAILABLE:
            reason = output.strip()
        if reason:
            results.append(Result(server.name, SKIPPED, reason))
        elif status:
            seconds = time.monotonic() - began
            results.append(Result(server.name, FAILED, "the build fails", output, seconds))
        else:
            ready.append(server)
    return ready, results


def run_kit(server, folder, *options, limit_s=LIMIT_S):
    """The exit status of the kit (None if it exceeds the limit) and its output."""
    command = [*KIT, *server.options, *options, "--report", folder, "--", *server.start]
    if server.own_network:
        to_root = [] if os.geteuid() == 0 else ["--map-root-user"]
        with_loopback = 'ip link set lo up && exec "$@"'
        command = ["unshare", *to_root, "--net", "sh", "-c", with_loopback, "sh", *command]
    (folder / "report.json").unlink(missing_ok=True)
    running = subprocess.Popen(
        [str(each) for each in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    RUNNING.add(running)
    if INTERRUPTED.is_set():  # before it was listed
        running.send_signal(signal.SIGINT)
    try:
        status, output = ended(running, limit_s)
    finally:
        RUNNING.discard(running)
    (folder / "output.txt").write_text(output, encoding="utf-8")
    return status, output


def interrupt(*_):
    """A handler of signals: the kits end their servers, and then they and we end."""
    INTERRUPTED.set()
    for each in list(RUNNING):
        each.send_signal(signal.SIGINT)
    raise KeyboardInterrupt


def environment():
    """Ours, but for what changes how a server in Python behaves, such as PYTHONUNBUFFERED."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def ended(running, limit_s):
    """The exit status and output; after the limit the kit is interrupted, and ends its server."""
    for number, seconds in ((None, limit_s), (signal.SIGINT, 20), (signal.SIGKILL, None)):
        if number is not None:
            running.send_signal(number)
        try:
            output, _ = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            continue
        return (running.returncode if number is None else None), output
    raise AssertionError("SIGKILL ends a process")


def judge(server, folder, options):
    """Judge a server, and compare with its expected failures."""
    arguments = ["--jobs", options.jobs, "--repeat", options.repeat]
    if "--profile" not in server.options:
        arguments += ["--profile", "service"]  # each runs as a service does
    arguments += ["--smoke"] * options.smoke + ["--fix"] * options.fix
    if server.expected is not None and (options.fix or server.expected.exists()):
        arguments += ["--expected-failures", server.expected]
    status, output = run_kit(server, folder, *arguments)
    if status is None:
        return Result(server.name, FAILED, f"not judged within {LIMIT_S} s", output)
    summary = "; ".join(re.findall(r"^\w+: (?:conforms|does not|not judged).*", output, re.M))
    if server.expected is not None and server.expected.exists() and status == 0:
        summary += "; failures as expected"
    return Result(server.name, FAILED if status else PASSED, summary, output)


class NotJudged(Exception):
    """The kit gave no verdict on a server; its output."""


class KillMatrix:
    """Judges broken servers, and compares with the kill matrix."""

    SHORT_TIMEOUT_S = 1.5  # many tests of a broken server wait until their timeout
    LIMIT_S = 1000  # for one server: one that takes 0.2 s for each answer needs 600

    def __init__(self):
        self.known = spec.read().requirements
        self.listed = kill_matrix.read(kill_matrix.KILLS, self.known)
        self.reasons = kill_matrix.read_reasons(kill_matrix.REASONS, self.known)
        self.order = [each.name for each in broken() if each.name != CONFORMING]
        self._lock = threading.Lock()

    def judge(self, server, folder, options):
        try:
            failed, skipped = self.verdicts(server, folder, options.jobs)
        except NotJudged as error:
            return Result(server.name, FAILED, "not judged", str(error))
        with self._lock:
            complaints = self._compare(server.name, failed, skipped, options.fix)
        ids = [id for id in self.known if id in failed]
        summary = "; ".join(complaints) or f"fails {' '.join(ids)}".strip()
        return Result(server.name, FAILED if complaints else PASSED, summary)

    def verdicts(self, server, folder, jobs, limit_s=LIMIT_S):
        """The requirements whose tests fail, and those of which no test ran.

        With a short timeout some tests fail on a busy machine only: a failure that is not listed
        must occur again with the usual timeout.
        """
        profile = ["--profile", "service"]
        short = ["--jobs", jobs, "--client-timeout", self.SHORT_TIMEOUT_S, *profile]
        left_out = [f"--skip={id}=depends on chance" for id in kill_matrix.LEFT_OUT]
        deadline = time.monotonic() + limit_s
        failed, skipped = self._run(server, folder, limit_s, *short, *left_out)
        listed = set(map(kill_matrix.plain, self.listed.get(server.name, [])))
        doubtful = failed - listed
        if doubtful:
            left_s = deadline - time.monotonic()
            again = folder / "again"
            again.mkdir(exist_ok=True)
            selection = ["--jobs", jobs, *profile, "--only", *sorted(doubtful)]
            failed -= doubtful - self._run(server, again, left_s, *selection)[0]
        return failed, skipped - kill_matrix.LEFT_OUT

    def _run(self, server, folder, limit_s, *options):
        status, output = run_kit(server, folder, *options, limit_s=limit_s)
        if status not in (0, 1):
            raise NotJudged(output if status else f"not judged within {limit_s:.0f} s\n{output}")
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        verdicts = {each["id"]: each["verdict"] for each in report["requirements"]}
        return tuple(
            {id for id, verdict in verdicts.items() if verdict in wanted}
            for wanted in (("fail", "remark"), ("skip",))
        )

    def _compare(self, name, failed, skipped, fix):
        if name == CONFORMING:
            return [f"{id} fails or is skipped" for id in sorted(failed | skipped)]
        if not fix:
            if name not in self.listed:
                return ["no line in the kill matrix"]
            return kill_matrix.differences(name, self.listed[name], failed, skipped)
        if skipped:
            return [f"not written: {', '.join(sorted(skipped))} was skipped"]
        # What is known to change from run to run stays marked.
        marked = {each for each in self.listed.get(name, []) if each.endswith("?")}
        self.listed[name] = [*marked, *(id for id in failed if f"{id}?" not in marked)]
        kill_matrix.write(kill_matrix.KILLS, self.listed, self.order, self.known)
        return []

    def result(self):
        """Whether the matrix has what each MUST needs."""
        complaints = kill_matrix.complaints(self.known, self.listed, self.reasons)
        outcome = FAILED if complaints else PASSED
        return Result("kill matrix", outcome, output="\n".join(complaints))


# All servers.


def judge_all(options):
    folder = BUILT / options.group
    matrix = KillMatrix() if options.group == "broken" else None
    judge_one = matrix.judge if matrix else judge
    results = []

    def note(result):
        row = f"{result.name:{options.width}} {result.outcome:8} {result.seconds:6.1f} s"
        print(f"{row}  {result.summary}", flush=True)
        if result.outcome == FAILED and result.output:
            print("\n".join(result.output.splitlines()[-SHOWN:]), flush=True)
        results.append(result)

    def timed(server):
        began = time.monotonic()
        result = judge_one(server, folder / server.name, options)
        return dataclasses.replace(result, seconds=time.monotonic() - began)

    ready, others = prepared(options.servers, folder)
    for result in others:
        note(result)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = [pool.submit(timed, each) for each in ready]
        try:
            for task in concurrent.futures.as_completed(tasks):
                note(task.result())
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    reports = [folder / each.name / "report.json" for each in GROUPS[options.group]()]
    reports = [each for each in reports if each.exists()]
    if reports:
        note(draw(reports, folder / "report.html"))
    if matrix and not options.names:
        note(matrix.result())
    return results


def draw(reports, page):
    """Write one page with all results."""
    done = subprocess.run(
        [*KIT, "report", *reports, "-o", page],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    outcome = FAILED if done.returncode else PASSED
    return Result("page", outcome, done.stdout.strip())


def write_junit(path, group, results):
    suite = ElementTree.Element("testsuite", name=group)
    for each in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=group, name=each.name, time=f"{each.seconds:.1f}"
        )
        if each.outcome != PASSED:
            kind = {FAILED: "failure", SKIPPED: "skipped"}[each.outcome]
            ElementTree.SubElement(case, kind, message=each.summary)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8")


# The command line.


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"judge.py: {message} (--help lists the options)", file=sys.stderr)
        sys.exit(2)


def parse(arguments=None):
    parser = Parser(
        prog="judge.py",
        description=__doc__,
        epilog=EXIT_STATUSES,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="one test for each MUST")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="rounds; counts flakes")
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="tests at a time, for each server (2)"
    )
    parser.add_argument(
        "--sample",
        nargs=2,
        type=int,
        metavar=("N", "K"),
        help="judge N of the servers, from the Kth on and then round again",
    )
    parser.add_argument("--fix", action="store_true", help="rewrite the expected failures of NAME")
    options = parser.parse_intermixed_args(arguments)
    known = {server.name: server for server in GROUPS[options.group]()}
    for name in options.names:
        if name not in known:
            parser.error(f"unknown server {name!r}: expected one of {', '.join(known)}")
    if options.group == "broken" and (options.smoke or options.repeat != 1):
        parser.error("--smoke and --repeat: cannot be combined with broken")
    if options.fix and options.group == "ports" and options.names in ([], ["touchstone"]):
        parser.error("--fix: expected the NAME of a port")
    options.servers = [known[name] for name in options.names] or list(known.values())
    if options.sample is not None:
        count, first = options.sample
        if count < 1:
            parser.error(f"--sample: {count}: expected 1 server or more")
        first %= len(options.servers)
        options.servers = (options.servers[first:] + options.servers[:first])[:count]
    options.width = max(map(len, [*known, "kill matrix"]))
    return options


def main():
    options = parse()
    # In the background of a shell SIGINT is ignored, and the kit would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        results = judge_all(options)
    except KeyboardInterrupt:
        return 130
    except kill_matrix.KillMatrixError as error:
        print(f"judge.py: {error}", file=sys.stderr)
        return 2
    if os.environ.get("JUNIT"):
        write_junit(os.environ["JUNIT"], options.group, results)
    counts = {each: [r.outcome for r in results].count(each) for each in (PASSED, FAILED, SKIPPED)}
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts[FAILED] else 0


if __name__ == "__main__":
    sys.exit(main())
