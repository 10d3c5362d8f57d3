"""Why a test cannot be run."""

import errno

# What a machine, or a limit that the kit was started with, refuses to the kit.
_LIMITS = {
    errno.EMFILE: "more descriptors than the kit is allowed (ulimit -n)",
    errno.ENFILE: "more descriptors than this machine has",
    errno.ENOMEM: "more memory than the kit can get",
    errno.ENOBUFS: "more memory for sockets than the kit can get",
    errno.EADDRNOTAVAIL: "more free ports for clients than this machine has",
    errno.ENOSPC: "more room on the disk for temporary files than there is",
    errno.EDQUOT: "more room on the disk for temporary files than the kit is allowed",
}


class SkipReason(Exception):
    """Names a tool, a permission or a facility that this machine lacks; the test is skipped."""


class NotRequired(SkipReason):
    """Names something that this server does not offer and need not: skipped even if none may be."""


def limit_of(error: BaseException) -> str:
    """The limit of the kit's side that an error of its own system call met; empty if none."""
    if not isinstance(error, OSError) or isinstance(error, TimeoutError):
        return ""
    if isinstance(error, PermissionError) and str(error.filename or "").startswith("/proc/"):
        return f"permission to read {error.filename} (setcap, or another user)"
    return _LIMITS.get(error.errno, "")
