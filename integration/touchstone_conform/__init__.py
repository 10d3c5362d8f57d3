"""Touchstone's conformance kit: starts a server from any command line and judges it from outside.

Each folder imports only from the rows above it:

    spec.py transform.py        what there is to judge, and what a conforming server answers
    failure.py timeline.py      what a failed test carries: a code, a message, what happened
    harness/                    servers and clients over real sockets; processes seen from outside
    scenario/                   the scenario language, its runner, and exchanges written in it
    plugin.py suite/            all of this as pytest fixtures, and the tests
    report/                     results, verdicts, and the files they are written to
    simulation.py               the server on a simulated kernel
    cli/                        the command: options, the run, the terminal, expected failures
"""

__version__ = "3.0.0"
