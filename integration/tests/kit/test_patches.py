"""Each patch breaks the reference in one way, and fails the tests that are named for it.

What the broken servers show for any server is not repeated here: these are limits, faults, the
drain, and what only the reference guarantees.
"""

import pytest
from lib import build, command, defects
from running import expect_failures

# Bytes are missing; how many came, and whether the connection ended, depends on timing.
MISSING = ("no-answer", "short-answer", "closed-early")
CUT_OFF = (*MISSING, "rst-for-fin")

MANY_READY = "test_reference_idle.py::TestMoreReadyThanAWaitReports"
NEIGHBOURS = "test_reference_neighbours.py"
INHERITED = "test_reference_limits.py::TestInheritedDescriptors"

FAILURES = {
    # Limits and faults of the system.
    "no-retry-after-emfile": {
        "test_faults.py::TestNoDescriptorsLeft::test_limit_raised": "no-answer",
        "test_faults.py::test_lasting_accept_error[ENFILE]": "no-answer",
        "test_reference_limits.py::test_retry_after_the_limit_is_raised": "no-answer",
    },
    "accept-fault-ends-all": {
        "test_faults.py::test_transient_accept_error[ENETDOWN]": "server-died",
        "test_faults.py::test_lasting_accept_error[ENOMEM]": "server-died",
        "test_faults.py::TestNoDescriptorsLeft::test_waiting": "server-died",
        "test_faults.py::TestNoDescriptorsLeft::test_one_leaves": "server-died",
    },
    "accept-fault-spins": {
        "test_faults.py::TestNoDescriptorsLeft::test_waiting": "cpu",
        "test_reference_limits.py::test_waiting_for_descriptors": "system-calls",
    },
    "limit-is-ignored": {
        "test_reference_limits.py::TestMaxConnections::test_new_connections_wait": "unasked-data",
        "test_reference_limits.py::test_soft_descriptor_limit_is_raised": "unasked-data",
    },
    "limit-spins": {
        "test_reference_limits.py::TestMaxConnections::test_new_connections_wait": "system-calls",
    },
    "no-resume-after-a-leaver": {
        "test_reference_limits.py::TestMaxConnections::test_served_as_one_leaves": "no-answer",
        "test_reference_limits.py::TestMaxConnections::test_served_as_one_resets": "no-answer",
    },
    "high-descriptors-refused": {
        f"{INHERITED}::test_all_below_the_limit_are_served[10-36]": "closed-early",
        f"{INHERITED}::test_all_below_the_limit_are_served[5-200]": "closed-early",
    },
    "descriptors-unchecked": {
        "test_reference_limits.py::test_more_connections_than_descriptors": "server-stuck",
    },
    "soft-limit-is-kept": {
        "test_reference_limits.py::test_soft_descriptor_limit_is_raised": "descriptors",
    },
    "reserve-is-unchecked": {"test_reference_limits.py::test_no_address_space": "server-stuck"},
    "pending-memory-is-kept": {
        "test_reference_limits.py::test_pending_memory_is_given_back": "memory",
    },
    "control-fault-ignored": {
        "test_reference_faults.py::test_no_room_in_the_poller": "still-open",
    },
    "would-block-is-a-failure": {"test_reference_faults.py::test_false_would_block": MISSING},
    "closed-while-watched": {
        "test_reference_system.py::test_a_socket_that_is_held_elsewhere": "cpu",
    },
    # Fairness.
    "turns-not-shared": {f"{NEIGHBOURS}::test_what_is_done_between_two_waits": "system-calls"},
    "one-accept-a-pass": {f"{NEIGHBOURS}::test_what_is_done_between_two_waits": "system-calls"},
    # The stop signal.
    "stop-closes-at-once": {
        "test_drain.py::test_nothing_is_lost[stopped]": CUT_OFF,
        "test_drain.py::test_nothing_is_lost[running]": CUT_OFF,
        "test_drain.py::test_a_stalled_client_delays_no_other": CUT_OFF,
        "test_drain.py::test_half_closed_client": CUT_OFF,
    },
    "drain-forgets-the-backlog": {
        "test_drain.py::test_clients_in_the_backlog_are_served": CUT_OFF,
    },
    "drain-owes-nothing": {
        "test_drain.py::test_nothing_is_lost[running]": MISSING,
        "test_drain.py::test_nothing_is_lost[stopped]": MISSING,
    },
    "owed-not-counted": {
        "test_drain.py::test_nothing_is_lost[stopped]": "still-open",
        "test_reference_drain.py::test_only_what_had_arrived": "still-open",
    },
    "stop-does-not-linger": {"test_drain.py::test_what_comes_after_the_end": "closed-early"},
    "drain-never-ends": {
        "test_reference_drain.py::test_a_client_that_ignores_fin": "server-stuck",
        "test_reference_drain.py::test_bytes_pending_at_the_timeout": "server-stuck",
    },
    "drain-keeps-listening": {"test_drain.py::test_new_connections_are_refused": "still-listening"},
    "drain-sweeps-the-idle": {
        "test_reference_drain.py::test_idle_timeout_and_drain": "closed-early",
    },
    "drain-hides-its-losses": {
        "test_reference_drain.py::test_bytes_pending_at_the_timeout": "exit-status",
    },
    "loss-is-told-of-none": {
        "test_reference_drain.py::test_a_client_that_ignores_fin": "exit-status",
    },
    "stop-is-missed": {
        "test_drain.py::test_idle_clients[SIGTERM]": "still-open",
        "test_drain.py::test_idle_clients[SIGINT]": "still-open",
        "test_drain.py::test_without_clients[SIGTERM]": "server-stuck",
    },
    "second-signal-is-ignored": {
        "test_reference_drain.py::test_a_second_signal[SIGTERM-SIGINT]": "exit-status",
    },
    "stop-is-caught-late": {
        "test_reference_start.py::test_a_stop_as_soon_as_it_listens": "exit-status",
    },
    "hangup-kills": {"test_reference_drain.py::test_a_hangup_drains": "exit-status"},
    "waiting-is-not-logged": {
        "test_reference_limits.py::TestMaxConnections::test_waiting_is_logged_and_its_end":
            "log-line",
    },
    # Idle and silent peers.
    "idle-fires-early": {
        "test_reference_idle.py::test_an_idle_client_is_closed_in_time": "closed-early",
        "test_reference_idle.py::test_each_in_its_own_time": "closed-early",
    },
    "idle-never-fires": {
        "test_reference_idle.py::test_an_idle_client_is_closed_in_time": "still-open",
        "test_reference_idle.py::TestSilence::test_idle_timeout": "log-line",
    },
    "idle-timeout-needs-a-quiet-wait": {
        f"{MANY_READY}::test_a_silent_client": "still-open",
    },
    "idle-counts-no-sends": {"test_reference_idle.py::test_a_slow_reader": MISSING},
    "sweep-spares-the-stalled": {"test_reference_idle.py::test_a_stalled_client": "still-open"},
    "wait-has-a-timeout": {"test_reference_system.py::test_no_call_without_events": "system-calls"},
    "sweep-is-always-due": {"test_reference_idle.py::test_waiting_costs_nothing": "system-calls"},
    "no-keep-alive": {
        "test_reference_system.py::test_options_of_connections": "socket-option",
        "test_reference_idle.py::TestSilence::test_keep_alive": "log-line",
    },
    # Memory.
    "slots-touched-at-the-start": {"test_reference_system.py::test_memory_when_idle": "memory"},
    "area-touched-at-the-start": {
        "test_reference_system.py::test_memory_of_idle_clients": "memory",
    },
    # The port.
    "no-reuseaddr": {
        "test_surroundings.py::test_restart": "not-listening",
        "test_reference_system.py::test_options_of_the_listener": "socket-option",
    },
    "reuseport": {
        "test_surroundings.py::test_port_in_use": "server-stuck",
        "test_reference_system.py::test_options_of_the_listener": "socket-option",
    },
    "no-v6only": {"test_reference_system.py::test_ipv6_only": "socket-option"},
    "no-oobinline": {
        "test_reference_system.py::test_urgent_byte": "wrong-byte",
        "test_reference_system.py::test_options_of_connections": "socket-option",
        "test_drain.py::test_urgent_byte": "short-answer",
    },
    "no-nodelay": {"test_reference_system.py::test_options_of_connections": "socket-option"},
    "inheritable-connections": {"test_reference_system.py::test_descriptor_flags": "descriptors"},
    "activation-for-anybody": {
        "test_reference_activation.py::test_passed_to_another_process[1]": "not-listening",
        "test_reference_activation.py::test_passed_to_another_process[]": "not-listening",
    },
    "activation-unchecked": {
        "test_reference_activation.py::test_bad_activation[--fds 2]": ("server-stuck", "output"),
    },
    "activation-forgets-who-waited": {
        "test_reference_activation.py::test_a_client_that_came_before_the_server": "socket-option",
    },
    "passed-socket-as-it-is": {
        "test_reference_activation.py::test_passed_blocking": "descriptors",
        "test_reference_activation.py::test_bad_activation[--kind local]": "server-stuck",
    },
    # The log, and the command line.
    "stdout-non-blocking": {"test_reference_system.py::test_stdout_keeps_its_flags": "descriptors"},
    "cannot-start-is-bad-usage": {
        "test_reference_faults.py::test_a_privileged_port": "exit-status",
        "test_reference_limits.py::test_no_address_space": "exit-status",
    },
    "bad-usage-is-ignored": {
        "test_reference_command_line.py::test_bad_usage[--frob]": "server-stuck",
    },
    "log-blocks": {
        "test_surroundings.py::test_full_stdout": "no-answer",
        "test_reference_drain.py::test_a_full_log": "still-open",
    },
    "log-drops-in-silence": {
        "test_reference_log.py::test_dropped_lines_are_counted": "log-line",
        "test_reference_json.py::test_dropped_lines": "log-line",
    },
    # No step of this scenario expects an answer: the oracle of the scenario runner has to.
    "fin-discards-data-with-a-timeout": {
        "test_scenarios.py::test_scenario[idle-timeout-fin-with-data]": MISSING,
    },
    "log-json-has-hex": {"test_reference_json.py::test_every_byte": "log-line"},
    "log-kills": {"test_surroundings.py::test_closed_stdout_reader": "server-died"},
    "poller-option-is-ignored": {
        "test_reference_command_line.py::test_a_poller_of_another_system": "server-stuck",
    },
}


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    """A copy of the sources, built once; each patch then rebuilds what it changes."""
    parts = ("CMakeLists.txt", "LICENSE", "src/", "include/")
    made = defects.Copy(tmp_path_factory.mktemp("tree"), parts)
    command.output_of(["cmake", "-S", ".", "-B", "build", "-DBUILD_TESTING=OFF"], cwd=made.top)
    build.make(made.top / "build", "touchstone")
    return made


@pytest.mark.parametrize("name", FAILURES)
def test_patch_is_found(copy, name):
    """Each test named for a patch fails, with the code that is given."""
    with copy.planted(defects.Patch(name)):
        program = build.make(copy.top / "build", "touchstone") / "touchstone"
        expect_failures([str(program), "--listen", "127.0.0.1:{port}"], FAILURES[name])


def test_every_patch_is_named():
    """The table has all patches that are the kit's; of the server's it may have some."""
    assert set(defects.patches("kit")) <= set(FAILURES)
