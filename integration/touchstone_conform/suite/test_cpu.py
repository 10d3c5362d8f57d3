"""A server that waits uses no CPU time."""

from touchstone_conform import marks
from touchstone_conform.failure import expect
from touchstone_conform.harness.samples import flood, sample
from touchstone_conform.suite.test_release import pending, stalled_client
from touchstone_conform.transform import answer

pytestmark = [marks.process, marks.leans_on("idle", "rest")]

FLUSHING = ("stream", "stall", "resume", "fin", "data-and-fin", "farewell", "flush")
ALLOWED_CPU_S = 0.2  # in a second; a conforming server uses none


def expect_no_spin(server):
    used = server.process.cpu_seconds_during(1.0)
    message = f"{used:.2f} s of CPU time in a second of waiting, at most {ALLOWED_CPU_S}"
    expect(used <= ALLOWED_CPU_S, "cpu", message)


@marks.foundation("rest")
def test_an_idle_client_costs_no_cpu_time(server):
    """An idle client costs no CPU time."""
    with server.connect() as client:
        client.ping()
        expect_no_spin(server)


@marks.foundation("rest-while-stalled")
@marks.leans_on("stream", "stall")
def test_a_stalled_client_costs_no_cpu_time(server):
    """A client that does not read costs no CPU time."""
    with server.connect() as client:
        client.send_until_blocked(flood(server.buffer), server.scaled(0.3))
        expect_no_spin(server)


@marks.requirement("COST-3")
@marks.leans_on(*FLUSHING, "rest-while-stalled")
def test_half_closed_with_pending_output(server):
    """A half-closed client that does not read costs no CPU time, and then gets everything."""
    with stalled_client(server, fin=True, taken=0) as client:
        expect_no_spin(server)
        client.expect_end(answer(pending()))


@marks.requirement("COST-3")
@marks.leans_on(*FLUSHING)
def test_slow_flush_after_half_close(server):
    """What is flushed in many small sends after FIN arrives whole."""
    with stalled_client(server, fin=True, taken=0) as client:
        received = b"".join(client.receive(997) for _ in range(20))
        client.expect_end(answer(pending()), already=received)


@marks.requirement("COST-4")
@marks.leans_on("stream", "stall", "reset")
def test_after_a_reset(server):
    """A connection that was reset with output pending costs no CPU time."""
    client = server.connect(receive_buffer=4096)
    client.send_until_blocked(sample(8 << 20), server.scaled(0.1))
    client.reset()
    expect_no_spin(server)


@marks.requirement("COST-5")
def test_after_an_urgent_byte(server):
    """A connection that received an urgent byte costs no CPU time."""
    with server.connect() as client:
        client.ping()
        client.send_urgent(b"u")
        expect_no_spin(server)
