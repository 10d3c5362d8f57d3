"""The machine: which cores measure, what they are charged for, and how they are described."""

import functools
import os
import platform
import resource
import time
from pathlib import Path

from ..command import CannotRun


@functools.lru_cache
def cores():
    """(the server's, the load's): two that do not share their units, if there are such. Asked once,
    before we keep to one of them ourselves."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise CannotRun("one core alone is allowed here; the server and the load need one each")
    server = allowed[0]
    apart = [core for core in allowed[1:] if core not in siblings(server)]
    return server, (apart or allowed[1:])[0]


def siblings(core):
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    found = set()
    for part in path.read_text().strip().split(",") if path.exists() else ():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def pinned(core, arguments):
    """The command, on that core alone."""
    return ["taskset", "-c", str(core), *map(str, arguments)]


def cpu_seconds(pid):
    """What all threads of a process ever used, to the nanosecond; 0 if it is gone. The clock's
    number is made as clock_getcpuclockid(3) does it, which Python does not have."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def ksoftirqd(core):
    """The kernel's thread that handles the core's packets when they are too many; None if it is not
    visible, as in a container."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == f"ksoftirqd/{core}":
                return int(path.parent.name)
        except OSError:
            continue
    return None


def session(leader):
    """The processes of a session: a server and whatever it started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after_name[3]) == leader and after_name[0] != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


def memory_bytes(pids, kind):
    """kind: Rss or Private_Dirty."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                total += int(line.split()[1]) * 1024
    return total


def read(path, default="unknown"):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default


def allow_descriptors(count):
    """Raises the limit for ourselves, and so for all that we start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise CannotRun(f"the limit of descriptors is {hard} (expected: {count}; see ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def has_flag(name):
    return f" {name} " in read("/proc/cpuinfo").replace("\n", " ")


def describe(server_core, load_core):
    """Gives pairs of a name and a text."""
    model = [line for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    memory = [line for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal")]
    seen = ksoftirqd(server_core)
    governor = f"/sys/devices/system/cpu/cpu{server_core}/cpufreq/scaling_governor"
    return {
        "processor": model[0].partition(":")[2].strip() if model else platform.machine(),
        "cores": f"{os.cpu_count()}; the server on {server_core}, the load on {load_core}",
        "shared units": "yes" if load_core in siblings(server_core) else "no",
        "memory": f"{int(memory[0].split()[1]) // 2**20} GiB" if memory else "unknown",
        "governor": read(governor, "none is visible"),
        "system": f"{platform.system()} {platform.release()}, {os_name()}",
        "virtual": "yes" if has_flag("hypervisor") else "not that it says",
        "ksoftirqd": "charged to the server" if seen else "not visible, not charged",
        "C library": " ".join(platform.libc_ver()),
    }


def os_name():
    lines = dict(
        line.split("=", 1) for line in read("/etc/os-release", "").splitlines() if "=" in line
    )
    return lines.get("PRETTY_NAME", "unknown").strip('"')
