"""src/modules.txt is whole, and a mistake in it is reported with its line."""

import pytest
from lib import command, modules, tree


def test_every_source_belongs_to_one_module():
    listed = [path for module in modules.read().values() for path in module.paths]
    there = [name for name in tree.files() if name.startswith("src/") and name.endswith(".c")]
    assert sorted(listed) == sorted(there)


def test_a_module_has_unit_tests_under_its_name():
    tests = {path.stem for path in (tree.TOP / "tests" / "unit").glob("test_*.c")}
    for module in modules.read().values():
        assert any(module.has_test(name.partition("_")[2]) for name in tests), module.name


@pytest.mark.parametrize(
    "line, named",
    [
        ("kernel/token token.c", "kernel"),
        ("core/token", "no sources"),
        ("core/token token.c proofs", "proofs"),
        ("core/token token.c mutation=all", "mutation=all"),
    ],
)
def test_a_mistake_is_reported_with_its_line(tmp_path, line, named):
    path = tmp_path / "modules.txt"
    path.write_text(f"# a comment\n{line}\n")
    with pytest.raises(command.CannotRun) as raised:
        modules.read(path)
    assert "modules.txt:2" in str(raised.value) and named in str(raised.value)
