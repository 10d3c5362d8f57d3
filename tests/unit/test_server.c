#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shell/server.h"

/* What the simulated kernel does not do: a poller that fails, tokens that were never issued, a
 * endless EINTR, extreme times. Everything else is tested by scenarios
 * (tests/scenarios).
 *
 * Timelines are in milliseconds. wait(N) is a step whose wait has a timeout of N, placed when that
 * wait returns; how long it took is fake.after_ms. N is one more than the time until something is
 * due, since clocks are rounded down. */

#define SLOTS 8
#define LISTENER 3
#define STOP 5
#define CLIENT 6

/* A poller and a kernel that return prepared results and record their arguments. */
static struct fake {
    struct readiness ready[POLLER_EVENTS_MAX];
    struct result waited;
    int32_t timeout_ms; /* of the last wait */
    int32_t refused;    /* a descriptor that cannot be registered */
    enum interest interests[SLOTS];
    uint64_t now_ms;
    uint64_t after_ms;  /* how long the next wait takes */
    uint64_t accept_ms; /* and the next accept */
    struct result accepted;
    int accepts, receives;
    int closed[SLOTS + 1]; /* how often each descriptor was closed */
} fake;

static struct server server;
static struct log event_log;
static uint8_t *memory;

static struct result change(const struct poller *poller, int32_t descriptor, struct token token,
                            enum interest from, enum interest to) {
    if (descriptor == fake.refused) return (struct result){.fault = FAULT_MEMORY, .raw = 12};
    assert_int_equal(fake.interests[descriptor], from);
    fake.interests[descriptor] = to;
    return (struct result){.fault = FAULT_NONE};
}

static struct result wait(const struct poller *poller, struct readiness ready[POLLER_EVENTS_MAX],
                          int32_t timeout_ms) {
    memcpy(ready, fake.ready, sizeof fake.ready);
    fake.timeout_ms = timeout_ms;
    fake.now_ms += fake.after_ms;
    fake.after_ms = 0;
    return fake.waited;
}

static struct result accept_client(void *self, int32_t listener, struct endpoint *peer) {
    fake.accepts++;
    fake.now_ms += fake.accept_ms;
    fake.accept_ms = 0;
    *peer = (struct endpoint){.family = ENDPOINT_IPV4};
    struct result result = fake.accepted;
    if (result.fault == FAULT_NONE)
        fake.accepted = (struct result){.fault = FAULT_WOULD_BLOCK, .raw = 11};
    return result;
}

static struct result receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length) {
    fake.receives++;
    return (struct result){.fault = FAULT_WOULD_BLOCK, .raw = 11};
}

static struct result close_descriptor(void *self, int32_t descriptor) {
    fake.closed[descriptor]++;
    return (struct result){.fault = FAULT_NONE};
}

static struct result unread(void *self, int32_t descriptor) { return (struct result){.value = 0}; }

static struct result shut(void *self, int32_t descriptor) { return (struct result){.value = 0}; }

static uint64_t clock_ms(void *self) { return fake.now_ms; }

static const struct kernel_ops kernel_ops = {.accept = accept_client,
                                             .receive = receive,
                                             .shutdown = shut,
                                             .close = close_descriptor,
                                             .unread = unread,
                                             .clock_ms = clock_ms};
static const struct poller_ops poller_ops = {.change = change, .wait = wait};

static struct result begin(struct server_options options) {
    struct poller poller = {.ops = &poller_ops, .kernel = {.ops = &kernel_ops}};
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
    fake = (struct fake){.now_ms = 1000, .accepted.fault = FAULT_WOULD_BLOCK};
    memory = NULL;
    return 0;
}

static int tear_down(void **state) {
    free(memory);
    return 0;
}

/* One step, in which the wait reports these tokens. */
static enum server_status step(const struct token *tokens, size_t count) {
    fake.waited = (struct result){.value = (int64_t)count};
    for (size_t i = 0; i < count; i++)
        fake.ready[i] = (struct readiness){.token = tokens[i], .readable = true};
    return server_step(&server);
}

static void admit(int32_t descriptor) {
    fake.accepted = (struct result){.value = descriptor};
    assert_int_equal(step(&TOKEN_LISTENER, 1), SERVER_RUNNING);
    assert_int_equal(fake.interests[descriptor], INTEREST_READ);
}

static void begin_with_a_client(struct server_options options) {
    assert_int_equal(begin(options).fault, FAULT_NONE);
    admit(CLIENT);
}

static void start_fails_if_listener_or_stop_cannot_be_watched(void **state) {
    fake.refused = LISTENER;
    assert_int_equal(begin((struct server_options){0}).fault, FAULT_MEMORY);
    free(memory);
    fake = (struct fake){.refused = STOP};
    struct result result = begin((struct server_options){0});
    assert_int_equal(result.fault, FAULT_MEMORY);
    assert_int_equal(result.raw, 12);
    assert_int_equal(fake.interests[LISTENER], INTEREST_NONE);
}

static void failing_wait_ends_the_server(void **state) {
    assert_int_equal(begin((struct server_options){0}).fault, FAULT_NONE);
    fake.waited = (struct result){.fault = FAULT_OTHER, .raw = 9};
    assert_int_equal(server_step(&server), SERVER_FAILED);
    assert_int_equal(server.failure.fault, FAULT_OTHER);
    assert_int_equal(server.failure.raw, 9);
}

static void tokens_that_were_never_issued_are_ignored(void **state) {
    begin_with_a_client((struct server_options){0});
    const struct token tokens[] = {{.slot = 1, .generation = 1},
                                   {.slot = SLOTS, .generation = 1},
                                   {.slot = UINT32_MAX, .generation = UINT32_MAX},
                                   {.slot = 0, .generation = 2},
                                   {.slot = 2, .generation = 0}};
    int accepts = fake.accepts;
    int receives = fake.receives;
    assert_int_equal(step(tokens, sizeof tokens / sizeof *tokens), SERVER_RUNNING);
    assert_int_equal(fake.receives, receives);
    assert_int_equal(fake.accepts, accepts);
    assert_int_equal(step(&(struct token){.slot = 0, .generation = 1}, 1), SERVER_RUNNING);
    assert_int_equal(fake.receives, receives + 1);
}

/* With a drain timeout of 500:
 *
 *     0       200                  501
 *     stop    wait(501): stop      wait(301): the drain is over, CLIENT is closed */
static void repeated_stop_does_not_restart_the_drain(void **state) {
    begin_with_a_client((struct server_options){.drain_timeout_ms = 500});
    const struct token tokens[] = {TOKEN_STOP, TOKEN_STOP};
    assert_int_equal(step(tokens, 2), SERVER_RUNNING);
    assert_int_equal(fake.closed[LISTENER], 1);
    fake.after_ms = 200;
    assert_int_equal(step(&TOKEN_STOP, 1), SERVER_RUNNING);
    assert_int_equal(fake.closed[LISTENER], 1);
    assert_int_equal(fake.timeout_ms, 501);
    fake.after_ms = 301;
    assert_int_equal(step(NULL, 0), SERVER_STOPPED);
    assert_int_equal(fake.timeout_ms, 301);
    assert_int_equal(fake.closed[CLIENT], 1);
}

static void endless_eintr_from_accept_does_not_prevent_the_stop(void **state) {
    assert_int_equal(begin((struct server_options){0}).fault, FAULT_NONE);
    fake.accepted = (struct result){.fault = FAULT_INTERRUPTED, .raw = 4};
    assert_int_equal(step(&TOKEN_STOP, 1), SERVER_STOPPED);
    assert_in_range(fake.accepts, 2, 1 << 17);
    assert_int_equal(fake.closed[LISTENER], 1);
}

/* After an interrupted wait a client may be ready that no record names. But a deadline does not
 * depend on quiet: every wait may be full (see connection_with_unreported_input_is_not_idle). With
 * an idle timeout of 300:
 *
 *     0          500                       500                      500
 *     connect    wait(301), interrupted    wait(0), interrupted:    wait(0), full:
 *                                          no sweep                 sweep closes CLIENT */
static void idle_clients_are_closed_after_a_full_wait_but_not_an_interrupted_one(void **state) {
    static struct token unissued[POLLER_EVENTS_MAX];
    for (size_t i = 0; i < POLLER_EVENTS_MAX; i++)
        unissued[i] = (struct token){.slot = 2, .generation = 0};
    begin_with_a_client((struct server_options){.idle_timeout_ms = 300});

    fake.after_ms = 500;
    fake.waited = (struct result){.fault = FAULT_INTERRUPTED, .raw = 4};
    assert_int_equal(server_step(&server), SERVER_RUNNING);
    assert_int_equal(fake.timeout_ms, 301);
    assert_int_equal(server_step(&server), SERVER_RUNNING);
    assert_int_equal(fake.timeout_ms, 0);
    assert_int_equal(fake.closed[CLIENT], 0);

    assert_int_equal(step(unissued, POLLER_EVENTS_MAX), SERVER_RUNNING);
    assert_int_equal(fake.timeout_ms, 0);
    assert_int_equal(fake.closed[CLIENT], 1);
}

/* Whatever the order of slots. With an idle timeout of 300:
 *
 *     0           200           250           301               501
 *     CLIENT      CLIENT - 2    CLIENT + 1    sweep closes      wait(200): sweep closes
 *     connects    connects      connects      CLIENT            CLIENT - 2, keeps CLIENT + 1 */
static void next_sweep_is_due_when_the_longest_idle_connection_is(void **state) {
    begin_with_a_client((struct server_options){.idle_timeout_ms = 300});
    fake.now_ms += 200;
    admit(CLIENT - 2);
    fake.now_ms += 50;
    admit(CLIENT + 1);
    fake.after_ms = 51;
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(fake.closed[CLIENT], 1);
    fake.after_ms = 200;
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(fake.timeout_ms, 200);
    assert_int_equal(fake.closed[CLIENT - 2], 1);
    assert_int_equal(fake.closed[CLIENT + 1], 0);
}

/* Bytes may arrive while a pass lasts: which connections are idle is known as of its wait. And one
 * that is served within the pass has made progress then. With an idle timeout of 300:
 *
 *     0           100           301             301, until 501         501
 *     CLIENT      CLIENT - 2    wait(201):      wait(0): CLIENT + 1    wait(0): sweep closes
 *     connects    connects      sweep is due    connects, sweep        CLIENT - 2, keeps CLIENT + 1
 *                               for the next    closes CLIENT */
static void long_pass_makes_nobody_idle(void **state) {
    begin_with_a_client((struct server_options){.idle_timeout_ms = 300});
    fake.now_ms += 100;
    admit(CLIENT - 2);
    fake.after_ms = 201;
    assert_int_equal(step(&TOKEN_LISTENER, 1), SERVER_RUNNING);
    assert_int_equal(fake.timeout_ms, 201);
    assert_int_equal(fake.closed[CLIENT], 0);
    fake.accept_ms = 200;
    admit(CLIENT + 1);
    assert_int_equal(fake.timeout_ms, 0);
    assert_int_equal(fake.closed[CLIENT], 1);
    assert_int_equal(fake.closed[CLIENT - 2], 0);
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(fake.timeout_ms, 0);
    assert_int_equal(fake.closed[CLIENT - 2], 1);
    assert_int_equal(fake.closed[CLIENT + 1], 0);
}

/* With the longest idle timeout, 2^30:
 *
 *     0          2^30 - 50           2^30 + 1
 *     connect    wait(2^30 + 1)      wait(51): sweep closes CLIENT */
static void longest_idle_timeout_does_not_wrap(void **state) {
    begin_with_a_client((struct server_options){.idle_timeout_ms = 1u << 30});
    fake.after_ms = (1u << 30) - 50;
    assert_int_equal(step(&TOKEN_LISTENER, 1), SERVER_RUNNING);
    assert_int_equal(fake.timeout_ms, (1 << 30) + 1);
    assert_int_equal(fake.closed[CLIENT], 0);
    fake.after_ms = 51;
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(fake.timeout_ms, 51);
    assert_int_equal(fake.closed[CLIENT], 1);
}

/* With a drain timeout of 2^31, which does not fit into the timeout of a wait:
 *
 *     0       2^31 - 50          2^31 + 1
 *     stop    wait(INT32_MAX)    wait(51): the drain is over, CLIENT is closed */
static void long_drain_timeout_is_clamped_not_wrapped(void **state) {
    begin_with_a_client((struct server_options){.drain_timeout_ms = 1u << 31});
    assert_int_equal(step(&TOKEN_STOP, 1), SERVER_RUNNING);
    fake.after_ms = (1u << 31) - 50;
    assert_int_equal(step(NULL, 0), SERVER_RUNNING);
    assert_int_equal(fake.timeout_ms, INT32_MAX);
    assert_int_equal(fake.closed[CLIENT], 0);
    fake.after_ms = 51;
    assert_int_equal(step(NULL, 0), SERVER_STOPPED);
    assert_int_equal(fake.timeout_ms, 51);
    assert_int_equal(fake.closed[CLIENT], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(start_fails_if_listener_or_stop_cannot_be_watched),
        TEST(failing_wait_ends_the_server),
        TEST(tokens_that_were_never_issued_are_ignored),
        TEST(repeated_stop_does_not_restart_the_drain),
        TEST(endless_eintr_from_accept_does_not_prevent_the_stop),
        TEST(idle_clients_are_closed_after_a_full_wait_but_not_an_interrupted_one),
        TEST(next_sweep_is_due_when_the_longest_idle_connection_is),
        TEST(long_pass_makes_nobody_idle),
        TEST(longest_idle_timeout_does_not_wrap),
        TEST(long_drain_timeout_is_clamped_not_wrapped),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
