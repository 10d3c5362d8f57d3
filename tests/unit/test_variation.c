/* The simulated kernel varies what it is told to vary and nothing else, and follows the choices
 * that a scenario states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim/kernel.h"

#define WAITS 2000
#define SENT 100
#define DESCRIPTOR SIM_CLIENT_FIRST
#define TOKEN 77

static struct scenario scenario;
static struct stream stream;
static struct oracle oracle;
static struct sim_kernel sim;
static struct kernel kernel;

static void act(enum step_kind kind, uint32_t count) {
    const struct step step = {.kind = kind, .count = count};
    sim_act(&sim, &step);
    sim_deliver(&sim);
}

/* One client that has sent something, and is accepted. */
static void start(enum sim_poller poller, uint32_t vary) {
    struct endpoint peer;
    memset(&scenario, 0, sizeof scenario);
    scenario.vary = vary;
    stream_init(&stream, &scenario);
    oracle_init(&oracle, &stream, 0, 0);
    sim_init(&sim, &oracle, &scenario, poller, NULL);
    kernel = sim_kernel(&sim);
    act(STEP_CONNECT, 0);
    act(STEP_SEND, SENT);
    assert_int_equal(kernel.ops->accept(&sim, SIM_LISTENER, &peer).value, DESCRIPTOR);
}

static void add_filter(enum kqueue_filter filter) {
    const struct kqueue_record change = {.descriptor = DESCRIPTOR,
                                         .filter = filter,
                                         .flags = KQUEUE_CODEC_ADD + KQUEUE_CODEC_RECEIPT,
                                         .token = TOKEN};
    struct kqueue_record receipt;
    assert_int_equal(kernel.ops->kevent(&sim, SIM_QUEUE, &change, 1, &receipt, 1, 0).value, 1);
}

/* How many records of all waits were varied, and how. */
struct counts {
    uint32_t waits, turned, with_end, with_error, miscounted;
};

static struct counts count_kqueue(uint32_t vary, bool ended) {
    struct counts counts = {.waits = 0};
    start(SIM_KQUEUE, vary);
    add_filter(KQUEUE_READ);
    add_filter(KQUEUE_WRITE);
    if (ended) act(STEP_SHUTDOWN, 0);
    for (int i = 0; i < WAITS; i++) {
        struct kqueue_record events[4];
        struct result result = kernel.ops->kevent(&sim, SIM_QUEUE, NULL, 0, events, 4, 0);
        assert_int_equal(result.value, 2);
        bool turned = events[0].filter == KQUEUE_WRITE;
        const struct kqueue_record *reads = &events[turned ? 1 : 0];
        assert_int_equal(reads->filter, KQUEUE_READ);
        assert_int_equal(reads->token, TOKEN);
        counts.waits++;
        counts.turned += turned;
        counts.with_end += (reads->flags & KQUEUE_CODEC_EOF) != 0;
        counts.with_error += reads->filter_flags != 0;
        counts.miscounted += reads->data != SENT;
    }
    return counts;
}

static void filters_of_one_descriptor_vary_in_order(void **state) {
    (void)state;
    assert_int_equal(count_kqueue(0, false).turned, 0);
    assert_in_range(count_kqueue(VARY_ORDER, false).turned, WAITS / 4, WAITS * 3 / 4);
}

static void kqueue_hints_vary(void **state) {
    (void)state;
    struct counts plain = count_kqueue(0, false);
    assert_int_equal(plain.with_end + plain.with_error + plain.miscounted, 0);
    assert_int_equal(count_kqueue(0, true).with_end, WAITS);
    struct counts varied = count_kqueue(VARY_HINTS, false);
    assert_in_range(varied.with_end, 1, WAITS / 2);
    assert_in_range(varied.with_error, 1, WAITS / 2);
    assert_in_range(varied.miscounted, 1, WAITS / 2);
    assert_in_range(count_kqueue(VARY_HINTS, true).with_end, WAITS / 2, WAITS - 1);
}

static void epoll_hints_vary(void **state) {
    (void)state;
    uint32_t missing = 0;
    uint32_t wrong = 0;
    start(SIM_EPOLL, VARY_HINTS);
    const struct epoll_change change = {.operation = EPOLL_ADD, .events = EPOLL_CODEC_IN};
    kernel.ops->epoll_control(&sim, SIM_QUEUE, DESCRIPTOR, change, TOKEN);
    for (int i = 0; i < WAITS; i++) {
        struct epoll_record records[4];
        assert_int_equal(kernel.ops->epoll_wait(&sim, SIM_QUEUE, records, 4, 0).value, 1);
        missing += (records[0].events & EPOLL_CODEC_IN) == 0;
        wrong += (records[0].events & ~EPOLL_CODEC_IN) != 0;
    }
    assert_in_range(missing, 1, WAITS / 2);
    assert_in_range(wrong, 1, WAITS / 2);
}

/* Every call changes the hash of the trace, and so do its arguments and results. */
static void hash_differs(uint64_t *before) {
    assert_true(sim.hash != *before);
    *before = sim.hash;
}

static void hash_covers_every_call(void **state) {
    uint8_t memory[64];
    (void)state;
    start(SIM_KQUEUE, 0);
    uint64_t hash = 0;
    hash_differs(&hash);
    kernel.ops->clock_ms(&sim);
    hash_differs(&hash);
    kernel.ops->release(&sim, memory, sizeof memory);
    hash_differs(&hash);
    add_filter(KQUEUE_READ);
    hash_differs(&hash);
    kernel.ops->log_write(&sim, "a line\n", 7, 1000);
    hash_differs(&hash);
}

/* The hash after a wait that reports this token. */
static uint64_t hash_with(enum sim_poller poller, uint64_t token) {
    const struct kqueue_record change = {.descriptor = DESCRIPTOR,
                                         .filter = KQUEUE_READ,
                                         .flags = KQUEUE_CODEC_ADD + KQUEUE_CODEC_RECEIPT};
    struct kqueue_record events[2];
    struct epoll_record records[2];
    start(poller, 0);
    if (poller == SIM_KQUEUE) {
        kernel.ops->kevent(&sim, SIM_QUEUE, &change, 1, events, 1, 0);
        sim.watches[DESCRIPTOR].token = token; /* so that only the wait uses it */
        kernel.ops->kevent(&sim, SIM_QUEUE, NULL, 0, events, 2, 0);
    } else {
        const struct epoll_change add = {.operation = EPOLL_ADD, .events = EPOLL_CODEC_IN};
        kernel.ops->epoll_control(&sim, SIM_QUEUE, DESCRIPTOR, add, 0);
        sim.watches[DESCRIPTOR].token = token;
        kernel.ops->epoll_wait(&sim, SIM_QUEUE, records, 2, 0);
    }
    return sim.hash;
}

static void hash_covers_the_records_of_a_wait(void **state) {
    (void)state;
    for (int poller = SIM_EPOLL; poller <= SIM_KQUEUE; poller++) {
        assert_true(hash_with((enum sim_poller)poller, 1) == hash_with((enum sim_poller)poller, 1));
        assert_true(hash_with((enum sim_poller)poller, 1) != hash_with((enum sim_poller)poller, 2));
    }
}

/* A choice of the kernel, stated by the scenario. */
static void choose(enum step_kind kind, uint32_t client, uint32_t count) {
    const struct step step = {.kind = kind, .client = client, .count = count};
    scenario.steps[scenario.step_count++] = step;
    sim_act(&sim, &step);
}

static int64_t receive(void) {
    uint8_t bytes[SENT];
    return kernel.ops->receive(&sim, DESCRIPTOR, bytes, sizeof bytes).value;
}

static int64_t send_answer(uint64_t from, size_t count) {
    uint8_t bytes[SENT];
    stream_fill(&stream, 0, from, bytes, count);
    for (size_t i = 0; i < count; i++)
        bytes[i] = oracle_mapped(bytes[i]);
    return kernel.ops->send(&sim, DESCRIPTOR, bytes, count).value;
}

/* Each step shortens one call that transfers bytes, of its own client and kind. */
static void short_steps_shorten_one_call_each(void **state) {
    (void)state;
    start(SIM_EPOLL, 0);
    sim.reported[DESCRIPTOR] = true;
    choose(STEP_SHORT_RECEIVE, 1, 1);
    choose(STEP_SHORT_SEND, 0, 7);
    choose(STEP_SHORT_RECEIVE, 0, 60);
    choose(STEP_SHORT_RECEIVE, 0, 20);
    choose(STEP_SHORT_RECEIVE, 0, 1000);
    assert_int_equal(receive(), 60);
    assert_int_equal(receive(), 20);
    assert_int_equal(receive(), 20);
    assert_int_equal(kernel.ops->receive(&sim, DESCRIPTOR, &(uint8_t){0}, 1).fault,
                     FAULT_WOULD_BLOCK);
    assert_int_equal(send_answer(0, SENT), 7);
    assert_int_equal(send_answer(7, SENT - 7), SENT - 7);
    choose(STEP_SHORT_RECEIVE, 0, 5);
    act(STEP_SEND, SENT);
    assert_int_equal(receive(), 5);
    assert_int_equal(receive(), SENT - 5);
    assert_false(oracle.failed);
}

static void watch_reads(int32_t descriptor, uint64_t token) {
    const struct kqueue_record change = {.descriptor = descriptor,
                                         .filter = KQUEUE_READ,
                                         .flags = KQUEUE_CODEC_ADD + KQUEUE_CODEC_RECEIPT,
                                         .token = token};
    const struct epoll_change add = {.operation = EPOLL_ADD, .events = EPOLL_CODEC_IN};
    struct kqueue_record receipt;
    if (sim.poller == SIM_EPOLL)
        kernel.ops->epoll_control(&sim, SIM_QUEUE, descriptor, add, token);
    else
        kernel.ops->kevent(&sim, SIM_QUEUE, &change, 1, &receipt, 1, 0);
}

/* The tokens that a wait reports, as the digits of a number. */
static uint64_t order_of_a_wait(void) {
    struct epoll_record records[4];
    struct kqueue_record events[4];
    bool epoll = sim.poller == SIM_EPOLL;
    struct result result = epoll ? kernel.ops->epoll_wait(&sim, SIM_QUEUE, records, 4, 0)
                                 : kernel.ops->kevent(&sim, SIM_QUEUE, NULL, 0, events, 4, 0);
    uint64_t order = 0;
    for (int64_t i = 0; i < result.value; i++)
        order = order * 10 + (epoll ? records[i].token : events[i].token);
    return order;
}

/* Each step applies to one wait; for a descriptor that is not ready it stays in effect. */
static void report_steps_order_the_records_of_one_wait(void **state) {
    (void)state;
    for (int poller = SIM_EPOLL; poller <= SIM_KQUEUE; poller++) {
        const struct step connect = {.kind = STEP_CONNECT, .client = 1};
        start((enum sim_poller)poller, 0);
        sim_act(&sim, &connect);
        watch_reads(SIM_LISTENER, 1);
        watch_reads(SIM_STOP, 2);
        watch_reads(DESCRIPTOR, 3);
        assert_int_equal(order_of_a_wait(), 13);
        choose(STEP_REPORT, WHO_STOP, 0);
        choose(STEP_REPORT, 0, 0);
        assert_int_equal(order_of_a_wait(), 31);
        assert_int_equal(order_of_a_wait(), 13);
        choose(STEP_REPORT, WHO_LISTENER, 0);
        act(STEP_STOP, 0);
        assert_int_equal(order_of_a_wait(), 213);
        choose(STEP_REPORT, 0, 0);
        choose(STEP_REPORT, WHO_STOP, 0);
        assert_int_equal(order_of_a_wait(), 321);
        assert_int_equal(order_of_a_wait(), 123);
    }
}

/* What it receives ends its idleness: the send that follows has the same reason. */
static void whom_a_full_wait_left_out_is_served_until_the_next_wait(void **state) {
    (void)state;
    start(SIM_EPOLL, 0);
    sim.reported[DESCRIPTOR] = false;
    oracle.idle_timeout_ms = 1;
    sim.now_ms++;
    sim.full = true;
    assert_int_equal(receive(), SENT);
    assert_int_equal(send_answer(0, SENT), SENT);
    assert_false(oracle.failed);
    sim.now_ms++;
    sim.full = sim.reported[DESCRIPTOR] = false;
    kernel.ops->receive(&sim, DESCRIPTOR, &(uint8_t){0}, 1);
    assert_true(oracle.failed);
}

static struct sim_points points;

/* The number of VARY_ORDER. */
#define ORDER 2

static void start_explored(enum sim_poller poller, uint32_t vary) {
    memset(&points, 0, sizeof points);
    sim_init_explored(&sim, &oracle, &scenario, poller, vary, &points);
    kernel = sim_kernel(&sim);
}

/* The same choice as a line of a scenario, without an exploration. */
static void choices_are_followed_and_recorded(void **state) {
    (void)state;
    const struct step connect = {.kind = STEP_CONNECT, .client = 0};
    for (int poller = SIM_EPOLL; poller <= SIM_KQUEUE; poller++) {
        for (uint32_t chosen = 0; chosen < 4; chosen++) {
            start((enum sim_poller)poller, 0);
            scenario.choice_count = chosen > 0;
            scenario.choices[0] =
                (struct sim_choice){.kind = ORDER, .nth = 1 + chosen / 3, .taken = 1};
            if (chosen == 2) scenario.choices[0].taken = SCENARIO_TAKEN_MAX; /* there is only one */
            bool explored = chosen != 1;
            if (explored)
                start_explored((enum sim_poller)poller, VARY_ORDER);
            else
                sim_init(&sim, &oracle, &scenario, (enum sim_poller)poller, NULL);
            sim_act(&sim, &connect);
            act(STEP_STOP, 0);
            watch_reads(SIM_LISTENER, 1);
            watch_reads(SIM_STOP, 2);
            static const uint64_t orders[] = {12, 21, 21, 1};
            assert_int_equal(order_of_a_wait(), orders[chosen]);
            uint32_t of_order = 0;
            for (uint32_t i = 0; i < points.count; i++)
                of_order += points.at[i].kind == ORDER;
            assert_int_equal(of_order, explored ? 2 : 0);
            memset(&points, 0, sizeof points);
        }
    }
    scenario.choice_count = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_steps_shorten_one_call_each),
        cmocka_unit_test(whom_a_full_wait_left_out_is_served_until_the_next_wait),
        cmocka_unit_test(choices_are_followed_and_recorded),
        cmocka_unit_test(report_steps_order_the_records_of_one_wait),
        cmocka_unit_test(filters_of_one_descriptor_vary_in_order),
        cmocka_unit_test(kqueue_hints_vary),
        cmocka_unit_test(epoll_hints_vary),
        cmocka_unit_test(hash_covers_every_call),
        cmocka_unit_test(hash_covers_the_records_of_a_wait),
    };
    return cmocka_run_group_tests_name("variation", tests, NULL, NULL);
}
