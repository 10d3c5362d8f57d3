"""The kit's parser of scenarios agrees with the simulator's: tests/scenarios/syntax."""

import pytest
from running import INTEGRATION
from touchstone_conform.scenario import language

SYNTAX = INTEGRATION.parent / "tests" / "scenarios" / "syntax"


def disagreements():
    """What the kit makes of each text that the file beside it does not say, by its name."""
    found = {}
    for folder, disagreement in (("accepted", of_accepted), ("rejected", of_rejected)):
        paths = sorted((SYNTAX / folder).glob("*.scenario"))
        assert len(paths) >= 20
        for path in paths:
            if difference := disagreement(path):
                found[path.stem] = difference
    return found


def of_accepted(path):
    """The text, and its canonical form, have this canonical form."""
    expected = path.with_suffix(".canonical").read_bytes()
    try:
        forms = [language.canonical(language.parse(each)) for each in (path.read_bytes(), expected)]
    except language.ScenarioError as error:
        return str(error)
    return forms if forms != [expected, expected] else None


def of_rejected(path):
    """LINE:COLUMN CODE of its error, then each word that the message must contain."""
    position, code, *words = path.with_suffix(".error").read_text("utf-8").split()
    try:
        return language.parse(path.read_bytes())
    except language.ScenarioError as error:
        good = str(error).startswith(f"{position}: {code}: ")
        return None if good and all(word in error.text for word in words) else str(error)


def test_every_text_is_read_as_its_file_states():
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
