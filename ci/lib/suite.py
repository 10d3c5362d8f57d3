"""ci/test: every check there is, side by side where they do not disturb each other."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import threading
import time
import xml.etree.ElementTree as ElementTree

from . import command, junit, plan, tree

LOG = tree.BUILD / "log"
STATE = LOG / "passed.json"
AT_ONCE = 3  # one more than cores: many steps wait for sockets
SHOWN_LINES = 200
END_S = 10


@dataclasses.dataclass
class Result:
    step: plan.Step
    summary: junit.Summary
    seconds: float
    cpu_s: float  # of all its processes
    failed: bool


class Suite:
    """Runs AT_ONCE steps at a time."""

    def __init__(self, steps, limit_s, resume):
        self.steps = steps
        self.limit_s = limit_s
        self.resume = resume
        self.allowed = junit.read_allowed()
        self.lock = threading.Lock()
        self.results: list[Result] = []
        self.running: dict[str, subprocess.Popen] = {}
        self.known = _passed_before() if resume else {}
        # Python compiles each module once, outside the tree, whatever the caller's settings are.
        self.environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tree.BUILD / "pycache")}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(self) -> bool:
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for done in [pool.submit(self._run_step, step) for step in self.steps]:
                    done.result()
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                self._end_all()
                raise
        self._sum_up()
        return not any(each.failed for each in self.results)

    def _run_step(self, step):
        begin = time.monotonic()
        status, cpu_s = (0, 0.0) if step.name in self.known else self._execute(step)
        summary = self._summary(step, status)
        seconds = time.monotonic() - begin
        result = Result(step, summary, seconds, cpu_s, bool(summary.failed))
        with self.lock:
            self.results.append(result)
            self._show(result)
            if self.resume and not result.failed:
                self.known[step.name] = True
                _write_passed(self.known)

    def _execute(self, step) -> tuple[int, float]:
        """The exit status, negative for a signal, and the CPU time that the step took."""
        step.log.parent.mkdir(parents=True, exist_ok=True)
        with step.log.open("wb") as log:
            process = subprocess.Popen(
                shlex.split(step.command), cwd=tree.TOP, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
                env={**self.environment, "JUNIT": str(step.junit)},
            )
            with self.lock:
                self.running[step.name] = process
            guard = threading.Timer(self.limit_s, _end, [process, log])
            guard.start()
            try:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            finally:
                guard.cancel()
                with self.lock:
                    del self.running[step.name]
        return process.returncode, usage.ru_utime + usage.ru_stime

    def _summary(self, step, status) -> junit.Summary:
        """A step without results of its own is one test; one that failed has a failure."""
        found = junit.Summary()
        if step.junit.exists():
            try:
                found = junit.summary(step.junit, self.allowed)
            except ElementTree.ParseError as error:
                found.failed = 1
                found.lines.append(f"{tree.shown(step.junit)} is not JUnit: {error}")
        elif status == 0:
            found.passed = 1
        if status != 0 and not found.failed:
            found.failed = 1
            found.lines.append(f"the step ended with status {status}, expected 0")
        return found

    def _show(self, result):
        summary, step = result.summary, result.step
        failed = f"  {summary.failed} FAILED" if result.failed else ""
        again = "  (passed before)" if step.name in self.known and result.seconds < 0.1 else ""
        print(f"[{len(self.results):2}/{len(self.steps)}] {step.name:28} {summary.total:6} tests"
              f" {result.seconds:7.1f} s{failed}{again}", flush=True)
        if result.failed and step.log.exists():
            lines = step.log.read_text(errors="replace").splitlines()
            shown = [line for line in lines if not line.startswith("[")][-SHOWN_LINES:]
            print("\n".join([f"------ {tree.shown(step.log)}", *shown, "------"]), flush=True)

    def _sum_up(self):
        print(f"\n{'step':28} {'passed':>7} {'failed':>7} {'skipped':>8} {'time':>10} {'CPU':>10}")
        order = {step.name: number for number, step in enumerate(self.steps)}
        results = sorted(self.results, key=lambda each: order[each.step.name])
        for each in results:
            counts = each.summary
            print(f"{each.step.name:28} {counts.passed:7} {counts.failed:7} {counts.skipped:8}"
                  f" {each.seconds:8.1f} s {each.cpu_s:8.1f} s")
        remarks = [f"{each.step.name}: {line}" for each in results for line in each.summary.lines]
        print("\n".join(["", *remarks]) if remarks else "")
        sums = [sum(getattr(each.summary, name) for each in results)
                for name in ("passed", "failed", "skipped")]
        print("{} passed, {} failed, {} skipped".format(*sums), flush=True)

    def _end_all(self):
        with self.lock:
            for process in self.running.values():
                _end(process)


def _end(process, log=None):
    """Ends a step and what it started, which is in its session; its own thread waits for it."""
    if log is not None:
        log.write(b"\nnot finished in time: ended\n")
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + END_S
        while process.returncode is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if process.returncode is not None:
            return


def _state() -> str:
    """Changes with whatever a step may depend on."""
    names = tree.files()
    return tree.digest(*(part for name in names for part in (name, (tree.TOP / name).read_bytes())))


def _passed_before() -> dict:
    """The steps that passed in an earlier run, on the same sources."""
    if not STATE.exists():
        return {}
    kept = json.loads(STATE.read_text())
    return kept["steps"] if kept["state"] == _state() else {}


def _write_passed(steps):
    STATE.parent.mkdir(parents=True, exist_ok=True)
    STATE.write_text(json.dumps({"state": _state(), "steps": steps}))


def run(mode: str) -> bool:
    """Plans and runs one of plan.MODES."""
    command.require({"portable": "venv", "fast": "units"}.get(mode, "test"))
    steps, limit_s = plan.steps(mode)
    resume = mode == "full"
    suite = Suite(steps, limit_s, resume)
    for step in steps:
        if step.name not in suite.known:
            for path in (step.log, step.junit):
                path.unlink(missing_ok=True)
    tree.RESULTS.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    good = suite.run()
    command.progress(f"{(time.monotonic() - begin) / 60:.1f} minutes")
    return good
