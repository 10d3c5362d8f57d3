"""The kill matrix: which requirements' tests fail on each broken server, as files say it.

    # comment
    z-forgotten  ECHO-1 ECHO-3 FAIR-2?

A broken server, blanks, and the requirements whose tests fail on it; behind one that fails in some
runs alone stands '?'. MIX-1 is left out: it is everything at once, and what it finds is chance.
"""

import pathlib

BROKEN = pathlib.Path(__file__).parent.parent / "broken"
KILLS = BROKEN / "kills"
DISREGARDED = {"MIX-1"}

_HEADER = """\
# The requirements whose tests fail on each broken server: ci/conform --gallery --fix
# '?' marks one that fails in some runs alone. MIX-1 is disregarded.
"""


class KillsError(Exception):
    """A file is not as it should be: where, what is wrong, what was expected."""


def read(path, known):
    """For each broken server the requirements that fail, in the order of the file."""
    kills = {}
    for where, name, ids in _lines(path):
        if name in kills:
            raise KillsError(f"{where}: {name} is there twice, expected one line")
        for each in ids.split():
            if plain(each) not in known:
                raise KillsError(f"{where}: {each!r}, expected an ID of SPEC.md")
        kills[name] = ids.split()
    return kills


def write(path, kills, servers, known):
    """One line for each broken server that was judged, in the order of `servers`."""
    width = max(map(len, servers))
    order = list(known)
    lines = [
        f"{name:{width}}  {' '.join(sorted(kills[name], key=lambda id: order.index(plain(id))))}"
        for name in servers
        if name in kills
    ]
    path.write_text(_HEADER + "".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")


def plain(id):
    return id.rstrip("?")


def _lines(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            first, _, rest = line.strip().partition(" ")
            yield f"{path.name}:{number}", first, rest.strip()


def differences(name, listed, failed, skipped):
    """Where a run is other than the line says; what was skipped may be either."""
    certain = {each for each in listed if not each.endswith("?")}
    possible = {plain(each) for each in listed}
    return [
        *(f"{name}: {each} passes, but is listed" for each in sorted(certain - failed - skipped)),
        *(f"{name}: {each} fails, and is not listed" for each in sorted(failed - possible)),
    ]
