"""ci/fuzz sees what it has to see, and its commands do what its help says."""

import csv
import re
import shlex
import shutil
import signal
import subprocess
import time
import zipfile

import pytest

from lib import build, command, defects, tree
from lib.fuzz import checks, corpora, engines, findings, hunt, oss_fuzz, reached, targets

pytestmark = pytest.mark.slow

ENGINES = list(engines.ENGINES)
# Quick to build, and quick.
TARGET = "token"
SHORT_S = 2
# How long a run would take that is to be ended before.
LONG_S = 60
PROGRESS_WITHIN_S = 120
# It is found in a port within so long.
PORT_S = 30
PORT_STABILITY_MIN = 99
# A moment shows that nothing is found where there is no bug.
MOMENT_S = 3
SELF_TEST = tree.TOP / targets.FOUND / "self-test"
FIN_DEFECT = "fin-drops-pending-output"


def run(copy, status, *arguments):
    done = copy.run([copy.top / "ci" / "fuzz", *arguments])
    assert done.returncode == status, done.stdout
    return done.stdout


# ---- A finding


def test_a_seeded_defect_is_found_and_replayed(copy):
    with copy.planted(defects.Patch(FIN_DEFECT)):
        copy.expect(r"\[finding\]", ["ci/fuzz", "libfuzzer", "server", LONG_S])
        folder = targets.Target("server", copy.top).place("libfuzzer", "server", "finding")
        scenario = copy.top / "build" / "fuzz-libfuzzer" / "tests" / "scenario"
        in_simulator = [scenario, "run", "--oracle-only", folder / "finding.scenario"]
        assert copy.run(in_simulator).returncode == command.FAILED
    # Over real sockets, and on the server as it is: the scenario is one, and nothing is wrong.
    server = build.make(build.configure("release", "gcc"), "touchstone") / "touchstone"
    command.output_of(
        [tree.TOP / ".venv" / "bin" / "touchstone-conform", "--replay",
         folder / "sockets.scenario", "--", server, "--listen", "127.0.0.1:{port}"]
    )


def test_a_byte_that_a_port_spoils_is_found_and_replayed(copy):
    """No seed does it: a drain, and a write that is short by one byte."""
    rest = "    memcpy(client->rest, bytes + sent, left);\n"
    spoilt = defects.Edit("integration/ports/libuv/server.c", rest,
                          rest + "    if (stopping && left == 1) client->rest[0] ^= 1;\n")
    with copy.planted(spoilt):
        copy.expect(r"\[finding\]", ["ci/fuzz", "afl", "under:libuv", PORT_S])
        place = targets.Target("server", copy.top).place("afl", "under-libuv")
        assert targets.inputs(place / "corpus"), "found by a seed"
        replay = [copy.top / "build" / "release" / "tests" / "scenario", "run", "--oracle-only",
                  place / "finding" / "finding.scenario", "--under"]
        programs = copy.top / "build" / "under" / "afl"
        spoilt_port = f"'{programs}/libuv' {{port}}"
        assert copy.run([*replay, spoilt_port]).returncode == command.FAILED
    output = run(copy, 0, "afl", "under:libuv", SHORT_S)
    assert float(re.search(r"stability ([\d.]+)", output)[1]) >= PORT_STABILITY_MIN
    assert copy.run([*replay, spoilt_port]).returncode == command.PASSED


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_is_ended_reports_what_it_did(copy, engine):
    target = targets.Target(TARGET, copy.top)
    progress = target.place(engine, TARGET, "run", "progress.csv")
    progress.unlink(missing_ok=True)
    process = subprocess.Popen(
        [copy.top / "ci" / "fuzz", engine, TARGET, str(LONG_S)], env=command.environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    with process:
        end = time.monotonic() + PROGRESS_WITHIN_S
        while not executions(progress) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output = process.stdout.read()
    assert process.returncode == command.INTERRUPTED, output
    counted, seconds = re.search(r"([\d,]+) executions in ([\d.]+) s", output).groups()
    assert counted != "0" and float(seconds) < LONG_S
    assert not processes_in(copy.top)


def executions(progress):
    """How many the last line of a run's progress.csv counts."""
    if not progress.exists():
        return 0
    with open(progress, newline="", encoding="utf-8") as file:
        return max((int(row["execs"] or 0) for row in csv.DictReader(file)), default=0)


def processes_in(top):
    """The processes whose program lies in a folder."""
    done = subprocess.run(["pgrep", "-f", re.escape(str(top / "build"))], stdout=subprocess.PIPE)
    return done.stdout.split()


# ---- What machines share, and what is kept


def test_libfuzzers_share_a_folder(copy, tmp_path):
    run(copy, 0, "libfuzzer", TARGET, SHORT_S, "--sync", tmp_path / "shared")
    assert targets.inputs(tmp_path / "shared")


def test_the_second_machine_of_a_campaign_is_secondary(copy, tmp_path):
    """The first one there has the main instance; one that comes while that runs (it has a file that
    says so) is secondary, and takes what it found."""
    other = tmp_path / "another-machine"
    run(copy, 0, "afl", TARGET, SHORT_S, "--sync", tmp_path)
    (mine,) = tmp_path.iterdir()
    assert " -M " in own_command(mine)
    mine.rename(other)
    (other / "is_main_node").touch()
    run(copy, 0, "afl", TARGET, SHORT_S, "--sync", tmp_path)
    assert " -S " in own_command(mine)
    assert (mine / ".synced" / other.name).exists()


def own_command(instance):
    stats = (instance / "fuzzer_stats").read_text()
    return re.search("^command_line.*", stats, re.MULTILINE).group()


def test_merge_keeps_what_adds_something_and_what_is_written_by_hand(copy):
    corpus = targets.Target(TARGET, copy.top).corpus
    by_hand, found = [], []
    for path in targets.inputs(corpus):
        (found if path.name.startswith(corpora.FOUND_PREFIX) else by_hand).append(path)
    finds = tree.fresh_folder(targets.Target(TARGET, copy.top).place("libfuzzer", TARGET, "corpus"))
    for path in found:
        shutil.move(path, finds / path.name)
    again = corpus / f"{corpora.FOUND_PREFIX}again"
    shutil.copyfile(by_hand[0], again)
    run(copy, 0, "merge", TARGET)
    now = set(targets.inputs(corpus))
    assert set(by_hand) < now and again not in now


def test_merge_refuses_a_corpus_that_is_too_large(copy):
    large = targets.Target(TARGET, copy.top).corpus / "large"
    large.write_bytes(bytes(corpora.BYTES_MAX + 1))
    try:
        copy.expect(r"\[corpus-size\]", ["ci/fuzz", "merge", TARGET], status=command.CANNOT_RUN)
    finally:
        large.unlink()


def test_a_merge_that_came_to_nothing_removes_nothing(copy, monkeypatch):
    target = targets.Target(TARGET, copy.top)
    before = targets.inputs(target.corpus)
    of_libfuzzer = targets.Build.libfuzzer

    def libfuzzer(build, name, *arguments, **options):
        kept = [each for each in arguments if each != "-set_cover_merge=1"]
        nothing = ["-help=1"] if kept != list(arguments) else kept
        return of_libfuzzer(build, name, *nothing, **options)

    monkeypatch.setattr(targets.Build, "libfuzzer", libfuzzer)
    finds = tree.fresh_folder(target.place("libfuzzer", TARGET, "corpus"))
    for path in before:
        if path.name.startswith(corpora.FOUND_PREFIX):
            shutil.copyfile(path, finds / path.name)
    with pytest.raises(command.CannotRun, match=r"\[merge\]"):
        corpora.merge_one(target)
    assert targets.inputs(target.corpus) == before


def test_all_runs_every_target(copy):
    run(copy, 0, "all", 1, "--jobs", 2)
    for name in targets.honest_names():
        target = targets.Target(name, copy.top)
        progress = target.place("libfuzzer", name, "run", "progress.csv")
        assert executions(progress) > 0, name


# ---- Checks that have to fail


def test_nothing_is_found_where_there_is_no_bug():
    assert checks.finders(hunt.CONTROL_TARGET, MOMENT_S) == []


def test_an_unfound_canary_fails(monkeypatch, capsys):
    monkeypatch.setattr(targets, "CANARY", hunt.CONTROL_TARGET)
    monkeypatch.setattr(checks, "CANARY_S", MOMENT_S)
    assert not checks.canary()
    assert capsys.readouterr().out.count("[canary]") == len(ENGINES)


def test_a_defect_that_no_engine_finds_escapes(copy, capsys):
    harmless = hunt.Seeded("nothing", defects.Edit("src/core/upper.c", None, "/* nothing */\n"))
    assert not hunt.is_found(copy, harmless, MOMENT_S)
    assert "[escaped]" in capsys.readouterr().out


@pytest.fixture(scope="module")
def gate():
    return reached.Gate(targets.honest_names(), SELF_TEST / "coverage")


FIRST = object()
OTHER = ("src/shell/server.c", "a line that is not there")


@pytest.mark.parametrize(
    "floors, changes, code",
    [
        ((101, 98), {}, "lines"),
        ((100, 101), {}, "branches"),
        (reached.CORE_FLOORS, {FIRST: None}, "unreached"),
        (reached.CORE_FLOORS, {OTHER: "why not"}, "reached"),
        (reached.CORE_FLOORS, {FIRST: ""}, "reason"),
    ],
)
def test_what_the_corpora_do_not_reach_is_complained_of(gate, monkeypatch, floors, changes, code):
    before, listed = set(gate.complaints()), dict(gate.listed)
    for key, reason in changes.items():
        key = next(iter(gate.missed & gate.listed.keys())) if key is FIRST else key
        listed[key] = reason
        if reason is None:
            del listed[key]
    monkeypatch.setattr(gate, "listed", listed)
    monkeypatch.setattr(gate, "floors", floors)
    (complaint,) = set(gate.complaints()) - before
    assert complaint.endswith(f"[{code}]")


@pytest.fixture(scope="module")
def out():
    """$OUT of a good build."""
    made = oss_fuzz.build("libfuzzer", SELF_TEST / "oss-fuzz")
    assert not list(oss_fuzz.complaints("libfuzzer", made))
    return made


@pytest.mark.parametrize(
    "suffix, spoil, code",
    [
        ("", lambda path: path.unlink(), "missing"),
        ("", lambda path: shutil.copy(shutil.which("false"), path), "status"),
        ("_seed_corpus.zip", lambda path: path.unlink(), "missing"),
        ("_seed_corpus.zip", lambda path: zipfile.ZipFile(path, "w").close(), "empty"),
    ],
)
def test_a_spoilt_oss_fuzz_build_is_complained_of(out, suffix, spoil, code):
    path = out / f"{targets.honest_names()[0]}_fuzzer{suffix}"
    kept = path.with_name("kept")
    shutil.copy(path, kept)
    spoil(path)
    found = list(oss_fuzz.complaints("libfuzzer", out))
    kept.replace(path)
    assert len(found) == 1 and f"[{code}]" in found[0].splitlines()[0]


# ---- What is printed


def test_a_printed_command_can_be_pasted(tmp_path):
    assert shlex.split(findings.shown("run", tmp_path / "a b")) == [
        "run", tree.shown(tmp_path / "a b")
    ]
