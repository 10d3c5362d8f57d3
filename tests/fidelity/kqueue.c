/* Fidelity of the simulated kqueue: its results are compared with documentation and, on systems
 * with a kqueue, with that. Built once for each; ENVIRONMENT selects.
 *
 * source    kqueue(2) of FreeBSD 14, from which the quotations are; where it is silent, filt_soread
 * and filt_sowrite of sys/kern/uipc_socket.c, and kqueue_kevent of sys/kern/kern_event.c. What is
 * marked "observed" was seen on the network stacks of NetBSD 7.99.34 and FreeBSD 13. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fidelity/environment.h"

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

/* A receipt: "done", or the error. */
static void check_receipt(struct environment *env, const struct kqueue_record *receipt,
                          const char *expected) {
    bool done = receipt->data == 0 && receipt->fault == FAULT_NONE;
    bool missing = receipt->data != 0 && receipt->fault == FAULT_NOT_FOUND;
    const char *found = done ? "done" : missing ? "ENOENT" : "another error";
    finds(env, "the receipt", receipt->flags & KQUEUE_CODEC_ERROR ? found : "none", expected);
}

static void changes(struct environment *env, int32_t descriptor, uint64_t token,
                    enum kqueue_filter filter, uint32_t flag, const char *expected) {
    struct kqueue_record change = change_of(descriptor, token, filter, flag);
    struct kqueue_record receipt = {.flags = 0};
    struct result result =
        env->kernel.ops->kevent(env->kernel.self, env->queue, &change, 1, &receipt, 1, 0);
    if (result.fault != FAULT_NONE || result.value != 1)
        environment_fail(env, "expected one receipt");
    check_receipt(env, &receipt, expected);
}

static void adds(struct environment *env, enum client client, enum kqueue_filter filter) {
    changes(env, env->clients[client].descriptor, client, filter, KQUEUE_CODEC_ADD, "done");
}

static void deletes(struct environment *env, enum client client, enum kqueue_filter filter,
                    const char *expected) {
    changes(env, env->clients[client].descriptor, client, filter, KQUEUE_CODEC_DELETE, expected);
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

/* Records sorted by token and filter, since the kernel chooses the order. */
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

/* A wait with timeout 0: "A:READ 5 EOF, A:WRITE". On a real kernel repeated until it matches. */
static void reports(struct environment *env, size_t max, const char *expected) {
    struct kqueue_record events[2 * CLIENTS + 1];
    char text[TEXT_BYTES];
    uint32_t turn = 0;
    do {
        struct result result =
            env->kernel.ops->kevent(env->kernel.self, env->queue, NULL, 0, events, max, 0);
        describe_all(text, events, result.value);
    } while (!matches(text, expected) && env->ops->rest(turn++));
    finds(env, "kevent", text, expected);
}

/* "Sockets which have previously been passed to listen(2) return when there is an incoming
 * connection pending. data contains the size of the listen backlog." */
static void listener_reports_the_size_of_its_backlog(struct environment *env) {
    changes(env, env->listener, LISTENER_TOKEN, KQUEUE_READ, KQUEUE_CODEC_ADD, "done");
    reports(env, 4, "");
    env->ops->connect(env, A, PLENTY);
    reports(env, 4, "L:READ 1");
    env->ops->connect(env, B, PLENTY);
    reports(env, 4, "L:READ 2");
    accepts(env, "A");
    accepts(env, "B");
    reports(env, 4, "");
}

/* "The kqueue is identified by an (ident, filter) pair": two filters of a socket are two records.
 * "data contains the number of bytes of protocol data available to read". */
static void two_filters_give_two_records(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_READ);
    adds(env, A, KQUEUE_WRITE);
    reports(env, 4, "A:WRITE");
    env->ops->send(env, A, 5);
    reports(env, 4, "A:READ 5, A:WRITE");
    receives(env, A, 3, "3");
    reports(env, 4, "A:READ 2, A:WRITE");
    reports(env, 1, "A:READ 2|A:WRITE");
}

/* Without EV_CLEAR every wait reports what is ready. */
static void level_triggered(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_READ);
    env->ops->send(env, A, 5);
    reports(env, 4, "A:READ 5");
    reports(env, 4, "A:READ 5");
    receives(env, A, 100, "5");
    reports(env, 4, "");
}

/* "If the read direction of the socket has shutdown, then the filter also sets EV_EOF … It is
 * possible for EOF to be returned … while there is still data pending in the socket buffer." */
static void eof_with_data_pending(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_READ);
    env->ops->send(env, A, 9000);
    env->ops->shutdown(env, A);
    reports(env, 4, "A:READ 9000 EOF");
    receives(env, A, 4096, "4096");
    reports(env, 4, "A:READ 4904 EOF");
    receives(env, A, 8192, "4904");
    reports(env, 4, "A:READ 0 EOF");
    receives(env, A, 100, "0");
    reports(env, 4, "A:READ 0 EOF");
}

/* "… and returns the socket error (if any) in fflags." */
static void eof_with_an_error(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_READ);
    env->ops->send(env, A, 5);
    env->ops->reset(env, A);
    reports(env, 4, "A:READ 5 EOF errno");
    receives(env, A, 100, "5");
    receives(env, A, 100, "ECONNRESET");
    reports(env, 4, "A:READ 0 EOF");
}

/* EVFILT_WRITE: "The filter will set EV_EOF when the reader disconnects". Data can still be
 * read. */
static void eof_of_writing_with_data_pending(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_WRITE);
    env->ops->send(env, A, 5);
    env->ops->reset(env, A);
    reports(env, 4, "A:WRITE EOF errno");
    receives(env, A, 100, "5");
}

/* A client's FIN ends one direction only. */
static void half_close_is_not_eof_of_writing(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_WRITE);
    env->ops->shutdown(env, A);
    reports(env, 4, "A:WRITE");
}

/* filt_sowrite: SBS_CANTSENDMORE, which shutdown sets, is EV_EOF. */
static void eof_of_writing_after_our_shutdown(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_READ);
    adds(env, A, KQUEUE_WRITE);
    shuts(env, A, "0");
    reports(env, 4, "A:WRITE EOF");
}

static void stalled_client_is_not_writable(struct environment *env) {
    env->ops->connect(env, A, 4096);
    accepts(env, "A");
    adds(env, A, KQUEUE_WRITE);
    fills(env, A);
    reports(env, 4, "");
    env->ops->shutdown(env, A);
    reports(env, 4, "");
    client_sees_all(env, A, "all");
    reports(env, 4, "A:WRITE");
}

/* EV_RECEIPT: "useful for making bulk changes to a kqueue without draining any pending events. …
 * When a filter is successfully added the data field will be zero." */
static void receipts_are_returned_without_events(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_READ);
    env->ops->send(env, A, 5);
    adds(env, A, KQUEUE_WRITE);
    reports(env, 4, "A:READ 5, A:WRITE");
}

/* "ENOENT: The event could not be found to be modified or deleted." */
static void deleting_a_missing_filter_is_enoent(struct environment *env) {
    serves(env, A);
    deletes(env, A, KQUEUE_READ, "ENOENT");
    adds(env, A, KQUEUE_READ);
    deletes(env, A, KQUEUE_WRITE, "ENOENT");
    deletes(env, A, KQUEUE_READ, "done");
    deletes(env, A, KQUEUE_READ, "ENOENT");
    env->ops->send(env, A, 5);
    reports(env, 4, "");
}

/* "If an error occurs while processing an element of the changelist and there is enough room in
 * the eventlist, then the event will be placed in the eventlist with EV_ERROR set in flags and the
 * system error in data." The other changes are applied. */
static void each_change_has_its_receipt(struct environment *env) {
    serves(env, A);
    int32_t descriptor = env->clients[A].descriptor;
    const struct kqueue_record both[] = {
        change_of(descriptor, A, KQUEUE_READ, KQUEUE_CODEC_DELETE),
        change_of(descriptor, A, KQUEUE_WRITE, KQUEUE_CODEC_ADD),
    };
    struct kqueue_record receipts[2];
    env->kernel.ops->kevent(env->kernel.self, env->queue, both, 2, receipts, 2, 0);
    check_receipt(env, &receipts[0], "ENOENT");
    check_receipt(env, &receipts[1], "done");
    reports(env, 4, "A:WRITE");
}

/* "… Otherwise, -1 will be returned, and errno will be set to indicate the error condition." The
 * changes before it are applied, those after it are not (kqueue_kevent). */
static void no_room_for_an_error(struct environment *env) {
    serves(env, A);
    env->ops->send(env, A, 5);
    int32_t descriptor = env->clients[A].descriptor;
    const struct kqueue_record three[] = {
        {.descriptor = descriptor, .filter = KQUEUE_WRITE, .flags = KQUEUE_CODEC_DELETE},
        {.descriptor = descriptor, .filter = KQUEUE_READ, .flags = KQUEUE_CODEC_ADD, .token = A},
        {.descriptor = descriptor, .filter = KQUEUE_WRITE, .flags = KQUEUE_CODEC_DELETE},
    };
    static const char *const expected[] = {"", "A:READ 5"};
    for (int first = 0; first < 2; first++) {
        struct kqueue_record none;
        struct result result =
            env->kernel.ops->kevent(env->kernel.self, env->queue, &three[first], 2, &none, 0, 0);
        finds(env, "kevent", result.fault == FAULT_NOT_FOUND ? "-1 ENOENT" : "another",
              "-1 ENOENT");
        reports(env, 4, expected[first]);
    }
}

/* Only EV_RECEIPT gives a record for success. Without it the call looks for events. */
static void changes_without_receipts_return_events(struct environment *env) {
    serves(env, A);
    env->ops->send(env, A, 5);
    struct kqueue_record change = change_of(env->clients[A].descriptor, A, KQUEUE_READ, 0);
    struct kqueue_record events[2];
    char text[TEXT_BYTES];
    change.flags = KQUEUE_CODEC_ADD;
    struct result result =
        env->kernel.ops->kevent(env->kernel.self, env->queue, &change, 1, events, 2, 0);
    describe_all(text, events, result.value);
    finds(env, "kevent", text, "A:READ 5");
}

/* EBADF is reported in the receipt of the change. */
static void change_of_a_closed_descriptor_fails(struct environment *env) {
    serves(env, A);
    int32_t descriptor = env->clients[A].descriptor;
    closes(env, A, "0");
    changes(env, descriptor, A, KQUEUE_READ, KQUEUE_CODEC_ADD, "another error");
}

/* "Re-adding an existing event will modify the parameters of the original event, and not result in
 * a duplicate entry." */
static void adding_twice_changes_the_token(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_WRITE);
    changes(env, env->clients[A].descriptor, B, KQUEUE_WRITE, KQUEUE_CODEC_ADD, "done");
    reports(env, 4, "B:WRITE");
}

/* "Calling close() on a file descriptor will remove any kevents that reference the descriptor." */
static void close_removes_the_filters(struct environment *env) {
    env->ops->connect(env, A, PLENTY);
    env->ops->connect(env, B, PLENTY);
    accepts(env, "A");
    adds(env, A, KQUEUE_WRITE);
    closes(env, A, "0");
    accepts(env, "B");
    reports(env, 4, "");
    deletes(env, B, KQUEUE_WRITE, "ENOENT");
}

/* Observed: a connection that was reset in the backlog is not handed out, and its data is gone. */
static void accept_of_a_reset_client_is_aborted(struct environment *env) {
    env->ops->connect(env, A, PLENTY);
    env->ops->send(env, A, 5);
    env->ops->reset(env, A);
    env->ops->connect(env, B, PLENTY);
    accepts(env, "ECONNABORTED");
    accepts(env, "B");
    accepts(env, "EAGAIN");
}

/* Observed: the error stays for a read, and in fflags, while writes fail otherwise. */
static void write_after_a_reset_is_a_broken_pipe(struct environment *env) {
    serves(env, A);
    adds(env, A, KQUEUE_READ);
    env->ops->reset(env, A);
    reports(env, 4, "A:READ 0 EOF errno");
    sends(env, A, 5, "EPIPE");
    sends(env, A, 5, "EPIPE");
    reports(env, 4, "A:READ 0 EOF errno");
    receives(env, A, 100, "ECONNRESET");
    reports(env, 4, "A:READ 0 EOF");
    receives(env, A, 100, "0");
}

/* Observed: a reset after the peer's FIN fails one read. */
static void read_of_a_fin_and_then_a_reset(struct environment *env) {
    serves(env, A);
    env->ops->shutdown(env, A);
    receives(env, A, 100, "0");
    env->ops->reset(env, A);
    receives(env, A, 100, "ECONNRESET");
    receives(env, A, 100, "0");
}

/* Observed: EINVAL on NetBSD. */
static void shutdown_after_a_reset(struct environment *env) {
    serves(env, A);
    env->ops->reset(env, A);
    shuts(env, A, "ENOTCONN|EINVAL");
}

/* Observed: unread input does not turn the FIN into RST. */
static void close_with_unread_input_sends_fin(struct environment *env) {
    serves(env, A);
    env->ops->send(env, A, 5);
    sends(env, A, 3, "3");
    closes(env, A, "0");
    client_sees(env, A, "3 FIN");
}

/* SO_SNDLOWAT, 2048 bytes (observed): with less room the filter does not report, and what does not
 * fit as a whole is refused (sosend_generic). How much room there is can be known of the simulated
 * kernel alone. */
static void little_room_is_none(struct environment *env) {
    bool simulated =
        env->ops == &simulated_freebsd_environment || env->ops == &simulated_netbsd_environment;
    if (!simulated) return;
    env->ops->connect(env, A, 4096);
    accepts(env, "A");
    adds(env, A, KQUEUE_WRITE);
    fills(env, A);
    env->ops->read(env, A, 2047);
    reports(env, 4, "");
    sends(env, A, 4096, "EAGAIN");
    env->ops->read(env, A, 1);
    reports(env, 4, "A:WRITE");
    sends(env, A, 4096, "2048");
    env->ops->read(env, A, 2000);
    reports(env, 4, "");
    sends(env, A, 100, "100");
}

/* Observed: the flags of the change are in those of the record; on NetBSD also EV_ADD. */
static void flags_of_the_change_stay(struct environment *env) {
    struct kqueue_record event = {.flags = 0};
    serves(env, A);
    adds(env, A, KQUEUE_WRITE);
    env->kernel.ops->kevent(env->kernel.self, env->queue, NULL, 0, &event, 1, 0);
    uint32_t others = event.flags & ~KQUEUE_CODEC_ADD;
    finds(env, "flags", others == KQUEUE_CODEC_RECEIPT ? "RECEIPT" : "others", "RECEIPT");
}

static void try(void **state) {
    void (*const *test)(struct environment *) = *state;
    struct environment env = {.ops = &ENVIRONMENT, .name = "kqueue"};
    env.ops->start(&env);
    if (env.mismatches == 0) (*test)(&env);
    env.ops->finish(&env);
    assert_int_equal(env.mismatches, 0);
}

#define TEST(function)                                                                             \
    {                                                                                              \
#function, try, NULL, NULL, &(void (*)(struct environment *)) { function }                 \
    }

static const struct CMUnitTest tests[] = {
    TEST(listener_reports_the_size_of_its_backlog),
    TEST(two_filters_give_two_records),
    TEST(level_triggered),
    TEST(eof_with_data_pending),
    TEST(eof_with_an_error),
    TEST(eof_of_writing_with_data_pending),
    TEST(half_close_is_not_eof_of_writing),
    TEST(eof_of_writing_after_our_shutdown),
    TEST(stalled_client_is_not_writable),
    TEST(receipts_are_returned_without_events),
    TEST(deleting_a_missing_filter_is_enoent),
    TEST(each_change_has_its_receipt),
    TEST(no_room_for_an_error),
    TEST(changes_without_receipts_return_events),
    TEST(change_of_a_closed_descriptor_fails),
    TEST(adding_twice_changes_the_token),
    TEST(close_removes_the_filters),
    TEST(accept_of_a_reset_client_is_aborted),
    TEST(write_after_a_reset_is_a_broken_pipe),
    TEST(read_of_a_fin_and_then_a_reset),
    TEST(shutdown_after_a_reset),
    TEST(close_with_unread_input_sends_fin),
    TEST(little_room_is_none),
    TEST(flags_of_the_change_stay),
};

int main(void) { return cmocka_run_group_tests_name("kqueue", tests, NULL, NULL); }
