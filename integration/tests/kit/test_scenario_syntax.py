"""The kit's parser of scenarios keeps to the contract, as the simulation's parser does."""

import pytest
from judged import INTEGRATION

from touchstone_conform import scenario

SYNTAX = INTEGRATION.parent / "tests" / "scenarios" / "syntax"


def said_of(text):
    """What a text becomes, or why it is none: what stands beside it in the folder."""
    try:
        return scenario.canonical(scenario.parse(text))
    except scenario.ScenarioError as error:
        return f"{error}\n".encode("utf-8", "surrogateescape")


def disagreements():
    """Of each text of which this parser says another thing: its name, and what it says."""
    found = {}
    for folder, extension in (("accepted", ".canonical"), ("rejected", ".error")):
        paths = sorted((SYNTAX / folder).glob("*.scenario"))
        assert len(paths) >= 20
        for path in paths:
            expected = path.with_suffix(extension).read_bytes()
            texts = [path.read_bytes()] + [expected] * (folder == "accepted")
            said = [said_of(text) for text in texts]
            if said != [expected] * len(said):
                found[path.stem] = said
    return found


def test_the_contract():
    assert disagreements() == {}


@pytest.mark.parametrize(
    "table, planted, noticed_by",
    [
        ("CLIENTS_MAX", 15, "sixteen-clients"),
        ("NAME_LENGTH_MAX", 30, "name-of-thirty-one"),
        ("NAME_LENGTH_MAX", 32, "name-too-long"),
        ("FAULTS_MAX", 9, "fault-ninth"),
        ("VARIES", scenario.VARIES[:-1], "vary-all"),
        ("_REPORTED", ("stop",), "every-choice"),
        ("CLOSES", ("rst", "fin", "open"), "expect-close-kinds"),
        ("_ESCAPED", {**scenario._ESCAPED, b"t": b" "}, "string-escapes"),
    ],
)
def test_another_table_is_noticed(monkeypatch, table, planted, noticed_by):
    monkeypatch.setattr(scenario, table, planted)
    assert noticed_by in disagreements()
