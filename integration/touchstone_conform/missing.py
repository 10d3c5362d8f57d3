"""What a test needs and this machine lacks."""


class Missing(Exception):
    """Names a tool, a permission or a facility of the system; the plugin skips with that name."""
