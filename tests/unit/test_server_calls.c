#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shell/server.h"

/* What the server asks of its kernel, call by call: all that it has to, and no more. A scenario
 * sees what becomes of clients, not a call too many. */

#define SLOTS 8
#define LISTENER 3
#define STOP 5
#define CLIENT 6
#define BUFFER_BYTES 16
#define EIO_RAW 5

static const struct result none = {.fault = FAULT_NONE};
static const struct result would_block = {.fault = FAULT_WOULD_BLOCK, .raw = 11};
static const struct result interrupted = {.fault = FAULT_INTERRUPTED, .raw = 4};
static const struct result broken = {.fault = FAULT_OTHER, .raw = EIO_RAW};
static const struct result all = {.value = BUFFER_BYTES};

/* A kernel that gives what it was told to: the first of a list, and then the second for ever. */
static struct world {
    struct result accepted[2], received[2], sent[2], shut, unread, waited;
    int32_t backlog; /* as many are accepted first, as descriptors down to 0 */
    int32_t refused; /* a descriptor whose watching cannot be changed */
    int accepts, receives, sends, shutdowns, closes, releases, unreads, clocks;
    const uint8_t *released;
    size_t released_bytes;
    char changes[128]; /* of the poller, as text */
    char lines[512];   /* of the log */
    int32_t timeout_ms;
    uint64_t now_ms;
    struct token ready;
} world;

static struct server server;
static struct log event_log;
static uint8_t *memory;

static struct result next(struct result results[2]) {
    struct result result = results[0];
    results[0] = results[1];
    return result;
}

static struct result accept_client(void *self, int32_t listener, struct endpoint *peer) {
    world.accepts++;
    *peer = (struct endpoint){.address = {127, 0, 0, 1}, .port = 9, .family = ENDPOINT_IPV4};
    if (world.backlog > 0) return (struct result){.value = --world.backlog};
    return next(world.accepted);
}

static struct result receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length) {
    world.receives++;
    memset(bytes, 'a', length);
    return next(world.received);
}

static struct result send_some(void *self, int32_t descriptor, const uint8_t *bytes,
                               size_t length) {
    world.sends++;
    return next(world.sent);
}

static struct result shut(void *self, int32_t descriptor) {
    world.shutdowns++;
    return world.shut;
}

static struct result close_descriptor(void *self, int32_t descriptor) {
    world.closes++;
    return none;
}

static struct result unread(void *self, int32_t descriptor) {
    world.unreads++;
    return world.unread;
}

static void release(void *self, uint8_t *bytes, size_t length) {
    world.releases++;
    world.released = bytes;
    world.released_bytes = length;
}

static uint64_t clock_ms(void *self) {
    world.clocks++;
    return world.now_ms;
}

static struct result log_write(void *self, const char *line, size_t length) {
    strncat(world.lines, line, length);
    return (struct result){.value = (int64_t)length};
}

static struct result change(const struct poller *poller, int32_t descriptor, struct token token,
                            enum interest from, enum interest to) {
    static const char letters[] = "-rw";
    char text[16];
    snprintf(text, sizeof text, "%d%c%c ", descriptor, letters[from], letters[to]);
    strncat(world.changes, text, sizeof world.changes - strlen(world.changes) - 1);
    return descriptor == world.refused ? broken : none;
}

static struct result wait(const struct poller *poller, struct readiness ready[POLLER_EVENTS_MAX],
                          int32_t timeout_ms) {
    world.timeout_ms = timeout_ms;
    ready[0] = (struct readiness){.token = world.ready, .readable = true};
    return world.waited;
}

static const struct kernel_ops kernel_ops = {.accept = accept_client,
                                             .receive = receive,
                                             .send = send_some,
                                             .shutdown = shut,
                                             .close = close_descriptor,
                                             .unread = unread,
                                             .release = release,
                                             .clock_ms = clock_ms,
                                             .log_write = log_write};
static const struct poller_ops poller_ops = {.change = change, .wait = wait};
static const struct server_options options = {.slot_count = SLOTS,
                                              .connections_max = SLOTS,
                                              .buffer_bytes = BUFFER_BYTES,
                                              .drain_timeout_ms = 500};

static int set_up(void **state) {
    world = (struct world){.accepted = {would_block, would_block},
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

/* One step, in which the wait tells of this token. */
static enum server_status step(struct token token) {
    world.ready = token;
    world.changes[0] = world.lines[0] = '\0';
    world.receives = world.sends = world.accepts = world.closes = 0;
    return server_step(&server);
}

static const struct token client = {.slot = CLIENT, .generation = 1};

static void admit_as(int32_t descriptor) {
    world.accepted[0] = (struct result){.value = descriptor};
    assert_int_equal(step(TOKEN_LISTENER), SERVER_RUNNING);
}

static void admit(void) { admit_as(CLIENT); }

/* Memory */

static void memory_is_an_area_and_a_connection_for_each_slot_and_one_area(void **state) {
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

/* Behind the last connection the memory may hold anything, even what looks like one. */
static void what_lies_behind_the_slots_is_nobody(void **state) {
    server.connections[SLOTS] =
        (struct connection){.state = CONNECTION_OPEN, .slot = {.generation = 1, .live = true}};
    assert_int_equal(step((struct token){.slot = SLOTS, .generation = 1}), SERVER_RUNNING);
    assert_int_equal(world.receives, 0);
    server.options.idle_timeout_ms = 300;
    admit_as(SLOTS - 1);
    world.now_ms += 301;
    step(TOKEN_LISTENER);
    assert_int_equal(world.closes, 1);
    admit_as(SLOTS - 1);
    step(TOKEN_STOP);
    assert_int_equal(world.unreads, 1);
    world.now_ms += 501;
    step(TOKEN_STOP);
    assert_int_equal(world.closes, 1);
}

static void a_descriptor_beyond_the_slots_is_closed(void **state) {
    for (int32_t descriptor = SLOTS; descriptor <= SLOTS + 1; descriptor++) {
        admit_as(descriptor);
        assert_int_equal(world.closes, 1);
        assert_null(strstr(world.lines, "connect "));
        world.now_ms += 101;
        step(client);
    }
}

/* A value means nothing beside a fault, and one that is no descriptor names nobody. */
static void what_is_no_descriptor_is_not_closed(void **state) {
    admit();
    world.accepted[0] = (struct result){.value = SLOTS, .fault = FAULT_WOULD_BLOCK, .raw = 11};
    step(TOKEN_LISTENER);
    assert_int_equal(world.closes, 0);
    assert_string_equal(world.changes, "");
    world.accepted[0] = (struct result){.value = (INT64_C(1) << 32) + CLIENT};
    step(TOKEN_LISTENER);
    assert_int_equal(world.closes, 0);
    assert_string_equal(world.changes, "3r- ");
}

static void at_the_stop_all_who_wait_are_accepted(void **state) {
    server.options.slot_count = server.options.connections_max = 3;
    world.backlog = 3;
    step(TOKEN_STOP);
    assert_int_equal(world.backlog, 0);
    assert_int_equal(world.shutdowns, 3);
}

static void at_the_stop_everybody_is_asked(void **state) {
    admit_as(CLIENT + 1);
    admit_as(0);
    admit_as(CLIENT);
    step(TOKEN_STOP);
    assert_int_equal(world.accepts, 1);
    assert_int_equal(world.unreads, 3);
    assert_int_equal(world.shutdowns, 3);
    world.now_ms += 501;
    assert_int_equal(step(TOKEN_STOP), SERVER_STOPPED);
    assert_int_equal(world.closes, 3);
}

static void who_cannot_be_asked_is_owed_nothing(void **state) {
    admit();
    world.unread = (struct result){.value = 5, .fault = FAULT_OTHER, .raw = EIO_RAW};
    step(TOKEN_STOP);
    assert_int_equal(world.shutdowns, 1);
}

/* An area is for what a short send left of those who stay. */
static void memory_that_is_not_needed_is_not_touched(void **state) {
    static const uint8_t untouched[BUFFER_BYTES];
    const struct result reset = {.fault = FAULT_RESET, .raw = 104};
    const uint8_t *area = memory + CLIENT * (size_t)KERNEL_MEMORY_UNIT;
    admit();
    world.received[0] = world.sent[0] = all;
    step(client);
    assert_int_equal(world.sends, 1);
    assert_memory_equal(area, untouched, BUFFER_BYTES);
    world.received[0] = all;
    world.sent[0] = reset;
    step(client);
    assert_int_equal(world.closes, 1);
    assert_memory_equal(area, untouched, BUFFER_BYTES);
}

static void memory_that_was_needed_is_given_back(void **state) {
    admit();
    world.received[0] = all;
    step(client);
    assert_int_equal(world.releases, 0);
    world.sent[0] = (struct result){.value = BUFFER_BYTES - 1};
    step(client);
    assert_int_equal(world.releases, 0);
    world.sent[0] = (struct result){.value = 1};
    step(client);
    assert_int_equal(world.releases, 1);
    assert_ptr_equal(world.released, memory + CLIENT * (size_t)KERNEL_MEMORY_UNIT);
    assert_int_equal(world.released_bytes, KERNEL_MEMORY_UNIT);
}

/* Watching */

static void the_poller_is_told_of_changes_alone(void **state) {
    admit();
    assert_string_equal(world.changes, "6-r ");
    step(client);
    assert_string_equal(world.changes, "");
    world.received[0] = all;
    step(client);
    assert_string_equal(world.changes, "6rw ");
    step(client);
    assert_string_equal(world.changes, "");
    world.sent[0] = all;
    step(client);
    assert_string_equal(world.changes, "6wr ");
    world.received[0] = none;
    step(client);
    assert_string_equal(world.changes, "6r- ");
}

static void who_cannot_be_watched_is_closed(void **state) {
    world.refused = CLIENT;
    admit();
    assert_string_equal(world.changes, "6-r ");
    assert_string_equal(world.lines, "connect token=6.1 peer=127.0.0.1:9\n"
                                     "disconnect token=6.1 peer=127.0.0.1:9 reason=error errno=EIO "
                                     "in=0 out=0\n");
    assert_int_equal(world.closes, 1);
}

static void who_cannot_be_unwatched_was_not_watched(void **state) {
    admit();
    world.refused = CLIENT;
    world.received[0] = none;
    step(client);
    assert_string_equal(world.changes, "6r- ");
    world.refused = -1;
    admit(); /* the next one there begins unwatched, too */
    assert_string_equal(world.changes, "6-r ");
    world.refused = LISTENER;
    world.accepted[0] = (struct result){.fault = FAULT_DESCRIPTORS, .raw = 24};
    step(TOKEN_LISTENER);
    assert_string_equal(world.changes, "3r- ");
    assert_int_equal(step(TOKEN_LISTENER), SERVER_RUNNING);
    assert_int_equal(world.accepts, 0);
    world.refused = -1;
    world.now_ms += 101;
    step(client);
    assert_string_equal(world.changes, "3-r ");
}

static void with_nothing_due_it_waits_for_ever(void **state) {
    admit();
    assert_int_equal(world.timeout_ms, -1);
    assert_int_equal(world.clocks, 0);
}

static void a_wait_that_failed_tells_of_nobody(void **state) {
    admit();
    world.waited = (struct result){.value = 1, .fault = FAULT_INTERRUPTED, .raw = 4};
    assert_int_equal(step(client), SERVER_RUNNING);
    assert_int_equal(world.receives, 0);
    world.waited = (struct result){.value = 1, .fault = FAULT_WOULD_BLOCK, .raw = 11};
    assert_int_equal(step(client), SERVER_FAILED);
    assert_int_equal(world.receives, 0);
}

/* Idleness */

static void the_shortest_time_out_is_one(void **state) {
    server.options.idle_timeout_ms = 1;
    admit();
    step(client);
    assert_int_equal(world.timeout_ms, 2);
}

/* The one behind is idle for just as long as it may be: it is looked at again, but not at once. */
static void idle_is_who_is_so_for_longer(void **state) {
    server.options.idle_timeout_ms = 300;
    admit_as(0);
    world.now_ms += 1;
    admit();
    world.now_ms += 300;
    step(TOKEN_LISTENER);
    assert_int_equal(world.closes, 1);
    assert_int_equal(server.connections[0].state, CONNECTION_CLOSED);
    step(TOKEN_LISTENER);
    assert_int_equal(world.timeout_ms, 101);
}

/* It is idle for 0 ms when all are looked at. */
static void the_next_look_is_when_the_first_can_be_idle(void **state) {
    server.options.idle_timeout_ms = 300;
    admit();
    world.now_ms += 301;
    world.received[0] = all;
    step(client);
    step(client);
    assert_int_equal(world.timeout_ms, 301);
}

static void the_first_is_who_is_idle_longest(void **state) {
    server.options.idle_timeout_ms = 1000;
    for (int32_t i = 0; i < 3; i++) { /* idle for 701, 901 and 801 ms */
        admit_as(CLIENT - 2 + i);
        server.connections[CLIENT - 2 + i].progress_ms += i == 0 ? 300u : i == 1 ? 100u : 200u;
    }
    world.now_ms += 1001;
    step(TOKEN_LISTENER);
    assert_int_equal(world.closes, 0);
    server.options.idle_timeout_ms = 1200;
    world.now_ms += 101;
    step(TOKEN_LISTENER);
    step(TOKEN_LISTENER);
    assert_int_equal(world.timeout_ms, 1200 - 1002 + 1);
}

/* How often it asks */

static void who_would_block_is_not_asked_again(void **state) {
    admit();
    assert_int_equal(world.receives, 1);
    step(client);
    assert_int_equal(world.receives, 1);
    world.received[0] = all;
    step(client);
    assert_int_equal(world.receives, 1);
    assert_int_equal(world.sends, 1);
    step(client);
    assert_int_equal(world.sends, 1);
    world.sent[0] = (struct result){.value = 1};
    step(client);
    assert_int_equal(world.sends, 1);
    world.sent[0] = all;
    world.sent[0].value = BUFFER_BYTES - 1;
    step(client);
    assert_int_equal(world.sends, 1);
    assert_int_equal(world.receives, 1);
}

/* What came since is reported again. */
static void a_short_read_is_the_last(void **state) {
    admit();
    world.received[0] = world.received[1] = world.sent[0] = world.sent[1] =
        (struct result){.value = 5};
    step(client);
    assert_int_equal(world.receives, 1);
    assert_int_equal(world.sends, 1);
}

static void who_was_interrupted_is_asked_again(void **state) {
    admit();
    world.received[0] = interrupted;
    step(client);
    assert_int_equal(world.receives, 2);
    world.received[0] = all;
    world.sent[0] = interrupted;
    step(client);
    assert_int_equal(world.sends, 2);
}

static void a_flood_has_its_turns_and_no_more(void **state) {
    admit();
    world.received[0] = world.received[1] = all;
    world.sent[0] = world.sent[1] = all;
    step(client);
    assert_in_range(world.receives, 2, 64);
    assert_int_equal(world.sends, world.receives);
}

/* If more wait, the next wait tells so. */
static void a_wait_is_worth_one_accept(void **state) {
    world.accepted[1] = (struct result){.value = CLIENT - 1};
    admit();
    assert_int_equal(world.accepts, 1);
    world.accepted[0] = interrupted;
    step(TOKEN_LISTENER);
    assert_int_equal(world.accepts, 1);
}

/* The listener is about to be closed. */
static void the_last_accepting_goes_on_while_somebody_may_wait(void **state) {
    world.accepted[0] = interrupted;
    step(TOKEN_STOP);
    assert_int_equal(world.accepts, 2);
}

/* A client that was gone before it was accepted says nothing of those behind it. */
static void the_last_accepting_passes_over_who_is_gone(void **state) {
    world.accepted[0] = (struct result){.fault = FAULT_ABORTED, .raw = 103};
    step(TOKEN_STOP);
    assert_int_equal(world.accepts, 2);
}

/* Its bytes are answered, or its end is found, before it is watched. */
static void a_newcomer_is_served_at_once(void **state) {
    world.received[0] = world.sent[0] = (struct result){.value = 5};
    admit();
    assert_int_equal(world.sends, 1);
    assert_string_equal(world.changes, "6-r ");
    world.received[0] = (struct result){.value = 0};
    admit_as(CLIENT - 1);
    assert_string_equal(world.changes, "");
    assert_int_equal(world.closes, 1);
}

/* Leaving */

/* Of that one, not of those that follow from it. */
static void the_log_tells_of_the_call_that_failed(void **state) {
    for (uint32_t generation = 1; generation <= 2; generation++) {
        struct token token = {.slot = CLIENT, .generation = generation};
        struct result failed = {.fault = FAULT_MEMORY, .raw = 12};
        admit();
        world.received[0] = generation == 1 ? failed : all;
        world.sent[0] = failed;
        world.refused = CLIENT;
        step(token);
        assert_non_null(strstr(world.lines, " reason=error errno=ENOMEM in="));
        world.refused = -1;
    }
}

static void what_did_not_fail_leaves_no_errno(void **state) {
    admit();
    assert_int_equal(server.connections[CLIENT].error, 0);
    world.received[0] = interrupted;
    step(client);
    assert_int_equal(world.receives, 2);
    assert_int_equal(server.connections[CLIENT].error, 0);
    world.received[0] = all;
    step(client);
    assert_int_equal(world.sends, 1);
    assert_int_equal(server.connections[CLIENT].error, 0);
}

static void the_log_has_what_came_as_it_came(void **state) {
    event_log.level = LOG_CHUNKS;
    admit();
    world.received[0] = (struct result){.value = 3};
    step(client);
    assert_string_equal(world.lines, "data token=6.1 bytes=3 text=\"aaa\"\n");
}

static void who_cannot_be_shut_down_is_closed(void **state) {
    admit();
    world.shut = broken;
    assert_int_equal(step(TOKEN_STOP), SERVER_STOPPED);
    assert_int_equal(world.shutdowns, 1);
    assert_int_equal(world.closes, 2); /* the listener, too */
    assert_string_equal(world.lines, "stop connections=1\n"
                                     "disconnect token=6.1 peer=127.0.0.1:9 reason=error errno=EIO "
                                     "in=0 out=0\n");
}

/* A full wait may leave out a connection that is ready: it is tried before it counts as idle. */
static void connection_with_unreported_input_is_not_idle(void **state) {
    server.options.idle_timeout_ms = 300;
    admit();
    world.waited.value = POLLER_EVENTS_MAX;
    world.now_ms += 400;
    world.received[0] = world.sent[0] = (struct result){.value = 5};
    step(TOKEN_LISTENER);
    assert_int_equal(world.sends, 1);
    assert_int_equal(world.closes, 0);
    assert_int_equal(server.connections[CLIENT].progress_ms, world.now_ms);
    world.now_ms += 301;
    world.received[0] = none;
    step(TOKEN_LISTENER);
    assert_non_null(strstr(world.lines, "reason=end"));
    assert_int_equal(world.closes, 1);
    admit();
    world.now_ms += 300;
    admit_as(CLIENT - 1); /* not idle yet, nor tried */
    world.now_ms += 1;
    step(TOKEN_LISTENER);
    assert_int_equal(world.receives, 1);
    assert_int_equal(world.closes, 1);
    assert_non_null(strstr(world.lines, "reason=idle"));
    admit();
    world.waited.value = 1;
    world.now_ms += 401;
    step(TOKEN_LISTENER);
    assert_int_equal(world.receives, 0); /* a wait that was not full reported all that are ready */
    assert_non_null(strstr(world.lines, "reason=idle"));
}

/* One line when new connections have to wait, and one when a wait reports none any more. */
static void waiting_is_logged_once_and_its_end(void **state) {
    const struct result exhausted = {.fault = FAULT_DESCRIPTORS, .raw = 24};
    admit();
    world.accepted[0] = exhausted;
    step(TOKEN_LISTENER);
    assert_string_equal(world.lines, "wait reason=descriptors errno=EMFILE\n");
    step(client); /* the listener is not watched: a wait without it means nothing */
    assert_string_equal(world.lines, "");
    world.now_ms += 101;
    step(client);
    assert_string_equal(world.lines, "");
    world.accepted[0] = exhausted;
    step(TOKEN_LISTENER);
    assert_string_equal(world.lines, "");
    world.now_ms += 101;
    step(client);
    world.waited.value = POLLER_EVENTS_MAX; /* full: it may have left the listener out */
    server.ready[1] = server.ready[0];
    step(TOKEN_LISTENER);
    assert_string_equal(world.lines, "");
    world.waited = interrupted;
    step(client);
    assert_string_equal(world.lines, "");
    world.waited = (struct result){.value = 1};
    step(client);
    assert_string_equal(world.lines, "accept\n");
    step(client);
    assert_string_equal(world.lines, "");
}

static void waiting_at_the_limit_is_logged(void **state) {
    server.options.connections_max = 1;
    admit();
    step(TOKEN_LISTENER);
    assert_string_equal(world.lines, "wait reason=connections\n");
    world.received[0] = none;
    step(client);
    assert_string_equal(world.lines,
                        "disconnect token=6.1 peer=127.0.0.1:9 reason=end in=0 out=0\n");
    admit();
    assert_string_equal(world.lines, "connect token=6.2 peer=127.0.0.1:9\n");
    step((struct token){.slot = CLIENT, .generation = 2});
    assert_string_equal(world.lines, "accept\n");
    step(TOKEN_LISTENER);
    assert_string_equal(world.lines, "wait reason=connections\n");
    step(TOKEN_STOP);
    assert_string_equal(world.lines, "stop connections=1\n");
    step(client);
    assert_string_equal(world.lines, "");
}

static void shutdown_of_a_reset_connection_is_a_reset(void **state) {
    admit();
    world.shut = (struct result){.fault = FAULT_RESET, .raw = 107};
    step(TOKEN_STOP);
    assert_non_null(strstr(world.lines, "reason=reset in=0 out=0\n"));
    assert_int_equal(world.closes, 2); /* the listener's, and its own */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(memory_is_an_area_and_a_connection_for_each_slot_and_one_area),
        TEST(what_lies_behind_the_slots_is_nobody),
        TEST(a_descriptor_beyond_the_slots_is_closed),
        TEST(what_is_no_descriptor_is_not_closed),
        TEST(at_the_stop_all_who_wait_are_accepted),
        TEST(at_the_stop_everybody_is_asked),
        TEST(who_cannot_be_asked_is_owed_nothing),
        TEST(memory_that_is_not_needed_is_not_touched),
        TEST(memory_that_was_needed_is_given_back),
        TEST(the_poller_is_told_of_changes_alone),
        TEST(who_cannot_be_watched_is_closed),
        TEST(who_cannot_be_unwatched_was_not_watched),
        TEST(with_nothing_due_it_waits_for_ever),
        TEST(a_wait_that_failed_tells_of_nobody),
        TEST(the_shortest_time_out_is_one),
        TEST(idle_is_who_is_so_for_longer),
        TEST(the_next_look_is_when_the_first_can_be_idle),
        TEST(the_first_is_who_is_idle_longest),
        TEST(who_would_block_is_not_asked_again),
        TEST(a_short_read_is_the_last),
        TEST(who_was_interrupted_is_asked_again),
        TEST(a_flood_has_its_turns_and_no_more),
        TEST(a_wait_is_worth_one_accept),
        TEST(the_last_accepting_goes_on_while_somebody_may_wait),
        TEST(the_last_accepting_passes_over_who_is_gone),
        TEST(a_newcomer_is_served_at_once),
        TEST(the_log_tells_of_the_call_that_failed),
        TEST(what_did_not_fail_leaves_no_errno),
        TEST(the_log_has_what_came_as_it_came),
        TEST(who_cannot_be_shut_down_is_closed),
        TEST(connection_with_unreported_input_is_not_idle),
        TEST(waiting_is_logged_once_and_its_end),
        TEST(waiting_at_the_limit_is_logged),
        TEST(shutdown_of_a_reset_connection_is_a_reset),
    };
    return cmocka_run_group_tests_name("server_calls", tests, NULL, NULL);
}
