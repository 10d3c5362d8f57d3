"""The table of verification by module."""

import json

import pytest
from lib import evidence, modules, tree

TABLE = f"""{evidence.BEGIN}| module | unit | mutation |
|---|--:|--:|
| server | 1 | 6 of 7 |
| log | 1 | 4 of 5 |
{evidence.END}"""
SERVER, LOG = modules.read()["shell/server"], modules.read()["shell/log"]


@pytest.fixture
def results(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(TABLE)
    monkeypatch.setattr(evidence, "README", readme)
    monkeypatch.setattr(tree, "RESULTS", tmp_path)
    return tmp_path


def test_without_results_the_mutation_column_is_kept(results):
    assert evidence._mutation_column()(SERVER) == "6 of 7"


def test_results_of_mutation(results):
    judged = {"killed": 8, "judged": 10, "equivalent_by_argument": 1}
    (results / evidence.MUTATION).write_text(json.dumps({"modules": {SERVER.name: judged}}))
    column = evidence._mutation_column()
    assert column(SERVER) == "8 of 9" and column(LOG) == "4 of 5"
