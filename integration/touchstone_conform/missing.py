"""What a test needs and this machine, or this server, lacks."""


class Missing(Exception):
    """Names a tool, a permission or a facility of the system; the plugin skips with that name."""


class LeftOpen(Missing):
    """Names what this server lacks, and need not have: a test that takes it says nothing of it."""
