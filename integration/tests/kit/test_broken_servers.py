"""Each broken server fails the tests that are named for it, with the failure code that is given.

A test that fails with another code, for example because the machine is busy, proves nothing.
"""

import judge
import pytest
from running import expect_failures, output_of, run_tests, server_command
from touchstone_conform.cli.judging import SUITE
from touchstone_conform.report.results import FAILED

# Bytes are missing; how many came, and whether the connection ended, depends on timing.
MISSING = ("no-answer", "short-answer", "closed-early")
CUT_OFF = (*MISSING, "rst-for-fin")
STARVED = ("no-answer", "slow")

FAILURES = {
    "backquote-mapped": {"test_mapping.py::test_every_byte": "wrong-byte"},
    "z-forgotten": {"test_mapping.py::test_every_byte": "wrong-byte"},
    "utf8-casing": {"test_mapping.py::test_utf8_split_between_segments": "wrong-byte"},
    "strips-byte-order-mark": {"test_mapping.py::test_utf8_split_between_segments": MISSING},
    "locale-casing": {"test_mapping.py::test_locale[tr_TR-UTF-8]": "wrong-byte"},
    "ends-at-nul": {"test_mapping.py::test_every_byte": "no-answer"},
    "stops-at-invalid-text": {"test_mapping.py::test_invalid_utf8": MISSING},
    "drops-returns": {"test_mapping.py::test_every_byte": "wrong-byte"},
    "drops-repetitions": {"test_mapping.py::test_the_same_again": MISSING},
    "cuts-matter": {"test_framing.py::test_any_split": "wrong-byte"},
    "waits-after-return": {"test_framing.py::test_one_byte_at_a_time": "no-answer"},
    "line-buffering": {
        "test_framing.py::test_one_byte_at_a_time": "no-answer",
        "test_framing.py::test_any_split": MISSING,
    },
    "banner": {"test_framing.py::test_the_server_sends_only_answers": "unasked-data"},
    "farewell": {"test_framing.py::test_the_server_sends_only_answers": "unasked-data"},
    "offers-help": {"test_framing.py::test_the_server_sends_only_answers": "unasked-data"},
    "last-buffer-only": {
        "test_stopped.py::test_a_burst_is_answered_whole[300000]": "wrong-byte",
        "test_stopped.py::test_data_and_fin[131072]": "wrong-byte",
    },
    "half-buffer-lost": {
        "test_flow.py::test_a_burst_is_answered_whole[30000]": MISSING,
        "test_stopped.py::test_a_burst_is_answered_whole[30000]": MISSING,
    },
    "long-streams-cut": {"test_mapping.py::test_a_mebibyte_of_random_bytes": MISSING},
    "sixty-four-kib-at-most": {"test_mapping.py::test_a_mebibyte_of_random_bytes": "short-answer"},
    "nagle": {"test_framing.py::test_latency_of_many_small_writes": "slow"},
    "cork": {"test_framing.py::test_latency_of_double_writes": "slow"},
    "short-write-forgotten": {
        "test_flow.py::test_backpressure": "wrong-byte",
        "test_flow.py::test_stop_and_go": "wrong-byte",
    },
    "second-short-write-from-the-start": {
        "test_foundations.py::test_many_short_writes": "wrong-byte"
    },
    "short-read-means-drained": {"test_stopped.py::test_an_urgent_byte_delays_no_other": MISSING},
    "urgent-ends": {"test_flow.py::test_an_urgent_byte_affects_no_other": "closed-early"},
    "urgent-spoils-the-end": {"test_flow.py::test_an_urgent_byte_affects_no_other": "rst-for-fin"},
    "spins-on-urgent": {"test_cpu.py::test_after_an_urgent_byte": "cpu"},
    "serial": {"test_neighbours.py::test_a_silent_client_delays_no_other": "no-answer"},
    "crosstalk": {"test_neighbours.py::test_interleaved_clients": MISSING},
    "output-outlives-client": {
        "test_neighbours.py::test_a_new_connection_inherits_nothing": "wrong-byte",
    },
    "stays-with-flood": {"test_neighbours.py::test_a_flood_starves_no_client": STARVED},
    "accepts-before-all-else": {
        "test_neighbours.py::test_a_storm_of_connects_starves_no_client": "slow",
    },
    "accepts-once-per-edge": {
        "test_stopped.py::test_connect_data_and_fin_in_the_backlog": "no-answer",
    },
    "forgets-who-finds-no-room": {"test_stopped.py::test_many_ready": MISSING},
    "closes-idle": {"test_close.py::test_an_idle_client_is_kept": "closed-early"},
    "closes-mute": {"test_close.py::test_an_idle_client_is_kept": "closed-early"},
    "sleeps-beside-stalled": {"test_flow.py::test_a_stalled_client_delays_no_other": "slow"},
    "waits-for-stalled": {"test_flow.py::test_a_stalled_client_delays_no_other": "no-answer"},
    "hint-is-end": {
        "test_stopped.py::test_data_and_fin[1]": "no-answer",
        "test_stopped.py::test_connect_data_and_fin_in_the_backlog": MISSING,
    },
    "hint-drops-output": {
        "test_cpu.py::test_half_closed_with_pending_output": MISSING,
        "test_cpu.py::test_slow_flush_after_half_close": MISSING,
    },
    "drops-gone-connections": {
        "test_stopped.py::test_connect_data_and_fin_in_the_backlog": MISSING,
    },
    "dies-of-many-resets": {"test_stopped.py::TestReset::test_while_idle": "server-died"},
    "fin-drops-output": {
        "test_cpu.py::test_half_closed_with_pending_output": MISSING,
        "test_cpu.py::test_slow_flush_after_half_close": MISSING,
        "test_close.py::test_half_close_with_a_stalled_reader": MISSING,
        "test_close.py::test_half_close_with_a_slow_reader": MISSING,
    },
    "unbounded-memory": {
        "test_flow.py::test_a_client_that_reads_none": "no-backpressure",
        "test_release.py::test_memory_of_stalled_clients": "memory",
    },
    "deaf-after-a-stall": {"test_flow.py::test_backpressure": MISSING},
    "reserves-much": {"test_release.py::test_memory_of_stalled_clients": "memory"},
    "spools-to-disk": {"test_flow.py::test_a_client_that_reads_none": "no-backpressure"},
    "fin-ignored": {
        "test_close.py::test_bare_fin": "still-open",
        "test_close.py::test_fin_after_an_answer": "still-open",
        "test_close.py::test_data_with_fin[1]": "still-open",
    },
    "fin-answered-with-reset": {
        "test_close.py::test_bare_fin": "rst-for-fin",
        "test_close.py::test_data_with_fin[1]": "rst-for-fin",
    },
    "in-no-hurry": {"test_close.py::test_bare_fin": "slow"},
    "spins-after-half-close": {"test_cpu.py::test_half_closed_with_pending_output": "cpu"},
    "spins-while-stalled": {"test_cpu.py::test_a_stalled_client_costs_no_cpu_time": "cpu"},
    "spins-after-reset": {"test_cpu.py::test_after_a_reset": "cpu"},
    "spins-after-urgent": {"test_cpu.py::test_after_an_urgent_byte": "cpu"},
    "spins-for-more": {"test_cpu.py::test_an_idle_client_costs_no_cpu_time": "cpu"},
    "polls": {"test_cpu.py::test_an_idle_client_costs_no_cpu_time": "cpu"},
    "crashes-on-reset": {
        "test_close.py::TestReset::test_before_any_byte": "server-died",
        "test_close.py::TestReset::test_while_idle": "server-died",
        "test_close.py::TestReset::test_mid_stream": "server-died",
        "test_close.py::TestReset::test_with_pending_output": "server-died",
        "test_close.py::TestReset::test_after_the_second_of_two_writes": "server-died",
        "test_close.py::TestReset::test_after_half_close": "server-died",
        "test_close.py::TestReset::test_close_with_unread_answers": "server-died",
        "test_stopped.py::TestReset::test_in_the_backlog": "server-died",
        "test_stopped.py::TestReset::test_while_idle": "server-died",
        "test_stopped.py::TestReset::test_with_pending_output": "server-died",
        "test_stopped.py::TestReset::test_after_data": "server-died",
        "test_stopped.py::TestReset::test_sigpipe": "server-died",
    },
    "crashes-on-broken-pipe": {
        "test_stopped.py::TestReset::test_after_data_and_fin": "server-died",
    },
    "reset-spreads": {
        "test_close.py::TestReset::test_while_idle": "closed-early",
        "test_stopped.py::TestReset::test_after_data": "closed-early",
    },
    "dies-of-sigpipe": {"test_stopped.py::TestReset::test_after_data_and_fin": "server-died"},
    "leaks-after-reset": {"test_release.py::test_nothing_stays_open[end_by_reset]": "descriptors"},
    "leaks-after-fin": {"test_release.py::test_nothing_stays_open[end_by_fin]": "descriptors"},
    "leaks-after-an-error": {
        "test_release.py::test_nothing_stays_open[end_by_reset_behind_data_and_fin]": "descriptors",
    },
    "remembers-every-client": {"test_release.py::test_memory_does_not_grow": "memory"},
    "dies-of-accept-errors": {
        "test_faults.py::test_transient_accept_error[ENETDOWN]": "server-died",
        "test_faults.py::test_transient_accept_error[EPERM]": "server-died",
        "test_faults.py::test_lasting_accept_error[EMFILE]": "server-died",
        "test_faults.py::TestNoDescriptorsLeft::test_waiting": "server-died",
        "test_faults.py::TestNoDescriptorsLeft::test_one_leaves": "server-died",
        "test_faults.py::TestNoDescriptorsLeft::test_limit_raised": "server-died",
    },
    "dies-of-who-has-left": {"test_foundations.py::test_resets_in_the_backlog": "server-died"},
    "dies-of-aborted-connections": {
        "test_faults.py::test_transient_accept_error[ECONNABORTED]": "server-died",
    },
    "forgets-to-accept-again": {
        "test_faults.py::TestNoDescriptorsLeft::test_limit_raised": "no-answer",
        "test_faults.py::test_lasting_accept_error[ENOMEM]": "no-answer",
    },
    "spins-without-descriptors": {"test_faults.py::TestNoDescriptorsLeft::test_waiting": "cpu"},
    "interrupted-is-broken": {
        "test_faults.py::test_interrupted_nonblocking_calls": MISSING,
    },
    "dies-of-interruption": {"test_faults.py::test_interrupted_calls": "server-died"},
    "starts-with-its-log": {
        "test_surroundings.py::test_start_on_a_full_disk": "not-listening",
    },
    "log-blocks": {"test_surroundings.py::test_full_stdout": MISSING},
    "dies-with-its-log": {
        "test_surroundings.py::test_closed_stdout_reader": "server-died",
        "test_surroundings.py::test_full_disk": "server-died",
    },
    "raw-log": {"test_surroundings.py::test_client_bytes_in_the_log": "log-line"},
    "log-into-socket": {"test_surroundings.py::test_stdio_closed_at_start": "wrong-byte"},
    "shares-port": {"test_surroundings.py::test_port_in_use": "server-stuck"},
    "needs-a-fresh-port": {"test_surroundings.py::test_restart": "not-listening"},
    "dies-at-the-signal": {
        "test_drain.py::test_with_clients[SIGTERM]": "exit-status",
        "test_drain.py::test_with_clients[SIGINT]": "exit-status",
        "test_drain.py::test_nothing_is_lost[running]": CUT_OFF,
    },
    "ignores-the-signal": {"test_drain.py::test_idle_clients[SIGINT]": "still-open"},
    "ends-with-status-one": {
        "test_drain.py::test_without_clients[SIGTERM]": "exit-status",
        "test_drain.py::test_without_clients[SIGINT]": "exit-status",
    },
    "owes-up-to-the-mark": {"test_drain.py::test_urgent_byte": MISSING},
    "one-reset-resets-all": {"test_drain.py::test_a_reset_ends_one_connection_only": CUT_OFF},
    "stalled-clients-hold-up-the-drain": {
        "test_drain.py::test_a_stalled_client_delays_no_other": "still-open",
    },
    "closes-at-the-signal": {
        "test_drain.py::test_nothing_is_lost[running]": CUT_OFF,
        "test_drain.py::test_nothing_is_lost[stopped]": CUT_OFF,
        "test_drain.py::test_half_closed_client": CUT_OFF,
        "test_drain.py::test_a_stalled_client_delays_no_other": CUT_OFF,
    },
    "finishes-before-the-backlog": {
        "test_drain.py::test_clients_in_the_backlog_are_served": "rst-for-fin",
    },
    "does-not-linger": {"test_drain.py::test_what_comes_after_the_end": "closed-early"},
    "listens-to-the-end": {"test_drain.py::test_new_connections_are_refused": "still-listening"},
    "waits-for-goodbyes": {"test_drain.py::test_idle_clients[SIGTERM]": "still-open"},
    "select-has-no-room": {"test_many.py::test_a_crowd_is_served": "no-answer"},
    "forgets-the-thousandth": {"test_many.py::test_a_crowd_is_ready": MISSING},
    "accepts-sixty-four-per-edge": {"test_many.py::test_many_in_the_backlog": MISSING},
    "drains-sixty-four": {"test_many.py::test_stopped_with_many_in_the_backlog": CUT_OFF},
    "dies-of-a-hundred-resets": {"test_many.py::test_many_resets_at_once": "server-died"},
    "counts-connections-in-sixteen-bits": {
        "test_many.py::test_after_as_many_as_sixteen_bits_count": MISSING,
    },
    "knows-clients-by-port": {"test_many.py::test_the_same_port_at_two_addresses": MISSING},
    "a-thousand-requests": {"test_waiting.py::test_thousands_of_messages": "closed-early"},
    "closes-after-ten-seconds": {
        "test_waiting.py::test_clients_that_wait_for_long": "closed-early",
    },
    "gives-up-on-stalled-clients": {"test_waiting.py::test_clients_that_wait_for_long": CUT_OFF},
    "gives-up-on-flushing": {"test_waiting.py::test_a_long_pause_after_fin": CUT_OFF},
    "spins-later": {"test_waiting.py::test_after_a_while": "cpu"},
    "wakes-every-millisecond": {
        "test_waiting.py::test_wake_ups_beside_an_idle_client": "wake-ups",
    },
    "wakes-beside-stalled": {"test_waiting.py::test_wake_ups_beside_stalled_clients": "wake-ups"},
    "loses-a-byte-at-two-to-the-twenty-four": {
        "test_waiting.py::test_a_stream_beyond_24_bits": "wrong-byte",
    },
    "remembers-every-byte": {"test_waiting.py::test_memory_and_a_long_stream": "memory"},
    "remembers-every-message": {"test_waiting.py::test_memory_and_many_messages": "memory"},
    "keeps-the-half-closed": {
        "test_ends.py::test_memory_does_not_grow[end_by_fin_with_pending_output]": "memory",
    },
    "keeps-pending-output": {
        "test_ends.py::test_memory_does_not_grow[end_by_reset_while_stalled]": "memory",
    },
    "pauses-after-reset": {"test_ends.py::test_a_new_client_after_each_kind_of_end": "slow"},
    "leaks-in-the-backlog": {
        "test_ends.py::test_nothing_stays_open[end_in_the_backlog]": "descriptors",
    },
    "leaks-half-closed-after-reset": {
        "test_ends.py::test_nothing_stays_open[end_by_reset_after_half_close]": "descriptors",
    },
    "spins-after-an-idle-reset": {"test_ends.py::test_after_another_reset[end_by_reset]": "cpu"},
    "leaves-slowly": {
        "test_ends.py::test_fin_is_answered_at_once[after the answer-4]": "slow",
        "test_ends.py::test_fin_is_answered_at_once[with the data-4]": "slow",
    },
    "urgent-byte-spoils-fin": {"test_ends.py::test_an_urgent_byte_before_fin": "rst-for-fin"},
    "second-urgent-byte-ends": {"test_ends.py::test_several_urgent_bytes": MISSING},
    "flushes-blocking": {"test_blocked.py::test_a_flush_delays_no_other": "no-answer"},
    "sheds-the-last": {"test_blocked.py::test_no_client_is_shed": "closed-early"},
    "cannot-stop-without-descriptors": {
        "test_blocked.py::test_stop_without_descriptors": "exit-status",
    },
    "stops-only-after-a-client": {
        "test_blocked.py::test_stop_before_the_first_client": "server-stuck",
    },
    "logs-its-end": {"test_blocked.py::test_stop_with_a_full_log": "server-stuck"},
    "queues-its-log": {"test_blocked.py::test_memory_with_a_full_log": "memory"},
    "asks-the-full-log": {"test_blocked.py::test_cpu_time_with_a_full_log": "cpu"},
    "errors-block": {"test_blocked.py::test_full_stderr": MISSING},
    "dies-with-its-errors": {"test_blocked.py::test_closed_stderr_reader": "server-died"},
    "raw-errors": {"test_blocked.py::test_every_control_byte": "log-line"},
    "escapes-some-controls": {"test_blocked.py::test_every_control_byte": "log-line"},
    "log-into-the-first-free": {
        "test_blocked.py::test_one_descriptor_closed_at_start[stdout]": "wrong-byte",
    },
    "casing-of-latin1": {"test_mapping.py::test_locale[de_DE-ISO-8859-1]": "wrong-byte"},
    # No test fails in every run; test_command.py shows how flaky requirements are counted.
    "one-run-of-ten": {},
}
CERTAIN = [name for name, tests in FAILURES.items() if tests]


# The tests for any server; the others are for the reference only.
TESTS = [
    path for path in sorted(SUITE.glob("test_*.py")) if not path.stem.startswith("test_reference_")
]


@pytest.mark.parametrize("defect", CERTAIN)
def test_defect_is_found(defect):
    """Each test named for a defect fails, with the code that is given."""
    expect_failures(server_command(defect), FAILURES[defect])


def test_every_defect_is_named():
    """The table has exactly the broken servers that exist."""
    assert [each.name for each in judge.broken()] == [judge.CONFORMING, *FAILURES]


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_conforming_server_passes(path):
    """Without a defect no test fails."""
    results = run_tests(server_command(), [path.name])
    failed = {name: each for name, each in results.items() if each.outcome == FAILED}
    assert {name: output_of(each) for name, each in failed.items()} == {}
