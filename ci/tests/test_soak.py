"""ci/soak fails for each of these defects, and tells it by its code; a slow start is none."""

import pytest

from lib.defects import Edit

SERVER, MAIN, UPPER = "src/shell/server.c", "src/system/main.c", "src/core/upper.c"
EPOLL, WAIT = "src/shell/poller_epoll.c", "records, POLLER_EVENTS_MAX, "
LOG = "    log_disconnect(s->log, token_of(s, c), c, s->error);"
CLOSE = "    s->kernel.ops->close(s->kernel.self, c->descriptor);"
IF_RESET = "    if (c->reason == CONNECTION_RESET)"
IF_NOT_RESET = "    if (c->reason != CONNECTION_RESET)"
RELEASE = "release(s->kernel.self, area_of(s, c), s->area_bytes"
OPEN_POLLER = "    need(system_open_poller("
SECONDS = 5


DEFECTS = {
    "wrong-byte": Edit(UPPER, "b <= 'z'", "b <= 'y'"),
    "server-died": Edit(SERVER, LOG, f"{IF_RESET} __builtin_trap();\n{LOG}"),
    "cpu": Edit(EPOLL, f"{WAIT}timeout_ms", f"{WAIT}0"),
    "descriptors": Edit(SERVER, CLOSE, f"{IF_NOT_RESET}\n    {CLOSE}"),
    "memory": Edit(SERVER, RELEASE, f"{RELEASE} * 0"),
    "exit-status": Edit(MAIN, "? EXIT_SUCCESS :", "? STATUS_DRAIN_SHORT :"),
}


@pytest.mark.slow
@pytest.mark.parametrize("code", DEFECTS)
def test_a_seeded_defect_fails(copy, code):
    with copy.planted(DEFECTS[code]):
        copy.expect(rf"\[{code}\]", ["ci/soak", SECONDS])


@pytest.mark.slow
def test_a_server_that_opens_its_poller_late_passes(copy):
    late = "    for (volatile uint32_t spin = 0; spin < 300000000; spin++) {\n    }\n"
    with copy.planted(Edit(MAIN, OPEN_POLLER, f"{late}{OPEN_POLLER}")):
        copy.expect("soak: passed", ["ci/soak", SECONDS], status=0)
