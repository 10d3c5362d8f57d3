"""Runs a fuzzer under libFuzzer or AFL++, and watches it.

Both engines are processes that share a place on the disk; what they have done so far is read from
libFuzzer's log, and comes from AFL++ as StatsD packets, its only statistics without a delay.
"""

import contextlib
import dataclasses
import hashlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from . import tree

# An input that takes so long is a finding.
HANG_S = 10
# What all seeds together may take.
SEEDS_S = 60
POLL_S = 0.25
# Set, it ends all runs, whichever threads they are in.
over = threading.Event()
# What an engine gets to end by itself.
GRACE_S = 30


class NotBegun(Exception):
    """All was over before."""


@dataclasses.dataclass
class Stats:
    """Of one process, or of all together."""

    execs: int = 0
    rate: float = 0
    edges: int = 0
    corpus: int = 0
    crashes: int = 0
    stability: float = 100

    def __str__(self):
        return (
            f"{self.execs:,} execs, {self.rate:,.0f}/s, {self.edges:,} edges, "
            f"corpus {self.corpus:,}, crashes {self.crashes}"
        )


def add_up(all_stats):
    """Processes share what they find, and each counts its own executions."""
    return Stats(
        execs=sum(each.execs for each in all_stats),
        rate=sum(each.rate for each in all_stats),
        edges=max(each.edges for each in all_stats),
        corpus=max(each.corpus for each in all_stats),
        crashes=sum(each.crashes for each in all_stats),
        stability=min(each.stability for each in all_stats),
    )


@dataclasses.dataclass
class Result:
    engine: str
    target: str
    seconds: float
    stats: Stats
    last_edge_s: float
    findings: list

    def __str__(self):
        rate = self.stats.execs / self.seconds if self.seconds else 0
        stable = f", stability {self.stats.stability:.2f} %" if self.engine == "afl" else ""
        end = f"FINDINGS: {len(self.findings)}" if self.findings else "no finding"
        return (
            f"{self.target}, {self.engine}: {self.stats.execs:,} executions in "
            f"{self.seconds:.1f} s ({rate:,.0f} a second), {self.stats.edges:,} edges, the last "
            f"new one after {self.last_edge_s:.1f} s, corpus {self.stats.corpus:,}{stable}; {end}"
        )


class Process:
    """One process of an engine, its output in a log."""

    def __init__(self, command, log, environment):
        self.log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command], cwd=tree.TOP, env=environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )

    def runs(self):
        return self.process.poll() is None

    def stop(self, how=signal.SIGINT):
        if self.runs():
            self.process.send_signal(how)

    def wait(self):
        try:
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def end_of_log(self):
        return self.log.read_text(errors="replace")[-3000:]


def seed_folders(engine):
    if not engine.seeded:
        return []
    return tree.seed_folders(engine.target, engine.build, engine.place)


# ---- libFuzzer


class LibFuzzerProcess(Process):
    LINE = re.compile(
        r"^#(\d+)\s+\w+\s+cov: (\d+) ft: \d+ corp: (\d+).*? exec/s: (\d+)", re.MULTILINE
    )
    TOTAL = re.compile(r"^stat::number_of_executed_units: (\d+)", re.MULTILINE)

    def __init__(self, *arguments):
        self.stats = Stats()
        self.read = 0
        super().__init__(*arguments)

    def update(self):
        with open(self.log, errors="replace") as log:
            log.seek(self.read)
            text = log.read()
        whole = text.rfind("\n") + 1
        self.read += len(text[:whole].encode(errors="replace"))
        for execs, edges, corpus, rate in self.LINE.findall(text[:whole])[-1:]:
            self.stats.execs, self.stats.edges = int(execs), int(edges)
            self.stats.corpus, self.stats.rate = int(corpus), int(rate)
        for total in self.TOTAL.findall(text[:whole]):
            self.stats.execs = int(total)


class LibFuzzer:
    """Any number of processes share a corpus; each reads what the others add to it."""

    name = "libfuzzer"
    seeded = True
    # A finding's file begins with what it is.
    FINDING = re.compile(r"(crash|timeout|oom|leak)-")

    def __init__(self, target, place, jobs=1, sync=None):
        self.target, self.place, self.jobs = target, place, jobs
        self.build = tree.Build("fuzz-libfuzzer", [target])
        self.corpus = sync or place / "corpus"

    def start(self, seconds):
        self.corpus.mkdir(parents=True, exist_ok=True)
        run = tree.fresh_folder(self.place / "run")
        self.found = tree.fresh_folder(self.place / "findings")
        seeds = seed_folders(self)
        options = {
            "timeout": HANG_S, **tree.libfuzzer_options(self.target), "max_total_time": seconds,
            "print_final_stats": 1, "artifact_prefix": f"{self.found}/",
        }
        if tree.dictionary(self.target):
            options["dict"] = tree.dictionary(self.target)
        command = [
            self.build.fuzzer(self.target), *(f"-{name}={options[name]}" for name in options),
            self.corpus, *seeds,
        ]
        self.processes = [
            LibFuzzerProcess(command, run / f"{number}.log", tree.environment())
            for number in range(self.jobs)
        ]

    def findings(self):
        return [path for path in tree.inputs(self.found) if self.FINDING.match(path.name)]

    def failed(self):
        """The processes that ended otherwise than with their time, a finding or SIGINT."""
        ends = (0, 70, 71, 72, 77)
        return [each for each in self.processes if each.process.returncode not in ends]

    def collect(self):
        """Its corpus is where finds belong."""


# ---- AFL++


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
        said = {name.decode(): float(value) for name, value in pairs}
        for mine, its in self.COUNTED.items():
            if its in said and said[its] != float("inf"):
                setattr(self.stats, mine, said[its] if mine == "stability" else int(said[its]))


class Afl:
    """A main instance; with jobs for them one with sanitizers, one with cmplog, and more mains.

    With `sync` it takes part in a campaign of several machines, whose instances see one another's
    finds in that folder: the first machine there has the one main instance (-M), all others are
    secondary (-S).
    """

    name = "afl"
    seeded = True
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
            raise tree.CannotRun("afl-fuzz is missing; ci/deps fuzz installs what fuzzing takes")
        self.target, self.place, self.jobs, self.sync = target, place, jobs, sync
        self.out = sync or place / "run" / "out"
        self.builds = {"main": tree.Build("fuzz-afl", [target])}
        for kind in self.KINDS[1:jobs]:
            self.builds[kind] = tree.Build(f"fuzz-afl-{kind}", [target])
        self.build = self.builds["main"]

    def start(self, seconds):
        self.collect()
        run = tree.fresh_folder(self.place / "run")
        self.found = tree.fresh_folder(self.place / "findings")
        seeds = self.seeds(run / "seeds")
        self.replay_seeds(seeds)
        self.out.mkdir(parents=True, exist_ok=True)
        options = ["-t", HANG_S * 1000]
        if "max_len" in tree.libfuzzer_options(self.target):
            options += ["-G", tree.libfuzzer_options(self.target)["max_len"]]
        if tree.dictionary(self.target):
            options += ["-x", tree.dictionary(self.target)]
        self.processes = []
        for number, (name, role) in enumerate(self.instances()):
            kind = self.KINDS[number] if number < len(self.KINDS) else "main"
            build = self.builds["asan" if kind == "asan" else "main"]
            cmplog = ["-c", self.builds[kind].fuzzer(self.target)] if kind == "cmplog" else []
            command = [
                "afl-fuzz", "-V", seconds, "-i", seeds, "-o", self.out, *role, *options, *cmplog,
                "--", build.fuzzer(self.target),
            ]
            environment = tree.environment(**self.ENVIRONMENT)
            log = run / f"{name}.log"
            self.processes.append(AflProcess(command, log, environment, self.out / name))

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
        for source in [own, *seed_folders(self)]:
            for path in tree.inputs(source):
                shutil.copyfile(path, folder / path.name)
        return folder

    def replay_seeds(self, seeds):
        """AFL++ passes over a seed that crashes, as if it were no finding."""
        paths = tree.inputs(seeds)
        for kind, build in self.builds.items():
            fuzzer = build.fuzzer(self.target)
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
        return tree.inputs(self.found)

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
            [fuzzer, *paths], env=tree.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


ENGINES = {engine.name: engine for engine in (LibFuzzer, Afl)}


# ---- both


def watch(engine, seconds, on_progress):
    """Until its time is over or it has a finding; how long that was, and when an edge came."""
    begin = time.monotonic()
    last_edge_s, edges = 0.0, 0
    with open(engine.place / "run" / "progress.csv", "w") as progress:
        progress.write("seconds,execs,edges,corpus\n")
        while True:
            running = any(each.runs() for each in engine.processes)
            for each in engine.processes:
                each.update()
            passed, stats = time.monotonic() - begin, add_up([e.stats for e in engine.processes])
            if stats.edges > edges:
                edges, last_edge_s = stats.edges, passed
            progress.write(f"{passed:.2f},{stats.execs},{stats.edges},{stats.corpus}\n")
            late = passed > seconds + GRACE_S
            if not running or engine.findings() or late or over.is_set():
                return passed, last_edge_s
            on_progress(passed, stats)
            time.sleep(POLL_S)


def run(engine, seconds, on_progress=lambda passed, stats: None):
    if over.is_set():
        raise NotBegun
    engine.start(seconds)
    try:
        passed, last_edge_s = watch(engine, seconds, on_progress)
    finally:
        for each in engine.processes:
            each.stop()
        for each in engine.processes:
            each.wait()
            each.update()
    stats = add_up([each.stats for each in engine.processes])
    engine.collect()
    findings = engine.findings()
    for each in engine.failed():
        if not findings:
            raise tree.CannotRun(f"{engine.name} ended by itself:\n{each.end_of_log()}")
    if not findings and stats.execs == 0 and not over.is_set():
        raise tree.CannotRun(f"{engine.name} executed nothing")
    return Result(engine.name, engine.target, passed, stats, last_edge_s, findings)
