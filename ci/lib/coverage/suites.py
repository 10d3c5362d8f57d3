"""The suites of tests, built for counting, and what each of them reaches."""

import json

from .. import build, command, tree
from . import counted, gate, shown, source

PRESET, COMPILER = "coverage", f"clang-{counted.LLVM}"
BUILD = build.directory(PRESET, COMPILER)
# Between them they have every source file.
PROGRAMS = [BUILD / "touchstone", BUILD / "tests" / "scenario"]
# But for another system's, which has a test here: of two functions of one name llvm-cov keeps one.
OF_ANOTHER_SYSTEM = {"src/system/posix_accept.c"}

# Which labels of CTest a suite has.
LABELS = {"unit": "^(unit|fidelity)$", "simulation": "^simulation$"}
SUITES = (*LABELS, "sockets")
# The command line, the start, the log and the stop: what unit tests and simulation do not reach.
NEEDED = "LOG-4 REF-1 REF-2 REF-3 REF-4 REF-5 REF-8 REF-9 REF-15".split()


def run(suite, whole):
    """Runs a suite; gives its raw profiles."""
    folder = tree.fresh_folder(BUILD / "counted" / suite)
    command.progress(f"{suite} ...")
    command.output_of(
        of_ctest(LABELS[suite]) if suite in LABELS else of_kit(whole),
        env=command.environment(LLVM_PROFILE_FILE=folder / "%p.profraw"),
    )
    return sorted(folder.iterdir())


def of_ctest(labels):
    return ["ctest", "--test-dir", BUILD, "--label-regex", labels, "--no-tests=error",
            "--timeout", 120, "--parallel", 2, "--output-on-failure"]


def of_kit(whole):
    only = [] if whole else ["--only", *NEEDED]
    kit = tree.TOP / ".venv" / "bin" / "touchstone-conform"
    return [kit, "--profile", "reference", *only,
            "--", PROGRAMS[0], "--listen", "127.0.0.1:{port}"]


def files_of(name, raw):
    """What these profiles say of every file."""
    profile = counted.Counted(BUILD / "counted" / f"{name}.profdata", raw, PROGRAMS)
    return profile, [source.File(path, entry) for path, entry in profile.files().items()]


def compiled_sources():
    compiled = json.loads((BUILD / "compile_commands.json").read_text(encoding="utf-8"))
    sources = {tree.shown(entry["file"]) for entry in compiled}
    return {path for path in sources if path.startswith("src/")} - OF_ANOTHER_SYSTEM


def measure(suites, whole):
    """True if all is reached that has to be. Raw profiles lie in one place: one run at a time."""
    command.progress(f"building {tree.shown(BUILD)} ...")
    build.make(build.configure(PRESET, COMPILER))
    with build.locked(BUILD / "counted"):
        return judge(suites, whole)


def judge(suites, whole):
    raw = {suite: run(suite, whole) for suite in suites}
    profile, files = files_of(shown.TOGETHER, [path for paths in raw.values() for path in paths])
    by_suite = {suite: shown.sums(files_of(suite, paths)[1]) for suite, paths in raw.items()}
    by_suite[shown.TOGETHER] = shown.sums(files)
    found = list(gate.complaints(files, compiled_sources()))
    command.say("\n".join([*shown.table(by_suite), *found]))
    if list(suites) == list(SUITES):
        shown.write(by_suite, found)
        page = shown.write_page(profile, BUILD / "report")
        command.say(f"line by line: {tree.shown(page)}")
    command.say(f"{len(files)} files, {len(found)} complaints")
    return not found
