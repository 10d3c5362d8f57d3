"""Touchstone's conformance kit: starts a server from any command line and judges it from outside.

Reading order:

    spec.py          SPEC.md, read: what there is to judge
    transform.py     what a conforming server answers
    samples.py       bytes to send
    waiting.py       bounded waiting for a condition
    exchange.py      what happened, as a timeline and as a scenario
    client.py        one client over a real socket, and how its connection ended
    server.py        one server under test, from command line to verdict
    listeners.py     which process listens on a port
    process.py       a process seen through /proc: descriptors, memory, cpu, freeze and thaw
    borrowed.py      a socket of the server, borrowed for a moment
    namespace.py     a network that can be cut
    activate.py      a listening socket handed to the server, as a program
    strace.py        system calls watched, or made to fail
    missing.py       what a test needs and this machine, or this server, lacks
    scenario.py      the scenario language: a text's meaning, or where it is wrong
    player.py        plays a scenario against a server, and judges what the clients see
    flood.py         a client that sends without pause, as a program
    soak.py          mixed clients for a long time, at the descriptor limit, as a program
    plugin.py        all of this as pytest fixtures
    suite/           the tests
    results.py       what the tests said, by requirement
    judging.py       runs the tests
    expected.py      failures that are known
    printing.py      the verdict for a terminal
    picture.py       a timeline as a picture
    reports.py       the verdict as JSON and JUnit
    page.py          results side by side on a page
    command.py       the command line
"""

__version__ = "1.0.0"
