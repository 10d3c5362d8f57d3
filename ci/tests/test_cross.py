"""ci/cross fails when a system lacks something: on a copy of the tree, each system once."""

import pytest

from lib import command, cross
from lib.defects import Edit

KERNEL, CODEC = "src/system/kernel_bsd.c", "include/core/kqueue_codec.h"
ARRIVAL = "tests/fidelity/arrival_bsd.c"
# On whatever processor.
TARGETS = list({system: target for target, (system, _) in cross.SYSTEMS.items()}.values())

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
def test_a_program_for_another_system_fails(monkeypatch, capsys):
    target = TARGETS[0]
    monkeypatch.setitem(cross.SYSTEMS, target, (cross.SYSTEMS[target][0], "a.out"))
    assert not cross.compile_for(target)
    assert "[file-type]" in capsys.readouterr().out
