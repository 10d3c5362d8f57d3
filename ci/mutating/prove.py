"""That ci/mutate fails when it should. On one small room and the quick tests."""

from . import judge, run, survivors, tree

ROOM = "core/token"
TESTS = ("token", "replay_token")

# Nothing but its unit test and its fuzzer has as many connections as it takes to see this one.
ONLY_BY_TEST = (
    "src/core/token.c", "token_issue", 1,
    "slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;",
    ("slot->generation = slot->generation == UINT32_MAX ? 0 : slot->generation + 1;",),
)
UNKNOWN = ("src/core/token.c", "token_issue", 1, "no line of it", ("nor this",))
HANGS = (
    "src/shell/log.c",
    "for (size_t i = 0; letters[i] != '\\0'; i += 2) {",
    "for (size_t i = 0; letters[i] != '\\0'; i =+ 2) {",
)


def prove(jobs):
    room = next(each for each in tree.rooms() if each.name == ROOM)
    good = attempt(jobs, room, (), {})
    expect(good.good, "all is well as it is")

    blind = attempt(jobs, room, TESTS, {})
    lived = [each.first.identity for each in blind.lived]
    expect(not blind.good and ONLY_BY_TEST in lived, "without its tests a mutant lives")
    allowed = attempt(jobs, room, TESTS, dict.fromkeys(lived, (survivors.LIVES, 1)))
    expect(allowed.good, "and may, if it is on the list")

    for name, why in ((ONLY_BY_TEST, "kills it"), (UNKNOWN, "no such mutant")):
        wrong = attempt(jobs, room, (), {name: (survivors.LIVES, 1)})
        said = not wrong.good and why in wrong.complaints[0]
        expect(said, f"who is on the list and does not survive is told of: {why}")
    expect(time_out(jobs), "who hangs is killed")


def attempt(jobs, room, without, listed):
    going = run.Run(jobs, without, quick=True)
    going.listed = listed
    going.room(room)
    return going


def time_out(jobs):
    going = run.Run(jobs, quick=True)
    path, old, new = HANGS
    room = next(each for each in tree.rooms() if path in each.paths)
    hangs = [each for each in going.mutants_of(room) if (each.old, each.new) == (old, (new,))]
    groups = going.group(room, hangs)
    going.judge_groups(groups, "judged")
    return [each.verdict.how for each in groups] == ["time-out"]


def expect(seen, what):
    if not seen:
        raise tree.CannotRun(f"not seen: {what}")
    tree.say(f"seen: {what}")
