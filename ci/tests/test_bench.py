"""ci/bench measures, and notices a wrong answer: a moment of each load against our server and the
floor, and then against broken servers."""

import contextlib
import os
import shlex
import threading

import pytest

from lib import build, command, tree, under

pytestmark = pytest.mark.slow

points = pytest.importorskip("lib.bench.points")

from lib.bench import figures, load, page, rates, rounds, servers  # noqa: E402

MOMENT_S = 0.1
FEW = 100
BROKEN = shlex.join([str(tree.TOP / ".venv" / "bin" / "python"),
                     str(tree.TOP / "integration" / "broken" / "server.py")]) + " --port {port}"
HONEST = "honest, in Python"


@pytest.fixture(scope="module", autouse=True)
def built():
    servers.build_all()


def test_the_simulated_kernel_is_faster_than_sockets():
    build.make(servers.BUILD, "scenario", "touchstone")
    (server,) = (each for each in under.servers(servers.BUILD) if each.name == "reference")
    simulated = rates.steady(rates.small, server.start, FEW, MOMENT_S)
    assert simulated > 10 * rates.replay(shlex.split(server.start))


def test_a_server_whose_rate_is_not_known_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "OUT", tmp_path)
    monkeypatch.setattr(rates.under, "servers", lambda _: [under.Server("broken", "false {port}")])
    monkeypatch.setattr(rates, "UNDER_RATES_MIN", {"broken": (1, 1)})
    monkeypatch.setattr(rates, "FUZZED", "broken")
    monkeypatch.setattr(rates, "fuzz", lambda *_: 1)
    assert rates.measure([rates.SERVERS], 1) is False


@contextlib.contextmanager
def moment(commands, extras=()):
    """A bench that measures for a moment; its pinning is undone."""
    before = os.sched_getaffinity(0)
    bench = rounds.Bench(commands, list(extras), 1, MOMENT_S)
    bench.idle_clients = bench.stalled_clients = FEW
    bench.latency_s = MOMENT_S
    try:
        yield bench
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture
def bench():
    commands = servers.built()
    with moment({name: commands[name] for name in (servers.OURS, servers.FLOOR)}) as made:
        yield made


def test_each_load_is_measured_and_shown(bench):
    results = {
        "began": "now", "rounds": 1, "seconds": MOMENT_S, "load_before": "", "load_after": "",
        "servers": bench.names(), "commands": bench.commands, "machine": {},
        "costs": bench.costs([*points.POINTS, points.FLAT[0]]), "calls": {},
        "idle": bench.idle(), "flood": bench.flood(), "stalled": bench.stalled(),
    }
    assert len(figures.verdicts(results)) > 10
    assert page.page(results).count("<svg") == 2
    titles = [point.title for point in points.POINTS]
    table = "\n".join(figures.tables(results))
    assert all(title in table for title in titles)


class Interrupted:
    """The pipe of a load, when a signal comes."""

    def readline(self):
        raise KeyboardInterrupt

    def close(self):
        pass


def test_an_interrupt_leaves_no_timer_that_would_be_waited_for(bench):
    with bench.server(servers.FLOOR) as server, bench.load(server, "ping") as load:
        load.process.stdout.close()
        load.process.stdout = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            load.line()
        timers = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
        for each in timers:
            each.join(MOMENT_S)
        assert not any(each.is_alive() for each in timers)


def test_the_system_calls_of_a_lone_ping_are_three(bench):
    calls = bench.calls(points.POINTS[:1])
    if not calls:
        pytest.skip("strace may not attach to a process here")
    counted = calls["ping-1"][servers.OURS]
    assert {"recvfrom", "sendto", "epoll_wait"} <= set(counted)
    assert 2.9 < sum(counted.values()) < 3.5


def test_a_server_in_python_is_charged_more():
    floor = servers.built()[servers.FLOOR]
    with moment({servers.FLOOR: floor, HONEST: BROKEN}, [HONEST]) as bench:
        point = points.POINTS[1]
        costs = bench.costs([point])
    assert figures.ratio(costs, point.name, HONEST, servers.FLOOR).median > 1.1


@pytest.mark.parametrize(
    "ratios, outcome",
    [
        ([0.97, 0.98, 0.99] * 10, "met"),
        ([1.01, 1.02, 1.03] * 10, "missed"),
        ([0.97, 1.00, 1.04] * 10, "not distinguishable"),
    ],
)
def test_a_goal_that_the_interval_spans_is_not_distinguishable(ratios, outcome):
    """What is paired counts: a round that was slow for both has no weight."""
    goal = points.GOALS[0]
    theirs = [1.0, 9.0, 1.1, 1.0, 1.0] * 6
    found = {
        goal.point: {
            servers.OURS: [{"us": ratio * each} for ratio, each in zip(ratios, theirs)],
            goal.other: [{"us": each} for each in theirs],
        }
    }
    assert [each.outcome for each in figures.verdicts({"costs": found})] == [outcome]


def test_turns_are_balanced():
    """Each is as often before as behind each other one, and as often at each place."""
    order = list(rounds.turns(["a", "b", "c"], 6))
    by_round = [order[i : i + 3] for i in range(0, 18, 3)]
    assert sum(each.index("a") < each.index("b") for each in by_round) == 3
    assert sorted(each.index("a") for each in by_round) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "defect, workload, options, codes",
    [
        ("z-forgotten", "ping", {}, "wrong-byte"),
        ("crosstalk", "ping", {"connections": 400}, "wrong-byte|unasked-data"),
        ("banner", "ping", {}, "wrong-byte|unasked-data"),
        ("line-buffering", "ping", {}, "no-answer"),
        ("half-buffer-lost", "stream", {}, "wrong-byte"),
        ("farewell", "churn", {}, "unasked-data"),
        ("fin-answered-with-reset", "churn", {}, "reset"),
    ],
)
def test_a_wrong_answer_is_noticed(bench, defect, workload, options, codes):
    line = f"{BROKEN} --defect {defect}"
    with servers.Server(defect, line, bench.server_core) as server:
        with pytest.raises(load.WrongAnswer, match=rf"\[({codes})\]"):
            with bench.load(server, workload, timeout=1, **options) as loading:
                loading.run()


def test_a_server_that_answers_wrongly_is_no_measurement():
    extra = f"wrong={BROKEN} --defect z-forgotten"
    done = command.run(["ci/bench", "ping-1", "--rounds", 1, "--seconds", MOMENT_S, "--extra",
                        extra, "--servers", "wrong"])
    assert done.returncode == command.FAILED and "[wrong-byte]" in done.stdout
