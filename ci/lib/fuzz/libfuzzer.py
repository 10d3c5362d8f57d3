"""libFuzzer: what it has done so far is read from its log."""

import re

from .. import tree
from . import targets
from .process import HANG_S, Process, Stats


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
    STABILITY_MIN = 100
    # A finding's file begins with what it is.
    FINDING = re.compile(r"(crash|timeout|oom|leak)-")

    def __init__(self, target, place, jobs=1, sync=None):
        self.target, self.place, self.jobs = target, place, jobs
        self.build = targets.Build("fuzz-libfuzzer", [target.name], target.top)
        self.corpus = sync or place / "corpus"
        self.seeded, self.processes = True, []

    def start(self, seconds):
        self.corpus.mkdir(parents=True, exist_ok=True)
        run = tree.fresh_folder(self.place / "run")
        self.found = tree.fresh_folder(self.place / "findings")
        seeds = self.target.seed_folders(self.build, self.place) if self.seeded else []
        options = {
            "timeout": HANG_S, **self.target.options, "max_total_time": seconds,
            "print_final_stats": 1, "artifact_prefix": f"{self.found}/",
        }
        if self.target.dictionary:
            options["dict"] = self.target.dictionary
        command = [
            self.build.fuzzer(self.target.name), *(f"-{name}={options[name]}" for name in options),
            self.corpus, *seeds,
        ]
        for number in range(self.jobs):
            log = run / f"{number}.log"
            self.processes.append(LibFuzzerProcess(command, log, targets.environment()))

    def findings(self):
        return [path for path in targets.inputs(self.found) if self.FINDING.match(path.name)]

    def failed(self):
        """The processes that ended otherwise than with their time, a finding or SIGINT."""
        ends = (0, 70, 71, 72, 77)
        return [each for each in self.processes if each.process.returncode not in ends]

    def collect(self):
        """Its corpus is where finds belong."""
