"""Proof that the tests can fail: each broken server fails the tests that are named for it.

A defect counts as found only if the named test failed and its report shows the reason given here,
so that a test which fails for want of time proves nothing.
"""

import pytest
from judged import defects, expect_failures, run_tests, said_by, server_command

from touchstone_conform.judging import SUITE
from touchstone_conform.results import FAILED

# What a failing client or server report says, as patterns.
PART = r"the first to differ is byte \d+"
SHORT = r"\d+ of \d+ bytes came"
RESET = r"then RST where FIN was due"
OPEN = r"then still open where FIN was due"
ENDED = r"FIN came unasked"
# Of an exception; 120 if Python, at its end, cannot write to stdout either (3.11.2, not 3.11.7).
KILLED = r"server (exited with status (1|120)|was killed by SIGPIPE) while it should serve"
SLOW = r"in each series \d+ writes took too long"
STARVED = r"is not answered|slowest of 20 pings|0 of 4 bytes came"
SPIN = r"s of processor time in (half )?a second of waiting"
CUT_OFF = rf"\d+ bytes came of \d+ that the server's kernel had|{RESET}"
LEAK = r"descriptors are open where \d+ were"

GALLERY = {
    "backquote-mapped": {"test_mapping.py::test_every_byte": PART},
    "z-forgotten": {"test_mapping.py::test_every_byte": PART},
    "utf8-casing": {"test_mapping.py::test_utf8_split_between_segments": PART},
    "strips-byte-order-mark": {"test_mapping.py::test_utf8_split_between_segments": SHORT},
    "locale-casing": {"test_mapping.py::test_turkish_locale": PART},
    "ends-at-nul": {
        "test_mapping.py::test_every_byte": r"0 of 256 bytes came",
        "test_framing.py::test_one_byte_at_a_time": r"0 of 1 bytes came",
    },
    "stops-at-invalid-text": {"test_mapping.py::test_invalid_utf8": SHORT},
    "drops-returns": {"test_mapping.py::test_every_byte": r"255 of 256 bytes came"},
    "drops-repetitions": {"test_mapping.py::test_the_same_again": SHORT},
    "cuts-matter": {"test_framing.py::test_any_cut": r"received b'\\n'"},
    "waits-after-return": {"test_framing.py::test_one_byte_at_a_time": r"0 of 1 bytes came"},
    "line-buffering": {
        "test_framing.py::test_one_byte_at_a_time": r"0 of 1 bytes came",
        "test_framing.py::test_any_cut": SHORT,
    },
    "banner": {"test_framing.py::test_silence": r"b'welcome\\r\\n' came unasked"},
    "farewell": {"test_framing.py::test_silence": PART},
    "offers-help": {"test_framing.py::test_silence": r"b'say anything\\n' came unasked"},
    "last-buffer-only": {
        "test_frozen.py::test_burst[300000]": SHORT,
        "test_frozen.py::test_data_and_fin[131072]": SHORT,
    },
    "half-buffer-lost": {
        "test_flow.py::test_burst[30000]": SHORT,
        "test_frozen.py::test_burst[30000]": SHORT,
    },
    "long-streams-cut": {"test_mapping.py::test_a_mebibyte_of_random_bytes": SHORT},
    "sixty-four-kib-at-most": {
        "test_mapping.py::test_a_mebibyte_of_random_bytes": r"65536 of 1048576 bytes came"
    },
    "nagle": {"test_framing.py::test_latency_of_many_small_writes": SLOW},
    "cork": {"test_framing.py::test_latency_of_double_writes": SLOW},
    "short-write-forgotten": {
        "test_flow.py::test_backpressure": PART,
        "test_flow.py::test_stop_and_go": SHORT,
    },
    "short-read-means-drained": {
        "test_frozen.py::test_urgent_data": SHORT,
    },
    "urgent-ends": {"test_flow.py::test_urgent_data": r"receive RST"},
    "urgent-spoils-the-end": {"test_flow.py::test_urgent_data": RESET},
    "spins-on-urgent": {"test_cpu.py::test_after_an_urgent_byte": SPIN},
    "serial": {"test_neighbours.py::test_a_silent_client_holds_up_nobody": r"0 of 4 bytes came"},
    "crosstalk": {"test_neighbours.py::test_interleaved_clients": SHORT},
    "output-outlives-client": {"test_neighbours.py::test_nothing_is_inherited_from_who_left": PART},
    "stays-with-flood": {"test_neighbours.py::test_a_flood_starves_nobody": STARVED},
    "accepts-before-all-else": {
        "test_neighbours.py::test_a_storm_of_connects_starves_nobody": r"is not answered after"
    },
    "accepts-once-per-edge": {
        "test_frozen.py::test_connect_data_and_fin_in_the_backlog": r"0 of 1000 bytes came"
    },
    "forgets-who-finds-no-room": {"test_frozen.py::test_many_ready": SHORT},
    "closes-idle": {"test_close.py::test_an_idle_client_lives_on": ENDED},
    "closes-mute": {"test_close.py::test_an_idle_client_lives_on": ENDED},
    "sleeps-beside-stalled": {
        "test_flow.py::test_a_stalled_client_delays_nobody": r"slowest pings",
    },
    "waits-for-stalled": {
        "test_flow.py::test_a_stalled_client_delays_nobody": r"0 of 4 bytes came",
    },
    "hint-is-end": {
        "test_frozen.py::test_data_and_fin[1]": r"0 of 1 bytes came",
        "test_frozen.py::test_connect_data_and_fin_in_the_backlog": SHORT,
    },
    "hint-drops-output": {
        "test_cpu.py::test_half_closed_with_pending_output": SHORT,
        "test_cpu.py::test_slow_flush_after_half_close": SHORT,
    },
    "drops-gone-newcomers": {
        "test_frozen.py::test_connect_data_and_fin_in_the_backlog": SHORT,
    },
    "dies-of-many-resets": {"test_frozen.py::TestReset::test_idle": KILLED},
    "fin-drops-output": {
        "test_cpu.py::test_half_closed_with_pending_output": SHORT,
        "test_cpu.py::test_slow_flush_after_half_close": SHORT,
        "test_close.py::test_half_close_with_a_stalled_reader": SHORT,
        "test_close.py::test_half_close_with_a_slow_reader": SHORT,
    },
    "unbounded-memory": {
        "test_flow.py::test_a_client_that_reads_none": r"from a client that read none",
        "test_release.py::test_memory_of_stalled_clients": r"bytes more for",
    },
    "deaf-after-a-stall": {"test_flow.py::test_backpressure": SHORT},
    "reserves-much": {"test_release.py::test_memory_of_stalled_clients": r"bytes more for"},
    "spools-to-disk": {
        "test_flow.py::test_a_client_that_reads_none": r"from a client that read none",
    },
    "fin-ignored": {
        "test_close.py::test_bare_fin": OPEN,
        "test_close.py::test_fin_after_an_answer": OPEN,
        "test_close.py::test_data_with_fin[1]": OPEN,
    },
    "fin-answered-with-reset": {
        "test_close.py::test_bare_fin": RESET,
        "test_close.py::test_data_with_fin[1]": RESET,
    },
    "in-no-hurry": {"test_close.py::test_bare_fin": r"seconds until FIN was answered"},
    "spins-after-half-close": {"test_cpu.py::test_half_closed_with_pending_output": SPIN},
    "spins-while-stalled": {"test_cpu.py::test_stalled": SPIN},
    "spins-after-reset": {"test_cpu.py::test_after_a_reset": SPIN},
    "spins-after-urgent": {"test_cpu.py::test_after_an_urgent_byte": SPIN},
    "spins-for-more": {"test_cpu.py::test_idle": SPIN},
    "polls": {"test_cpu.py::test_idle": SPIN},
    "crashes-on-reset": {
        "test_close.py::TestReset::test_before_any_byte": KILLED,
        "test_close.py::TestReset::test_idle": KILLED,
        "test_close.py::TestReset::test_mid_stream": KILLED,
        "test_close.py::TestReset::test_with_pending_output": KILLED,
        "test_close.py::TestReset::test_after_the_second_of_two_writes": KILLED,
        "test_close.py::TestReset::test_after_half_close": KILLED,
        "test_close.py::TestReset::test_close_with_unread_answers": KILLED,
        "test_frozen.py::TestReset::test_in_the_backlog": KILLED,
        "test_frozen.py::TestReset::test_idle": KILLED,
        "test_frozen.py::TestReset::test_with_pending_output": KILLED,
        "test_frozen.py::TestReset::test_behind_data": KILLED,
        "test_frozen.py::TestReset::test_sigpipe": KILLED,
    },
    "crashes-on-broken-pipe": {"test_frozen.py::TestReset::test_behind_data_and_fin": KILLED},
    "reset-spreads": {
        "test_close.py::TestReset::test_idle": r"neighbour: 0 of 4 bytes came, then FIN",
        "test_frozen.py::TestReset::test_behind_data": r"then FIN",
    },
    "dies-of-sigpipe": {"test_frozen.py::TestReset::test_behind_data_and_fin": KILLED},
    "leaks-after-reset": {"test_release.py::test_descriptors[end_by_reset]": LEAK},
    "leaks-after-fin": {"test_release.py::test_descriptors[end_by_fin]": LEAK},
    "leaks-after-an-error": {
        "test_release.py::test_descriptors[end_by_reset_behind_data_and_fin]": LEAK
    },
    "remembers-every-client": {"test_release.py::test_memory": r"bytes more after"},
    "dies-of-accept-errors": {
        "test_faults.py::test_transient_accept_error[ENETDOWN]": KILLED,
        "test_faults.py::test_transient_accept_error[EPERM]": KILLED,
        "test_faults.py::test_lasting_accept_error[EMFILE]": KILLED,
        "test_faults.py::TestNoDescriptorsLeft::test_waiting": KILLED,
        "test_faults.py::TestNoDescriptorsLeft::test_one_leaves": KILLED,
        "test_faults.py::TestNoDescriptorsLeft::test_limit_raised": KILLED,
    },
    "dies-of-aborted-connections": {
        "test_faults.py::test_transient_accept_error[ECONNABORTED]": KILLED
    },
    "forgets-to-accept-again": {
        "test_faults.py::TestNoDescriptorsLeft::test_limit_raised": r"neither served nor closed",
        "test_faults.py::test_lasting_accept_error[ENOMEM]": r"neither served nor closed",
    },
    "spins-without-descriptors": {
        "test_faults.py::TestNoDescriptorsLeft::test_waiting": SPIN,
    },
    "interrupted-is-broken": {"test_faults.py::test_interrupted_calls": SHORT},
    "dies-of-interruption": {"test_faults.py::test_interrupted_calls": KILLED},
    "log-blocks": {"test_surroundings.py::test_full_stdout": SHORT},
    "dies-with-its-log": {
        "test_surroundings.py::test_closed_stdout_reader": KILLED,
        "test_surroundings.py::test_full_disk": r"stderr: OSError: \[Errno 28\]",
    },
    "raw-log": {
        "test_surroundings.py::test_client_bytes_in_the_log": (
            r"\[b'\\x1b', b'\\x07', b'a\\rb', b'\\x9b', b'\\x00'\] in the log"
        )
    },
    "log-into-socket": {"test_surroundings.py::test_stdio_closed_at_start": PART},
    "shares-port": {"test_surroundings.py::test_port_in_use": r"still ran after"},
    "needs-a-fresh-port": {"test_surroundings.py::test_restart": r"cannot listen on port"},
    "dies-at-the-signal": {
        "test_drain.py::test_with_clients[SIGTERM]": r"stop, the server was killed by SIGTERM",
        "test_drain.py::test_with_clients[SIGINT]": r"stop, the server was killed by SIGINT",
        "test_drain.py::test_nothing_is_lost[live]": CUT_OFF,
    },
    "ignores-the-signal": {"test_drain.py::test_idle_clients[SIGINT]": OPEN},
    "ends-with-status-one": {
        "test_drain.py::test_without_clients[SIGTERM]": r"stop, the server exited with status 1",
        "test_drain.py::test_without_clients[SIGINT]": r"stop, the server exited with status 1",
    },
    "owes-up-to-the-mark": {"test_drain.py::test_urgent_byte": PART},
    "one-reset-resets-all": {
        "test_drain.py::test_a_reset_ends_one_alone": r"bytes came, then RST",
    },
    "stalled-clients-hold-up-the-drain": {
        "test_drain.py::test_a_stalled_client_delays_nobody": OPEN
    },
    "closes-at-the-signal": {
        "test_drain.py::test_nothing_is_lost[live]": CUT_OFF,
        "test_drain.py::test_nothing_is_lost[frozen]": CUT_OFF,
        "test_drain.py::test_half_closed_client": CUT_OFF,
        "test_drain.py::test_a_stalled_client_delays_nobody": CUT_OFF,
    },
    "finishes-before-the-backlog": {"test_drain.py::test_backlog": r"then RST"},
    "does-not-linger": {"test_drain.py::test_what_comes_after_the_end": r"RST came while"},
    "listens-to-the-end": {"test_drain.py::test_newcomers_are_refused": r"are still let in"},
    "waits-for-goodbyes": {"test_drain.py::test_idle_clients[SIGTERM]": OPEN},
    # No test fails for sure; how flakes are counted is shown in test_command.py.
    "one-run-of-ten": {},
}
FAIL_FOR_SURE = [name for name, tests in GALLERY.items() if tests]


# What any server must do; the rest is promised by the reference alone.
TESTS = [
    path for path in sorted(SUITE.glob("test_*.py")) if not path.stem.startswith("test_reference_")
]


@pytest.mark.parametrize("defect", FAIL_FOR_SURE)
def test_defect_is_found(defect):
    """Each test named for a defect fails on it, and says why."""
    expect_failures(server_command(defect), GALLERY[defect])


def test_every_defect_is_named():
    """The gallery lists exactly the defects that the server knows."""
    assert defects() == list(GALLERY)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_conforming_server_passes(path):
    """With no defect, nothing fails."""
    results = run_tests(server_command(), [path.name])
    assert {name: said_by(each) for name, each in results.items() if each.outcome == FAILED} == {}
