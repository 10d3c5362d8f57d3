"""The kit's parser of scenarios agrees with the simulator's: tests/scenarios/syntax."""

import pytest
from running import INTEGRATION
from touchstone_conform.scenario import language

SYNTAX = INTEGRATION.parent / "tests" / "scenarios" / "syntax"


def result_of(text):
    """The canonical form of a text, or its error: the contents of the file beside it."""
    try:
        return language.canonical(language.parse(text))
    except language.ScenarioError as error:
        return f"{error}\n".encode("utf-8", "surrogateescape")


def disagreements():
    """The results that differ from the files, by the name of the text."""
    found = {}
    for folder, extension in (("accepted", ".canonical"), ("rejected", ".error")):
        paths = sorted((SYNTAX / folder).glob("*.scenario"))
        assert len(paths) >= 20
        for path in paths:
            expected = path.with_suffix(extension).read_bytes()
            texts = [path.read_bytes()] + [expected] * (folder == "accepted")
            results = [result_of(text) for text in texts]
            if results != [expected] * len(results):
                found[path.stem] = results
    return found


def test_the_contract():
    assert disagreements() == {}


@pytest.mark.parametrize(
    "table, seeded, noticed_by",
    [
        ("CLIENTS_MAX", 15, "sixteen-clients"),
        ("CROWD_MAX", 599, "crowd-of-six-hundred"),
        ("CROWD_MAX", 601, "crowd-too-large"),
        ("NAME_LENGTH_MAX", 30, "name-of-thirty-one"),
        ("NAME_LENGTH_MAX", 32, "name-too-long"),
        ("FAULTS_MAX", 9, "fault-ninth"),
        ("CHOICES_MAX", 15, "vary-by-choice-sixteen"),
        ("CHOICES_MAX", 17, "vary-by-choice-seventeenth"),
        ("VARIES", language.VARIES[:-1], "vary-all"),
        ("_REPORTED", ("stop",), "every-choice"),
        ("CLOSES", ("rst", "fin", "open"), "expect-close-kinds"),
        ("_ESCAPED", {**language._ESCAPED, b"t": b" "}, "string-escapes"),
    ],
)
def test_another_table_is_noticed(monkeypatch, table, seeded, noticed_by):
    monkeypatch.setattr(language, table, seeded)
    assert noticed_by in disagreements()
