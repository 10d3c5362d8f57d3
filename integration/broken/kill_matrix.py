"""The kill matrix: for each broken server the requirements whose tests fail on it.

    # comment
    z-forgotten  ECHO-1 ECHO-3 FAIR-2?

is a line of the file `kills`: a broken server and requirements; "?" marks one that fails in some
runs only. MIX-1 is left out: it tests everything at once, and what it finds depends on chance.

    # comment
    CLOSE-1  why no broken server fails only its tests

is a line of the file `reasons`, which has one for each MUST that no broken server fails alone.
"""

import pathlib

KILLS = pathlib.Path(__file__).parent / "kills"
REASONS = pathlib.Path(__file__).parent / "reasons"
LEFT_OUT = {"MIX-1"}

_HEADER = """\
# The requirements whose tests fail on each broken server: ci/conform broken --fix
# '?' marks one that fails in some runs only. MIX-1 is left out.
"""


class KillMatrixError(Exception):
    """An error in a file: where, and what was expected."""


def read(path, known):
    """For each broken server the requirements that fail, in the order of the file."""
    kills = {}
    for where, name, ids in _lines(path):
        if name in kills:
            raise KillMatrixError(f"{where}: {name} occurs twice, expected one line")
        for each in ids.split():
            if plain(each) not in known:
                raise KillMatrixError(f"{where}: {each!r}, expected an ID of SPEC.md")
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
    """For each requirement that no broken server fails alone, the reason."""
    reasons = {}
    for where, id, reason in _lines(path):
        if id not in known or id in reasons:
            raise KillMatrixError(f"{where}: {id!r}, expected an ID of SPEC.md, each once")
        if not reason:
            raise KillMatrixError(f"{where}: {id} without a reason")
        reasons[id] = reason
    return reasons


def _lines(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            first, _, rest = line.strip().partition(" ")
            yield f"{path.name}:{number}", first, rest.strip()


def musts(requirements):
    """The requirements that need a broken server which only their tests catch."""
    return [
        each.id
        for each in requirements.values()
        if each.level == "MUST" and each.profile != "reference" and each.id not in LEFT_OUT
    ]


def alone(kills):
    """For each requirement, the broken servers that only its tests catch."""
    found = {}
    for name, ids in kills.items():
        if len(ids) == 1 and not ids[0].endswith("?"):
            found.setdefault(ids[0], []).append(name)
    return found


def complaints(requirements, kills, reasons):
    """Each MUST has a broken server that it alone catches, or else a reason."""
    found, needed = alone(kills), musts(requirements)
    found_wrong = []
    for id in needed:
        if id not in found and id not in reasons:
            found_wrong.append(f"{id}: no broken server fails it alone, expected one or a reason")
        if id in found and id in reasons:
            found_wrong.append(f"{id}: {found[id][0]} fails it alone, expected no reason")
    return found_wrong + [f"{id}: a reason, but no such MUST" for id in reasons if id not in needed]


def differences(name, listed, failed, skipped):
    """Where a run differs from the line; a skipped requirement never does."""
    certain = {each for each in listed if not each.endswith("?")}
    possible = {plain(each) for each in listed}
    return [
        *(f"{name}: {each} passes, but is listed" for each in sorted(certain - failed - skipped)),
        *(f"{name}: {each} fails, but is not listed" for each in sorted(failed - possible)),
    ]
