"""What is measured, and what is aimed at."""

import dataclasses

from .servers import FLOOR, OURS

# Clients that the two kinds of memory are measured with.
IDLE = 10_000
STALLED = 1_000
FLOODS = (2, 20, 100, 300, 1_000)
NEW_CONNECTIONS = 100
BUFFER_BYTES = 65536
# What a server and the load have open beside clients, with room to spare.
DESCRIPTORS_BESIDE = 600

PING, STREAM, CHURN = "a message", "64 KiB", "a connection"


@dataclasses.dataclass(frozen=True)
class Point:
    """A load under which a server's CPU time is measured, for each unit of work."""

    name: str
    title: str
    unit: str
    workload: str
    options: dict
    only: tuple = ()  # servers; all if empty. What is added by --extra is always measured
    group: str = ""  # points of one are measured in turns; without one, a point is alone


POINTS = [
    Point("ping-1", "ping-pong, 1 client, 64 B", PING, "ping", {"connections": 1}),
    Point("ping-64", "ping-pong, 64 clients, 64 B", PING, "ping", {"connections": 64}),
    Point("ping-512", "ping-pong, 512 clients, 64 B", PING, "ping", {"connections": 512}),
    Point(
        "ping-4k", "ping-pong, 64 clients, 4 KiB", PING, "ping", {"connections": 64, "size": 4096}
    ),
    Point(
        "ping-deep", "ping-pong, 64 clients, 64 B, 16 at a time", PING, "ping",
        {"connections": 64, "depth": 16},
    ),
    Point("stream-1", "stream, 1 client", STREAM, "stream", {"connections": 1}),
    Point("stream-8", "stream, 8 clients", STREAM, "stream", {"connections": 8}),
    Point("churn", "connect, echo, close", CHURN, "churn", {"connections": 16}),
]

# How the cost of a message grows with idle connections.
FLAT_IDLE = (10, 100, 1_000, 10_000)
FLAT = [
    Point(
        f"flat-{idle}", f"64 clients, 64 B, beside {idle:,} idle", PING, "ping",
        {"connections": 64, "idle": idle}, (OURS, FLOOR), "flat",
    )
    for idle in FLAT_IDLE
]

# Measured by functions of their own, in rounds.py.
OTHERS = ("idle", "flood", "stalled", "upper")
NAMES = [point.name for point in POINTS] + ["flat", *OTHERS]


@dataclasses.dataclass(frozen=True)
class Goal:
    """Our cost at most so many times that of another server, as the median over rounds."""

    point: str
    other: str
    ratio: float


GOALS = [
    *(Goal(f"ping-{each}", FLOOR, 1.00) for each in ("1", "64", "512", "4k", "deep")),
    *(Goal(f"ping-{each}", "libuv", 0.96) for each in ("1", "64", "512", "4k", "deep")),
    Goal("stream-1", FLOOR, 0.95),
    Goal("stream-1", "libuv", 1.00),
    Goal("stream-8", FLOOR, 0.65),
    Goal("stream-8", "libuv", 1.00),
    Goal("churn", FLOOR, 0.97),
    Goal("churn", "libuv", 0.90),
]

IDLE_BYTES_MAX = 64  # resident, a connection that has echoed
REST_BYTES_MAX = 256 * 1024  # private and dirty, with one such
IDLE_RATIO_MAX = 0.25  # of libuv's bytes a connection
FLAT_RATIO_MAX = 1.1  # from 100 to 10,000 idle
# A ping beside so many floods, in microseconds: which figure, and its bound.
FLOOD_GOALS = {2: ("p99_us", 5_000), 100: ("p50_us", 50_000), 300: ("p50_us", 150_000)}
NEW_CONNECTIONS_MS_MAX = {300: 1_000}  # beside so many floods
STALLED_MEMORY_MAX = 1.1  # times clients x buffer
STALLED_P99_MAX = 2.0  # times the undisturbed
# What upper() has to reach, as it is compiled: GB/s, or part of memcpy's.
UPPER = {"upper_speed": (15, None), "upper_speed_avx2": (40, 0.5)}
