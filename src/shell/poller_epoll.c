#include "shell/poller.h"

static struct result change(const struct poller *poller, int32_t descriptor, struct token token,
                            enum interest from, enum interest to) {
    return poller->kernel.ops->epoll_control(poller->kernel.self, poller->queue, descriptor,
                                             epoll_encode(from, to), token_pack(token));
}

static struct result wait(const struct poller *poller, struct readiness ready[POLLER_EVENTS_MAX],
                          int32_t timeout_ms) {
    struct epoll_record records[POLLER_EVENTS_MAX];
    struct result result = poller->kernel.ops->epoll_wait(poller->kernel.self, poller->queue,
                                                          records, POLLER_EVENTS_MAX, timeout_ms);
    for (int64_t i = 0; result.fault == FAULT_NONE && i < result.value; i++)
        ready[i] = epoll_decode(&records[i]);
    return result;
}

const struct poller_ops poller_epoll = {.change = change, .wait = wait};
