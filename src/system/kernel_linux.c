#include <assert.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "posix.h"
#include "system/system.h"

static_assert(EPOLL_CODEC_IN == EPOLLIN && EPOLL_CODEC_OUT == EPOLLOUT, "as in sys/epoll.h");
static_assert(EPOLL_CODEC_ERR == EPOLLERR && EPOLL_CODEC_HUP == EPOLLHUP, "as in sys/epoll.h");
static_assert(EPOLL_CODEC_RDHUP == EPOLLRDHUP, "as in sys/epoll.h");

static int operation_of(enum epoll_operation operation) {
    switch (operation) {
    case EPOLL_ADD: return EPOLL_CTL_ADD;
    case EPOLL_DELETE: return EPOLL_CTL_DEL;
    default: return EPOLL_CTL_MOD;
    }
}

static struct result control(void *self, int32_t queue, int32_t descriptor,
                             struct epoll_change change, uint64_t token) {
    struct epoll_event event = {.events = change.events, .data.u64 = token};
    return posix_result(epoll_ctl(queue, operation_of(change.operation), descriptor, &event));
}

static struct result wait(void *self, int32_t queue, struct epoll_record *records, size_t max,
                          int32_t timeout_ms) {
    struct epoll_event events[POLLER_EVENTS_MAX];
    assert(max <= POLLER_EVENTS_MAX);
    struct result result = posix_result(epoll_wait(queue, events, (int)max, timeout_ms));
    for (int64_t i = 0; i < result.value; i++)
        records[i] = (struct epoll_record){.events = events[i].events, .token = events[i].data.u64};
    return result;
}

const struct kernel_ops system_kernel = {
    .accept = posix_accept,
    .receive = posix_receive,
    .send = posix_send,
    .shutdown = posix_shutdown,
    .close = posix_close_descriptor,
    .unread = posix_unread,
    .release = posix_release,
    .epoll_control = control,
    .epoll_wait = wait,
    .clock_ms = posix_clock_ms,
    .log_poll = posix_log_poll,
    .log_write = posix_log_write,
};

const int posix_reserve_flag = MAP_NORESERVE;
const int posix_reserve_advice = MADV_NOHUGEPAGE; /* a touched byte would cost 2 MiB */
const int posix_release_advice = MADV_DONTNEED;

const char posix_pipe_name[] = "/proc/self/fd/1";

const char system_poller[] = "epoll";

struct result system_open_poller(struct poller *poller) {
    struct result result = posix_result(epoll_create1(EPOLL_CLOEXEC));
    *poller = (struct poller){.ops = &poller_epoll,
                              .kernel = {.ops = &system_kernel, .self = NULL},
                              .queue = (int32_t)result.value};
    return result;
}
