#include <sys/types.h>
/* sys/event.h needs sys/types.h */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/event.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "posix.h"
#include "system/system.h"

static_assert(KQUEUE_CODEC_ADD == EV_ADD && KQUEUE_CODEC_DELETE == EV_DELETE, "as in sys/event.h");
static_assert(KQUEUE_CODEC_RECEIPT == EV_RECEIPT, "as in sys/event.h");
static_assert(KQUEUE_CODEC_ERROR == EV_ERROR && KQUEUE_CODEC_EOF == EV_EOF, "as in sys/event.h");

static_assert(sizeof(((struct kevent *)0)->udata) >= sizeof(uint64_t), "udata holds a token");

/* The values, and even the sign, differ between the BSDs. */
static enum kqueue_filter filter_of(const struct kevent *event) {
    if (event->filter == EVFILT_READ) return KQUEUE_READ;
    return event->filter == EVFILT_WRITE ? KQUEUE_WRITE : KQUEUE_OTHER;
}

/* EV_SET instead of an initializer: the types of the fields differ too. */
static struct kevent event_of(const struct kqueue_record *record) {
    struct kevent event;
    EV_SET(&event, (uintptr_t)record->descriptor,
           record->filter == KQUEUE_READ ? EVFILT_READ : EVFILT_WRITE,
           (unsigned short)record->flags, 0, 0, (void *)(uintptr_t)record->token);
    return event;
}

static struct kqueue_record record_of(const struct kevent *event) {
    bool failed = (event->flags & EV_ERROR) != 0 && event->data != 0;
    return (struct kqueue_record){
        .descriptor = (int32_t)event->ident,
        .filter = filter_of(event),
        .flags = (uint32_t)event->flags,
        .filter_flags = (uint32_t)event->fflags,
        .data = (int64_t)event->data,
        .fault = failed ? posix_fault((int)event->data) : FAULT_NONE,
        .token = (uint64_t)(uintptr_t)event->udata,
    };
}

static struct result control(void *self, int32_t queue, const struct kqueue_record *changes,
                             size_t count, struct kqueue_record *records, size_t max,
                             int32_t timeout_ms) {
    struct kevent in[KQUEUE_CHANGES_MAX];
    struct kevent out[POLLER_EVENTS_MAX];
    assert(count <= KQUEUE_CHANGES_MAX && max <= POLLER_EVENTS_MAX);
    /* Counts are int on some systems and size_t on others (NetBSD); this converts to both. */
    unsigned short in_count = (unsigned short)count;
    unsigned short out_max = (unsigned short)max;
    for (size_t i = 0; i < count; i++)
        in[i] = event_of(&changes[i]);
    struct timespec limit = {.tv_sec = timeout_ms / 1000,
                             .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    struct result result =
        posix_result(kevent(queue, in, in_count, out, out_max, timeout_ms < 0 ? NULL : &limit));
    for (int64_t i = 0; i < result.value; i++)
        records[i] = record_of(&out[i]);
    return result;
}

/* NetBSD's error for a connection that was reset is EINVAL. */
static struct result shut(void *self, int32_t descriptor) {
    struct result result = posix_shutdown(self, descriptor);
    if (result.raw == EINVAL) result.fault = FAULT_RESET;
    return result;
}

const struct kernel_ops system_kernel = {
    .accept = posix_accept,
    .receive = posix_receive,
    .send = posix_send,
    .shutdown = shut,
    .close = posix_close_descriptor,
    .unread = posix_unread,
    .release = posix_release,
    .kevent = control,
    .clock_ms = posix_clock_ms,
    .log_poll = posix_log_poll,
    .log_write = posix_log_write,
};

const int posix_reserve_flag = 0; /* these systems overcommit */
const int posix_reserve_advice = MADV_NORMAL;
const int posix_release_advice = MADV_FREE; /* here MADV_DONTNEED keeps the pages */

const char posix_pipe_name[] = ""; /* /dev/fd/1 would be a duplicate that shares its flags */

const char system_poller[] = "kqueue";

struct result system_open_poller(struct poller *poller) {
    struct result result = posix_result(kqueue());
    *poller = (struct poller){.ops = &poller_kqueue,
                              .kernel = {.ops = &system_kernel, .self = NULL},
                              .queue = (int32_t)result.value};
    if (result.fault == FAULT_NONE) fcntl((int)result.value, F_SETFD, FD_CLOEXEC);
    return result;
}
