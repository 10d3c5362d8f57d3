"""Measures: every server in every round, in an order that is balanced, so that what the machine
does besides is shared by all."""

import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time

from .. import command
from . import machine, points, servers
from .load import Load

# Rounds of latencies; p99 is of many answers already.
FEW_ROUNDS = 3
LATENCY_S = 1
NEW_CONNECTION_S = 0.001
STARVED_S = 60  # some servers leave one of a thousand floods alone for so long


class Bench:
    def __init__(self, commands, extras, rounds, seconds):
        self.commands, self.extras = commands, extras
        self.rounds, self.seconds = rounds, seconds
        self.server_core, self.load_core = machine.cores()
        self.idle_clients, self.stalled_clients = points.IDLE, points.STALLED
        self.floods = points.FLOODS
        self.few_rounds, self.latency_s = min(rounds, FEW_ROUNDS), max(seconds, LATENCY_S)
        os.sched_setaffinity(0, {self.load_core})

    def names(self, only=()):
        return [name for name in self.commands if not only or name in only or name in self.extras]

    @contextlib.contextmanager
    def server(self, name):
        with servers.Server(name, self.commands[name], self.server_core) as server:
            yield server

    def load(self, server, workload, seconds=None, **options):
        return Load(server, self.load_core, workload, seconds or self.seconds, **options)

    # ---- Cost

    def costs(self, chosen):
        """{point: {server: [{"us": CPU time a unit, "rate": units a second}, ...]}}, by rounds.

        What is compared is up and connected at the same time, and measured in turns of `seconds`:
        so it meets the same disturbances. Points of one group are compared with each other, too.
        """
        found = {}
        for group in dict.fromkeys(point.group or point.name for point in chosen):
            together = [point for point in chosen if group in (point.group, point.name)]
            found.update(self.cost_together(together))
        return found

    def cost_together(self, group):
        found = {point.name: {name: [] for name in self.names(point.only)} for point in group}
        with contextlib.ExitStack() as up:
            pairs = {}
            for point in group:
                for name in found[point.name]:
                    server = up.enter_context(self.server(name))
                    load = self.load(server, point.workload, **point.options)
                    pairs[point.name, name] = server, up.enter_context(load)
            for point, name in turns(list(pairs), self.rounds):
                found[point][name].append(cost(*pairs[point, name]))
        for point in group:
            medians_of = (f"{name} {medians(rows)['us']:.2f}"
                          for name, rows in found[point.name].items())
            command.progress(f"{point.title:44} " + "  ".join(medians_of))
        return found

    # ---- System calls, apart: to count them takes longer than to make them

    def calls(self, chosen):
        """{point: {server: {call: how many a unit}}}; none where we may not trace a process."""
        if not may_trace():
            command.progress("system calls are not counted: strace may not attach here")
            return {}
        return {
            point.name: {name: self.count_calls(point, name) for name in self.names(point.only)}
            for point in chosen
        }

    def count_calls(self, point, name):
        with self.server(name) as server, tempfile.NamedTemporaryFile("r") as table:
            with self.load(server, point.workload, **point.options) as load:
                with strace(server.pids(), table.name):
                    units = load.run()["units"]
            counted = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", table.read(),
                                 re.MULTILINE)
        return {call: int(count) / units for count, call in counted if call != "total"}

    # ---- Memory

    def idle(self):
        """{server: {"rest": private dirty bytes with one client that has echoed, "each": resident
        bytes a further one}}"""
        found = {}
        for name in self.names():
            with self.server(name) as server, self.load(server, "ping", connections=0, idle=1):
                rest = server.memory_bytes("Private_Dirty")
                before = server.memory_bytes("Rss")
                with self.load(server, "ping", connections=0, idle=self.idle_clients):
                    more = server.memory_bytes("Rss") - before
            found[name] = {"rest": rest, "each": more / self.idle_clients}
            command.progress(
                f"{self.idle_clients:,} idle clients  {name}: "
                f"{found[name]['each']:.1f} bytes each, {rest // 1024} KiB private at rest"
            )
        return found

    # ---- Latency

    def flood(self):
        """{server: {number of floods: what self.disturbed() gives}}"""
        found = {}
        for connections in self.floods:
            beside = self.disturbed("flood", "flood", connections, servers.LOOPS)
            for name, figures in beside.items():
                found.setdefault(name, {})[str(connections)] = figures
        return found

    def stalled(self):
        """What self.disturbed() gives, beside clients that never read."""
        only = (servers.OURS, servers.FLOOR)
        return self.disturbed("stalled", "stall", self.stalled_clients, only)

    def disturbed(self, what, workload, connections, only):
        """{server: {"alone", "beside": p50_us and p99_us of a pinging client, "busy": the part of
        its core that the server used meanwhile, "growth": bytes of memory for the clients that
        disturb it, "new_connections_ms": until others that connect at once were all answered, at
        most as long as it was disturbed, "rate": bytes a second of those that disturb it}}"""
        found = {name: [] for name in self.names(only)}
        for name in turns(self.names(only), self.few_rounds):
            with self.server(name) as server:
                alone = self.latency(server)
                before = server.memory_bytes("Rss")
                longer = 6 * self.latency_s
                with self.load(
                    server, workload, longer, behind=True, connections=connections,
                    timeout=STARVED_S,
                ) as others:
                    others.begin()
                    began, used = time.monotonic(), server.cpu_seconds()
                    beside = self.latency(server)
                    busy = (server.cpu_seconds() - used) / (time.monotonic() - began)
                    growth = server.memory_bytes("Rss") - before
                    new_connections_ms = self.new_connections_ms(server)
                    done = others.result()
                    rate = done["bytes"] / done["seconds"]
            new_connections_ms = min(new_connections_ms, 1000 * longer)
            found[name].append({
                "alone": alone, "beside": beside, "busy": busy, "growth": growth,
                "new_connections_ms": new_connections_ms, "rate": rate,
            })
            command.progress(
                f"{what}, {connections:,} clients  {name}: a ping's median and p99 "
                f"{alone['p50_us']:.0f}, {alone['p99_us']:.0f} us alone, "
                f"{beside['p50_us']:.0f}, {beside['p99_us']:.0f} us beside, "
                f"{points.NEW_CONNECTIONS} new connections {new_connections_ms:.0f} ms, "
                f"core busy {busy:.0%}, {rate / 1e6:.0f} MB/s, memory + {growth / 2**20:.1f} MiB"
            )
        return {name: medians(rows) for name, rows in found.items()}

    def latency(self, server):
        paced = {"connections": 1, "pause": 1, "timeout": STARVED_S}
        with self.load(server, "ping", self.latency_s, **paced) as load:
            done = load.run()
            return {name: done[name] for name in ("p50_us", "p99_us")}

    def new_connections_ms(self, server):
        connections = {"connections": points.NEW_CONNECTIONS, "timeout": STARVED_S}
        with self.load(server, "ping", NEW_CONNECTION_S, **connections) as load:
            return load.ready_ms

    # ---- The service alone

    def upper(self):
        """{program: what it measured}: as it is shipped, and for AVX2 where that is at hand."""
        found = {}
        for program in points.UPPER:
            if program.endswith("avx2") and not machine.has_flag("avx2"):
                continue
            if os.path.exists(servers.path_of(program)):
                done = subprocess.run(
                    machine.pinned(self.server_core, [servers.path_of(program)]),
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True,
                )
                found[program] = json.loads(done.stdout)
                command.progress(f"{program}: {found[program]}")
        return found


def turns(names, rounds):
    """Each name once in a round; another one is the first, and every second round goes back the way
    the one before it came."""
    for number in range(rounds):
        first = number // 2 % len(names)
        order = names[first:] + names[:first]
        yield from order if number % 2 == 0 else reversed(order)


def cost(server, load):
    before = server.cpu_seconds()
    done = load.run()
    used = server.cpu_seconds() - before
    return {"us": 1e6 * used / done["units"], "rate": done["units"] / done["seconds"]}


def medians(rows):
    """The median of each figure over the rounds."""
    first = rows[0]
    if not isinstance(first, dict):
        return statistics.median(rows)
    return {key: medians([each[key] for each in rows]) for key in first}


def may_trace():
    with subprocess.Popen(["sleep", "60"]) as idler:
        try:
            with strace([idler.pid], os.devnull):
                return True
        except command.CannotRun:
            return False
        finally:
            idler.kill()


@contextlib.contextmanager
def strace(pids, path):
    """Counts what the processes call meanwhile."""
    arguments = ["strace", "-f", "-c", "-o", path]
    for pid in pids:
        arguments += ["-p", str(pid)]
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as tracer:
        line = tracer.stderr.readline()
        if b"attached" not in line:
            raise command.CannotRun(f"system calls cannot be counted: {line.decode().strip()}")
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()
