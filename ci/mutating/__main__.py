"""Changes the source a little, many times, and demands that the tests notice.

    ci/mutate [ROOM...]         every mutant of these rooms; of all unless told which, but of the
                                operating system's files only 200, always the same
    ci/mutate --changed [BASE]  the mutants of lines of src that are not as in BASE (HEAD)
    ci/mutate --sample N        N of all but the operating system's, drawn by the hash of HEAD
    ci/mutate --prove           that it fails when it should
    ci/mutate --rooms           lists the rooms

    --jobs N                    at a time (2)
    --fix                       take off the list who does not survive any more
    --quick                     by the unit tests, the simulation and the corpora alone
    --fresh                     forget the verdicts of earlier runs
    --without TEST...           leave tests out, as CTest names them

universalmutator changes a line at a time, by its rules for C. What compiles to the same object as
the original, with gcc or clang, is equivalent; what compiles to the same as another mutant is
judged once. The rest is linked with the tests that run the file, without assertions, and has to
make one fail, crash or take far too long: its room's unit test, other unit tests, the simulation
on both pollers, the fuzzers' corpora. Else a compiler has to warn, for that fails the gate; or the
simulated kernel's fidelity shows it, or one of all those with sanitizers; or, last, the conformance
kit: a smoke run, what it has for the room, or both a smoke run and a whole one. What fails there
has to fail twice.

Who survives all that has to be in tests/mutation/survivors.txt with a reason, and who is there has
to survive: those that live all of it again, those that are equivalent by argument all but sockets.
A run that was cut short goes on where it was: verdicts are kept in build/mutate, for as long as src
compiles to the same. Survivors are judged anew whenever a test changed.

The table: made = no C (does not compile or link) + equal (equivalent) + same (as another) + judged;
judged = killed, by what + argued (equivalent by argument) + live. The share is of killed + live.
It is also written to build/results/mutation.json.

Exit status: 0 as it should be; 1 a survivor that is not listed, one listed that does not survive,
or a room below its goal; 2 bad usage; 3 it cannot run.
"""

import argparse
import shutil
import sys

from . import run, survivors, tree

FAILED, USAGE, CANNOT_RUN = 1, 2, 3


class Parser(argparse.ArgumentParser):
    """The text above says all of it at once; a mistake is one line."""

    def error(self, message):
        self.exit(USAGE, f"ci/mutate: {message} (see ci/mutate --help)\n")

    def format_help(self):
        return __doc__


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def arguments(rooms):
    parser = Parser(allow_abbrev=False)
    parser.add_argument("rooms", nargs="*", metavar="ROOM")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--changed", nargs="?", const="HEAD", metavar="BASE")
    verbs.add_argument("--sample", type=positive, metavar="N")
    verbs.add_argument("--prove", action="store_true")
    verbs.add_argument("--rooms", action="store_true", dest="list")
    parser.add_argument("--jobs", type=positive, default=tree.jobs_default(), metavar="N")
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--without", nargs="+", default=[], metavar="TEST")
    options = parser.parse_args()
    names = [room.name for room in rooms]
    for name in options.rooms:
        if name not in names:
            parser.error(f"there is no room '{name}' (expected one of {', '.join(names)})")
    return options


def judge_rooms(rooms, options):
    going = run.Run(options.jobs, options.without, options.quick)
    below = []
    for room in rooms:
        figures = going.room(room)
        if room.goal and figures.per_cent < room.goal:
            below.append(f"{room.name}: {figures.per_cent:.1f} % (expected {room.goal} %)")
        if not options.without and not options.quick:
            run.write_results(going.figures)
    going.report()
    good = going.good
    if options.fix and going.gone:
        survivors.remove(going.gone)
        tree.say(f"{len(going.gone)} taken off the list")
        good = not going.lived
    for line in below:
        tree.say(line)
    return good and not below


def judge_sample(rooms, options):
    going = run.Run(options.jobs, options.without, options.quick)
    commit = tree.git("rev-parse", "HEAD").strip()
    tree.say(f"drawn by {commit}")
    going.sample(rooms, options.sample, commit)
    going.report()
    return going.good


def judge_changed(rooms, options):
    going = run.Run(options.jobs, options.without, options.quick)
    going.changed(rooms, options.changed)
    going.report()
    return going.good


def main():
    everything = tree.rooms()
    options = arguments(everything)
    rooms = [room for room in everything if not options.rooms or room.name in options.rooms]
    if options.list:
        for room in rooms:
            tree.say(f"{room.name:18} {' '.join(room.paths)}")
        return 0
    if options.fresh:
        shutil.rmtree(tree.PLACE / "state", ignore_errors=True)
    if options.prove:
        from . import prove

        prove.prove(options.jobs)
        return 0
    if options.sample:
        good = judge_sample(rooms, options)
    elif options.changed:
        good = judge_changed(rooms, options)
    else:
        good = judge_rooms(rooms, options)
    return 0 if good else FAILED


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (tree.CannotRun, survivors.Mistake) as problem:
        print(f"ci/mutate: {problem}", file=sys.stderr)
        sys.exit(CANNOT_RUN)
    except KeyboardInterrupt:
        sys.exit(130)
