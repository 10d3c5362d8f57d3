"""Every verb of ci/ has help that starts nothing, and refuses what it does not know."""

import os
import subprocess

import pytest
from lib import command, tree

VERBS = sorted(path.name for path in (tree.TOP / "ci").iterdir() if os.access(path, os.X_OK)
               and path.is_file())
# ci/serve hands its arguments to the server, which refuses them.
OWN_ARGUMENTS = [verb for verb in VERBS if verb != "serve"]


@pytest.fixture
def bare(tmp_path):
    """A copy of the verbs without .venv or build, in a folder whose name has a blank."""
    top = tmp_path / "a träe"
    tree.copy(top, ("ci/", "CMakePresets.json", "src/modules.txt",
                     "tests/defects/", "fuzz/", "tests/proof/"))
    return top


def call(top, verb, *arguments):
    return subprocess.run(
        [top / "ci" / verb, *arguments], cwd=top, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, env=command.environment(),
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_printed_and_nothing_started(bare, verb):
    before = set(tree.files(bare))
    done = call(bare, verb, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ci/{verb}" in done.stdout
    assert set(tree.files(bare)) == before
    assert not (bare / "build").exists() and not (bare / ".venv").exists()


# What is refused after the verb itself was known.
REFUSED = [
    *([verb, "frobnicate"] for verb in OWN_ARGUMENTS),
    *([verb, "--frobnicate"] for verb in OWN_ARGUMENTS if verb != "conform"),  # the kit's own
    ["conform", "reference", "frobnicate"],
    ["conform", "reference", "release", "frobnicate"],
    ["test", "units", "frobnicate"],
    ["test", "units", "dev", "frobnicate"],
    ["simulate", "sweep", "--frobnicate"],
    ["simulate", "defects", "frobnicate"],
    ["fuzz", "libfuzzer", "frobnicate", "1"],
]


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_an_unknown_argument_is_one_line_and_status_2(bare, arguments):
    done = call(bare, *arguments)
    assert (done.returncode, done.stdout) == (command.USAGE, "")
    assert len(done.stderr.splitlines()) == 1 and "frobnicate" in done.stderr
    assert not (bare / "build").exists() and not (bare / ".venv").exists()


def test_there_are_about_fourteen_verbs():
    assert len(VERBS) <= 15, VERBS
