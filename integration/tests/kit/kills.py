"""The kill matrix: which requirements' tests fail on each broken server, as files say it.

    # comment
    z-forgotten  ECHO-1 ECHO-3 FAIR-2?

A broken server, blanks, and the requirements whose tests fail on it; behind one that fails in some
runs only stands '?'. MIX-1 is left out: it is everything at once, and what it finds is chance.

    # comment
    CLOSE-1  why no broken server fails its tests alone

That is the file of reasons, for each MUST that has no broken server of its own.
"""

import pathlib

BROKEN = pathlib.Path(__file__).parents[2] / "broken"
KILLS = BROKEN / "kills"
REASONS = BROKEN / "reasons"
DISREGARDED = {"MIX-1"}

_HEADER = """\
# The requirements whose tests fail on each broken server: ci/conform --gallery --fix
# '?' marks one that fails in some runs only. MIX-1 is disregarded.
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


def read_reasons(path, known):
    """For each requirement that has no broken server of its own: why."""
    reasons = {}
    for where, id, reason in _lines(path):
        if id not in known or id in reasons:
            raise KillsError(f"{where}: {id!r}, expected an ID of SPEC.md, and each once")
        if not reason:
            raise KillsError(f"{where}: {id} alone, expected the reason too")
        reasons[id] = reason
    return reasons


def _lines(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            first, _, rest = line.strip().partition(" ")
            yield f"{path.name}:{number}", first, rest.strip()


def musts(requirements):
    """What needs a broken server that its tests alone catch."""
    return [
        each.id
        for each in requirements.values()
        if each.level == "MUST" and each.profile != "reference" and each.id not in DISREGARDED
    ]


def alone(kills):
    """For each requirement the broken servers that no other requirement's tests catch."""
    found = {}
    for name, ids in kills.items():
        if len(ids) == 1 and not ids[0].endswith("?"):
            found.setdefault(ids[0], []).append(name)
    return found


def complaints(requirements, kills, reasons):
    """Each MUST has a broken server of its own or a reason, and not both."""
    found, needed = alone(kills), musts(requirements)
    said = []
    for id in needed:
        if id not in found and id not in reasons:
            said.append(f"{id}: no broken server fails it alone, and no reason is given")
        if id in found and id in reasons:
            said.append(f"{id}: {found[id][0]} fails it alone, and yet a reason is given")
    return said + [f"{id}: is no such MUST" for id in reasons if id not in needed]


def differences(name, listed, failed, skipped):
    """Where a run is other than the line says; what was skipped may be either."""
    certain = {each for each in listed if not each.endswith("?")}
    possible = {plain(each) for each in listed}
    return [
        *(f"{name}: {each} passes, but is listed" for each in sorted(certain - failed - skipped)),
        *(f"{name}: {each} fails, and is not listed" for each in sorted(failed - possible)),
    ]
