"""Servers and clients over real sockets; processes seen from outside."""

import pathlib

# Where programs of the harness are started: `python -m` looks for every module here first, and not
# in the directory of whoever judges, where a file may have the name of a standard module.
PACKAGES = pathlib.Path(__file__).parents[2]
