"""Runs: modules, what a change touches, a sample; and what came of them."""

import collections
import concurrent.futures
import queue
import re
import threading
import time

from .. import command, tree
from . import figures, judge, ladder, mutants, survivors

PROGRESS_S = 10
# So many mutants of a module without a floor are judged, always the same.
SAMPLE = 200

QUICK = frozenset(ladder.QUICK)
SOCKETS = frozenset({"sockets"})
COMPUTING = frozenset(ladder.STAGES) - SOCKETS
# Socket tests wait most of the time: so many times more mutants are judged by them at once.
AT_SOCKETS = 4


class Group:
    """Mutants of a file that compile to one object."""

    def __init__(self, module, first):
        self.module = module
        self.mutants = [first]
        self.verdict = None

    @property
    def first(self):
        return self.mutants[0]


class Run:
    def __init__(self, jobs, without=(), quick=False):
        self.judge = judge.Judge(without)
        self.jobs = jobs
        self.quick = quick
        self.listed = survivors.read()
        self.workers = queue.SimpleQueue()
        for worker in range(AT_SOCKETS * jobs):
            self.workers.put(worker)
        self.figures = collections.defaultdict(figures.Figures)
        self.complaints = []
        self.below = []
        self.gone = set()
        self.entries = {}
        self.lived = []
        self.seen = set()

    # Jobs

    def in_parallel(self, function, items, what, times=1):
        """The results in order. Tells how it goes, and stops at the first exception."""
        progress = Progress(what, len(items))

        def one(item):
            worker = self.workers.get()
            try:
                return function(item, worker)
            finally:
                self.workers.put(worker)
                progress.step()

        with concurrent.futures.ThreadPoolExecutor(times * self.jobs) as pool:
            running = [pool.submit(one, item) for item in items]
            try:
                return [each.result() for each in running]
            except BaseException:
                for each in running:
                    each.cancel()
                raise

    # From mutants to groups

    def mutants_of(self, module):
        for path in module.paths:
            if self.judge.plain.is_part(path):
                yield from mutants.Source(path).mutants()

    def group(self, module, made):
        """Leaves out what is no C and what compiles to the same as the original."""
        figures = self.figures[module.name]
        figures.made += len(made)
        objects = self.in_parallel(self.judge.object_of, made, f"{module.name}: compiled")
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
                groups[path, digest] = Group(module, mutant)
        return list(groups.values())

    # Judging

    def judge_groups(self, groups, what, brief=False):
        """First by the quick tests; survivors by the rest. A `brief` run leaves that out for those
        on the list; others leave out sockets for what no test can tell apart."""

        self.judge_by(QUICK, groups, what)
        if not self.quick:
            self.judge_at_length(groups, f"{what} at length", brief)
        for group in groups:
            self.count(group)

    def judge_by(self, stages, groups, what):
        def one(group, worker):
            group.verdict = self.judge.judge(group.module, group.first, worker, stages)

        self.in_parallel(one, groups, what, AT_SOCKETS if stages == SOCKETS else 1)

    def judge_at_length(self, groups, what, brief):
        left = surviving(groups)
        if brief:
            left = [group for group in left if self.kind_of(group) is None]
        self.judge_by(COMPUTING, left, what)
        left = [group for group in surviving(left) if self.kind_of(group) != survivors.EQUIVALENT]
        self.judge_by(SOCKETS, left, f"{what}, by sockets")

    def entries_of(self, group):
        """(kind, line) of each entry of the list that is this group, whether or not it is the
        mutant that was drawn: mutants with equal object code are one."""
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
        figures, verdict = self.figures[group.module.name], group.verdict
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
            for kind, line in kinds:
                if kind == survivors.TIMED and verdict.stage in SOCKETS:
                    continue
                by = f", killed by {verdict.test}" if verdict.test else ""
                self.complain(line, f"listed, but does not survive{by} [killed]")

    def complain(self, line, what):
        self.gone.add(line)
        self.complaints.append(f"{tree.shown(survivors.PATH)}:{line}: {what}")

    # The verbs

    def module(self, module):
        made = list(self.mutants_of(module))
        if module.mutation:
            groups = self.group(module, made)
        else:
            groups = self.draw(module, made, SAMPLE, module.name)
        self.judge_groups(groups, f"{module.name}: judged")
        if module.mutation:
            self.look_for_the_listed(module)
        found = self.figures[module.name].per_cent
        if found < module.mutation:
            floor = f"{found:.1f} % killed, expected {module.mutation} % [floor]"
            self.below.append(f"{module.name}: {floor}")

    def draw(self, module, made, count, seed):
        """So many that compile to something of their own; which, the seed says."""
        order = in_order_of(made, seed)
        groups, taken = [], 0
        while taken < len(order) and len(groups) < count:
            part = order[taken : taken + 2 * (count - len(groups))]
            taken += len(part)
            groups += self.group(module, part)
        return groups[:count]

    def look_for_the_listed(self, module):
        for name, (_, line) in self.listed.items():
            if name[0] in module.paths and name not in self.seen:
                self.complain(line, "listed, but no such mutant, or an equivalent one [no-mutant]")

    def sample(self, modules, count, seed):
        """Drawn from all mutants alike; the operating system's files have no quick tests."""
        modules = [module for module in modules if module.mutation]
        owner = {path: module for module in modules for path in module.paths}
        made = [mutant for module in modules for mutant in self.mutants_of(module)]
        order = in_order_of(made, seed)
        groups, taken = [], 0
        while taken < len(order) and len(groups) < count:
            mutant = order[taken]
            groups += self.group(owner[mutant.source.path], [mutant])
            taken += 1
        self.judge_groups(groups, "judged", brief=True)

    def changed(self, modules, base):
        touched = lines_changed(base)
        groups = []
        for module in modules:
            made = [
                mutant for mutant in self.mutants_of(module)
                if mutant.number in touched.get(mutant.source.path, ())
            ]
            if made:
                groups += self.group(module, made)
        self.judge_groups(groups, "judged")

    # What came of it

    @property
    def good(self):
        return not self.lived and not self.complaints and not self.below

    def report(self):
        for group in self.lived:
            command.say(f"{group.first}\n! survives, and is not in the list [unlisted]\n")
        for complaint in [*self.complaints, *self.below]:
            command.say(complaint)
        command.say(figures.table(self.figures))
        judged = sum(each.judged for each in self.figures.values())
        count = len(self.lived) + len(self.complaints) + len(self.below)
        command.say(f"{judged} mutants judged, {count} complaints")


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
                command.progress(f"{self.what} {self.done} of {self.count}, {left:.0f} s to go")
                self.next = now + PROGRESS_S


def surviving(groups):
    return [group for group in groups if group.verdict.kind == judge.SURVIVES]


def in_order_of(made, seed):
    """Shuffled, so that a change of the source moves only what it touches."""
    return sorted(made, key=lambda mutant: tree.digest(seed, *mutant.identity))


def lines_changed(base):
    """The numbers of the lines of src that are not as in that commit."""
    found, path = collections.defaultdict(set), None
    diff = ["git", "diff", "--unified=0", "--no-color", base, "--", "src"]
    for line in command.output_of(diff).splitlines():
        if line.startswith("+++ "):
            path = line[6:]
        hunk = re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line)
        if hunk:
            first, count = int(hunk.group(1)), int(hunk.group(2) or 1)
            found[path].update(range(first, first + count))
    return found
