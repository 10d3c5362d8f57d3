/* Fidelity of the simulated kqueue. What it says is pinned to documentation, and where the system
 * has a kqueue, held against that: built once for each, WORLD says which.
 *
 * source    kqueue(2) of FreeBSD 14; where it is silent, filt_soread and filt_sowrite of its
 *           sys/kern/uipc_socket.c,
 *           and kqueue_kevent of its sys/kern/kern_event.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fidelity/world.h"

#define TEXT_BYTES 256
#define LISTENER_TOKEN CLIENTS

/* A change of one filter of a descriptor, with a receipt. */
static struct kqueue_record change_of(int32_t descriptor, uint64_t token, enum kqueue_filter filter,
                                      uint32_t flag) {
    return (struct kqueue_record){.descriptor = descriptor,
                                  .filter = filter,
                                  .flags = flag | KQUEUE_CODEC_RECEIPT,
                                  .token = token};
}

/* What a receipt says: "done", or the error. */
static void receipt_says(struct world *w, const struct kqueue_record *receipt,
                         const char *expected) {
    bool done = receipt->data == 0 && receipt->fault == FAULT_NONE;
    bool missing = receipt->data != 0 && receipt->fault == FAULT_NOT_FOUND;
    const char *found = done ? "done" : missing ? "ENOENT" : "another error";
    finds(w, "the receipt", receipt->flags & KQUEUE_CODEC_ERROR ? found : "none", expected);
}

static void changes(struct world *w, int32_t descriptor, uint64_t token, enum kqueue_filter filter,
                    uint32_t flag, const char *expected) {
    struct kqueue_record change = change_of(descriptor, token, filter, flag);
    struct kqueue_record receipt = {.flags = 0};
    struct result result =
        w->kernel.ops->kevent(w->kernel.self, w->queue, &change, 1, &receipt, 1, 0);
    if (result.fault != FAULT_NONE || result.value != 1) world_fail(w, "not one receipt");
    receipt_says(w, &receipt, expected);
}

static void adds(struct world *w, enum client client, enum kqueue_filter filter) {
    changes(w, w->clients[client].descriptor, client, filter, KQUEUE_CODEC_ADD, "done");
}

static void deletes(struct world *w, enum client client, enum kqueue_filter filter,
                    const char *expected) {
    changes(w, w->clients[client].descriptor, client, filter, KQUEUE_CODEC_DELETE, expected);
}

static void describe(char text[TEXT_BYTES], const struct kqueue_record *event) {
    size_t length = strlen(text);
    int letter = event->token == LISTENER_TOKEN ? 'L' : 'A' + (int)event->token;
    length +=
        (size_t)snprintf(text + length, TEXT_BYTES - length, "%s%c:%s", length > 0 ? ", " : "",
                         letter, event->filter == KQUEUE_READ ? "READ" : "WRITE");
    if (event->filter == KQUEUE_READ)
        length +=
            (size_t)snprintf(text + length, TEXT_BYTES - length, " %lld", (long long)event->data);
    if (event->flags & KQUEUE_CODEC_EOF)
        snprintf(text + length, TEXT_BYTES - length, "%s",
                 event->filter_flags != 0 ? " EOF errno" : " EOF");
}

/* Records by token and filter, for their order is free. */
static void describe_all(char text[TEXT_BYTES], const struct kqueue_record *events, int64_t count) {
    text[0] = '\0';
    for (uint64_t token = A; token <= LISTENER_TOKEN; token++) {
        for (int filter = KQUEUE_READ; filter <= KQUEUE_WRITE; filter++) {
            for (int64_t i = 0; i < count; i++) {
                if (events[i].token == token && events[i].filter == (enum kqueue_filter)filter)
                    describe(text, &events[i]);
            }
        }
    }
}

/* A wait of no time: "A:READ 5 EOF, A:WRITE". Where the kernel is real, again until it says so. */
static void reports(struct world *w, size_t max, const char *expected) {
    struct kqueue_record events[2 * CLIENTS + 1];
    char text[TEXT_BYTES];
    uint32_t turn = 0;
    do {
        struct result result =
            w->kernel.ops->kevent(w->kernel.self, w->queue, NULL, 0, events, max, 0);
        describe_all(text, events, result.value);
    } while (!matches(text, expected) && w->ops->rest(turn++));
    finds(w, "kevent", text, expected);
}

/* "Sockets which have previously been passed to listen(2) return when there is an incoming
 * connection pending. data contains the size of the listen backlog." */
static void the_listener_counts_its_backlog(struct world *w) {
    changes(w, w->listener, LISTENER_TOKEN, KQUEUE_READ, KQUEUE_CODEC_ADD, "done");
    reports(w, 4, "");
    w->ops->connect(w, A, PLENTY);
    reports(w, 4, "L:READ 1");
    w->ops->connect(w, B, PLENTY);
    reports(w, 4, "L:READ 2");
    accepts(w, "A");
    accepts(w, "B");
    reports(w, 4, "");
}

/* "The kqueue is identified by an (ident, filter) pair": two filters of a socket are two records.
 * "data contains the number of bytes of protocol data available to read". */
static void two_filters_are_two_records(struct world *w) {
    serves(w, A);
    adds(w, A, KQUEUE_READ);
    adds(w, A, KQUEUE_WRITE);
    reports(w, 4, "A:WRITE");
    w->ops->send(w, A, 5);
    reports(w, 4, "A:READ 5, A:WRITE");
    receives(w, A, 3, "3");
    reports(w, 4, "A:READ 2, A:WRITE");
    reports(w, 1, "A:READ 2|A:WRITE");
}

/* Without EV_CLEAR what is ready is reported by every wait. */
static void level_triggered(struct world *w) {
    serves(w, A);
    adds(w, A, KQUEUE_READ);
    w->ops->send(w, A, 5);
    reports(w, 4, "A:READ 5");
    reports(w, 4, "A:READ 5");
    receives(w, A, 100, "5");
    reports(w, 4, "");
}

/* "If the read direction of the socket has shutdown, then the filter also sets EV_EOF … It is
 * possible for EOF to be returned … while there is still data pending in the socket buffer." */
static void eof_with_data_pending(struct world *w) {
    serves(w, A);
    adds(w, A, KQUEUE_READ);
    w->ops->send(w, A, 9000);
    w->ops->shutdown(w, A);
    reports(w, 4, "A:READ 9000 EOF");
    receives(w, A, 4096, "4096");
    reports(w, 4, "A:READ 4904 EOF");
    receives(w, A, 8192, "4904");
    reports(w, 4, "A:READ 0 EOF");
    receives(w, A, 100, "0");
    reports(w, 4, "A:READ 0 EOF");
}

/* "… and returns the socket error (if any) in fflags." */
static void eof_with_an_error(struct world *w) {
    serves(w, A);
    adds(w, A, KQUEUE_READ);
    w->ops->send(w, A, 5);
    w->ops->reset(w, A);
    reports(w, 4, "A:READ 5 EOF errno");
    receives(w, A, 100, "5");
    receives(w, A, 100, "ECONNRESET");
    reports(w, 4, "A:READ 0 EOF");
}

/* EVFILT_WRITE: "The filter will set EV_EOF when the reader disconnects". That is not the end of
 * reading. */
static void eof_of_writing_with_data_pending(struct world *w) {
    serves(w, A);
    adds(w, A, KQUEUE_WRITE);
    w->ops->send(w, A, 5);
    w->ops->reset(w, A);
    reports(w, 4, "A:WRITE EOF errno");
    receives(w, A, 100, "5");
}

/* A client's FIN ends one direction alone. */
static void half_close_is_no_eof_of_writing(struct world *w) {
    serves(w, A);
    adds(w, A, KQUEUE_WRITE);
    w->ops->shutdown(w, A);
    reports(w, 4, "A:WRITE");
}

/* filt_sowrite: SBS_CANTSENDMORE, which our shutdown sets, is EV_EOF. */
static void eof_of_writing_after_our_shutdown(struct world *w) {
    serves(w, A);
    adds(w, A, KQUEUE_READ);
    adds(w, A, KQUEUE_WRITE);
    shuts(w, A, "0");
    reports(w, 4, "A:WRITE EOF");
}

static void a_stalled_client_is_not_writable(struct world *w) {
    w->ops->connect(w, A, 4096);
    accepts(w, "A");
    adds(w, A, KQUEUE_WRITE);
    fills(w, A);
    reports(w, 4, "");
    w->ops->shutdown(w, A);
    reports(w, 4, "");
    client_sees_all(w, A, "all");
    reports(w, 4, "A:WRITE");
}

/* EV_RECEIPT: "useful for making bulk changes to a kqueue without draining any pending events. …
 * When a filter is successfully added the data field will be zero." */
static void receipts_come_without_events(struct world *w) {
    serves(w, A);
    adds(w, A, KQUEUE_READ);
    w->ops->send(w, A, 5);
    adds(w, A, KQUEUE_WRITE);
    reports(w, 4, "A:READ 5, A:WRITE");
}

/* "ENOENT: The event could not be found to be modified or deleted." */
static void deleting_what_is_not_there(struct world *w) {
    serves(w, A);
    deletes(w, A, KQUEUE_READ, "ENOENT");
    adds(w, A, KQUEUE_READ);
    deletes(w, A, KQUEUE_WRITE, "ENOENT");
    deletes(w, A, KQUEUE_READ, "done");
    deletes(w, A, KQUEUE_READ, "ENOENT");
    w->ops->send(w, A, 5);
    reports(w, 4, "");
}

/* "If an error occurs while processing an element of the changelist and there is enough room in
 * the eventlist, then the event will be placed in the eventlist with EV_ERROR set in flags and the
 * system error in data." The other changes are made. */
static void each_change_has_its_receipt(struct world *w) {
    serves(w, A);
    int32_t descriptor = w->clients[A].descriptor;
    const struct kqueue_record both[] = {
        change_of(descriptor, A, KQUEUE_READ, KQUEUE_CODEC_DELETE),
        change_of(descriptor, A, KQUEUE_WRITE, KQUEUE_CODEC_ADD),
    };
    struct kqueue_record receipts[2];
    w->kernel.ops->kevent(w->kernel.self, w->queue, both, 2, receipts, 2, 0);
    receipt_says(w, &receipts[0], "ENOENT");
    receipt_says(w, &receipts[1], "done");
    reports(w, 4, "A:WRITE");
}

/* "… Otherwise, -1 will be returned, and errno will be set to indicate the error condition." The
 * changes before it are made, those behind it are not (kqueue_kevent). */
static void no_room_for_an_error(struct world *w) {
    serves(w, A);
    w->ops->send(w, A, 5);
    int32_t descriptor = w->clients[A].descriptor;
    const struct kqueue_record three[] = {
        {.descriptor = descriptor, .filter = KQUEUE_WRITE, .flags = KQUEUE_CODEC_DELETE},
        {.descriptor = descriptor, .filter = KQUEUE_READ, .flags = KQUEUE_CODEC_ADD, .token = A},
        {.descriptor = descriptor, .filter = KQUEUE_WRITE, .flags = KQUEUE_CODEC_DELETE},
    };
    static const char *const expected[] = {"", "A:READ 5"};
    for (int first = 0; first < 2; first++) {
        struct kqueue_record none;
        struct result result =
            w->kernel.ops->kevent(w->kernel.self, w->queue, &three[first], 2, &none, 0, 0);
        finds(w, "kevent", result.fault == FAULT_NOT_FOUND ? "-1 ENOENT" : "another", "-1 ENOENT");
        reports(w, 4, expected[first]);
    }
}

/* EV_RECEIPT is what brings a record of success. A call that has none looks for events. */
static void without_receipts_events_come(struct world *w) {
    serves(w, A);
    w->ops->send(w, A, 5);
    struct kqueue_record change = change_of(w->clients[A].descriptor, A, KQUEUE_READ, 0);
    struct kqueue_record events[2];
    char text[TEXT_BYTES];
    change.flags = KQUEUE_CODEC_ADD;
    struct result result =
        w->kernel.ops->kevent(w->kernel.self, w->queue, &change, 1, events, 2, 0);
    describe_all(text, events, result.value);
    finds(w, "kevent", text, "A:READ 5");
}

/* What is not open has no filter: EBADF, and that, too, is the change's own. */
static void a_change_of_what_is_not_open(struct world *w) {
    serves(w, A);
    int32_t descriptor = w->clients[A].descriptor;
    closes(w, A, "0");
    changes(w, descriptor, A, KQUEUE_READ, KQUEUE_CODEC_ADD, "another error");
}

/* "Re-adding an existing event will modify the parameters of the original event, and not result in
 * a duplicate entry." */
static void adding_twice_changes_the_token(struct world *w) {
    serves(w, A);
    adds(w, A, KQUEUE_WRITE);
    changes(w, w->clients[A].descriptor, B, KQUEUE_WRITE, KQUEUE_CODEC_ADD, "done");
    reports(w, 4, "B:WRITE");
}

/* "Calling close() on a file descriptor will remove any kevents that reference the descriptor." */
static void close_drops_the_filters(struct world *w) {
    w->ops->connect(w, A, PLENTY);
    w->ops->connect(w, B, PLENTY);
    accepts(w, "A");
    adds(w, A, KQUEUE_WRITE);
    closes(w, A, "0");
    accepts(w, "B");
    reports(w, 4, "");
    deletes(w, B, KQUEUE_WRITE, "ENOENT");
}

static void try(void **state) {
    void (*const *micro)(struct world *) = *state;
    struct world w = {.ops = &WORLD, .name = "kqueue"};
    w.ops->start(&w);
    if (w.mismatches == 0) (*micro)(&w);
    w.ops->finish(&w);
    assert_int_equal(w.mismatches, 0);
}

#define MICRO(micro)                                                                               \
    {                                                                                              \
#micro, try, NULL, NULL, &(void (*)(struct world *)) { micro }                             \
    }

static const struct CMUnitTest micros[] = {
    MICRO(the_listener_counts_its_backlog),
    MICRO(two_filters_are_two_records),
    MICRO(level_triggered),
    MICRO(eof_with_data_pending),
    MICRO(eof_with_an_error),
    MICRO(eof_of_writing_with_data_pending),
    MICRO(half_close_is_no_eof_of_writing),
    MICRO(eof_of_writing_after_our_shutdown),
    MICRO(a_stalled_client_is_not_writable),
    MICRO(receipts_come_without_events),
    MICRO(deleting_what_is_not_there),
    MICRO(each_change_has_its_receipt),
    MICRO(no_room_for_an_error),
    MICRO(without_receipts_events_come),
    MICRO(a_change_of_what_is_not_open),
    MICRO(adding_twice_changes_the_token),
    MICRO(close_drops_the_filters),
};

int main(void) { return cmocka_run_group_tests_name("kqueue", micros, NULL, NULL); }
