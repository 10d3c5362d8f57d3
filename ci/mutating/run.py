"""Runs: rooms, what a change touches, a sample; and what came of them."""

import collections
import concurrent.futures
import json
import queue
import re
import threading
import time

from . import judge, ladder, mutants, survivors, tree

PROGRESS_S = 10

QUICK = frozenset(ladder.QUICK)
ALL = frozenset(ladder.STAGES)


class Group:
    """Mutants of a file that compile to one object."""

    def __init__(self, room, first):
        self.room = room
        self.mutants = [first]
        self.verdict = None

    @property
    def first(self):
        return self.mutants[0]


class Figures:
    """What became of a room's mutants."""

    def __init__(self):
        self.made = self.invalid = self.equivalent = self.duplicate = 0
        self.argued = self.lives = self.unlisted = 0
        self.by = collections.Counter()

    @property
    def killed(self):
        return sum(self.by.values())

    @property
    def judged(self):
        return self.killed + self.argued + self.lives + self.unlisted

    @property
    def per_cent(self):
        """Of those that some test could notice: killed."""
        rest = self.judged - self.argued
        return 100 * self.killed / rest if rest else 100.0

    def as_json(self):
        return {
            "made": self.made, "invalid": self.invalid, "equivalent": self.equivalent,
            "duplicate": self.duplicate, "judged": self.judged, "killed": self.killed,
            "killed_by": {stage: self.by[stage] for stage in ladder.STAGES},
            "equivalent_by_argument": self.argued, "surviving": self.lives + self.unlisted,
            "unlisted": self.unlisted, "per_cent": round(self.per_cent, 2),
        }


class Run:
    def __init__(self, jobs, without=(), quick=False):
        self.judge = judge.Judge(without)
        self.jobs = jobs
        self.quick = quick
        self.listed = survivors.read()
        self.workers = queue.SimpleQueue()
        for worker in range(jobs):
            self.workers.put(worker)
        self.figures = collections.defaultdict(Figures)
        self.complaints = []
        self.gone = set()
        self.entries = {}
        self.lived = []
        self.seen = set()

    # Jobs

    def in_parallel(self, function, items, what):
        """The results in order. Tells how it goes, and stops at the first exception."""
        progress = Progress(what, len(items))

        def one(item):
            worker = self.workers.get()
            try:
                return function(item, worker)
            finally:
                self.workers.put(worker)
                progress.step()

        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            running = [pool.submit(one, item) for item in items]
            try:
                return [each.result() for each in running]
            except BaseException:
                for each in running:
                    each.cancel()
                raise

    # From mutants to groups

    def mutants_of(self, room):
        for path in room.paths:
            if self.judge.plain.is_part(path):
                yield from mutants.Source(path).mutants()

    def group(self, room, made):
        """Leaves out what is no C and what compiles to the same as the original."""
        figures = self.figures[room.name]
        figures.made += len(made)
        objects = self.in_parallel(self.judge.object_of, made, f"{room.name}: compiled")
        groups = {}
        for mutant, digest in zip(made, objects):
            path = mutant.source.path
            if not digest:
                figures.invalid += 1
            elif digest == self.judge.original(path)[0]:
                figures.equivalent += 1
            elif (path, digest) in groups:
                figures.duplicate += 1
                groups[path, digest].mutants.append(mutant)
            else:
                groups[path, digest] = Group(room, mutant)
        return list(groups.values())

    # Judging

    def judge_groups(self, groups, what, brief=False):
        """First by the quick tests; who passes them by the others. In a `brief` run that is left
        out for those on the list, and else sockets for what no test can tell apart."""

        def judge_by(stages):
            def one(group, worker):
                group.verdict = self.judge.judge(group.room, group.first, worker, stages)

            return one

        self.in_parallel(judge_by(QUICK), groups, what)
        if not self.quick:
            self.judge_at_length(groups, judge_by, f"{what} at length", brief)
        for group in groups:
            self.count(group)

    def judge_at_length(self, groups, judge_by, what, brief):
        left = [group for group in groups if group.verdict.kind == judge.SURVIVES]
        kinds = [self.kind_of(group) for group in left]
        argued = [each for each, kind in zip(left, kinds) if kind == survivors.EQUIVALENT]
        live = [each for each, kind in zip(left, kinds) if kind == survivors.LIVES]
        new = [each for each, kind in zip(left, kinds) if kind is None]
        if not brief:
            self.in_parallel(judge_by(ALL - {"sockets"}), argued, what)
            self.in_parallel(judge_by(ALL), live, what)
        self.in_parallel(judge_by(ALL), new, what)

    def entries_of(self, group):
        """(kind, line) of each entry of the list that is this group, whether or not it is the
        mutant that was drawn: who compiles to the same is the same."""
        path = group.first.source.path
        if path not in self.entries:
            self.entries[path] = found = collections.defaultdict(list)
            if any(name[0] == path for name in self.listed):
                for mutant in mutants.Source(path).mutants():
                    if mutant.identity in self.listed:
                        digest = self.judge.object_of(mutant, "listed")
                        found[digest].append(self.listed[mutant.identity])
        return self.entries[path].get(self.judge.object_of(group.first, "listed"), [])

    def kind_of(self, group):
        kinds = [kind for kind, _ in self.entries_of(group)]
        return kinds[0] if kinds else None

    def count(self, group):
        figures, verdict = self.figures[group.room.name], group.verdict
        names = [mutant.identity for mutant in group.mutants]
        self.seen.update(names)
        kinds = self.entries_of(group)
        if verdict.kind == judge.INVALID:
            figures.invalid += 1
        elif verdict.kind == judge.EQUIVALENT:
            figures.equivalent += 1
        elif verdict.kind == judge.KILLED:
            figures.by[verdict.stage] += 1
        elif not kinds:
            figures.unlisted += 1
            self.lived.append(group)
        elif kinds[0][0] == survivors.EQUIVALENT:
            figures.argued += 1
        else:
            figures.lives += 1
        if verdict.kind != judge.SURVIVES:
            for _, line in kinds:
                by = f": {verdict.test} kills it" if verdict.test else ""
                self.complain(line, f"is listed, but does not survive{by}")

    def complain(self, line, what):
        self.gone.add(line)
        self.complaints.append(f"{survivors.PATH.relative_to(tree.TOP)}:{line}: {what}")

    # The verbs

    def room(self, room):
        made = list(self.mutants_of(room))
        if room.sample:
            groups = self.draw(room, made, room.sample, room.name)
        else:
            groups = self.group(room, made)
        self.judge_groups(groups, f"{room.name}: judged")
        if not room.sample:
            self.look_for_the_listed(room)
        return self.figures[room.name]

    def draw(self, room, made, count, seed):
        """So many that compile to something of their own; which, the seed says."""
        order = in_order_of(made, seed)
        groups, taken = [], 0
        while taken < len(order) and len(groups) < count:
            part = order[taken : taken + 2 * (count - len(groups))]
            taken += len(part)
            groups += self.group(room, part)
        return groups[:count]

    def look_for_the_listed(self, room):
        for name, (_, line) in self.listed.items():
            if name[0] in room.paths and name not in self.seen:
                self.complain(line, "there is no such mutant (any more), or it is equivalent")

    def sample(self, rooms, count, seed):
        """Drawn from all mutants alike; the operating system's files have no quick tests."""
        rooms = [room for room in rooms if not room.sample]
        rooms_of = {path: room for room in rooms for path in room.paths}
        made = [mutant for room in rooms for mutant in self.mutants_of(room)]
        order = in_order_of(made, seed)
        groups, taken = [], 0
        while taken < len(order) and len(groups) < count:
            mutant = order[taken]
            groups += self.group(rooms_of[mutant.source.path], [mutant])
            taken += 1
        self.judge_groups(groups, "judged", brief=True)

    def changed(self, rooms, base):
        touched = lines_changed(base)
        groups = []
        for room in rooms:
            made = [
                mutant for mutant in self.mutants_of(room)
                if mutant.number in touched.get(mutant.source.path, ())
            ]
            if made:
                groups += self.group(room, made)
        self.judge_groups(groups, "judged")

    # What is said

    def table(self):
        columns = ["made", "no C", "equal", "same", "judged", *ladder.STAGES, "argued", "live", "%"]
        widths = [max(6, len(column)) for column in columns]
        rows = []
        for name, each in self.figures.items():
            killed = [each.by[stage] for stage in ladder.STAGES]
            live = each.lives + each.unlisted
            row = [each.made, each.invalid, each.equivalent, each.duplicate, each.judged, *killed]
            rows.append((name, [*row, each.argued, live, f"{each.per_cent:.1f}"]))
        lines = [("room", columns), *rows]
        return "\n".join(
            f"{name:18}" + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))
            for name, cells in lines
        )

    @property
    def good(self):
        return not self.lived and not self.complaints

    def report(self):
        for group in self.lived:
            tree.say(f"\n{group.first}")
        tree.say("")
        if self.lived:
            tree.say(f"{len(self.lived)} not on the list survived: see above")
        for complaint in self.complaints:
            tree.say(complaint)
        tree.say(self.table())


class Progress:
    def __init__(self, what, count):
        self.what = what
        self.count = count
        self.done = 0
        self.lock = threading.Lock()
        self.begin = self.next = time.monotonic()
        self.next += PROGRESS_S

    def step(self):
        with self.lock:
            self.done += 1
            now = time.monotonic()
            if now >= self.next:
                left = (now - self.begin) * (self.count - self.done) / self.done
                tree.say(f"{self.what} {self.done} of {self.count}, {left:.0f} s to go")
                self.next = now + PROGRESS_S


def in_order_of(made, seed):
    """Shuffled, so that a change of the source moves only what it touches."""
    return sorted(made, key=lambda mutant: tree.digest(seed, *mutant.identity))


def lines_changed(base):
    """The numbers of the lines of src that are not as in that commit."""
    found, path = collections.defaultdict(set), None
    for line in tree.git("diff", "--unified=0", "--no-color", base, "--", "src").splitlines():
        if line.startswith("+++ "):
            path = line[6:]
        hunk = re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line)
        if hunk:
            first, count = int(hunk.group(1)), int(hunk.group(2) or 1)
            found[path].update(range(first, first + count))
    return found


def write_results(figures):
    """Rooms that were not part of this run keep what is known of them."""
    path = tree.RESULTS / "mutation.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept.update({name: each.as_json() for name, each in figures.items()})
    path.write_text(json.dumps(kept, indent=1) + "\n")
