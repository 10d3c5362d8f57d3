"""That ci/bench runs, and that it would notice: a moment of each load against our server and the
floor, and then against servers of the kit's gallery that do wrong."""

from . import figures, machine, page, points, rounds, servers
from .load import Load, WrongAnswer

MOMENT_S = 0.1
FEW = 100

GALLERY = ".venv/bin/python integration/broken/server.py --port {port}"
HONEST = "of the gallery"

# (defect, load, its options, what has to be said)
WRONGS = [
    ("z-forgotten", "ping", {}, "another byte came back"),
    ("crosstalk", "ping", {"connections": 400}, "another byte came back|more came back"),
    ("banner", "ping", {}, "another byte came back|more came back"),
    ("line-buffering", "ping", {}, "no answer"),
    ("half-buffer-lost", "stream", {}, "another byte came back"),
    ("farewell", "churn", {}, "more came back"),
    ("fin-answered-with-reset", "churn", {}, "reset by peer"),
]


def prove(say):
    servers.build()
    ours, floor = (servers.built()[name] for name in (servers.OURS, servers.FLOOR))
    bench = rounds.Bench({servers.OURS: ours, servers.FLOOR: floor}, [], 1, MOMENT_S, say)
    bench.idle_clients = bench.stalled_clients = FEW
    it_runs(bench, say)
    it_charges(rounds.Bench({servers.FLOOR: floor, HONEST: GALLERY}, [HONEST], 1, MOMENT_S, say))
    it_weighs(say)
    for wrong in WRONGS:
        it_notices(bench, *wrong, say)


def demand(so, what):
    if not so:
        raise machine.CannotRun(f"ci/bench proves nothing: {what}")


def it_runs(bench, say):
    """Each load, each figure, and the page."""
    costs = bench.costs([*points.POINTS, points.FLAT[0]])
    calls = bench.calls(points.POINTS[:1])
    if calls:
        counted = calls["ping-1"][servers.OURS]
        demand({"recvfrom", "sendto", "epoll_wait"} <= set(counted), f"a ping takes {counted}")
        demand(2.9 < sum(counted.values()) < 3.5, f"a lone ping takes {counted}")
    results = {
        "began": "now", "rounds": 1, "seconds": MOMENT_S, "load_before": "", "load_after": "",
        "servers": bench.names(), "commands": bench.commands, "machine": {}, "costs": costs,
        "calls": calls, "idle": bench.idle(), "flood": bench.flood(), "stalled": bench.stalled(),
    }
    demand(len(figures.verdicts(results)) > 10, "goals were not weighed")
    demand(page.page(results).count("<svg") == 2, "the page lacks a chart")
    say("\n".join(figures.tables(results)))


def it_charges(bench):
    """A server in Python takes more CPU time, and is charged with it."""
    point = points.POINTS[1]
    dear = figures.ratio(bench.costs([point]), point.name, HONEST, servers.FLOOR).median
    demand(dear > 1.1, f"{point.title}: a server in Python costs {dear:.2f} of the floor")


def it_weighs(say):
    """A goal is missed beyond its ratio and its noise, in the median of what was paired, and met
    within them; a round that was slow for both says nothing."""
    goal = points.GOALS[0]
    for slower, met in ((1.02, True), (1.04, False)):
        theirs = [1.0, 9.0, 1.1]
        found = {
            goal.point: {
                servers.OURS: [{"us": slower * each} for each in theirs],
                goal.other: [{"us": each} for each in theirs],
            }
        }
        weighed = [each.met for each in figures.verdicts({"costs": found})]
        demand(weighed == [met], f"{slower} of the floor is weighed wrongly: {weighed}")
    say("weighed: 1.02 of the floor meets a goal of 1.00, 1.04 does not")


def it_notices(bench, defect, workload, options, demanded, say):
    command = f"{GALLERY} --defect {defect}"
    with servers.Server(defect, command, bench.server_core) as server:
        try:
            with Load(server, bench.load_core, workload, MOMENT_S, timeout=1, **options) as load:
                load.run()
        except WrongAnswer as error:
            demand(any(each in str(error) for each in demanded.split("|")), str(error))
            say(f"noticed: {error}")
            return
    demand(False, f"{defect} went unnoticed")
