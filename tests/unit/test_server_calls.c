#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shell/server.h"

/* Which calls the server makes: all that are needed, and no more. Scenarios observe what clients
 * see, but not superfluous calls. */

#define SLOTS 8
#define LISTENER 3
#define STOP 5
#define CLIENT 6 /* the descriptor of the first client, whose slot is 0 */
#define BUFFER_BYTES 16
#define EIO_RAW 5

static const struct result none = {.fault = FAULT_NONE};
static const struct result would_block = {.fault = FAULT_WOULD_BLOCK, .raw = 11};
static const struct result interrupted = {.fault = FAULT_INTERRUPTED, .raw = 4};
static const struct result broken = {.fault = FAULT_OTHER, .raw = EIO_RAW};
static const struct result all = {.value = BUFFER_BYTES};

/* A kernel that returns prepared results: first [0], then [1] for ever. */
static struct fake {
    struct result accepted[2], received[2], sent[2], shut, unread, waited;
    int32_t backlog; /* this many are accepted first, with descriptors down to 0 */
    int32_t refused; /* a descriptor whose registration cannot be changed */
    int accepts, receives, sends, shutdowns, closes, releases, unreads, clocks;
    const uint8_t *released;
    size_t released_bytes;
    char changes[128]; /* of the poller, as text */
    char lines[512];   /* of the log, as far as they fit */
    int32_t timeout_ms;
    uint64_t now_ms;
    struct token ready;
} fake;

static struct server server;
static struct log event_log;
static uint8_t *memory;

static struct result next(struct result results[2]) {
    struct result result = results[0];
    results[0] = results[1];
    return result;
}

static struct result accept_client(void *self, int32_t listener, struct endpoint *peer) {
    fake.accepts++;
    *peer = (struct endpoint){.address = {127, 0, 0, 1}, .port = 9, .family = ENDPOINT_IPV4};
    if (fake.backlog > 0) return (struct result){.value = --fake.backlog};
    return next(fake.accepted);
}

static struct result receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length) {
    fake.receives++;
    memset(bytes, 'a', length);
    return next(fake.received);
}

static struct result send_some(void *self, int32_t descriptor, const uint8_t *bytes,
                               size_t length) {
    fake.sends++;
    return next(fake.sent);
}

static struct result shut(void *self, int32_t descriptor) {
    fake.shutdowns++;
    return fake.shut;
}

static struct result close_descriptor(void *self, int32_t descriptor) {
    fake.closes++;
    return none;
}

static struct result unread(void *self, int32_t descriptor) {
    fake.unreads++;
    return fake.unread;
}

static void release(void *self, uint8_t *bytes, size_t length) {
    fake.releases++;
    fake.released = bytes;
    fake.released_bytes = length;
}

static uint64_t clock_ms(void *self) {
    fake.clocks++;
    return fake.now_ms;
}

static struct result log_poll(void *self) { return none; }

static struct result log_write(void *self, const char *line, size_t length, int32_t limit_us) {
    size_t room = sizeof fake.lines - strlen(fake.lines) - 1;
    strncat(fake.lines, line, length < room ? length : room);
    return (struct result){.value = (int64_t)length};
}

static struct result change(const struct poller *poller, int32_t descriptor, struct token token,
                            enum interest from, enum interest to) {
    static const char letters[] = "-rw";
    char text[16];
    snprintf(text, sizeof text, "%d%c%c ", descriptor, letters[from], letters[to]);
    strncat(fake.changes, text, sizeof fake.changes - strlen(fake.changes) - 1);
    return descriptor == fake.refused ? broken : none;
}

static struct result wait(const struct poller *poller, struct readiness ready[POLLER_EVENTS_MAX],
                          int32_t timeout_ms) {
    fake.timeout_ms = timeout_ms;
    ready[0] = (struct readiness){.token = fake.ready, .readable = true};
    return fake.waited;
}

static const struct kernel_ops kernel_ops = {.accept = accept_client,
                                             .receive = receive,
                                             .send = send_some,
                                             .shutdown = shut,
                                             .close = close_descriptor,
                                             .unread = unread,
                                             .release = release,
                                             .clock_ms = clock_ms,
                                             .log_poll = log_poll,
                                             .log_write = log_write};
static const struct poller_ops poller_ops = {.change = change, .wait = wait};
static const struct server_options options = {
    .connections_max = SLOTS, .buffer_bytes = BUFFER_BYTES, .drain_timeout_ms = 500};

static int set_up(void **state) {
    fake = (struct fake){.accepted = {would_block, would_block},
                         .received = {would_block, would_block},
                         .sent = {would_block, would_block},
                         .waited = {.value = 1},
                         .refused = -1,
                         .now_ms = 1000};
    struct poller poller = {.ops = &poller_ops, .kernel = {.ops = &kernel_ops}};
    event_log = (struct log){.kernel = poller.kernel, .level = LOG_EVENTS};
    memory = aligned_alloc(KERNEL_MEMORY_UNIT, (SLOTS + 2) * (size_t)KERNEL_MEMORY_UNIT);
    if (memory == NULL) return -1;
    memset(memory, 0, (SLOTS + 2) * (size_t)KERNEL_MEMORY_UNIT);
    return (int)server_init(&server, poller, &event_log, &options, LISTENER, STOP, memory).fault;
}

static int tear_down(void **state) {
    free(memory);
    return 0;
}

/* One step, in which the wait reports this token. */
static enum server_status step(struct token token) {
    fake.ready = token;
    fake.changes[0] = fake.lines[0] = '\0';
    fake.receives = fake.sends = fake.accepts = fake.closes = 0;
    return server_step(&server);
}

static const struct token client = {.slot = 0, .generation = 1};

static void admit_as(int32_t descriptor) {
    fake.accepted[0] = (struct result){.value = descriptor};
    assert_int_equal(step(TOKEN_LISTENER), SERVER_RUNNING);
}

static void admit(void) { admit_as(CLIENT); }

/* Memory */

static void memory_is_areas_scratch_and_connections(void **state) {
    const struct {
        uint32_t buffer_bytes;
        size_t area_bytes;
    } cases[] = {{1, 65536}, {65535, 65536}, {65536, 65536}, {65537, 131072}, {196608, 196608}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server_options sizes = options;
        sizes.buffer_bytes = cases[i].buffer_bytes;
        size_t slot_bytes = cases[i].area_bytes + sizeof(struct connection);
        assert_int_equal(server_memory_needed(&sizes), SLOTS * slot_bytes + cases[i].area_bytes);
    }
    assert_ptr_equal(server.areas, memory);
    assert_ptr_equal(server.scratch, memory + SLOTS * (size_t)KERNEL_MEMORY_UNIT);
    assert_ptr_equal(server.connections, server.scratch + KERNEL_MEMORY_UNIT);
}

/* The memory behind the last connection may hold anything, even a valid connection. */
static void memory_behind_the_slots_is_not_a_connection(void **state) {
    for (int32_t i = 1; i < SLOTS; i++)
        admit_as(CLIENT + i);
    server.connections[SLOTS] =
        (struct connection){.state = CONNECTION_OPEN, .slot = {.generation = 1, .live = true}};
    assert_int_equal(step((struct token){.slot = SLOTS, .generation = 1}), SERVER_RUNNING);
    assert_int_equal(fake.receives, 0);
    server.options.idle_timeout_ms = 300;
    admit();
    fake.now_ms += 301;
    step(TOKEN_LISTENER);
    assert_int_equal(fake.closes, SLOTS);
    for (int32_t i = 0; i < SLOTS; i++)
        admit_as(CLIENT + i);
    step(TOKEN_STOP);
    assert_int_equal(fake.unreads, SLOTS);
    fake.now_ms += 501;
    step(TOKEN_STOP);
    assert_int_equal(fake.closes, SLOTS);
}

/* Descriptors that the parent process left open make the numbers of others larger, and take the
 * place of nobody: as many clients are served as the limit says, and the next waits. */
static void any_descriptor_has_a_slot(void **state) {
    for (int32_t i = 0; i < SLOTS; i++) {
        admit_as(INT32_MAX - i);
        assert_int_equal(fake.closes, 0);
        assert_int_equal(server.connections[i].descriptor, INT32_MAX - i);
    }
    step(TOKEN_LISTENER);
    assert_int_equal(fake.accepts, 0);
    assert_string_equal(fake.lines, "wait reason=connections\n");
}

/* The one that became free last, and then those that became free before. */
static void slots_are_used_again(void **state) {
    static const uint32_t leavers[] = {2, 0, 1};
    for (int32_t i = 0; i < 4; i++)
        admit_as(CLIENT + i);
    for (size_t i = 0; i < 3; i++) {
        fake.received[0] = none;
        step((struct token){.slot = leavers[i], .generation = 1});
        assert_int_equal(fake.closes, 1);
    }
    for (size_t i = 3; i-- > 0;) {
        admit_as(CLIENT);
        assert_int_equal(server.connections[leavers[i]].state, CONNECTION_OPEN);
    }
    admit_as(CLIENT);
    assert_int_equal(server.connections[4].state, CONNECTION_OPEN);
    assert_int_equal(server.slots_used, 5);
    assert_int_equal(server.connections[2].slot.generation, 2);
    assert_int_equal(server.connections[3].slot.generation, 1);
}

/* A value beside a fault is undefined, and one out of range is not a descriptor. */
static void values_that_are_no_descriptor_are_not_closed(void **state) {
    admit();
    fake.accepted[0] = (struct result){.value = CLIENT, .fault = FAULT_WOULD_BLOCK, .raw = 11};
    step(TOKEN_LISTENER);
    assert_int_equal(fake.closes, 0);
    assert_string_equal(fake.changes, "");
    fake.accepted[0] = (struct result){.value = (INT64_C(1) << 32) + CLIENT};
    step(TOKEN_LISTENER);
    assert_int_equal(fake.closes, 0);
    assert_string_equal(fake.changes, "3r- ");
}

static void stop_accepts_the_whole_backlog(void **state) {
    server.options.connections_max = 3;
    fake.backlog = 3;
    step(TOKEN_STOP);
    assert_int_equal(fake.backlog, 0);
    assert_int_equal(fake.shutdowns, 3);
}

static void stop_queries_unread_bytes_of_every_connection(void **state) {
    admit_as(CLIENT + 1);
    admit_as(0);
    admit_as(CLIENT);
    step(TOKEN_STOP);
    assert_int_equal(fake.accepts, 1);
    assert_int_equal(fake.unreads, 3);
    assert_int_equal(fake.shutdowns, 3);
    fake.now_ms += 600;
    assert_int_equal(step(TOKEN_STOP), SERVER_STOPPED);
    assert_int_equal(fake.closes, 3);
}

static void connection_whose_unread_query_fails_is_shut_down(void **state) {
    admit();
    fake.unread = (struct result){.value = 5, .fault = FAULT_OTHER, .raw = EIO_RAW};
    step(TOKEN_STOP);
    assert_int_equal(fake.shutdowns, 1);
}

/* An area is used only for what a short send left of a connection that stays open. */
static void area_is_untouched_without_a_short_send(void **state) {
    static const uint8_t untouched[BUFFER_BYTES];
    const struct result reset = {.fault = FAULT_RESET, .raw = 104};
    const uint8_t *area = memory;
    admit();
    fake.received[0] = fake.sent[0] = all;
    step(client);
    assert_int_equal(fake.sends, 1);
    assert_memory_equal(area, untouched, BUFFER_BYTES);
    fake.received[0] = all;
    fake.sent[0] = reset;
    step(client);
    assert_int_equal(fake.closes, 1);
    assert_memory_equal(area, untouched, BUFFER_BYTES);
}

static void area_is_released_once_pending_output_is_sent(void **state) {
    admit();
    fake.received[0] = all;
    step(client);
    assert_int_equal(fake.releases, 0);
    fake.sent[0] = (struct result){.value = BUFFER_BYTES - 1};
    step(client);
    assert_int_equal(fake.releases, 0);
    fake.sent[0] = (struct result){.value = 1};
    step(client);
    assert_int_equal(fake.releases, 1);
    assert_ptr_equal(fake.released, memory);
    assert_int_equal(fake.released_bytes, KERNEL_MEMORY_UNIT);
}

/* Registrations */

static void poller_is_called_only_for_changes(void **state) {
    admit();
    assert_string_equal(fake.changes, "6-r ");
    step(client);
    assert_string_equal(fake.changes, "");
    fake.received[0] = all;
    step(client);
    assert_string_equal(fake.changes, "6rw ");
    step(client);
    assert_string_equal(fake.changes, "");
    fake.sent[0] = all;
    step(client);
    assert_string_equal(fake.changes, "6wr ");
    fake.received[0] = none;
    step(client);
    assert_string_equal(fake.changes, "6r- ");
}

static void connection_that_cannot_be_watched_is_closed(void **state) {
    fake.refused = CLIENT;
    admit();
    assert_string_equal(fake.changes, "6-r ");
    assert_string_equal(fake.lines, "connect token=0.1 peer=127.0.0.1:9\n"
                                    "disconnect token=0.1 peer=127.0.0.1:9 reason=error errno=EIO "
                                    "in=0 out=0\n");
    assert_int_equal(fake.closes, 1);
}

static void failing_removal_counts_as_removed(void **state) {
    admit();
    fake.refused = CLIENT;
    fake.received[0] = none;
    step(client);
    assert_string_equal(fake.changes, "6r- ");
    fake.refused = -1;
    admit(); /* the next connection there starts without registration */
    assert_string_equal(fake.changes, "6-r ");
    fake.refused = LISTENER;
    fake.accepted[0] = (struct result){.fault = FAULT_DESCRIPTORS, .raw = 24};
    step(TOKEN_LISTENER);
    assert_string_equal(fake.changes, "3r- ");
    assert_int_equal(step(TOKEN_LISTENER), SERVER_RUNNING);
    assert_int_equal(fake.accepts, 0);
    fake.refused = -1;
    fake.now_ms += 101;
    step(client);
    assert_string_equal(fake.changes, "3-r ");
}

static void accepting_is_retried_after_100_ms(void **state) {
    admit();
    fake.accepted[0] = (struct result){.fault = FAULT_DESCRIPTORS, .raw = 24};
    step(TOKEN_LISTENER);
    fake.now_ms += 100;
    step(client);
    assert_string_equal(fake.changes, "");
    fake.now_ms += 50;
    step(client);
    assert_string_equal(fake.changes, "3-r ");
}

static void wait_is_infinite_with_nothing_due(void **state) {
    admit();
    assert_int_equal(fake.timeout_ms, -1);
    assert_int_equal(fake.clocks, 0);
}

static void records_of_a_failed_wait_are_ignored(void **state) {
    admit();
    fake.waited = (struct result){.value = 1, .fault = FAULT_INTERRUPTED, .raw = 4};
    assert_int_equal(step(client), SERVER_RUNNING);
    assert_int_equal(fake.receives, 0);
    fake.waited = (struct result){.value = 1, .fault = FAULT_WOULD_BLOCK, .raw = 11};
    assert_int_equal(step(client), SERVER_FAILED);
    assert_int_equal(fake.receives, 0);
}

/* The idle timeout. Timelines as in test_server.c. The clock moves between steps, and a step waits
 * before it sweeps: so the next sweep is seen in the timeout of the step after. */

static void idle_timeout_of_1_ms_waits_for_2(void **state) {
    server.options.idle_timeout_ms = 1;
    admit();
    assert_int_equal(server.connections[0].progress_ms, fake.now_ms);
    step(client);
    assert_int_equal(fake.timeout_ms, 2);
}

/* With an idle timeout of 300, and at least 100 between two sweeps:
 *
 *     0           1           301                                     301
 *     slot 0      CLIENT      sweep closes slot 0, idle for 301;      wait(101)
 *     connects    connects    keeps CLIENT, idle for 300 */
static void connection_idle_for_exactly_the_timeout_is_kept(void **state) {
    server.options.idle_timeout_ms = 300;
    admit_as(0);
    fake.now_ms += 1;
    admit();
    fake.now_ms += 300;
    step(TOKEN_LISTENER);
    assert_int_equal(fake.closes, 1);
    assert_int_equal(server.connections[0].state, CONNECTION_CLOSED);
    step(TOKEN_LISTENER);
    assert_int_equal(fake.timeout_ms, 101);
}

/* With an idle timeout of 300:
 *
 *     0          301                                               301
 *     connect    data arrives, then sweep: CLIENT is idle for 0    wait(301) */
static void next_sweep_is_one_timeout_after_progress(void **state) {
    server.options.idle_timeout_ms = 300;
    admit();
    fake.now_ms += 301;
    fake.received[0] = all;
    step(client);
    step(client);
    assert_int_equal(fake.timeout_ms, 301);
}

/* Three connections that made progress at 300, 100 and 200; the idle timeout is 1000, later 1200:
 *
 *     1001                             1102                             1102
 *     sweep: idle for 701, 901 and     sweep: idle for 802, 1002 and    wait(1200 - 1002 + 1)
 *     801, all kept                    902, all kept */
static void next_sweep_depends_on_the_longest_idle(void **state) {
    server.options.idle_timeout_ms = 1000;
    for (int32_t i = 0; i < 3; i++) { /* idle for 701, 901 and 801 ms */
        admit_as(CLIENT - 2 + i);
        server.connections[i].progress_ms += i == 0 ? 300u : i == 1 ? 100u : 200u;
    }
    fake.now_ms += 1001;
    step(TOKEN_LISTENER);
    assert_int_equal(fake.closes, 0);
    server.options.idle_timeout_ms = 1200;
    fake.now_ms += 101;
    step(TOKEN_LISTENER);
    step(TOKEN_LISTENER);
    assert_int_equal(fake.timeout_ms, 1200 - 1002 + 1);
}

/* How often it calls */

static void would_block_ends_the_turn(void **state) {
    admit();
    assert_int_equal(fake.receives, 1);
    step(client);
    assert_int_equal(fake.receives, 1);
    fake.received[0] = all;
    step(client);
    assert_int_equal(fake.receives, 1);
    assert_int_equal(fake.sends, 1);
    step(client);
    assert_int_equal(fake.sends, 1);
    fake.sent[0] = (struct result){.value = 1};
    step(client);
    assert_int_equal(fake.sends, 1);
    fake.sent[0] = all;
    fake.sent[0].value = BUFFER_BYTES - 1;
    step(client);
    assert_int_equal(fake.sends, 1);
    assert_int_equal(fake.receives, 1);
}

/* What arrives after it is reported by the next wait. */
static void short_read_ends_the_turn(void **state) {
    admit();
    fake.received[0] = fake.received[1] = fake.sent[0] = fake.sent[1] = (struct result){.value = 5};
    step(client);
    assert_int_equal(fake.receives, 1);
    assert_int_equal(fake.sends, 1);
}

static void interrupted_calls_are_repeated(void **state) {
    admit();
    fake.received[0] = interrupted;
    step(client);
    assert_int_equal(fake.receives, 2);
    fake.received[0] = all;
    fake.sent[0] = interrupted;
    step(client);
    assert_int_equal(fake.sends, 2);
}

static void turn_under_a_flood_is_bounded(void **state) {
    admit();
    fake.received[0] = fake.received[1] = all;
    fake.sent[0] = fake.sent[1] = all;
    step(client);
    assert_in_range(fake.receives, 2, 64);
    assert_int_equal(fake.sends, fake.receives);
}

/* 64 turns are shared by all that are ready, at most 32 for each: a pass stays short. */
static void turns_of_a_pass_are_shared(void **state) {
    static const struct {
        int64_t ready;
        int turns;
    } passes[] = {{1, 32}, {2, 32}, {3, 21}, {13, 4}, {64, 1}, {65, 1}, {POLLER_EVENTS_MAX, 1}};
    admit();
    fake.received[0] = fake.received[1] = all;
    fake.sent[0] = fake.sent[1] = all;
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        fake.waited.value = passes[i].ready;
        step(client);
        assert_int_equal(fake.receives, passes[i].turns);
    }
}

/* New connections do not wait for one long pass each. */
static void long_pass_accepts_several(void **state) {
    static const struct {
        int64_t ready;
        int accepts;
    } passes[] = {{7, 1}, {8, 2}, {16, 3}};
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        fake.backlog = passes[i].accepts;
        fake.accepted[0] = fake.accepted[1] = interrupted;
        fake.waited.value = passes[i].ready;
        for (int64_t j = 1; j < passes[i].ready; j++)
            server.ready[j].token = client; /* of nobody yet */
        step(TOKEN_LISTENER);
        assert_int_equal(fake.accepts, passes[i].accepts);
        assert_int_equal(fake.backlog, 0);
        tear_down(state);
        set_up(state);
    }
}

/* If the backlog holds more, the next wait reports it. */
static void short_pass_accepts_at_most_one(void **state) {
    fake.accepted[1] = (struct result){.value = CLIENT - 1};
    admit();
    assert_int_equal(fake.accepts, 1);
    fake.accepted[0] = interrupted;
    step(TOKEN_LISTENER);
    assert_int_equal(fake.accepts, 1);
}

/* The listener is closed right after, so this is the last chance. */
static void stop_repeats_an_interrupted_accept(void **state) {
    fake.accepted[0] = interrupted;
    step(TOKEN_STOP);
    assert_int_equal(fake.accepts, 2);
}

/* A connection that was reset in the backlog does not mean that the backlog is empty. */
static void stop_continues_after_an_aborted_accept(void **state) {
    fake.accepted[0] = (struct result){.fault = FAULT_ABORTED, .raw = 103};
    step(TOKEN_STOP);
    assert_int_equal(fake.accepts, 2);
}

/* Its data is answered, or its end detected, before it is registered. */
static void new_connection_is_served_at_once(void **state) {
    fake.received[0] = fake.sent[0] = (struct result){.value = 5};
    admit();
    assert_int_equal(fake.sends, 1);
    assert_string_equal(fake.changes, "6-r ");
    fake.received[0] = (struct result){.value = 0};
    admit_as(CLIENT - 1);
    assert_string_equal(fake.changes, "");
    assert_int_equal(fake.closes, 1);
}

/* Ends of connections */

/* Later failures follow from the first. */
static void log_has_the_errno_of_the_first_failure(void **state) {
    for (uint32_t generation = 1; generation <= 2; generation++) {
        struct token token = {.slot = 0, .generation = generation};
        struct result failed = {.fault = FAULT_MEMORY, .raw = 12};
        admit();
        fake.received[0] = generation == 1 ? failed : all;
        fake.sent[0] = failed;
        fake.refused = CLIENT;
        step(token);
        assert_non_null(strstr(fake.lines, " reason=error errno=ENOMEM in="));
        fake.refused = -1;
    }
}

static void data_is_logged_before_it_is_mapped(void **state) {
    event_log.level = LOG_CHUNKS;
    admit();
    fake.received[0] = (struct result){.value = 3};
    step(client);
    assert_string_equal(fake.lines, "data token=0.1 bytes=3 text=\"aaa\"\n");
}

static void connection_whose_shutdown_fails_is_closed(void **state) {
    admit();
    fake.shut = broken;
    assert_int_equal(step(TOKEN_STOP), SERVER_STOPPED);
    assert_int_equal(fake.shutdowns, 1);
    assert_int_equal(fake.closes, 2); /* the listener, too */
    assert_string_equal(fake.lines, "stop connections=1\n"
                                    "disconnect token=0.1 peer=127.0.0.1:9 reason=error errno=EIO "
                                    "in=0 out=0\n");
}

/* shutdown(2) does not specify EINTR: it is an error as any other. */
static void interrupted_shutdown_is_an_error(void **state) {
    admit();
    fake.shut = interrupted;
    assert_int_equal(step(TOKEN_STOP), SERVER_STOPPED);
    assert_non_null(strstr(fake.lines, " reason=error errno=EINTR in="));
}

/* A full wait may leave out a connection that is ready: it is tried before it counts as idle. */
static void connection_with_unreported_input_is_not_idle(void **state) {
    server.options.idle_timeout_ms = 300;
    admit();
    fake.waited.value = POLLER_EVENTS_MAX;
    fake.now_ms += 400;
    fake.received[0] = fake.sent[0] = (struct result){.value = 5};
    step(TOKEN_LISTENER);
    assert_int_equal(fake.sends, 1);
    assert_int_equal(fake.closes, 0);
    assert_int_equal(server.connections[0].progress_ms, fake.now_ms);
    fake.now_ms += 301;
    fake.received[0] = none;
    step(TOKEN_LISTENER);
    assert_non_null(strstr(fake.lines, "reason=end"));
    assert_int_equal(fake.closes, 1);
    admit();
    fake.now_ms += 300;
    admit_as(CLIENT - 1); /* not idle yet, nor tried */
    fake.now_ms += 1;
    step(TOKEN_LISTENER);
    assert_int_equal(fake.receives, 1);
    assert_int_equal(fake.closes, 1);
    assert_non_null(strstr(fake.lines, "reason=idle"));
    fake.now_ms += 301;
    step(TOKEN_LISTENER); /* now the other one is, and the slot before it is free */
    assert_int_equal(fake.receives, 1);
    assert_int_equal(fake.closes, 1);
    admit();
    fake.waited.value = 1;
    fake.now_ms += 401;
    step(TOKEN_LISTENER);
    assert_int_equal(fake.receives, 0); /* a wait that was not full reported all that are ready */
    assert_non_null(strstr(fake.lines, "reason=idle"));
}

/* One line when new connections have to wait, and one when a wait reports none any more. */
static void waiting_is_logged_once_and_its_end(void **state) {
    const struct result exhausted = {.fault = FAULT_DESCRIPTORS, .raw = 24};
    admit();
    fake.accepted[0] = exhausted;
    step(TOKEN_LISTENER);
    assert_string_equal(fake.lines, "wait reason=descriptors errno=EMFILE\n");
    step(client); /* the listener is not watched: a wait without it means nothing */
    assert_string_equal(fake.lines, "");
    fake.now_ms += 101;
    step(client);
    assert_string_equal(fake.lines, "");
    fake.accepted[0] = exhausted;
    step(TOKEN_LISTENER);
    assert_string_equal(fake.lines, "");
    fake.now_ms += 101;
    step(client);
    fake.waited.value = POLLER_EVENTS_MAX; /* full: it may have left the listener out */
    for (size_t i = 1; i < POLLER_EVENTS_MAX; i++)
        server.ready[i].token = client;
    step(client);
    assert_string_equal(fake.lines, "");
    fake.waited = interrupted;
    step(client);
    assert_string_equal(fake.lines, "");
    fake.waited = (struct result){.value = 1};
    step(client);
    assert_string_equal(fake.lines, "accept\n");
    step(client);
    assert_string_equal(fake.lines, "");
}

static void waiting_at_the_limit_is_logged(void **state) {
    server.options.connections_max = 1;
    admit();
    step(TOKEN_LISTENER);
    assert_string_equal(fake.lines, "wait reason=connections\n");
    fake.received[0] = none;
    step(client);
    assert_string_equal(fake.lines,
                        "disconnect token=0.1 peer=127.0.0.1:9 reason=end in=0 out=0\n");
    admit();
    assert_string_equal(fake.lines, "connect token=0.2 peer=127.0.0.1:9\n");
    step((struct token){.slot = 0, .generation = 2});
    assert_string_equal(fake.lines, "accept\n");
    step(TOKEN_LISTENER);
    assert_string_equal(fake.lines, "wait reason=connections\n");
    step(TOKEN_STOP);
    assert_string_equal(fake.lines, "stop connections=1\n");
    step(client);
    assert_string_equal(fake.lines, "");
}

/* Whoever is in the backlog is refused. */
static void waiting_is_not_logged_during_a_drain(void **state) {
    server.options.connections_max = 1;
    admit();
    step(TOKEN_STOP);
    assert_string_equal(fake.lines, "stop connections=1\n");
}

static void shutdown_of_a_reset_connection_is_a_reset(void **state) {
    admit();
    fake.shut = (struct result){.fault = FAULT_RESET, .raw = 107};
    step(TOKEN_STOP);
    assert_non_null(strstr(fake.lines, "reason=reset in=0 out=0\n"));
    assert_int_equal(fake.closes, 2); /* the listener's, and its own */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(memory_is_areas_scratch_and_connections),
        TEST(memory_behind_the_slots_is_not_a_connection),
        TEST(any_descriptor_has_a_slot),
        TEST(slots_are_used_again),
        TEST(values_that_are_no_descriptor_are_not_closed),
        TEST(stop_accepts_the_whole_backlog),
        TEST(stop_queries_unread_bytes_of_every_connection),
        TEST(connection_whose_unread_query_fails_is_shut_down),
        TEST(area_is_untouched_without_a_short_send),
        TEST(area_is_released_once_pending_output_is_sent),
        TEST(poller_is_called_only_for_changes),
        TEST(connection_that_cannot_be_watched_is_closed),
        TEST(failing_removal_counts_as_removed),
        TEST(accepting_is_retried_after_100_ms),
        TEST(wait_is_infinite_with_nothing_due),
        TEST(records_of_a_failed_wait_are_ignored),
        TEST(idle_timeout_of_1_ms_waits_for_2),
        TEST(connection_idle_for_exactly_the_timeout_is_kept),
        TEST(next_sweep_is_one_timeout_after_progress),
        TEST(next_sweep_depends_on_the_longest_idle),
        TEST(would_block_ends_the_turn),
        TEST(short_read_ends_the_turn),
        TEST(interrupted_calls_are_repeated),
        TEST(turn_under_a_flood_is_bounded),
        TEST(turns_of_a_pass_are_shared),
        TEST(long_pass_accepts_several),
        TEST(short_pass_accepts_at_most_one),
        TEST(stop_repeats_an_interrupted_accept),
        TEST(stop_continues_after_an_aborted_accept),
        TEST(new_connection_is_served_at_once),
        TEST(log_has_the_errno_of_the_first_failure),
        TEST(data_is_logged_before_it_is_mapped),
        TEST(connection_whose_shutdown_fails_is_closed),
        TEST(interrupted_shutdown_is_an_error),
        TEST(connection_with_unreported_input_is_not_idle),
        TEST(waiting_is_logged_once_and_its_end),
        TEST(waiting_at_the_limit_is_logged),
        TEST(waiting_is_not_logged_during_a_drain),
        TEST(shutdown_of_a_reset_connection_is_a_reset),
    };
    return cmocka_run_group_tests_name("server_calls", tests, NULL, NULL);
}
