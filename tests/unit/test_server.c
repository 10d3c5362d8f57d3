#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shell/server.h"

/* What no simulated kernel does: a poller that fails, tokens that nobody issued, a descriptor
 * without a slot, interruptions without end, times at the ends of their range. All else of the
 * server is tested by scenarios (tests/scenarios). */

#define SLOTS 8
#define LISTENER 3
#define STOP 5
#define CLIENT 6

/* A poller and a kernel that give what they were told to, and note what they were asked. */
static struct world {
    struct readiness ready[POLLER_EVENTS_MAX];
    struct result waited;
    int32_t timeout_ms; /* of the last wait */
    int32_t refused;    /* a descriptor that cannot be watched */
    enum interest interests[SLOTS];
    uint64_t now_ms;
    uint64_t after_ms; /* so much later is it after the wait */
    struct result accepted;
    int accepts, receives;
    int closed[SLOTS + 1]; /* how often each descriptor was */
} world;

static struct server server;
static struct log event_log;
static uint8_t *memory;

static struct result change(const struct poller *poller, int32_t descriptor, struct token token,
                            enum interest from, enum interest to) {
    if (descriptor == world.refused) return (struct result){.fault = FAULT_MEMORY, .raw = 12};
    assert_int_equal(world.interests[descriptor], from);
    world.interests[descriptor] = to;
    return (struct result){.fault = FAULT_NONE};
}

static struct result wait(const struct poller *poller, struct readiness ready[POLLER_EVENTS_MAX],
                          int32_t timeout_ms) {
    memcpy(ready, world.ready, sizeof world.ready);
    world.timeout_ms = timeout_ms;
    world.now_ms += world.after_ms;
    world.after_ms = 0;
    return world.waited;
}

static struct result accept_client(void *self, int32_t listener, struct endpoint *peer) {
    world.accepts++;
    *peer = (struct endpoint){.family = ENDPOINT_IPV4};
    struct result result = world.accepted;
    if (result.fault == FAULT_NONE)
        world.accepted = (struct result){.fault = FAULT_WOULD_BLOCK, .raw = 11};
    return result;
}

static struct result receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length) {
    world.receives++;
    return (struct result){.fault = FAULT_WOULD_BLOCK, .raw = 11};
}

static struct result close_descriptor(void *self, int32_t descriptor) {
    world.closed[descriptor]++;
    return (struct result){.fault = FAULT_NONE};
}

static struct result unread(void *self, int32_t descriptor) { return (struct result){.value = 0}; }

static struct result shut(void *self, int32_t descriptor) { return (struct result){.value = 0}; }

static uint64_t clock_ms(void *self) { return world.now_ms; }

static const struct kernel_ops kernel_ops = {.accept = accept_client,
                                             .receive = receive,
                                             .shutdown = shut,
                                             .close = close_descriptor,
                                             .unread = unread,
                                             .clock_ms = clock_ms};
static const struct poller_ops poller_ops = {.change = change, .wait = wait};

static struct result begin(struct server_options options) {
    struct poller poller = {.ops = &poller_ops, .kernel = {.ops = &kernel_ops}};
    options.slot_count = SLOTS;
    options.connections_max = SLOTS;
    options.buffer_bytes = 16;
    event_log = (struct log){.kernel = poller.kernel, .level = LOG_QUIET};
    uint64_t needed = server_memory_needed(&options);
    size_t whole =
        (size_t)(needed + KERNEL_MEMORY_UNIT - 1) / KERNEL_MEMORY_UNIT * KERNEL_MEMORY_UNIT;
    memory = aligned_alloc(KERNEL_MEMORY_UNIT, whole);
    assert_non_null(memory);
    memset(memory, 0, whole);
    return server_init(&server, poller, &event_log, &options, LISTENER, STOP, memory);
}

static int set_up(void **state) {
    world = (struct world){.now_ms = 1000, .accepted.fault = FAULT_WOULD_BLOCK};
    memory = NULL;
    return 0;
}

static int tear_down(void **state) {
    free(memory);
    return 0;
}

/* One step, in which the wait tells of these tokens. */
static enum server_status step(const struct token *tokens, size_t count) {
    world.waited = (struct result){.value = (int64_t)count};
    for (size_t i = 0; i < count; i++)
        world.ready[i] = (struct readiness){.token = tokens[i], .readable = true};
    return server_step(&server);
}

static void admit(int32_t descriptor) {
    world.accepted = (struct result){.value = descriptor};
    assert_int_equal(step(&TOKEN_LISTENER, 1), SERVER_RUNNING);
    assert_int_equal(world.interests[descriptor], INTEREST_READ);
}

static void begin_with_a_client(struct server_options options) {
    assert_int_equal(begin(options).fault, FAULT_NONE);
    admit(CLIENT);
}

static void what_cannot_be_watched_is_told_at_the_start(void **state) {
    world.refused = LISTENER;
    assert_int_equal(begin((struct server_options){0}).fault, FAULT_MEMORY);
    free(memory);
    world = (struct world){.refused = STOP};
    struct result result = begin((struct server_options){0});
    assert_int_equal(result.fault, FAULT_MEMORY);
    assert_int_equal(result.raw, 12);
    assert_int_equal(world.interests[LISTENER], INTEREST_NONE);
}

static void a_poller_that_cannot_wait_is_the_end(void **state) {
    assert_int_equal(begin((struct server_options){0}).fault, FAULT_NONE);
    world.waited = (struct result){.fault = FAULT_OTHER, .raw = 9};
    assert_int_equal(server_step(&server), SERVER_FAILED);
    assert_int_equal(server.failure.fault, FAULT_OTHER);
    assert_int_equal(server.failure.raw, 9);
}

static void a_token_that_nobody_issued_is_nobodys(void **state) {
    begin_with_a_client((struct server_options){0});
    const struct token tokens[] = {{.slot = SLOTS, .generation = 1},
                                   {.slot = UINT32_MAX, .generation = UINT32_MAX},
                                   {.slot = CLIENT, .generation = 2},
                                   {.slot = 2, .generation = 0}};
    int accepts = world.accepts;
    int receives = world.receives;
    assert_int_equal(step(tokens, sizeof tokens / sizeof *tokens), SERVER_RUNNING);
    assert_int_equal(world.receives, receives);
    assert_int_equal(world.accepts, accepts);
    assert_int_equal(step(&(struct token){.slot = CLIENT, .generation = 1}, 1), SERVER_RUNNING);
    assert_int_equal(world.receives, receives + 1);
}

static void a_descriptor_without_a_slot_is_closed(void **state) {
    assert_int_equal(begin((struct server_options){0}).fault, FAULT_NONE);
    world.accepted = (struct result){.value = SLOTS};
    assert_int_equal(step(&TOKEN_LISTENER, 1), SERVER_RUNNING);
    assert_int_equal(world.closed[SLOTS], 1);
    assert_int_equal(world.accepts, 1);
    assert_int_equal(world.interests[LISTENER], INTEREST_NONE);
    assert_int_equal(server.connected, 0);

    world.after_ms = 101; /* no event tells that descriptors came back */
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(world.timeout_ms, 101);
    assert_int_equal(world.interests[LISTENER], INTEREST_READ);
}

static void stopping_begins_once(void **state) {
    begin_with_a_client((struct server_options){.drain_timeout_ms = 500});
    const struct token tokens[] = {TOKEN_STOP, TOKEN_STOP};
    assert_int_equal(step(tokens, 2), SERVER_RUNNING);
    assert_int_equal(world.closed[LISTENER], 1);
    world.after_ms = 200;
    assert_int_equal(step(&TOKEN_STOP, 1), SERVER_RUNNING);
    assert_int_equal(world.closed[LISTENER], 1);
    assert_int_equal(world.timeout_ms, 501);
    world.after_ms = 301;
    assert_int_equal(step(NULL, 0), SERVER_STOPPED);
    assert_int_equal(world.timeout_ms, 301);
    assert_int_equal(world.closed[CLIENT], 1);
}

static void interruptions_without_end_do_not_keep_it_from_stopping(void **state) {
    assert_int_equal(begin((struct server_options){0}).fault, FAULT_NONE);
    world.accepted = (struct result){.fault = FAULT_INTERRUPTED, .raw = 4};
    assert_int_equal(step(&TOKEN_STOP, 1), SERVER_STOPPED);
    assert_in_range(world.accepts, 2, SLOTS + 1);
    assert_int_equal(world.closed[LISTENER], 1);
}

/* After an interrupted wait a client may be ready. But a deadline does not depend on quiet: every
 * wait may report as many events as it can (see also connection_with_unreported_input_is_not_idle).
 */
static void nobody_is_idle_before_all_are_told(void **state) {
    static struct token nobody[POLLER_EVENTS_MAX];
    for (size_t i = 0; i < POLLER_EVENTS_MAX; i++)
        nobody[i] = (struct token){.slot = 2, .generation = 0};
    begin_with_a_client((struct server_options){.idle_timeout_ms = 300});

    world.after_ms = 500;
    world.waited = (struct result){.fault = FAULT_INTERRUPTED, .raw = 4};
    assert_int_equal(server_step(&server), SERVER_RUNNING);
    assert_int_equal(world.timeout_ms, 301);
    assert_int_equal(world.closed[CLIENT], 0);

    assert_int_equal(step(nobody, POLLER_EVENTS_MAX), SERVER_RUNNING);
    assert_int_equal(world.timeout_ms, 0);
    assert_int_equal(world.closed[CLIENT], 1);
}

/* By the one that is idle longest, in whatever slot. */
static void the_next_sweep_is_when_it_may_find_somebody(void **state) {
    begin_with_a_client((struct server_options){.idle_timeout_ms = 300});
    world.now_ms += 200;
    admit(CLIENT - 2);
    world.now_ms += 50;
    admit(CLIENT + 1);
    world.after_ms = 51;
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(world.closed[CLIENT], 1);
    world.after_ms = 200;
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(world.timeout_ms, 200);
    assert_int_equal(world.closed[CLIENT - 2], 1);
    assert_int_equal(world.closed[CLIENT + 1], 0);
}

static void the_longest_times_are_cut_not_wrapped(void **state) {
    begin_with_a_client((struct server_options){.idle_timeout_ms = 1u << 31});
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(world.timeout_ms, INT32_MAX);
    world.after_ms = (1u << 31) - 50; /* a sweep comes in its time, and finds nobody */
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(world.timeout_ms, 51);
    assert_int_equal(world.closed[CLIENT], 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_cannot_be_watched_is_told_at_the_start),
        TEST(a_poller_that_cannot_wait_is_the_end),
        TEST(a_token_that_nobody_issued_is_nobodys),
        TEST(a_descriptor_without_a_slot_is_closed),
        TEST(stopping_begins_once),
        TEST(interruptions_without_end_do_not_keep_it_from_stopping),
        TEST(nobody_is_idle_before_all_are_told),
        TEST(the_next_sweep_is_when_it_may_find_somebody),
        TEST(the_longest_times_are_cut_not_wrapped),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
