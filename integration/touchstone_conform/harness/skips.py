"""Why a test cannot be run."""

from __future__ import annotations

import errno

# A stable code for each kind of reason; PORTING.md has this table.
CODES = {
    "address": "the test needs a server that the kit started, or one on the IPv4 loopback",
    "ipv6": "the machine has no IPv6, or no sockets of both families",
    "kernel": "the kernel lacks a facility that the test needs",
    "limit": "the kit may not open, map or store as much as the test needs",
    "load": "the machine is too slow for the load that the test needs",
    "namespace": "the kit may not make a network namespace",
    "not-offered": "the server does not offer what the test needs, and need not",
    "permission": "the kit lacks a permission that the test needs, or has one that it must not",
    "sanitizer": "a sanitizer hides what the test measures",
    "simulator": "the simulator cannot run the server, or takes too long",
    "tool": "a program or a library is not installed, or is too old",
    "unstable": "what fails on the simulated kernel does not fail each time",
    "unsupported": "the server makes a call that the simulated kernel does not model",
}

# What a machine, or a limit that the kit was started with, refuses to the kit.
_LIMITS = {
    errno.EMFILE: "more descriptors than the kit is allowed (ulimit -n)",
    errno.ENFILE: "more descriptors than this machine has",
    errno.ENOMEM: "more memory than the kit can get",
    errno.ENOBUFS: "more memory for sockets than the kit can get",
    errno.EADDRNOTAVAIL: "more free ports for clients than this machine has",
    errno.ENOSPC: "more free disk space for temporary files",
    errno.EDQUOT: "a larger disk quota for temporary files",
}


class SkipReason(Exception):
    """What a test needs and this machine lacks; the test is skipped. As text it begins with the
    code: `tool: requires strace`."""

    def __init__(self, code: str, needed: str):
        if code not in CODES:
            raise ValueError(f"{code!r} is not the code of a skip")
        super().__init__(f"{code}: requires {needed}")
        self.code = code


class NotRequired(SkipReason):
    """What this server does not offer and need not: skipped even if nothing may be."""

    def __init__(self, needed: str, code: str = "not-offered"):
        super().__init__(code, needed)


def limit_of(error: BaseException) -> SkipReason | None:
    """The limit of the kit's side that an error of its own system call met, if any."""
    if not isinstance(error, OSError) or isinstance(error, TimeoutError):
        return None
    if isinstance(error, PermissionError) and str(error.filename or "").startswith("/proc/"):
        needed = f"permission to read {error.filename} (setcap, or another user)"
        return SkipReason("permission", needed)
    return SkipReason("limit", _LIMITS[error.errno]) if error.errno in _LIMITS else None
