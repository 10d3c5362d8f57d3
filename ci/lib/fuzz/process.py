"""A process of an engine, and what it counts."""

import dataclasses
import signal
import subprocess

# An input that takes so long is a finding.
HANG_S = 10
# What an engine gets to end by itself.
GRACE_S = 30


@dataclasses.dataclass
class Stats:
    """The figures of one process, or of all together."""

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


class Process:
    """One process of an engine, its output in a log."""

    def __init__(self, command, log, environment):
        self.log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [str(each) for each in command], env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )

    def runs(self):
        return self.process.poll() is None

    def stop(self):
        """Asks it to end; it first writes down what it counted."""
        if self.runs():
            self.process.send_signal(signal.SIGINT)

    def wait(self):
        """Waits for its end; kills it if that takes too long or a signal ends us."""
        try:
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end_of_log(self):
        return self.log.read_text(errors="replace")[-3000:]
