"""Runs a fuzzer under libFuzzer or AFL++, and watches it: both are processes that share a place on
the disk."""

import dataclasses
import threading
import time

from .. import command
from .afl import Afl
from .libfuzzer import LibFuzzer
from .process import GRACE_S, Stats, add_up

ENGINES = {engine.name: engine for engine in (LibFuzzer, Afl)}

POLL_S = 0.25
# Set, it ends all runs, whichever threads they are in.
over = threading.Event()


class NotBegun(Exception):
    """All was over before."""


@dataclasses.dataclass
class Result:
    engine: str
    target: str
    seconds: float
    stats: Stats
    last_edge_s: float
    findings: list
    stability_min: float

    @property
    def is_unstable(self):
        """An input that does not always take the same path is the target's fault, too."""
        return self.stats.stability < self.stability_min

    @property
    def is_bad(self):
        return bool(self.findings) or self.is_unstable

    def __str__(self):
        rate = self.stats.execs / self.seconds if self.seconds else 0
        stable = f", stability {self.stats.stability:.2f} %" if self.engine == "afl" else ""
        codes = " [unstable]" if self.is_unstable else ""
        codes += " [finding]" if self.findings else ""
        return (
            f"{self.target}, {self.engine}: {self.stats.execs:,} executions in "
            f"{self.seconds:.1f} s ({rate:,.0f} a second), {self.stats.edges:,} edges, the last "
            f"new one after {self.last_edge_s:.1f} s, corpus {self.stats.corpus:,}{stable}; "
            f"{len(self.findings)} findings{codes}"
        )


def watch(engine, seconds, on_progress):
    """Waits until its time is over or it has a finding; gives how long, and when an edge came."""
    begin = time.monotonic()
    last_edge_s, edges = 0.0, 0
    with open(engine.place / "run" / "progress.csv", "w", buffering=1) as progress:
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


def end(processes):
    """Ends them, at once if a signal comes meanwhile."""
    try:
        for each in processes:
            each.stop()
        for each in processes:
            each.wait()
    finally:
        for each in processes:
            each.kill()


def run(engine, seconds, on_progress=lambda passed, stats: None):
    if over.is_set():
        raise NotBegun
    try:
        engine.start(seconds)
        passed, last_edge_s = watch(engine, seconds, on_progress)
    finally:
        end(engine.processes)
    for each in engine.processes:
        each.update()
    stats = add_up([each.stats for each in engine.processes])
    engine.collect()
    findings = engine.findings()
    for each in engine.failed():
        if not findings:
            raise command.CannotRun(f"{engine.name} ended by itself:\n{each.end_of_log()}")
    if not findings and stats.execs == 0 and not over.is_set():
        raise command.CannotRun(f"{engine.name} executed nothing")
    return Result(engine.name, engine.target.name, passed, stats, last_edge_s, findings,
                  engine.STABILITY_MIN)
