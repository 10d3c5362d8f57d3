"""Touchstone's conformance kit: starts a server from any command line and judges it from outside.

Reading order:

    transform.py     what a conforming server answers
    samples.py       bytes to send
    waiting.py       bounded waiting for a condition
    client.py        one client over a real socket, and how its connection ended
    server.py        one server under test, from command line to verdict
    listeners.py     which process listens on a port
    process.py       a process seen through /proc: descriptors, memory, cpu, freeze and thaw
    borrowed.py      a socket of the server, borrowed for a moment
    namespace.py     a network that can be cut
    activate.py      a listening socket handed to the server, as a program
    strace.py        system calls watched, or made to fail
    missing.py       what a test needs and this machine lacks
    scenario.py      the scenario language: a text's meaning, or where it is wrong
    player.py        plays a scenario against a server, and judges what the clients see
    flood.py         a client that sends without pause, as a program
    soak.py          mixed clients for a long time, at the descriptor limit, as a program
    plugin.py        all of this as pytest fixtures
"""

__version__ = "0.1.0"
