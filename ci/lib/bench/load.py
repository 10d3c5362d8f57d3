"""The load: tests/bench/load, held at the two moments between which its server is measured."""

import json
import subprocess
import threading

from . import machine, servers

# More than it ever takes: the load itself gives up sooner, after --timeout without an answer.
TIMEOUT_S = 120


class WrongAnswer(Exception):
    """A server did not answer as an echo server has to: its figures would mean nothing."""


class Load:
    """with Load(server, core, "ping", seconds=1, connections=64) as load: it is connected and warm,
    which took `ready_ms`; run() does the work."""

    def __init__(self, server, core, workload, seconds, behind=False, **options):
        """behind: other loads on the core come first, so that what they wait for is the server."""
        self.server, self.seconds = server, seconds
        arguments = [workload, "--port", server.port]
        for name, value in {**options, "ms": round(1000 * seconds)}.items():
            arguments += [f"--{name}", value]
        self.what = " ".join(map(str, arguments))
        nice = ["nice", "-n", "19"] if behind else []
        self.process = subprocess.Popen(
            machine.pinned(core, [*nice, servers.path_of("load"), *arguments]), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def __enter__(self):
        try:
            self.ready_ms = float(self.line().split()[1])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def begin(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self):
        return json.loads(self.line())

    def run(self):
        self.begin()
        return self.result()

    def line(self):
        timer = threading.Timer(TIMEOUT_S + self.seconds, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()  # or an interrupt would wait for it at the exit
        if not line:
            output = self.process.stderr.read().strip() or "the load ended by itself [load]"
            raise WrongAnswer(f"{self.server.name}, {self.what}: {output}")
        return line
