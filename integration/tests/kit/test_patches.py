"""Proof that the tests can fail on our own server: each patch breaks it in one way.

As in the gallery, a patch counts as found only if the tests named for it fail, and say why. What
the gallery shows of any server is not shown again; here are the limits, the faults, the drain, and
what only the reference promises.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess

import pytest
from judged import INTEGRATION, expect_failures

ROOT = INTEGRATION.parent
PATCHES = ROOT / "tests" / "defects" / "kit"

# What a failing client or server report says, as patterns.
PART = r"the first to differ is byte \d+"
NOTHING = r"0 of \d+ bytes came"
OPEN = r"then still open where FIN was due"
CUT = r"bytes came, then (FIN|RST)"
LOST = r"\d+ bytes came of \d+ that the server's kernel had"
CUT_OFF = rf"{LOST}|then RST where FIN was due"
ENDS_NOT = r"the server does not end within"
STILL_RAN = r"still ran after"
SPIN = r"s of processor time in half a second of waiting"
CALLS = r"item: '\d+ +epoll_wait\("
NO_LINE = r"no log line matches"

FOUND_BY = {
    # Limits and faults of the system.
    "accept-is-not-retried": {
        "test_faults.py::TestNoDescriptorsLeft::test_limit_raised": r"neither served nor closed",
        "test_faults.py::test_lasting_accept_error[ENFILE]": r"neither served nor closed",
        "test_reference_limits.py::test_retry_after_the_limit_is_raised": NOTHING,
    },
    "accept-fault-ends-all": {
        "test_faults.py::test_transient_accept_error[ENETDOWN]": r"exited with status 1 while",
        "test_faults.py::test_lasting_accept_error[ENOMEM]": r"exited with status 1 while",
        "test_faults.py::TestNoDescriptorsLeft::test_waiting": r"exited with status 1 while",
        "test_faults.py::TestNoDescriptorsLeft::test_one_leaves": r"exited with status 1 while",
    },
    "accept-fault-spins": {
        "test_faults.py::TestNoDescriptorsLeft::test_waiting": SPIN,
        "test_reference_limits.py::test_waiting_for_descriptors": r"accept4?\(.*EMFILE",
    },
    "limit-is-ignored": {
        "test_reference_limits.py::TestMaxConnections::test_newcomers_wait": r"came unasked",
        "test_reference_limits.py::test_soft_descriptor_limit_is_raised": r"came unasked",
    },
    "limit-spins": {"test_reference_limits.py::TestMaxConnections::test_newcomers_wait": CALLS},
    "limit-forgets-who-waits": {
        "test_reference_limits.py::TestMaxConnections::test_served_as_one_leaves": NOTHING,
        "test_reference_limits.py::TestMaxConnections::test_served_as_one_resets": NOTHING,
    },
    "descriptors-unchecked": {
        "test_reference_limits.py::test_more_connections_than_descriptors": STILL_RAN,
    },
    "soft-limit-is-kept": {
        "test_reference_limits.py::test_soft_descriptor_limit_is_raised": r"assert \(40, 64\) ==",
    },
    "reserve-is-unchecked": {"test_reference_limits.py::test_no_address_space": STILL_RAN},
    "pending-memory-is-kept": {
        "test_reference_limits.py::test_pending_memory_is_given_back": r"bytes more than before",
    },
    "poller-refusal-is-ignored": {
        "test_reference_faults.py::test_no_room_in_the_poller": OPEN,
    },
    "would-block-is-a-loss": {"test_reference_faults.py::test_false_would_block": CUT},
    "held-socket-stays-watched": {
        "test_reference_system.py::test_a_socket_that_is_held_elsewhere": SPIN,
    },
    # Told to stop.
    "stop-closes-at-once": {
        "test_drain.py::test_nothing_is_lost[frozen]": CUT_OFF,
        "test_drain.py::test_nothing_is_lost[live]": CUT_OFF,
        "test_drain.py::test_a_stalled_client_delays_nobody": CUT_OFF,
        "test_drain.py::test_half_closed_client": CUT_OFF,
    },
    "stop-forgets-the-backlog": {"test_drain.py::test_backlog": r"then RST"},
    "drain-owes-nothing": {
        "test_drain.py::test_nothing_is_lost[live]": LOST,
        "test_drain.py::test_nothing_is_lost[frozen]": LOST,
    },
    "drain-owes-for-ever": {
        "test_drain.py::test_nothing_is_lost[frozen]": OPEN,
        "test_reference_drain.py::test_exactly_what_was_owed": r"STILL_OPEN",
    },
    "stop-does-not-linger": {
        "test_drain.py::test_what_comes_after_the_end": r"RST came while",
    },
    "drain-has-no-end": {
        "test_reference_drain.py::test_a_client_that_ignores_fin": ENDS_NOT,
        "test_reference_drain.py::test_bytes_that_are_owed_at_the_time_out": ENDS_NOT,
    },
    "drain-keeps-listening": {"test_drain.py::test_newcomers_are_refused": r"are still let in"},
    "stop-keeps-the-sweep": {
        "test_reference_drain.py::test_idle_time_out_and_drain": r"assert 2\.0 <= [01]\.",
    },
    "loss-is-not-told": {
        "test_reference_drain.py::test_bytes_that_are_owed_at_the_time_out": r"assert 0 == 3",
    },
    "loss-is-told-of-none": {
        "test_reference_drain.py::test_a_client_that_ignores_fin": r"assert 3 == 0",
    },
    "stop-is-missed": {
        "test_drain.py::test_idle_clients[SIGTERM]": OPEN,
        "test_drain.py::test_idle_clients[SIGINT]": OPEN,
        "test_drain.py::test_without_clients[SIGTERM]": ENDS_NOT,
    },
    "second-signal-is-ignored": {
        "test_reference_drain.py::test_a_second_signal[SIGTERM-SIGINT]": r"assert 0 == \(128",
    },
    # Idle and silent peers.
    "idle-fires-early": {
        "test_reference_idle.py::test_idle": r"idle for 0\.\d+ s",
        "test_reference_idle.py::test_each_in_its_own_time": r"idle for 0\.\d+ s",
    },
    "idle-never-fires": {
        "test_reference_idle.py::test_idle": OPEN,
        "test_reference_idle.py::TestSilence::test_idle_time_out": NO_LINE,
    },
    "idle-forgets-sending": {"test_reference_idle.py::test_a_slow_reader": CUT},
    "sweep-spares-the-stalled": {
        "test_reference_idle.py::test_a_stalled_client": r"it is still there"
    },
    "wait-has-a-timeout": {"test_reference_system.py::test_quiet_second": CALLS},
    "sweep-is-always-due": {"test_reference_idle.py::test_waiting_costs_nothing": CALLS},
    "no-keep-alive": {
        "test_reference_system.py::test_options_of_connections": r"SO_KEEPALIVE",
        "test_reference_idle.py::TestSilence::test_keep_alive": NO_LINE,
    },
    # Memory.
    "slots-touched-at-the-start": {
        "test_reference_system.py::test_memory_when_idle": r"<= 262144",
    },
    "area-touched-at-the-start": {
        "test_reference_system.py::test_memory_of_idle_clients": r"4\d\d\d\.\d each",
    },
    # The port.
    "no-reuseaddr": {
        "test_surroundings.py::test_restart": r"stderr: .*EADDRINUSE",
        "test_reference_system.py::test_options_of_the_listener": r"SO_REUSEADDR",
    },
    "reuseport": {
        "test_surroundings.py::test_port_in_use": STILL_RAN,
        "test_reference_system.py::test_options_of_the_listener": r"SO_REUSEPORT",
    },
    "no-v6only": {"test_reference_system.py::test_ipv6_alone": r"IPV6_V6ONLY"},
    "no-oobinline": {
        "test_reference_system.py::test_urgent_byte": PART,
        "test_reference_system.py::test_options_of_connections": r"SO_OOBINLINE",
        "test_drain.py::test_urgent_byte": PART,
    },
    "no-nodelay": {"test_reference_system.py::test_options_of_connections": r"TCP_NODELAY"},
    "inheritable-connections": {
        "test_reference_system.py::test_descriptor_flags": r"is not close-on-exec",
    },
    "activation-for-anybody": {
        "test_reference_activation.py::test_meant_for_another[1]": NO_LINE,
        "test_reference_activation.py::test_meant_for_another[]": NO_LINE,
    },
    "activation-unchecked": {
        "test_reference_activation.py::test_bad_activation[--fds 2]": r"still ran|assert ''",
    },
    "passed-socket-as-it-is": {
        "test_reference_activation.py::test_passed_blocking": r"O_NONBLOCK",
        "test_reference_activation.py::test_bad_activation[--kind local]": STILL_RAN,
    },
    # The log, and the command line.
    "stdout-non-blocking": {
        "test_reference_system.py::test_stdout_keeps_its_flags": r"get_blocking",
    },
    "cannot-start-is-bad-usage": {
        "test_reference_faults.py::test_a_port_without_permission": r"2 == 1|assert 2",
        "test_reference_limits.py::test_no_address_space": r"2 == 1|assert 2",
    },
    "bad-usage-is-ignored": {
        "test_reference_command_line.py::test_bad_usage[--frob]": STILL_RAN,
    },
    "log-blocks": {
        "test_surroundings.py::test_full_stdout": NOTHING,
        "test_reference_drain.py::test_a_full_log": OPEN,
    },
    "log-drops-in-silence": {
        "test_reference_log.py::test_dropped_lines_are_counted": r"connect token=",
        "test_reference_json.py::test_dropped_lines": r"not enough values to unpack",
    },
    "log-json-has-hex": {"test_reference_json.py::test_every_byte": r"Invalid \\escape"},
    "log-kills": {"test_surroundings.py::test_closed_stdout_reader": r"was killed by SIGPIPE"},
    "poller-option-is-ignored": {
        "test_reference_command_line.py::test_a_poller_of_another_system": STILL_RAN,
    },
}


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """A copy of what the server is built from, built once: each patch then builds what it broke."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "CMakeLists.txt", copy)
    shutil.copy(ROOT / "LICENSE", copy)
    for folder in ("src", "include"):
        shutil.copytree(ROOT / folder, copy / folder)
    run("cmake", "-S", copy, "-B", copy / "build", "-DBUILD_TESTING=OFF")
    build(copy)
    return copy


def run(*command, **surroundings):
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **surroundings
    )
    assert ended.returncode == 0, ended.stdout


def build(tree):
    run("cmake", "--build", tree / "build", "--target", "touchstone")


def apply_patch(tree, patch, *options):
    # Or git would look for a repository around the copy, and take the paths to be in that.
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    run("git", "apply", *options, patch, cwd=tree, env=alone)


@contextlib.contextmanager
def broken_by(tree, patch):
    """The command of a server with that patch."""
    apply_patch(tree, patch)
    try:
        build(tree)
        yield [str(tree / "build" / "touchstone"), "--listen", "127.0.0.1:{port}"]
    finally:
        apply_patch(tree, patch, "--reverse")


@pytest.mark.parametrize("name", FOUND_BY)
def test_patch_is_found(tree, name):
    """Each test named for a patch fails on it, and says why."""
    with broken_by(tree, PATCHES / f"{name}.patch") as command:
        expect_failures(command, FOUND_BY[name])


def test_every_patch_is_named():
    """The table lists exactly the patches that there are."""
    assert sorted(FOUND_BY) == sorted(patch.stem for patch in PATCHES.glob("*.patch"))
