"""ci/cross fails when a system lacks something: on a copy of the tree, each system once."""

import dataclasses

import pytest

from lib import command, cross
from lib.defects import Edit

KERNEL, CODEC = "src/system/kernel_bsd.c", "include/core/kqueue_codec.h"
ARRIVAL = "tests/fidelity/arrival_bsd.c"
# On whatever processor.
TARGETS = list({each.system: name for name, each in cross.TARGETS.items() if not each.runs}.values())
X86, S390X = "x86-linux-gnu.2.36", "s390x-linux-gnu.2.36"

CALLS_LINUX = Edit(KERNEL, "(kqueue())", "(epoll_create1(0))")
DECLARES_LINUX = Edit(KERNEL, '#include "posix.h"', '#include "posix.h"\nint epoll_create1(int);')


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    """What zig built for the tree serves its copy, too."""
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(cross.PLACE / "cache"))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "defects, name, code",
    [
        pytest.param([CALLS_LINUX], "epoll_create1", "build", id="not-declared"),
        pytest.param([CALLS_LINUX, DECLARES_LINUX], "epoll_create1", "build", id="not-linked"),
        pytest.param([Edit(KERNEL, "EVFILT_WRITE", "EPOLLOUT")], "EPOLLOUT", "build", id="name"),
        pytest.param([Edit(CODEC, "_DELETE 0x0002u", "_DELETE 0x0003u")], "KQUEUE_CODEC_DELETE",
                     "build", id="constant"),
        pytest.param([Edit(ARRIVAL, "EVFILT_READ", "EPOLLIN")], "EPOLLIN", "fidelity",
                     id="fidelity"),
    ],
)
def test_a_seeded_defect_fails(copy, target, defects, name, code):
    with copy.planted(*defects):
        done = copy.run(["ci/cross", target])
    assert done.returncode == command.FAILED, done.stdout
    assert name in done.stdout and f"[{code}]" in done.stdout, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "target, defect, code",
    [
        # Each shows on that machine alone.
        pytest.param(X86, Edit("include/core/token.h", "", ""), "test", id="32-bit"),
        pytest.param(S390X, Edit("include/core/token.h", "", ""), "trace-differs", id="big-endian"),
    ],
)
def test_a_defect_of_one_machine_fails(copy, target, defect, code):
    if not cross.TARGETS[target].root.exists():
        pytest.skip(f"no libraries for {target}")
    (copy.top / "build").mkdir(exist_ok=True)
    with copy.planted(defect):
        done = copy.run(["ci/cross", target])
    assert done.returncode == command.FAILED, done.stdout
    assert f"[{code}]" in done.stdout, done.stdout


@pytest.mark.slow
def test_a_program_for_another_system_fails(monkeypatch, capsys):
    target = dataclasses.replace(cross.TARGETS[TARGETS[0]], file_type="a.out")
    monkeypatch.setitem(cross.TARGETS, TARGETS[0], target)
    assert not cross.check(TARGETS[0])
    assert "[file-type]" in capsys.readouterr().out
