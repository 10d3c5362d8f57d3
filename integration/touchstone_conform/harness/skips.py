"""Why a test cannot be run."""


class SkipReason(Exception):
    """Names a tool, a permission or a facility that this machine lacks; the test is skipped."""


class NotRequired(SkipReason):
    """Names something that this server does not offer and need not: skipped even if none may be."""
