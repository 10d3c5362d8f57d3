"""Runs a server, unchanged, on a simulated kernel, which varies and fails more than sockets do.

The program that does it is the simulator of the reference. It is built from source, with the C
compiler at hand, when it is first asked for, and kept in the user's cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import tempfile

from touchstone_conform import spec
from touchstone_conform.harness.server import end_what_is_left
from touchstone_conform.harness.skips import SkipReason
from touchstone_conform.report.results import BLOCKED, FAILED, PASSED, SKIPPED, Result
from touchstone_conform.timeline import visible

_LIMIT_S = 300  # for one way
_SCENARIOS = spec.shared("scenarios", "tests/scenarios")
_SOURCES = spec.shared("simulator", ".")
_PROGRAM = [
    *("src/core/*.c", "src/shell/*.c"),
    *("tests/sim/*.c", "tests/scenario/*.c", "tests/under/command.c"),
]
# No code of the reference, and of the command line.
_LIBRARY = [
    *("tests/sim/*.c", "tests/under/*.c"),
    *(f"!tests/under/{each}.c" for each in ("broken", "command", "nothing")),
    *(f"tests/scenario/{each}.c" for each in ("digest", "judge", "run", "scenario*")),
]
_HEADERS = [
    *("include/core/*.h", "include/shell/*.h"),
    *("tests/sim/*.h", "tests/scenario/*.h", "tests/under/*.h"),
]
_FLAGS = ["-O2", "-std=gnu11", "-Itests", "-Iinclude"]
_FLAGS += ["-D_GNU_SOURCE", "-DTOUCHSTONE_PIPE_BUF=4096"]
_AS_LIBRARY = ["-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-U_FILE_OFFSET_BITS"]
_AS_LIBRARY += ["-Wl,-Bsymbolic-functions"]
_NOTHING_FAILED, _FAILED = 0, 1
_FAILURE = re.compile(
    r"^(?:(?P<file>.+): FAILED, (?:seed (?P<seed>\d+), )?|FAILED in run \d+, |run \d+: )"
    r"(?P<what>(?:fault (?P<fault>\w+ \d+ \w+), )?.*) \[(?P<code>[a-z-]+)\](?:; shrinking it)?$",
    re.MULTILINE,
)
_NOT_JUDGED = re.compile(r"^not judged: \d+ runs, (unsupported|unstable): (.*)$", re.MULTILINE)
_CROWDED = re.compile("^(crowd|vary) ", re.MULTILINE)  # it takes long, or varies by itself
_VARIED = ["--faults", "short,delay,order,eagain,eintr"]


@dataclasses.dataclass(frozen=True)
class Way:
    """What must hold, how the program is asked, and how it shows one failure again.

    FILES are all scenarios, STEADY those that may vary; FILE, SEED and FAULT what failed.
    """

    sentence: str
    asked: list[str]
    again: list[str]
    leans_on: tuple[str, ...] = ()  # ways: if one of these fails, this one would only repeat it


PROFILE = spec.SIMULATED
WAYS = {
    "SIM-1": Way(
        "On a simulated kernel, clients MUST see what each scenario expects.",
        ["run", "FILES"],
        ["run", "--trace", "FILE"],
    ),
    "SIM-2": Way(
        "The same MUST hold when calls are short, interrupted or delayed, in any order.",
        ["run", "--seeds", "10", *_VARIED, "STEADY"],
        ["run", "--trace", "--seed", "SEED", *_VARIED, "FILE"],
        ("SIM-1",),
    ),
    "SIM-3": Way(
        "If a system call fails, the server MUST keep serving all clients that it does not affect.",
        ["sweep", "--sample", "25", "FILES"],
        ["run", "--trace", "--oracle-only", "FAULT", "FILE"],
        ("SIM-1", "SIM-2"),
    ),
    "SIM-4": Way(
        "In random scenarios, a server MUST have delivered all that it owes when the run ends.",
        ["soak", "--events", "200000", "--seed", "1", "--out", "FILE"],
        ["run", "--trace", "--oracle-only", "FILE"],
        ("SIM-1", "SIM-2"),
    ),
}
REQUIREMENTS = [spec.Requirement(id, PROFILE, "MUST", way.sentence, {}) for id, way in WAYS.items()]


def judge(options):
    """Yields a result for each way, or one for each scenario that failed.

    What keeps the first from being judged, such as a call that is not modelled, keeps the others.
    How a server stops is judged if `service` is.
    """
    asked = [each.id for each in options.judged if each.profile == PROFILE]
    asked = [id for id in asked if id not in options.skips]
    if not asked:
        return
    try:
        program = _program(options)
    except SkipReason as reason:
        required = options.require_all
        outcome, code = (FAILED, "unexpected-skip") if required else (SKIPPED, reason.code)
        yield from (_result(id, outcome, str(reason), code=code) for id in asked)
        return
    failed, kept = set(), None  # ways; the result that keeps the others from being judged
    for id in asked:
        broken = sorted(failed.intersection(WAYS[id].leans_on))
        if kept:
            yield _result(id, SKIPPED, kept.message, code=kept.code)
        elif broken:
            yield _result(id, BLOCKED, f"blocked by {', '.join(broken)}", blocked_by=broken)
        else:
            results = _judged(id, program, options)
            yield from results
            failed |= {id for each in results if each.outcome == FAILED}
            kept = results[0] if results[0].outcome == SKIPPED and id == asked[0] else None


def _program(options):
    """The command that judges this server, as a list, without what it is to do."""
    if options.transform != "upper":
        raise SkipReason("not-offered", "a server that maps bytes as --transform upper does")
    program = built()
    # {port} is a number by the time that a shell reads it: without quotes none is needed.
    server = shlex.join(options.command).replace("'{port}'", "{port}")
    under = ["--under", server.replace("{host}", options.host)]
    if spec.PROFILES.index(options.profile) < spec.PROFILES.index("service"):
        under.append("--without-stop")
    return lambda *arguments: [str(program), *arguments, *under]


def _judged(id, program, options):
    way = WAYS[id]
    try:
        drawn = _place(id, options) if "FILE" in way.asked else None
        command = program(*_filled_in(way.asked, drawn))
        status, output, errors = _run(command, _LIMIT_S * options.time_scale)
    except OSError as error:
        return [_not_judged(id, "simulator", error)]
    if drawn:
        with contextlib.suppress(OSError):  # it holds a scenario
            drawn.parent.rmdir()
    if status == _NOTHING_FAILED:
        return [_result(id, PASSED, "")]
    found = list(_FAILURE.finditer(output))
    if status not in (_FAILED, None) or not found:
        told = _NOT_JUDGED.search(output)
        why = told.groups() if told else ("simulator", errors.partition("\n")[0])
        return [_not_judged(id, *why)]
    if drawn:
        return [_failure(id, found[-1], program, drawn)]
    first = {each["file"]: each for each in reversed(found)}  # of each file
    return [_failure(id, each, program) for each in reversed(first.values())]


def _not_judged(id, code, why):
    return _result(id, SKIPPED, f"{code}: {visible(str(why))}", code=code)


def _failure(id, found, program, drawn=None):
    """A scenario that was drawn is not there if it could not be shrunk in time."""
    path = drawn or pathlib.Path(found["file"])
    name = "" if drawn else path.stem
    result = _result(id, FAILED, visible(found["what"]), name, code=found["code"])
    if not drawn or drawn.exists():
        again = _filled_in(WAYS[id].again, path, found["seed"], found["fault"])
        result.replay = shlex.join(program(*again))
    if drawn and drawn.exists():
        result.scenario_path = str(drawn)
        result.scenario = drawn.read_text(encoding="utf-8", errors="backslashreplace")
    return result


def _place(id, options):
    """Where a scenario is written that failed."""
    if options.report:
        folder = options.report / "scenarios"
        folder.mkdir(exist_ok=True)
    else:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="touchstone-conform-"))
    return folder / f"{id}.scenario"


def _run(command, limit_s):
    """Its status, None if it took too long, and what it wrote."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = subprocess.Popen(command, **pipes, encoding="utf-8", errors="backslashreplace")
    try:
        output, errors = running.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        running.kill()
        output, _ = running.communicate()
        return None, output, f"it takes more than {limit_s:g} s"
    finally:
        running.kill()
        end_what_is_left()  # the server, if the program did not end by itself
    return running.returncode, output, errors


def _filled_in(words, path, seed=None, fault=None):
    """The smallest scenarios come first: they show best what fails."""
    paths = sorted(_SCENARIOS.glob("*.scenario"), key=lambda each: (each.stat().st_size, each.name))
    steady = [str(each) for each in paths if not _CROWDED.search(each.read_text())]
    known = {
        "FILES": list(map(str, paths)),
        "STEADY": steady,
        "FILE": [str(path)],
        "SEED": [seed],
        "FAULT": ["--fault", fault] if fault else [],
    }
    return [each for word in words for each in known.get(word, [word])]


def _result(id, outcome, message, name="", **more):
    return Result(
        f"{PROFILE}::{id}{f'[{name}]' if name else ''}", [id], outcome, message=message, **more
    )


# The program.


def built() -> pathlib.Path:
    """The program; the library that it preloads into the server lies beside it."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise SkipReason("kernel", "Linux on x86-64")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise SkipReason("tool", "a C compiler: cc, or the one that CC names")
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(home, "touchstone-conform", _digest())
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            _compile(compiler, _PROGRAM, [], f"{fresh}/scenario")
            _compile(compiler, _LIBRARY, _AS_LIBRARY, f"{fresh}/libtouchstone_under.so")
            made = pathlib.Path(fresh, "made")
            made.mkdir()
            for each in ("scenario", "libtouchstone_under.so"):
                pathlib.Path(fresh, each).rename(made / each)
            with contextlib.suppress(OSError):  # another kit was faster
                made.rename(folder)
    return folder / "scenario"


def _compile(compiler, patterns, flags, target):
    files = [path.relative_to(_SOURCES) for path in _files(patterns)]
    command = [compiler, *_FLAGS, *flags, "-o", target, *map(str, files), "-ldl"]
    done = subprocess.run(command, cwd=_SOURCES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        output = visible(done.stdout.decode("utf-8", "backslashreplace")[:400])
        needed = f"a C compiler that compiles the simulator; {compiler} says: {output}"
        raise SkipReason("tool", needed)


def _files(patterns):
    """In a fixed order; a pattern that begins with ! takes some away."""
    found = {}
    for each in patterns:
        paths = dict.fromkeys(sorted(_SOURCES.glob(each.lstrip("!"))))
        if each.startswith("!"):
            found = {path: None for path in found if path not in paths}
        else:
            found.update(paths)
    return list(found)


def _digest():
    made = hashlib.sha256(" ".join(_FLAGS + _AS_LIBRARY).encode())
    for path in _files([*_PROGRAM, *_LIBRARY, *_HEADERS]):
        made.update(path.read_bytes())
    return made.hexdigest()[:16]
