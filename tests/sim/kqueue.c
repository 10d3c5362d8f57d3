#include "sim/kqueue.h"

#include "sim/faults.h"
#include "sim/queue.h"
#include "sim/tcp.h"
#include "sim/trace.h"

/* The flags of the change that added the filter stay: RECEIPT, and on NetBSD also ADD. */
static uint32_t kept_flags(const struct sim_kernel *sim) {
    return KQUEUE_CODEC_RECEIPT | (sim->system == SIM_NETBSD ? KQUEUE_CODEC_ADD : 0);
}

/* The record of one filter, whether or not it is registered; false if there is none (source:
 * kqueue(2) of FreeBSD). */
static bool filter_state(const struct sim_kernel *sim, int32_t descriptor,
                         enum kqueue_filter filter, struct kqueue_record *record) {
    *record = (struct kqueue_record){
        .descriptor = descriptor, .filter = filter, .flags = kept_flags(sim)};
    if (descriptor == SIM_LISTENER || descriptor == SIM_STOP) {
        record->data = descriptor == SIM_LISTENER ? tcp_backlog(sim) : sim->stop_pending;
        return record->data > 0 && filter == KQUEUE_READ;
    }
    const struct sim_link *link = &sim->links[sim_client_of(sim, descriptor)];
    bool end = filter == KQUEUE_READ ? tcp_at_end(link) : link->reset_arrived || link->server_shut;
    if (end) record->flags |= KQUEUE_CODEC_EOF;
    if (link->reset_arrived && link->error != FAULT_NONE) record->filter_flags = 104;
    record->data = (int64_t)(filter == KQUEUE_READ ? tcp_unread(link) : tcp_send_room(sim, link));
    return end || (filter == KQUEUE_READ ? tcp_unread(link) > 0 : tcp_is_writable(sim, link));
}

/* Varies a hint: EOF, the errno or the number of bytes is wrong. The filter is a registered one. */
static void vary_record(struct sim_kernel *sim, struct kqueue_record *record) {
    static const uint32_t numbers[] = {0, 32, 54, 60}; /* FreeBSD's EPIPE, ECONNRESET, ETIMEDOUT */
    if (!vary_one_in(sim, VARY_HINTS, 4)) return;
    uint64_t chosen = vary_bits(sim, VARY_HINTS, 3);
    if (chosen & 1) record->flags ^= KQUEUE_CODEC_EOF;
    if (chosen & 2) record->filter_flags = numbers[chosen >> 8 & 3];
    if (chosen & 4) record->data = (int64_t)(chosen >> 16 & 0xffff);
}

static void hash_record(struct sim_kernel *sim, const struct kqueue_record *record) {
    trace_hash(sim, (uint64_t)record->filter << 32 | (uint32_t)record->descriptor);
    trace_hash(sim, (uint64_t)record->filter_flags << 32 | record->flags);
    trace_hash(sim, (uint64_t)record->data);
    trace_hash(sim, record->token);
}

/* The records of one descriptor. Its two filters are reported in any order. */
static uint32_t gather_filters(struct sim_kernel *sim, int32_t descriptor,
                               struct kqueue_record *events, size_t max) {
    const struct sim_watch *watch = &sim->watches[descriptor];
    bool both = watch->filters[KQUEUE_READ] && watch->filters[KQUEUE_WRITE];
    bool turned = both && vary_one_in(sim, VARY_ORDER, 2);
    uint32_t found = 0;
    for (int i = 0; i < 2 && found < max; i++) {
        int filter = (i == 0) != turned ? KQUEUE_READ : KQUEUE_WRITE;
        if (!watch->filters[filter]) continue;
        bool ready = filter_state(sim, descriptor, (enum kqueue_filter)filter, &events[found]);
        bool spurious = !ready && queue_may_be_spurious(sim, descriptor);
        if (!ready && !(spurious && vary_one_in(sim, VARY_HINTS, 32))) continue;
        if (descriptor >= SIM_CLIENT_FIRST) vary_record(sim, &events[found]);
        events[found++].token = watch->token;
        queue_report(sim, descriptor);
    }
    return found;
}

static bool is_ready(const struct sim_kernel *sim, int32_t descriptor) {
    const struct sim_watch *watch = &sim->watches[descriptor];
    struct kqueue_record record;
    return (watch->filters[KQUEUE_READ] && filter_state(sim, descriptor, KQUEUE_READ, &record)) ||
           (watch->filters[KQUEUE_WRITE] && filter_state(sim, descriptor, KQUEUE_WRITE, &record));
}

static uint32_t gather_kqueue(struct sim_kernel *sim, void *records, size_t max) {
    struct kqueue_record *events = records;
    int32_t order[SIM_DESCRIPTORS];
    uint32_t count = queue_order(sim, is_ready, order);
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        found += gather_filters(sim, order[i], events + found, max - found);
        if (found == max || (found > 0 && queue_ends_early(sim, i))) {
            queue_ends_behind(sim, order[i]);
            break;
        }
    }
    uint64_t stale;
    if (queue_adds_stale(sim, found, max, &stale)) {
        events[found] = (struct kqueue_record){.filter = KQUEUE_READ, .flags = KQUEUE_CODEC_EOF};
        events[found++].token = stale;
    }
    for (uint32_t i = 0; i < found; i++)
        hash_record(sim, &events[i]);
    return found;
}

static struct result change_filter(struct sim_kernel *sim, const struct kqueue_record *change) {
    struct sim_watch *watch = &sim->watches[change->descriptor];
    if (change->flags & KQUEUE_CODEC_DELETE) {
        if (!watch->filters[change->filter]) return fault_result(FAULT_NOT_FOUND, 2);
        watch->filters[change->filter] = false;
        return fault_result(FAULT_NONE, 0);
    }
    watch->filters[change->filter] = true;
    watch->token = change->token;
    return fault_result(FAULT_NONE, 0);
}

/* Makes one change; returns the fault for its receipt. */
static struct result make_change(struct sim_kernel *sim, const struct kqueue_record *change) {
    if (!queue_is_open(sim, change->descriptor)) {
        oracle_fail(sim->oracle, "system-calls",
                    "a kevent change of descriptor %d, which is not open", change->descriptor);
        return fault_result(FAULT_OTHER, 9);
    }
    bool deletes = (change->flags & KQUEUE_CODEC_DELETE) != 0;
    struct result result = queue_inject(sim, change->descriptor, deletes);
    if (result.fault == FAULT_NONE) result = change_filter(sim, change);
    hash_record(sim, change);
    return trace_call(sim, CALL_CONTROL, change->descriptor,
                      change->flags + 65536u * change->filter, result);
}

/* Changes are applied first. One that fails, or has RECEIPT, gets a record; without room for the
 * record the call ends there with -1 and the change's errno, and the changes after it are not made
 * (kqueue(2), and kqueue_kevent of FreeBSD). Only if no change got a record does the call look for
 * events.
 *
 * The server's poller gives every change RECEIPT and room, since failures could not be told apart
 * otherwise; the oracle checks that. */
struct result sim_kevent(void *self, int32_t queue, const struct kqueue_record *changes,
                         size_t count, struct kqueue_record *events, size_t max,
                         int32_t timeout_ms) {
    struct sim_kernel *sim = self;
    size_t found = 0;
    bool refused = false;
    if (max < count)
        oracle_fail(sim->oracle, "system-calls", "a change without room for its receipt");
    for (size_t i = 0; i < count; i++) {
        bool receipt = (changes[i].flags & KQUEUE_CODEC_RECEIPT) != 0;
        if (!receipt) oracle_fail(sim->oracle, "system-calls", "a change without receipt");
        struct result result = make_change(sim, &changes[i]);
        if (result.fault == FAULT_NONE && !receipt) continue;
        if (found == max) return result;
        events[found] = changes[i];
        events[found].flags = KQUEUE_CODEC_ERROR;
        events[found].data = result.fault == FAULT_NONE ? 0 : result.raw;
        events[found++].fault = result.fault;
        refused |= result.fault != FAULT_NONE;
    }
    if (found == 0) return queue_wait(sim, gather_kqueue, events, max, timeout_ms);
    /* An interrupted call has still applied the changes; it returns no receipts (kqueue(2)).
     * FreeBSD and NetBSD never interrupted one that does not wait; the manual permits it. */
    if (!refused && vary_one_in(sim, VARY_EINTR, 16)) return fault_result(FAULT_INTERRUPTED, 4);
    return (struct result){.value = (int64_t)found};
}
