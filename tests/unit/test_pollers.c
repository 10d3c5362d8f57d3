#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shell/poller.h"

#define QUEUE 4
#define DESCRIPTOR 7

static const struct token token = {.slot = DESCRIPTOR, .generation = 3};

/* A kernel table that records its arguments and returns prepared results. */
struct recorder {
    struct result answer;
    int calls;
    struct epoll_change change;
    uint64_t token;
    struct kqueue_record changes[KQUEUE_CHANGES_MAX];
    size_t change_count;
    int32_t timeout_ms;
    size_t max;
    struct kqueue_record events[POLLER_EVENTS_MAX]; /* what kevent returns */
    struct epoll_record records[POLLER_EVENTS_MAX]; /* what epoll_wait returns */
};

static struct result epoll_control(void *self, int32_t queue, int32_t descriptor,
                                   struct epoll_change change, uint64_t packed) {
    struct recorder *recorder = self;
    assert_int_equal(queue, QUEUE);
    assert_int_equal(descriptor, DESCRIPTOR);
    recorder->calls++;
    recorder->change = change;
    recorder->token = packed;
    return recorder->answer;
}

static struct result epoll_wait(void *self, int32_t queue, struct epoll_record *records, size_t max,
                                int32_t timeout_ms) {
    struct recorder *recorder = self;
    assert_int_equal(queue, QUEUE);
    recorder->calls++;
    recorder->max = max;
    recorder->timeout_ms = timeout_ms;
    memcpy(records, recorder->records, sizeof recorder->records);
    return recorder->answer;
}

static struct result kevent(void *self, int32_t queue, const struct kqueue_record *changes,
                            size_t count, struct kqueue_record *events, size_t max,
                            int32_t timeout_ms) {
    struct recorder *recorder = self;
    assert_int_equal(queue, QUEUE);
    recorder->calls++;
    recorder->change_count = count;
    recorder->max = max;
    recorder->timeout_ms = timeout_ms;
    for (size_t i = 0; i < count; i++)
        recorder->changes[i] = changes[i];
    for (size_t i = 0; i < max; i++)
        events[i] = recorder->events[i];
    return recorder->answer;
}

static const struct kernel_ops ops = {
    .epoll_control = epoll_control, .epoll_wait = epoll_wait, .kevent = kevent};

static struct poller open_poller(struct recorder *recorder, const struct poller_ops *poller) {
    memset(recorder, 0, sizeof *recorder);
    return (struct poller){.ops = poller, .kernel = {&ops, recorder}, .queue = QUEUE};
}

static void epoll_change_makes_one_call_and_returns_its_fault(void **state) {
    struct recorder recorder;
    struct poller poller = open_poller(&recorder, &poller_epoll);
    struct result result =
        poller.ops->change(&poller, DESCRIPTOR, token, INTEREST_READ, INTEREST_WRITE);
    assert_int_equal(result.fault, FAULT_NONE);
    assert_int_equal(recorder.calls, 1);
    assert_int_equal(recorder.change.operation, EPOLL_MODIFY);
    assert_int_equal(recorder.change.events, EPOLL_CODEC_OUT);
    assert_int_equal(recorder.token, token_pack(token));
    recorder.answer = (struct result){.fault = FAULT_NO_SPACE, .raw = 28};
    result = poller.ops->change(&poller, DESCRIPTOR, token, INTEREST_NONE, INTEREST_READ);
    assert_int_equal(result.fault, FAULT_NO_SPACE);
    assert_int_equal(result.raw, 28);
}

static void epoll_wait_decodes_as_many_records_as_were_returned(void **state) {
    struct recorder recorder;
    struct readiness ready[POLLER_EVENTS_MAX] = {[2] = {.token = {.slot = 99}}};
    struct poller poller = open_poller(&recorder, &poller_epoll);
    recorder.answer.value = 2;
    recorder.records[0] = (struct epoll_record){EPOLL_CODEC_IN, token_pack(token)};
    recorder.records[1] = (struct epoll_record){EPOLL_CODEC_HUP, token_pack(TOKEN_LISTENER)};
    struct result result = poller.ops->wait(&poller, ready, 250);
    assert_int_equal(result.value, 2);
    assert_int_equal(recorder.max, POLLER_EVENTS_MAX);
    assert_int_equal(recorder.timeout_ms, 250);
    assert_int_equal(ready[0].token.slot, DESCRIPTOR);
    assert_int_equal(ready[0].token.generation, 3);
    assert_true(ready[0].readable && !ready[0].hangup);
    assert_true(!ready[1].readable && ready[1].hangup);
    assert_int_equal(ready[2].token.slot, 99);
    recorder.records[0].token = 0;
    recorder.answer = (struct result){.value = 1, .fault = FAULT_INTERRUPTED, .raw = 4};
    assert_int_equal(poller.ops->wait(&poller, ready, -1).fault, FAULT_INTERRUPTED);
    assert_int_equal(ready[0].token.slot, DESCRIPTOR);
}

static struct result change_kqueue(struct recorder *recorder, struct result answer,
                                   struct kqueue_record first, struct kqueue_record second) {
    struct poller poller = open_poller(recorder, &poller_kqueue);
    recorder->answer = answer;
    recorder->events[0] = first;
    recorder->events[1] = second;
    return poller.ops->change(&poller, DESCRIPTOR, token, INTEREST_READ, INTEREST_WRITE);
}

static const struct kqueue_record receipt = {.flags = KQUEUE_CODEC_ERROR};
static const struct kqueue_record not_found = {
    .flags = KQUEUE_CODEC_ERROR, .data = 2, .fault = FAULT_NOT_FOUND};
static const struct kqueue_record broken = {
    .flags = KQUEUE_CODEC_ERROR, .data = 32, .fault = FAULT_PIPE};

static void kqueue_change_removes_and_adds_in_one_call(void **state) {
    struct recorder recorder;
    struct result both = {.value = 2};
    assert_int_equal(change_kqueue(&recorder, both, receipt, receipt).fault, FAULT_NONE);
    assert_int_equal(recorder.calls, 1);
    assert_int_equal(recorder.change_count, 2);
    assert_int_equal(recorder.max, 2);
    assert_int_equal(recorder.timeout_ms, 0);
    assert_int_equal(recorder.changes[0].filter, KQUEUE_READ);
    assert_int_equal(recorder.changes[1].filter, KQUEUE_WRITE);
    assert_int_equal(recorder.changes[1].token, token_pack(token));
}

static void kqueue_change_returns_the_fault_of_either_receipt(void **state) {
    struct recorder recorder;
    struct result both = {.value = 2};
    assert_int_equal(change_kqueue(&recorder, both, not_found, receipt).fault, FAULT_NONE);
    struct result result = change_kqueue(&recorder, both, receipt, broken);
    assert_int_equal(result.fault, FAULT_PIPE);
    assert_int_equal(result.raw, 32);
    assert_int_equal(change_kqueue(&recorder, both, receipt, not_found).fault, FAULT_NOT_FOUND);
    struct result failed = {.value = 2, .fault = FAULT_MEMORY, .raw = 12};
    assert_int_equal(change_kqueue(&recorder, failed, broken, broken).fault, FAULT_MEMORY);
    /* kqueue(2): when kevent fails with EINTR all changes have been applied. */
    struct result interrupted = {.fault = FAULT_INTERRUPTED, .raw = 4};
    assert_int_equal(change_kqueue(&recorder, interrupted, broken, broken).fault, FAULT_NONE);
}

static void kqueue_wait_decodes_as_many_records_as_were_returned(void **state) {
    struct recorder recorder;
    struct readiness ready[POLLER_EVENTS_MAX] = {[1] = {.token = {.slot = 99}}};
    struct poller poller = open_poller(&recorder, &poller_kqueue);
    recorder.answer.value = 1;
    recorder.events[0] = (struct kqueue_record){
        .filter = KQUEUE_READ, .flags = KQUEUE_CODEC_EOF, .data = 9000, .token = token_pack(token)};
    assert_int_equal(poller.ops->wait(&poller, ready, -1).value, 1);
    assert_int_equal(recorder.change_count, 0);
    assert_int_equal(recorder.max, POLLER_EVENTS_MAX);
    assert_int_equal(recorder.timeout_ms, -1);
    assert_true(ready[0].readable && ready[0].hangup && !ready[0].writable);
    assert_int_equal(ready[0].token.generation, 3);
    assert_int_equal(ready[1].token.slot, 99);
    recorder.events[0].token = 0;
    recorder.answer = (struct result){.value = 1, .fault = FAULT_INTERRUPTED, .raw = 4};
    assert_int_equal(poller.ops->wait(&poller, ready, -1).fault, FAULT_INTERRUPTED);
    assert_int_equal(ready[0].token.generation, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epoll_change_makes_one_call_and_returns_its_fault),
        cmocka_unit_test(epoll_wait_decodes_as_many_records_as_were_returned),
        cmocka_unit_test(kqueue_change_removes_and_adds_in_one_call),
        cmocka_unit_test(kqueue_change_returns_the_fault_of_either_receipt),
        cmocka_unit_test(kqueue_wait_decodes_as_many_records_as_were_returned),
    };
    return cmocka_run_group_tests_name("pollers", tests, NULL, NULL);
}
