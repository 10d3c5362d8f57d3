"""ci/simulate and the simulated kernel: each reports what is planted into it."""

import re
import shlex

import pytest
from lib import command, defects, explore

Edit, Patch = defects.Edit, defects.Patch
pytestmark = pytest.mark.slow


def sim(copy, old):
    """The file of the simulated kernel that has this text."""
    paths = sorted((copy.top / "tests" / "sim").glob("*.[ch]"))
    return next(f"tests/sim/{path.name}" for path in paths if old in path.read_text())


@pytest.mark.parametrize(
    "file, old, new, code",
    [
        ("sim", "(sim->hash ^ word)", "(sim->hash ^ word ^ (uintptr_t)sim)", "trace-differs"),
        ("tests/scenario/main.c", "if (command.hash)",
         "if (command.hash && poller == SIM_EPOLL)", "trace-count"),
        ("tests/scenario/run.c", "result->events = run.sim.events", "result->events = 9",
         "trace-short"),
    ],
    ids=["an address in the trace", "one poller alone", "few events"],
)
def test_traces_that_differ_are_reported(copy, file, old, new, code):
    path = sim(copy, old) if file == "sim" else file
    with copy.planted(Edit(path, old, new)):
        copy.expect(rf"\[{code}\]", ["ci/simulate", "determinism"])


@pytest.mark.parametrize(
    "poller, old, new, test",
    [
        ("epoll", "room >= used / 2", "room >= used / 64", "simulated_writable_is_a_threshold"),
        ("epoll", ".events | EPOLL_CODEC_ERR | ", ".events | ",
         "simulated_err_and_hup_cannot_be_masked"),
        ("kqueue", "record->filter_flags = 104", "record->filter_flags = 0",
         "eof_with_an_error"),
        ("kqueue", "if (found == max) return result", "if (found == max) continue",
         "no_room_for_an_error"),
    ],
)
def test_an_untrue_kernel_is_reported(copy, poller, old, new, test):
    with copy.planted(Edit(sim(copy, old), old, new)):
        copy.expect(rf"FAILED.*{test}",
                    ["ci/test", "units", "dev", "gcc", "-R", f"fidelity_{poller}"])


def test_the_sweep_finds_a_fault_that_ends_all_others(copy):
    with copy.planted(Patch("drain-fails-for-all")):
        copy.expect("FAILED, fault send", ["ci/simulate", "sweep", "--sample", "5"])


def test_the_sweep_reports_a_call_without_faults(copy):
    old, new = "!may_fail(call", "call == CALL_UNREAD || !may_fail(call"
    with copy.planted(Edit("tests/scenario/sweep.c", old, new)):
        copy.expect(r"\[unused-call\]", ["ci/simulate", "sweep", "--sample", "5"])


@pytest.mark.parametrize("name", ["fin-drops-pending-output", "drain-drops-owed-bytes"])
def test_random_scenarios_find_a_loss_and_replay_it(copy, name):
    with copy.planted(Patch(name)):
        found = copy.run(["ci/simulate", "events", "10000000"])
        assert found.returncode == command.FAILED, found.stdout
        replay = re.search(r"^seed 1; replay it with: (.*)$", found.stdout, re.MULTILINE)[1]
        again = copy.run(shlex.split(replay))
        assert again.returncode == command.FAILED and "FAILED" in again.stdout


def test_a_defect_that_escapes_and_a_false_claim_are_reported(copy):
    harmless = "A blank line more.\n--- a/src/core/upper.c\n+++ b/src/core/upper.c\n"
    harmless += "@@ -1,2 +1,3 @@\n+\n #include \"core/upper.h\"\n \n"
    planted = [
        Edit("tests/defects/server/harmless.patch", None, harmless),
        Edit("tests/scenarios/fin-bare.scenario", None, "# catches: mapping-off-by-one (alone)\n"),
    ]
    with copy.planted(*planted):
        verb = ["ci/simulate", "defects", "harmless", "mapping-off-by-one"]
        copy.expect(r"harmless .*\[escaped\]", verb)
        copy.expect(r"mapping-off-by-one .*\[claim-wrong\]", verb)


def test_a_claim_about_an_unknown_defect_is_reported(copy):
    claim = Edit("tests/scenarios/fin-bare.scenario", None, "# catches: a-thing (alone)\n")
    with copy.planted(claim):
        copy.expect(r"\[claim-unknown\]", ["ci/simulate", "defects", "mapping-off-by-one"])


SMALL = ["ci/simulate", "explore", "--steps", "1", "--deviations", "1"]


@pytest.mark.parametrize(
    "name, file", [("closed-while-watched", "epoll"), ("close-tried-again", "kqueue")]
)
def test_exploration_finds_a_defect_and_replays_it(copy, name, file):
    with copy.planted(Patch(name)):
        copy.expect(rf"plain {file}: .*\[violation\]", SMALL)
        replay = ["run", "--oracle-only", "--poller", file]
        found = f"build/results/explored-plain-{file}.scenario"
        copy.expect("FAILED", ["build/release/tests/scenario", *replay, found])


@pytest.mark.parametrize(
    "file, old, new, code",
    [
        ("digest", "BIT(l->paused, 12)", "0", "states-lost"),
        ("explore", "covered && !asked->whole", "covered && asked->steps > 2",
         "nothing-left-out"),
    ],
    ids=["states that differ are taken for one", "no state is known"],
)
def test_an_exploration_that_leaves_out_what_it_must_not_is_reported(copy, file, old, new, code):
    with copy.planted(Edit(f"tests/scenario/{file}.c", old, new)):
        copy.expect(rf"\[{code}\]", SMALL)


@pytest.mark.parametrize(
    "claim, code",
    [
        ("", "claim-missing"),
        ("drain-never-ends more: of anything\n", "claim-wrong"),
        ("drain-never-ends 0 0 plain\n", "escaped"),
        ("a-thing 1 0 plain\n", "claim-unknown"),
    ],
)
def test_a_false_claim_about_the_bound_of_a_defect_is_reported(copy, claim, code):
    path = copy.top / "tests" / "explore" / "defects"
    before = path.read_text()
    path.write_text(claim)
    try:
        copy.expect(rf"\[{code}\]", ["ci/simulate", "defects", "--explore", "drain-never-ends"])
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    "old, new",
    [
        ("link->edges[EDGE_READ]++; /* as after a short read */", "(void)sim;"),
        ("sim->links[i].edges[EDGE_WRITE]++;", "(void)sim;"),
    ],
    ids=["no edge after a false EAGAIN", "no edge with room"],
)
def test_an_alarm_about_a_right_server_is_reported(copy, old, new):
    with copy.planted(Edit(sim(copy, old), old, new)):
        copy.expect(r"\[false-alarm\]", ["ci/simulate", "under", "edges"])


def test_a_short_read_after_the_fin_is_not_made_up(copy):
    """A server that takes it for the end is wrong with urgent data alone, as Linux reads."""
    mistake = "short-read-is-the-end"
    arguments = ["ci/simulate", "under", mistake]
    old = "if (!sim->foreign || !tcp_at_end(link)) {"
    with copy.planted(Edit(sim(copy, old), old, "{")):
        copy.expect(rf"{mistake} +all +short-reads", arguments, status=0)
    copy.expect(rf"{mistake} +all +urgent-", arguments, status=0)


@pytest.mark.parametrize(
    "file, old, new, name, code",
    [
        ("tests/under/broken.c", "mistake == ONE_READ ||", "", "one-read-per-event", "escaped"),
        ("tests/under/sockets.c", 'world_unsupported("dup");', "return -1;",
         "duplicated-descriptor", "judged"),
        ("tests/under/world.c", "channel->ended = run->status",
         "channel->result.hash ^= (uint64_t)REAL(SYS_getpid);\n    channel->ended = run->status",
         "level", "trace-differs"),
        ("integration/ports/libuv/server.c", "#include <uv.h>", "#error", "libuv", "build"),
    ],
    ids=["no mistake", "a call that is not modelled", "a number of the process in the trace",
         "a port that does not compile"],
)
def test_what_is_wrong_with_servers_under_the_simulated_kernel_is_reported(
    copy, file, old, new, name, code
):
    with copy.planted(Edit(file, old, new)):
        copy.expect(rf"\[{code}\]", ["ci/simulate", "under", name])


def test_a_smaller_exploration_leaves_the_progress_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(explore.tree, "RESULTS", tmp_path)
    part = explore.parts()[0]
    explore.Progress(explore.STEPS, explore.DEVIATIONS).keep(part, [])
    explore.Progress(3, 2).write()
    assert explore.Progress(explore.STEPS, explore.DEVIATIONS).done(part) == []
    assert explore.Progress(3, 2).done(part) is None
