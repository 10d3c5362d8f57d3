"""Seeded defects: unique names, patches that apply, and a copy that is as before afterwards."""

import re

import pytest
from lib import command, defects, tree


def test_every_patch_applies(copy):
    for name, path in defects.patches().items():
        with copy.planted(defects.Patch(name)):
            assert defects.touched(path), name


def test_a_name_that_stands_twice_is_refused(copy, monkeypatch):
    monkeypatch.setattr(defects, "FOLDER", copy.top / "tests" / "defects")
    name = next(iter(defects.patches("core")))
    twin = f"tests/defects/server/{name}.patch"
    with copy.planted(defects.Edit(twin, None, "")), pytest.raises(command.CannotRun):
        defects.patches()


def test_no_defect_stands_twice_under_two_names():
    """What several checks have to find is one patch of several kinds."""
    names = {}
    for name, path in defects.patches().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        changed = [line for line in lines if re.match(r"[+-](?!-- a/|\+\+ b/)", line)]
        names.setdefault((*defects.touched(path), *changed), []).append(name)
    assert [each for each in names.values() if len(each) > 1] == []


def test_a_patch_may_be_of_several_kinds():
    both = set(defects.patches("core")) & set(defects.patches("modules"))
    assert both and both < set(defects.patches())


def test_what_was_planted_is_gone_afterwards(copy):
    path = copy.top / "src/core/upper.c"
    before = path.read_bytes()
    edits = [
        defects.Edit("src/core/upper.c", "'z'", "'y'"), defects.Edit("src/core/new.c", None, "x"),
    ]
    with copy.planted(*edits):
        assert path.read_bytes() != before
    assert path.read_bytes() == before and not (copy.top / "src/core/new.c").exists()


def test_an_edit_without_its_place_is_an_error(copy):
    with pytest.raises(command.CannotRun), copy.planted(defects.Edit("README.md", "\0", "")):
        pass


def test_a_complaint_that_is_not_made_fails(copy):
    with pytest.raises(AssertionError):
        copy.expect(r"\[include\]", ["ci/lint", "rules"])


def test_a_tree_without_git_has_the_same_files(copy):
    assert tree.files(copy.top) == tree.files()
