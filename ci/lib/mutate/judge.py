"""Judges mutants, and remembers the verdicts: a run that was cut short goes on where it was."""

import collections
import json
import re
import shutil
import threading

from .. import command, modules, tree
from . import build, ladder, mutants

# What a mutant may turn out to be. Invalid: it does not compile or link.
INVALID, EQUIVALENT, KILLED, SURVIVES = "invalid", "equivalent", "killed", "survives"

# Killed: by which test of which stage, and how. Survives: which stages of which tests.
Verdict = collections.namedtuple("Verdict", "kind stage test how stages tests", defaults=5 * [None])


class Store:
    """Records, a line each, appended as they come."""

    def __init__(self, name):
        path = build.PLACE / "state" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.known = {}
        if path.exists():
            for line in path.read_text().splitlines():
                if line.endswith("]"):  # the last one may be cut
                    key, value = json.loads(line)
                    self.known[key] = value
        self.file = path.open("a")

    def get(self, key):
        with self.lock:
            return self.known.get(key)

    def put(self, key, value):
        with self.lock:
            self.known[key] = value
            self.file.write(json.dumps([key, value]) + "\n")
            self.file.flush()


class Judge:
    """`worker` names a job: each has a folder to compile, link and run in."""

    def __init__(self, without=()):
        self.plain = build.Build("plain").make()
        self.ladder = ladder.Ladder(self.plain, build.Build("sanitized"), without)
        self.objects = Store("objects")
        self.verdicts = Store("verdicts")
        self.lock = threading.Lock()
        self.originals = {}
        self.headers = ladder.digest_of_files(
            path for path in tree.files() if re.match(r"(include|src)/.*\.h$", path)
        )
        self.tests = tree.digest(ladder.state_of_tests(), *sorted(without))
        # A verdict holds for the rest of src, too, as it is compiled: comments do not matter.
        sources = sorted(path for each in modules.read().values() for path in each.paths)
        parts = [path for path in sources if self.plain.is_part(path)]
        self.rest = tree.digest(*sorted(without), *(self.original(path)[0] for path in parts))

    def folder(self, worker):
        made = build.PLACE / f"job-{worker}"
        made.mkdir(parents=True, exist_ok=True)
        return made

    # Objects

    def object_of(self, mutant, worker, instead=()):
        """The digest of what a mutant is compiled to; nothing if it is no C, or lacks what others
        need."""
        path, text = mutant.source.path, mutant.text
        key = tree.digest(path, text, self.headers, *instead)
        found = self.objects.get(key)
        if found is None:
            to = self.folder(worker) / "object.o"
            found = ""
            if self.plain.compile(path, text, to, instead):
                made, names = read_object(to)
                if self.original(path, instead)[1] <= names:
                    found = made
            self.objects.put(key, found)
            if found and not instead:
                shutil.copyfile(to, self.kept(found))
        return found

    def kept(self, digest):
        """Where the object lies, for it will be linked later."""
        folder = build.PLACE / "objects"
        folder.mkdir(exist_ok=True)
        return folder / f"{digest}.o"

    def original(self, path, instead=()):
        """The digest and the symbols of the unchanged file's object."""
        with self.lock:
            if (path, instead) not in self.originals:
                to = self.folder("original") / "object.o"
                if not self.plain.compile(path, mutants.Source(path).text, to, instead):
                    raise command.CannotRun(f"{path} does not compile")
                self.originals[path, instead] = read_object(to)
            return self.originals[path, instead]

    # Verdicts

    def judge(self, module, mutant, worker, stages):
        """Takes one that compiles to another object than the original. A kill stays one; a survivor
        has to pass what it has not passed yet, or all of it if a test changed."""
        key = tree.digest(mutant.source.path, self.object_of(mutant, worker), self.rest)
        verdict = Verdict(*(self.verdicts.get(key) or [SURVIVES]))
        passed = set(verdict.stages or ()) if verdict.tests == self.tests else set()
        if verdict.kind == SURVIVES and not set(stages) <= passed:
            verdict = self.judge_now(module, mutant, worker, set(stages) - passed)
            if verdict.kind == SURVIVES:
                passed |= set(stages)
                verdict = verdict._replace(stages=sorted(passed), tests=self.tests)
            self.verdicts.put(key, verdict)
        return verdict

    def judge_now(self, module, mutant, worker, stages):
        path, folder = mutant.source.path, self.folder(worker)
        programs = Programs(self, mutant, worker)
        for stage in [stage for stage in ladder.STAGES if stage in stages]:
            if stage == ladder.WARNINGS:
                if self.is_warned_of(mutant, worker):
                    return Verdict(KILLED, stage, "the compiler", "a warning")
                continue
            for test in self.ladder.tests(module, path, stage):
                test.measure(test.build.directory / test.program, folder)
                program = programs.of(test)
                if program is None:
                    return Verdict(INVALID)
                how = test.run(program, folder)
                if how and stage == "sockets":  # other load may have been in the way
                    how = test.run(program, folder)
                if how:
                    return Verdict(KILLED, stage, test.name, how)
        return Verdict(EQUIVALENT if self.is_same_elsewhere(mutant, worker) else SURVIVES)

    def is_same_elsewhere(self, mutant, worker):
        path = mutant.source.path
        return any(
            self.object_of(mutant, worker, other) == self.original(path, other)[0]
            for other in build.OTHERS
        )

    def is_warned_of(self, mutant, worker):
        path, text, to = mutant.source.path, mutant.text, self.folder(worker) / "object.o"
        return not all(
            self.plain.compile(path, text, to, instead, strictly=True)
            for instead in build.STRICT
        )


class Programs:
    """A mutant's programs, each linked when it is first asked for."""

    def __init__(self, judge, mutant, worker):
        self.judge = judge
        self.mutant = mutant
        self.worker = worker
        self.made = {}

    def of(self, test):
        """Where the test's program lies; None if it cannot be made."""
        key = test.build.kind, test.program
        if key not in self.made:
            to = self.judge.folder(self.worker) / "-".join(key).replace("/", "-")
            path, part = self.mutant.source.path, self.object(test.build)
            good = part and test.build.link(test.program, path, part, to)
            self.made[key] = to if good else None
        return self.made[key]

    def object(self, build_):
        if build_.kind == "plain":
            kept = self.judge.kept(self.judge.object_of(self.mutant, self.worker))
            if kept.exists():
                return kept
        to = self.judge.folder(self.worker) / f"{build_.kind}.o"
        good = build_.compile(self.mutant.source.path, self.mutant.text, to)
        return to if good else None


def read_object(path):
    names = build.symbols(path)
    return tree.digest(path.read_bytes()), names
