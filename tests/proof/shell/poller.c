/* A poller with any kernel. POLLER is poller_epoll or poller_kqueue. */
#include "shell/poller.h"
#include "any.h"

static bool failing;

static enum interest any_interest(void) { return (enum interest)any_of(INTEREST_WRITE + 1); }

static struct result epoll_control(void *self, int32_t queue, int32_t descriptor,
                                   struct epoll_change change, uint64_t token) {
    /*@ check operation: EPOLL_ADD <= change.operation <= EPOLL_MODIFY; */
    if (failing) return any_fault(FAULT_WOULD_BLOCK, FAULT_OTHER);
    return (struct result){.fault = FAULT_NONE};
}

static struct result epoll_wait(void *self, int32_t queue, struct epoll_record *records, size_t max,
                                int32_t timeout_ms) {
    /*@ check records: \valid(records + (0 .. max - 1)); */
    if (failing) return any_fault(FAULT_WOULD_BLOCK, FAULT_OTHER);
    any_bytes(records, max * sizeof *records);
    return (struct result){.value = Frama_C_interval(0, (int)max)};
}

static struct result kevent(void *self, int32_t queue, const struct kqueue_record *changes,
                            size_t count, struct kqueue_record *events, size_t max,
                            int32_t timeout_ms) {
    /*@ check changes: count == 0 || \valid_read(changes + (0 .. count - 1)); */
    /*@ check events: \valid(events + (0 .. max - 1)) && count <= max; */
    if (failing) return any_fault(FAULT_WOULD_BLOCK, FAULT_OTHER);
    any_bytes(events, max * sizeof *events);
    return (struct result){.value = count > 0 ? (int64_t)count : Frama_C_interval(0, (int)max)};
}

void main(void) {
    static const struct kernel_ops ops = {
        .epoll_control = epoll_control, .epoll_wait = epoll_wait, .kevent = kevent};
    static struct readiness ready[POLLER_EVENTS_MAX];
    struct poller poller = {.ops = &POLLER, .kernel = {.ops = &ops}, .queue = any_int};
    struct token token = {.slot = any_u32, .generation = any_u32};
    failing = any_bool();
    enum interest from = any_interest(), to = any_interest();
    if (from != to) poller.ops->change(&poller, any_int, token, from, to);
    struct result result = poller.ops->wait(&poller, ready, any_int);
    /*@ check value: result.fault == FAULT_NONE ==> 0 <= result.value <= POLLER_EVENTS_MAX; */
}
