"""ci/mutate fails when it has to: on one small module and the quick tests."""

import pytest

from lib import command, modules, tree

pytest.importorskip("universalmutator")

from lib.mutate import build, run, survivors  # noqa: E402

MODULE = "core/token"
TESTS = ("token", "replay_token")

# Nothing but its unit test and its fuzzer has as many connections as it takes to see this one.
ONLY_BY_TEST = (
    "src/core/token.c", "token_issue", 1,
    "slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;",
    ("slot->generation = slot->generation == UINT32_MAX ? 0 : slot->generation + 1;",),
)
UNKNOWN = ("src/core/token.c", "token_issue", 1, "no line of it", ("nor this",))
HANGS = (
    "src/shell/log.c",
    "for (size_t i = 0; letters[i] != '\\0'; i += 2) {",
    "for (size_t i = 0; letters[i] != '\\0'; i =+ 2) {",
)


@pytest.fixture(scope="module", autouse=True)
def place():
    """Nobody else runs there meanwhile."""
    usual, build.PLACE = build.PLACE, tree.BUILD / "mutate-self-test"
    yield
    build.PLACE = usual


def attempt(without=(), listed=None):
    going = run.Run(build.JOBS, without, quick=True)
    going.listed = listed or {}
    going.module(modules.read()[MODULE])
    return going


@pytest.fixture(scope="module")
def blind():
    """A run without the module's own tests."""
    return attempt(TESTS)


@pytest.mark.slow
def test_all_is_well_as_it_is():
    assert attempt().good


@pytest.mark.slow
def test_without_its_tests_a_mutant_survives(blind, capsys):
    assert not blind.good and ONLY_BY_TEST in [each.first.identity for each in blind.lived]
    blind.report()
    assert capsys.readouterr().out.count("[unlisted]") == len(blind.lived)


@pytest.mark.slow
def test_without_its_tests_a_module_is_below_its_floor(blind):
    (complaint,) = blind.below
    assert complaint.startswith(MODULE) and complaint.endswith("[floor]")


@pytest.mark.slow
def test_what_is_listed_may_survive(blind):
    lived = [each.first.identity for each in blind.lived]
    allowed = attempt(TESTS, dict.fromkeys(lived, (survivors.LIVES, 1)))
    assert not allowed.lived and not allowed.complaints


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, kind, code",
    [
        (ONLY_BY_TEST, survivors.LIVES, "killed"),
        (ONLY_BY_TEST, survivors.TIMED, "killed"),  # by what measures no time
        (UNKNOWN, survivors.LIVES, "no-mutant"),
    ],
)
def test_what_is_listed_and_does_not_survive_is_complained_of(name, kind, code):
    wrong = attempt((), {name: (kind, 1)})
    assert not wrong.good and wrong.complaints[0].endswith(f"[{code}]")


@pytest.mark.slow
def test_a_mutant_that_hangs_is_killed():
    going = run.Run(build.JOBS, quick=True)
    path, old, new = HANGS
    module = modules.of_path(path)
    hangs = [each for each in going.mutants_of(module) if (each.old, each.new) == (old, (new,))]
    groups = going.group(module, hangs)
    going.judge_groups(groups, "judged")
    assert [each.verdict.how for each in groups] == ["time-out"]


@pytest.mark.parametrize(
    "text",
    [
        "src/core/token.c\n- a\n+ b\n",
        "why?\n",
        "lives: it does\n\nsrc/core/token.c\n- a\n",
        "lives: it does\n" + 2 * "\nsrc/core/token.c\n- a\n+ b\n",
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_its_line(tmp_path, text):
    path = tmp_path / "survivors.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(command.CannotRun, match=r"survivors\.txt:\d+: "):
        survivors.read(path)
