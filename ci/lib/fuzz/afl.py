"""AFL++: what it has done so far comes as StatsD packets, its only statistics without a delay."""

import contextlib
import hashlib
import re
import shutil
import socket
import subprocess

from .. import command, tree
from . import targets
from .process import HANG_S, Process, Stats

# What all seeds together may take.
SEEDS_S = 60


class AflProcess(Process):
    """Listens to the packets of an instance. The last ones may be lost, so the end is in a file."""

    PACKET = re.compile(rb"fuzzing\.(?:afl\.)?(\w+):([0-9.]+|inf)\|")
    FILE = re.compile(rb"^(\w+) *: ([0-9.]+)%?$", re.MULTILINE)
    COUNTED = {
        "execs": "execs_done", "rate": "execs_per_sec", "edges": "edges_found",
        "corpus": "corpus_count", "crashes": "saved_crashes", "stability": "stability",
    }

    def __init__(self, command, log, environment, folder):
        self.stats, self.folder = Stats(), folder
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        port = str(self.socket.getsockname()[1])
        super().__init__(command, log, {**environment, "AFL_STATSD": "1", "AFL_STATSD_PORT": port})

    def update(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.take(self.PACKET.findall(self.socket.recv(4096)))
        if not self.runs() and (self.folder / "fuzzer_stats").exists():
            self.take(self.FILE.findall((self.folder / "fuzzer_stats").read_bytes()))

    def take(self, pairs):
        values = {name.decode(): float(value) for name, value in pairs}
        for mine, its in self.COUNTED.items():
            if its in values and values[its] != float("inf"):
                value = values[its] if mine == "stability" else int(values[its])
                setattr(self.stats, mine, value)


class Afl:
    """A main instance; with jobs for them one with sanitizers, one with cmplog, and more mains.

    With `sync` it takes part in a campaign of several machines, whose instances see one another's
    finds in that folder: the first machine there has the one main instance (-M), all others are
    secondary (-S).
    """

    name = "afl"
    STABILITY_MIN = 100
    KINDS = ("main", "asan", "cmplog")
    ENVIRONMENT = {
        "AFL_NO_UI": "1",
        "AFL_NO_COLOR": "1",
        "AFL_SKIP_CPUFREQ": "1",
        "AFL_NO_AFFINITY": "1",
        "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
        "AFL_AUTORESUME": "1",
        "AFL_SYNC_TIME": "1",
    }

    def __init__(self, target, place, jobs=1, sync=None):
        if not shutil.which("afl-fuzz"):
            raise command.CannotRun("afl-fuzz is missing; ci/deps fuzz installs what fuzzing takes")
        self.target, self.place, self.jobs, self.sync = target, place, jobs, sync
        self.out = sync or place / "run" / "out"
        self.seeded, self.processes = True, []
        self.build_all()

    def build_all(self):
        self.builds = {}
        for kind in self.KINDS[: self.jobs]:
            preset = "fuzz-afl" if kind == "main" else f"fuzz-afl-{kind}"
            self.builds[kind] = targets.Build(preset, [self.target.name], self.target.top)
        self.build = self.builds["main"]

    def start(self, seconds):
        self.collect()
        run = tree.fresh_folder(self.place / "run")
        self.found = tree.fresh_folder(self.place / "findings")
        seeds = self.seeds(run / "seeds")
        self.replay_seeds(seeds)
        self.out.mkdir(parents=True, exist_ok=True)
        options = ["-t", HANG_S * 1000]
        if "max_len" in self.target.options:
            options += ["-G", self.target.options["max_len"]]
        if self.target.dictionary:
            options += ["-x", self.target.dictionary]
        for number, (name, role) in enumerate(self.instances()):
            program, variables = self.program(number)
            arguments = [
                "afl-fuzz", "-V", seconds, "-i", seeds, "-o", self.out, *role, *options, *program,
            ]
            environment = targets.environment(**self.ENVIRONMENT, **variables)
            log = run / f"{name}.log"
            self.processes.append(AflProcess(arguments, log, environment, self.out / name))

    def program(self, number):
        """The last arguments of an instance, and what it has in its environment."""
        kind = self.KINDS[number] if number < len(self.KINDS) else "main"
        build = self.builds["asan" if kind == "asan" else "main"]
        cmplog = ["-c", self.builds[kind].fuzzer(self.target.name)] if kind == "cmplog" else []
        return [*cmplog, "--", build.fuzzer(self.target.name)], {}

    def instances(self):
        """(name, options); an instance that is alone needs no role."""
        if self.jobs == 1 and not self.sync:
            return [("default", [])]
        prefix = socket.gethostname() + "-" if self.sync else ""
        others = [path.name for path in self.out.iterdir() if not path.name.startswith(prefix)]
        names = [
            prefix + (self.KINDS[number] if number < len(self.KINDS) else f"main{number}")
            for number in range(self.jobs)
        ]
        first = "-S" if self.sync and others else "-M"
        return [(name, [first if name == names[0] else "-S", name]) for name in names]

    def seeds(self, folder):
        """It takes one folder, and will not start with nothing. What its driver begins every
        process with is among them: if that crashes, AFL++ gives up."""
        folder.mkdir()
        (folder / "any").write_bytes(b"\n")
        (folder / "driver").write_bytes(b"##SI")
        own = self.place / "corpus"
        own.mkdir(exist_ok=True)
        given = self.target.seed_folders(self.build, self.place) if self.seeded else []
        for source in [own, *given]:
            for path in targets.inputs(source):
                shutil.copyfile(path, folder / path.name)
        return folder

    def replay_seeds(self, seeds):
        """AFL++ passes over a seed that crashes, as if it were no finding."""
        paths = targets.inputs(seeds)
        for kind, build in self.builds.items():
            fuzzer = build.fuzzer(self.target.name)
            if kind == "cmplog" or replays(fuzzer, paths, SEEDS_S):
                continue
            bad = next((path for path in paths if not replays(fuzzer, [path], HANG_S)), None)
            if bad:
                shutil.copyfile(bad, self.found / f"crash-{bad.name}")

    def findings(self):
        for folder in ("crashes", "hangs"):
            for path in self.out.glob(f"*/{folder}/id:*"):
                own = self.found / f"{folder}-{path.parent.parent.name}-{path.name}"
                own = own.with_name(own.name.replace(":", "_").replace(",", "_"))
                if any(path.is_relative_to(each.folder) for each in self.processes):
                    shutil.copyfile(path, own)
        return targets.inputs(self.found)

    def failed(self):
        return [each for each in self.processes if each.process.returncode != 0]

    def collect(self):
        """Keeps the finds of a run for the next one, and for merging."""
        kept = self.place / "corpus"
        kept.mkdir(parents=True, exist_ok=True)
        for path in self.out.glob("*/queue/id:*"):
            if ",orig:" not in path.name and ",sync:" not in path.name:
                content = path.read_bytes()
                (kept / digest(content)).write_bytes(content)


def digest(content):
    return hashlib.sha1(content).hexdigest()


def replays(fuzzer, paths, seconds):
    """False if it crashes, or takes longer."""
    try:
        done = subprocess.run(
            [fuzzer, *paths], env=targets.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
