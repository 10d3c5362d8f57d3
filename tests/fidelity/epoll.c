/* Fidelity: what the simulated kernel says, held against Linux.
 *
 * Each function is one micro-scenario: a few things that clients do, and what the server's calls
 * say of them. It runs on the simulated kernel and on Linux sockets, and both must say what stands
 * here. Where a kernel is free, alternatives stand between bars.
 *
 * What the requirements take for measured, by SPEC.md's names, and where it is tried:
 *
 *   COST-3 an armed RDHUP spins            rdhup_spins, half_close_under_a_full_send_buffer
 *   CLOSE-4 data come with FIN             data_with_fin, data_and_fin_in_the_backlog
 *   CLOSE-5 read or write may see RST      reset_seen_first_by_read, reset_seen_first_by_write
 *   CLOSE-6 reset before the server looks  reset_in_the_backlog, data_and_reset_in_the_backlog
 *   FLOW-5 a burst over one buffer         burst_over_one_buffer
 *   FLOW-7 a read stops at the mark        a_read_stops_at_the_urgent_mark, urgent_*
 *   FAULT-1 a false EAGAIN, and an edge    an_edge_is_told_once
 *   FAULT-3 no descriptors                 descriptors_exhausted, …_and_nobody_there
 *   STOP-2 close with unread input is RST  close_with_unread_input, …_under_a_full_send_buffer
 *   REF-7 no progress under a zero window  a_stalled_client; that keep-alive does not see it takes
 *                                          minutes, and is not tried
 *   a duplicate holds the FIN back         a_duplicate_holds_the_connection */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "fidelity/world.h"

static void connects(struct world *w, enum client client, uint32_t window) {
    w->ops->connect(w, client, window);
}
static void client_sends(struct world *w, enum client client, uint64_t count) {
    w->ops->send(w, client, count);
}
static void client_sends_urgent(struct world *w, enum client client) {
    w->ops->send_urgent(w, client);
}
static void client_shuts(struct world *w, enum client client) { w->ops->shutdown(w, client); }
static void client_resets(struct world *w, enum client client) { w->ops->reset(w, client); }
static void client_closes(struct world *w, enum client client) { w->ops->close(w, client); }

/* The backlog */

static void nobody_in_the_backlog(struct world *w) {
    watches_listener(w);
    waits(w, 4, "");
    accepts(w, "EAGAIN");
}

static void backlog_in_order(struct world *w) {
    watches_listener(w);
    connects(w, A, PLENTY);
    connects(w, B, PLENTY);
    waits(w, 4, "L:IN");
    accepts(w, "A");
    waits(w, 4, "L:IN");
    accepts(w, "B");
    waits(w, 4, "");
    accepts(w, "EAGAIN");
}

static void data_and_fin_in_the_backlog(struct world *w) {
    connects(w, A, PLENTY);
    client_sends(w, A, 5);
    client_shuts(w, A);
    accepts(w, "A");
    hints(w, A, "IN OUT RDHUP");
    receives(w, A, 100, "5");
    receives(w, A, 100, "0");
    closes(w, A, "0");
    client_sees(w, A, "0 FIN");
}

static void reset_in_the_backlog(struct world *w) {
    connects(w, A, PLENTY);
    client_resets(w, A);
    accepts(w, "A");
    hints(w, A, "IN OUT RDHUP ERR HUP");
    receives(w, A, 100, "ECONNRESET");
    receives(w, A, 100, "0");
    closes(w, A, "0");
}

static void data_and_reset_in_the_backlog(struct world *w) {
    connects(w, A, PLENTY);
    client_sends(w, A, 5);
    client_resets(w, A);
    accepts(w, "A");
    receives(w, A, 100, "5");
    receives(w, A, 100, "ECONNRESET");
    receives(w, A, 100, "0");
}

static void the_listener_closes_on_the_backlog(struct world *w) {
    connects(w, A, PLENTY);
    connects(w, B, PLENTY);
    accepts(w, "A");
    w->kernel.ops->close(w->kernel.self, w->listener);
    w->listener = -1;
    client_sees(w, B, "0 RST");
    sends(w, A, 5, "5");
    client_sees(w, A, "5");
}

/* Without a descriptor nobody is taken from the backlog, and it stays ready. */
static void descriptors_exhausted(struct world *w) {
    watches_listener(w);
    connects(w, A, PLENTY);
    w->ops->exhaust(w, true);
    accepts(w, "EMFILE");
    waits(w, 4, "L:IN");
    accepts(w, "EMFILE");
    w->ops->exhaust(w, false);
    accepts(w, "A");
    accepts(w, "EAGAIN");
}

/* The descriptor is taken before the backlog is looked at. */
static void descriptors_exhausted_and_nobody_there(struct world *w) {
    w->ops->exhaust(w, true);
    accepts(w, "EMFILE");
    w->ops->exhaust(w, false);
    accepts(w, "EAGAIN");
}

static void the_lowest_descriptor_is_reused(struct world *w) {
    connects(w, A, PLENTY);
    connects(w, B, PLENTY);
    connects(w, C, PLENTY);
    accepts(w, "A");
    accepts(w, "B");
    int32_t freed = w->clients[A].descriptor;
    closes(w, A, "0");
    accepts(w, "C");
    finds(w, "the descriptor", w->clients[C].descriptor == freed ? "the one freed" : "another",
          "the one freed");
}

/* Data and FIN */

static void nothing_yet(struct world *w) {
    serves(w, A);
    hints(w, A, "OUT");
    counts_unread(w, A, "0");
    receives(w, A, 100, "EAGAIN");
}

static void data(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    hints(w, A, "IN OUT");
    receives(w, A, 3, "3");
    hints(w, A, "IN OUT");
    counts_unread(w, A, "2");
    receives(w, A, 100, "2");
    receives(w, A, 100, "EAGAIN");
    hints(w, A, "OUT");
}

static void an_answer(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    receives(w, A, 100, "5");
    sends(w, A, 5, "5");
    client_sees(w, A, "5");
}

static void data_with_fin(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_shuts(w, A);
    hints(w, A, "IN OUT RDHUP");
    counts_unread(w, A, "5");
    receives(w, A, 100, "5");
    receives(w, A, 100, "0");
    receives(w, A, 100, "0");
    hints(w, A, "IN OUT RDHUP");
    sends(w, A, 5, "5");
    closes(w, A, "0");
    client_sees(w, A, "5 FIN");
}

static void bare_fin(struct world *w) {
    serves(w, A);
    client_shuts(w, A);
    hints(w, A, "IN OUT RDHUP");
    counts_unread(w, A, "0");
    receives(w, A, 100, "0");
    closes(w, A, "0");
    client_sees(w, A, "0 FIN");
}

static void fin_after_the_data_were_read(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    receives(w, A, 100, "5");
    client_shuts(w, A);
    hints(w, A, "IN OUT RDHUP");
    receives(w, A, 100, "0");
}

/* More than one read's worth stays ready until all of it is read, without anything new. */
static void burst_over_one_buffer(struct world *w) {
    serves(w, A);
    client_sends(w, A, 30000);
    controls(w, A, EPOLL_ADD, IN, "0");
    for (int i = 0; i < 3; i++) {
        waits(w, 4, "A:IN");
        receives(w, A, 8192, "8192");
    }
    waits(w, 4, "A:IN");
    receives(w, A, 8192, "5424");
    waits(w, 4, "");
}

static void fin_behind_a_full_receive_buffer(struct world *w) {
    serves(w, A);
    w->ops->send_until_full(w, A);
    client_shuts(w, A);
    hints(w, A, "IN OUT");
    empties(w, A, "0");
    hints(w, A, "IN OUT RDHUP");
    bool all = w->clients[A].received == w->clients[A].sent;
    finds(w, "the server has", all ? "all" : "less", "all");
}

/* Reset */

static void reset_when_idle(struct world *w) {
    serves(w, A);
    client_resets(w, A);
    hints(w, A, "IN OUT RDHUP ERR HUP");
    receives(w, A, 100, "ECONNRESET");
    hints(w, A, "IN OUT RDHUP HUP");
    receives(w, A, 100, "0");
    sends(w, A, 5, "EPIPE");
    closes(w, A, "0");
}

static void reset_seen_first_by_read(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_resets(w, A);
    hints(w, A, "IN OUT RDHUP ERR HUP");
    counts_unread(w, A, "5");
    receives(w, A, 100, "5");
    receives(w, A, 100, "ECONNRESET");
    receives(w, A, 100, "0");
    receives(w, A, 100, "0");
}

static void reset_seen_first_by_write(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_resets(w, A);
    sends(w, A, 5, "ECONNRESET");
    hints(w, A, "IN OUT RDHUP HUP");
    receives(w, A, 100, "5");
    receives(w, A, 100, "0");
    sends(w, A, 5, "EPIPE");
}

/* Behind FIN the same RST is another error, which no read tells. */
static void reset_after_fin_seen_first_by_read(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_shuts(w, A);
    client_resets(w, A);
    hints(w, A, "IN OUT RDHUP ERR HUP");
    receives(w, A, 100, "5");
    receives(w, A, 100, "0");
    receives(w, A, 100, "0");
    hints(w, A, "IN OUT RDHUP ERR HUP");
    sends(w, A, 5, "EPIPE");
    hints(w, A, "IN OUT RDHUP HUP");
}

static void reset_after_fin_seen_first_by_write(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_shuts(w, A);
    client_resets(w, A);
    sends(w, A, 5, "EPIPE");
    hints(w, A, "IN OUT RDHUP HUP");
    receives(w, A, 100, "5");
    receives(w, A, 100, "0");
}

static void reset_after_our_shutdown(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    shuts(w, A, "0");
    client_resets(w, A);
    hints(w, A, "IN OUT RDHUP ERR HUP");
    receives(w, A, 100, "5");
    receives(w, A, 100, "ECONNRESET");
    receives(w, A, 100, "0");
}

static void reset_while_the_last_bytes_wait(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    fills(w, A);
    client_shuts(w, A);
    shuts(w, A, "0");
    hints(w, A, "IN OUT RDHUP HUP");
    client_resets(w, A);
    hints(w, A, "IN OUT RDHUP ERR HUP");
    receives(w, A, 100, "0");
    sends(w, A, 5, "ECONNRESET");
}

static void reset_under_a_full_send_buffer(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    fills(w, A);
    hints(w, A, "");
    client_resets(w, A);
    hints(w, A, "IN OUT RDHUP ERR HUP");
    sends(w, A, 5, "ECONNRESET");
    receives(w, A, 100, "0");
}

/* What the client could not send yet is lost with it. */
static void reset_behind_a_full_receive_buffer(struct world *w) {
    serves(w, A);
    w->ops->send_until_full(w, A);
    client_resets(w, A);
    empties(w, A, "ECONNRESET");
    receives(w, A, 100, "0");
}

static void shutdown_after_reset(struct world *w) {
    serves(w, A);
    client_resets(w, A);
    shuts(w, A, "ENOTCONN");
    hints(w, A, "IN OUT RDHUP ERR HUP");
    receives(w, A, 100, "ECONNRESET");
    shuts(w, A, "ENOTCONN");
    closes(w, A, "0");
}

/* A client that closes */

/* Nobody takes what we send: the first time that is not known yet. */
static void send_after_the_client_closed(struct world *w) {
    serves(w, A);
    client_closes(w, A);
    hints(w, A, "IN OUT RDHUP");
    sends(w, A, 5, "5");
    hints(w, A, "IN OUT RDHUP ERR HUP");
    sends(w, A, 5, "EPIPE");
    hints(w, A, "IN OUT RDHUP HUP");
    receives(w, A, 100, "0");
}

static void receive_after_the_client_closed(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_closes(w, A);
    receives(w, A, 100, "5");
    receives(w, A, 100, "0");
    sends(w, A, 5, "5");
    receives(w, A, 100, "0");
    sends(w, A, 5, "EPIPE");
}

static void the_client_closes_with_our_answer_unread(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    sends(w, A, 5, "5");
    client_closes(w, A);
    hints(w, A, "IN OUT RDHUP ERR HUP");
    receives(w, A, 100, "5");
    receives(w, A, 100, "ECONNRESET");
}

/* Our shutdown and close */

static void receive_after_our_shutdown(struct world *w) {
    serves(w, A);
    shuts(w, A, "0");
    client_sees(w, A, "0 FIN");
    hints(w, A, "OUT");
    client_sends(w, A, 5);
    hints(w, A, "IN OUT");
    receives(w, A, 100, "5");
    receives(w, A, 100, "EAGAIN");
}

static void send_after_our_shutdown(struct world *w) {
    serves(w, A);
    shuts(w, A, "0");
    sends(w, A, 5, "EPIPE");
}

static void shutdown_twice(struct world *w) {
    serves(w, A);
    shuts(w, A, "0");
    shuts(w, A, "0");
}

static void both_shut_the_client_first(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_shuts(w, A);
    shuts(w, A, "0");
    hints(w, A, "IN OUT RDHUP HUP");
    counts_unread(w, A, "5");
    receives(w, A, 100, "5");
    receives(w, A, 100, "0");
    client_sees(w, A, "0 FIN");
    shuts(w, A, "ENOTCONN");
}

static void both_shut_the_server_first(struct world *w) {
    serves(w, A);
    shuts(w, A, "0");
    client_sends(w, A, 5);
    client_shuts(w, A);
    hints(w, A, "IN OUT RDHUP HUP");
    receives(w, A, 100, "5");
    receives(w, A, 100, "0");
    shuts(w, A, "ENOTCONN");
}

/* A connection that both have ended is over: there is nothing to reset. */
static void reset_after_both_ended(struct world *w) {
    serves(w, A);
    client_shuts(w, A);
    shuts(w, A, "0");
    client_resets(w, A);
    hints(w, A, "IN OUT RDHUP HUP");
    receives(w, A, 100, "0");
    sends(w, A, 5, "EPIPE");
    closes(w, A, "0");
}

static void close_without_unread_input(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    receives(w, A, 100, "5");
    sends(w, A, 5, "5");
    closes(w, A, "0");
    client_sees(w, A, "5 FIN");
}

static void close_with_unread_input(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    receives(w, A, 2, "2");
    sends(w, A, 2, "2");
    closes(w, A, "0");
    client_sees(w, A, "2 RST");
}

/* It destroys what the client had no room for yet, … */
static void close_with_unread_input_under_a_full_send_buffer(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    client_sends(w, A, 5);
    fills(w, A);
    closes(w, A, "0");
    client_sees_all(w, A, "less RST");
}

/* … which a close without unread input delivers, … */
static void close_under_a_full_send_buffer(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    fills(w, A);
    closes(w, A, "0");
    client_sees_all(w, A, "all FIN");
}

/* … and so does a shutdown. */
static void shutdown_under_a_full_send_buffer(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    client_sends(w, A, 5);
    fills(w, A);
    shuts(w, A, "0");
    hints(w, A, "IN OUT");
    client_sees_all(w, A, "all FIN");
    receives(w, A, 100, "5");
}

/* The client has our FIN already: it sees no RST behind it. */
static void close_with_unread_input_after_shutdown(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    sends(w, A, 5, "5");
    shuts(w, A, "0");
    closes(w, A, "0");
    client_sees(w, A, "5 FIN");
}

static void input_after_close(struct world *w) {
    serves(w, A);
    sends(w, A, 5, "5");
    shuts(w, A, "0");
    closes(w, A, "0");
    client_sends(w, A, 5);
    client_sees(w, A, "5 FIN");
}

static void close_after_reset(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_resets(w, A);
    closes(w, A, "0");
}

/* Flow control */

static void half_close_under_a_full_send_buffer(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    fills(w, A);
    hints(w, A, "");
    client_shuts(w, A);
    hints(w, A, "IN RDHUP");
    receives(w, A, 100, "0");
    hints(w, A, "IN RDHUP");
    client_sees_all(w, A, "all");
    hints(w, A, "IN OUT RDHUP");
    closes(w, A, "0");
    client_sees_all(w, A, "all FIN");
}

/* A client that reads nothing is never reported: no event tells it from one that thinks. */
static void a_stalled_client(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    fills(w, A);
    hints(w, A, "");
    sends(w, A, 1, "EAGAIN");
    receives(w, A, 1, "EAGAIN");
    hints(w, A, "");
}

static void a_drained_client(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    fills(w, A);
    controls(w, A, EPOLL_ADD, OUT, "0");
    waits(w, 4, "");
    client_sees_all(w, A, "all");
    waits(w, 4, "A:OUT");
    sends(w, A, 5, "5");
    client_sees_all(w, A, "all");
}

/* A socket is writable once about a third of what filled it is gone. Sizes are the kernel's: it
 * counts its own overhead too. */
static void writable_is_a_threshold(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    fills(w, A);
    uint64_t full = w->ops->outstanding(w, A);
    uint32_t turn = 0;
    while (!is_writable(w, A) && turn < 100000) {
        w->ops->read(w, A, 8192);
        w->ops->rest(turn++);
    }
    uint64_t left = w->ops->outstanding(w, A);
    printf("%s: full with %llu, writable with %llu\n", w->name, (unsigned long long)full,
           (unsigned long long)left);
    finds(w, "writable", left * 4 <= full * 3 ? "late" : "early", "late");
    finds(w, "writable", left > 0 ? "before it is empty" : "empty", "before it is empty|empty");
}

/* Urgent data, in line */

static void a_read_stops_at_the_urgent_mark(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_sends_urgent(w, A);
    client_sends(w, A, 5);
    hints(w, A, "IN OUT");
    counts_unread(w, A, "11");
    receives(w, A, 100, "5");
    hints(w, A, "IN OUT");
    receives(w, A, 100, "6");
    receives(w, A, 100, "EAGAIN");
}

static void a_short_read_before_the_urgent_mark(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_sends_urgent(w, A);
    client_sends(w, A, 5);
    receives(w, A, 3, "3");
    receives(w, A, 3, "2");
    receives(w, A, 3, "3");
    receives(w, A, 100, "3");
}

static void urgent_first(struct world *w) {
    serves(w, A);
    client_sends_urgent(w, A);
    client_sends(w, A, 5);
    counts_unread(w, A, "6");
    receives(w, A, 100, "6");
}

static void urgent_last_then_fin(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_sends_urgent(w, A);
    client_shuts(w, A);
    hints(w, A, "IN OUT RDHUP");
    receives(w, A, 100, "5");
    receives(w, A, 100, "1");
    receives(w, A, 100, "0");
}

static void the_last_urgent_mark_counts(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_sends_urgent(w, A);
    client_sends(w, A, 5);
    client_sends_urgent(w, A);
    client_sends(w, A, 5);
    receives(w, A, 100, "11");
    receives(w, A, 100, "6");
}

static void urgent_behind_what_was_read(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    receives(w, A, 100, "5");
    client_sends_urgent(w, A);
    hints(w, A, "IN OUT");
    client_sends(w, A, 5);
    receives(w, A, 100, "6");
}

static void urgent_then_reset(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    client_sends_urgent(w, A);
    client_resets(w, A);
    receives(w, A, 100, "5");
    receives(w, A, 100, "1");
    receives(w, A, 100, "ECONNRESET");
}

/* Counts */

static void receive_of_no_bytes(struct world *w) {
    serves(w, A);
    receives(w, A, 0, "EAGAIN");
    client_sends(w, A, 5);
    receives(w, A, 0, "0");
    receives(w, A, 100, "5");
    client_shuts(w, A);
    receives(w, A, 0, "0");
}

static void send_of_no_bytes(struct world *w) {
    serves(w, A);
    sends(w, A, 0, "0");
    client_sees(w, A, "0");
    connects(w, B, 4096);
    accepts(w, "B");
    fills(w, B);
    sends(w, B, 0, "0");
}

static void receive_of_more_than_any_kernel_has(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    receives(w, A, (size_t)INT32_MAX + 4096, "5");
    receives(w, A, (size_t)INT32_MAX + 4096, "EAGAIN");
}

/* epoll */

static void registering(struct world *w) {
    serves(w, A);
    controls(w, A, EPOLL_MODIFY, IN, "ENOENT");
    controls(w, A, EPOLL_DELETE, NOTHING, "ENOENT");
    controls(w, A, EPOLL_ADD, IN, "0");
    controls(w, A, EPOLL_ADD, OUT, "EEXIST");
    waits(w, 4, "");
    controls(w, A, EPOLL_MODIFY, OUT, "0");
    waits(w, 4, "A:OUT");
    controls(w, A, EPOLL_DELETE, NOTHING, "0");
    controls(w, A, EPOLL_DELETE, NOTHING, "ENOENT");
    waits(w, 4, "");
}

/* What is closed is not registered any more, and its number can be registered again. */
static void closing_deregisters(struct world *w) {
    connects(w, A, PLENTY);
    connects(w, B, PLENTY);
    accepts(w, "A");
    controls(w, A, EPOLL_ADD, OUT, "0");
    closes(w, A, "0");
    waits(w, 4, "");
    accepts(w, "B");
    waits(w, 4, "");
    controls(w, B, EPOLL_ADD, OUT, "0");
    waits(w, 4, "B:OUT");
}

static void level_triggered(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    controls(w, A, EPOLL_ADD, IN, "0");
    waits(w, 4, "A:IN");
    waits(w, 4, "A:IN");
    receives(w, A, 3, "3");
    waits(w, 4, "A:IN");
    receives(w, A, 2, "2");
    waits(w, 4, "");
}

static void only_what_is_watched_is_reported(struct world *w) {
    serves(w, A);
    client_sends(w, A, 5);
    controls(w, A, EPOLL_ADD, NOTHING, "0");
    waits(w, 4, "");
    controls(w, A, EPOLL_MODIFY, OUT, "0");
    waits(w, 4, "A:OUT");
    controls(w, A, EPOLL_MODIFY, IN, "0");
    waits(w, 4, "A:IN");
    client_shuts(w, A);
    waits(w, 4, "A:IN");
}

static void err_and_hup_cannot_be_masked(struct world *w) {
    serves(w, A);
    controls(w, A, EPOLL_ADD, NOTHING, "0");
    client_resets(w, A);
    waits(w, 4, "A:ERR HUP");
    receives(w, A, 100, "ECONNRESET");
    waits(w, 4, "A:HUP");
    controls(w, A, EPOLL_MODIFY, OUT, "0");
    waits(w, 4, "A:OUT HUP");
    controls(w, A, EPOLL_DELETE, NOTHING, "0");
    waits(w, 4, "");
}

static void both_shut_is_hup(struct world *w) {
    serves(w, A);
    controls(w, A, EPOLL_ADD, NOTHING, "0");
    client_shuts(w, A);
    waits(w, 4, "");
    shuts(w, A, "0");
    waits(w, 4, "A:HUP");
}

/* Armed, RDHUP is reported by every wait: it spins for as long as output is pending. */
static void rdhup_spins(struct world *w) {
    connects(w, A, 4096);
    accepts(w, "A");
    fills(w, A);
    client_shuts(w, A);
    controls(w, A, EPOLL_ADD, OUT, "0");
    waits(w, 4, "");
    controls(w, A, EPOLL_MODIFY, OUT | RDHUP, "0");
    waits(w, 4, "A:RDHUP");
    receives(w, A, 100, "0");
    waits(w, 4, "A:RDHUP");
    waits(w, 4, "A:RDHUP");
}

/* After our own FIN a socket is writable for ever. */
static void out_spins_after_our_shutdown(struct world *w) {
    serves(w, A);
    shuts(w, A, "0");
    controls(w, A, EPOLL_ADD, OUT, "0");
    waits(w, 4, "A:OUT");
    sends(w, A, 5, "EPIPE");
    waits(w, 4, "A:OUT");
}

/* Which of them a wait reports first is the kernel's choice. */
static void fewer_slots_than_ready(struct world *w) {
    serves(w, A);
    serves(w, B);
    controls(w, A, EPOLL_ADD, IN, "0");
    controls(w, B, EPOLL_ADD, IN, "0");
    client_sends(w, A, 5);
    client_sends(w, B, 5);
    waits(w, 1, "A:IN|B:IN");
    waits(w, 4, "A:IN, B:IN");
    receives(w, A, 100, "5");
    waits(w, 1, "B:IN");
}

static void clients_are_apart(struct world *w) {
    serves(w, A);
    serves(w, B);
    controls(w, A, EPOLL_ADD, IN, "0");
    controls(w, B, EPOLL_ADD, IN, "0");
    client_resets(w, A);
    client_sends(w, B, 5);
    waits(w, 4, "A:IN ERR HUP, B:IN");
    receives(w, B, 100, "5");
    receives(w, A, 100, "ECONNRESET");
    sends(w, B, 5, "5");
    client_sees(w, B, "5");
}

/* Linux alone: the simulated kernel has one descriptor a socket, and no edges. */

/* While a duplicate is open, as when a test borrows the server's socket, a close sends nothing and
 * events go on. */
static void a_duplicate_holds_the_connection(struct world *w) {
    serves(w, A);
    controls(w, A, EPOLL_ADD, IN, "0");
    int duplicate = dup(w->clients[A].descriptor);
    closes(w, A, "0");
    client_sends(w, A, 5);
    waits(w, 4, "A:IN");
    client_sees(w, A, "0");
    close(duplicate);
    waits(w, 4, "");
    client_sees(w, A, "0 RST");
}

/* An edge is told once: who was told falsely that a call would block, and waits for the next, waits
 * until something new comes. */
static void an_edge_is_told_once(struct world *w) {
    serves(w, A);
    controls(w, A, EPOLL_ADD, IN | EPOLLET, "0");
    client_sends(w, A, 5);
    waits(w, 4, "A:IN");
    waits(w, 4, "");
    receives(w, A, 2, "2");
    waits(w, 4, "");
    client_sends(w, A, 5);
    waits(w, 4, "A:IN");
    receives(w, A, 100, "8");
}

/* Running */

#define MICRO(function)                                                                            \
    { #function, function }

struct micro {
    const char *name;
    void (*run)(struct world *w);
};
static const struct micro micros[] = {
    MICRO(nobody_in_the_backlog),
    MICRO(backlog_in_order),
    MICRO(data_and_fin_in_the_backlog),
    MICRO(reset_in_the_backlog),
    MICRO(data_and_reset_in_the_backlog),
    MICRO(the_listener_closes_on_the_backlog),
    MICRO(descriptors_exhausted),
    MICRO(descriptors_exhausted_and_nobody_there),
    MICRO(the_lowest_descriptor_is_reused),
    MICRO(nothing_yet),
    MICRO(data),
    MICRO(an_answer),
    MICRO(data_with_fin),
    MICRO(bare_fin),
    MICRO(fin_after_the_data_were_read),
    MICRO(burst_over_one_buffer),
    MICRO(fin_behind_a_full_receive_buffer),
    MICRO(reset_when_idle),
    MICRO(reset_seen_first_by_read),
    MICRO(reset_seen_first_by_write),
    MICRO(reset_after_fin_seen_first_by_read),
    MICRO(reset_after_fin_seen_first_by_write),
    MICRO(reset_after_our_shutdown),
    MICRO(reset_while_the_last_bytes_wait),
    MICRO(reset_under_a_full_send_buffer),
    MICRO(reset_behind_a_full_receive_buffer),
    MICRO(shutdown_after_reset),
    MICRO(send_after_the_client_closed),
    MICRO(receive_after_the_client_closed),
    MICRO(the_client_closes_with_our_answer_unread),
    MICRO(receive_after_our_shutdown),
    MICRO(send_after_our_shutdown),
    MICRO(shutdown_twice),
    MICRO(both_shut_the_client_first),
    MICRO(both_shut_the_server_first),
    MICRO(reset_after_both_ended),
    MICRO(close_without_unread_input),
    MICRO(close_with_unread_input),
    MICRO(close_with_unread_input_under_a_full_send_buffer),
    MICRO(close_under_a_full_send_buffer),
    MICRO(shutdown_under_a_full_send_buffer),
    MICRO(close_with_unread_input_after_shutdown),
    MICRO(input_after_close),
    MICRO(close_after_reset),
    MICRO(half_close_under_a_full_send_buffer),
    MICRO(a_stalled_client),
    MICRO(a_drained_client),
    MICRO(writable_is_a_threshold),
    MICRO(a_read_stops_at_the_urgent_mark),
    MICRO(a_short_read_before_the_urgent_mark),
    MICRO(urgent_first),
    MICRO(urgent_last_then_fin),
    MICRO(the_last_urgent_mark_counts),
    MICRO(urgent_behind_what_was_read),
    MICRO(urgent_then_reset),
    MICRO(receive_of_no_bytes),
    MICRO(send_of_no_bytes),
    MICRO(receive_of_more_than_any_kernel_has),
    MICRO(registering),
    MICRO(closing_deregisters),
    MICRO(level_triggered),
    MICRO(only_what_is_watched_is_reported),
    MICRO(err_and_hup_cannot_be_masked),
    MICRO(both_shut_is_hup),
    MICRO(rdhup_spins),
    MICRO(out_spins_after_our_shutdown),
    MICRO(fewer_slots_than_ready),
    MICRO(clients_are_apart),
};
static const struct micro linux_alone[] = {
    MICRO(a_duplicate_holds_the_connection),
    MICRO(an_edge_is_told_once),
};

#define MICROS (sizeof micros / sizeof micros[0])
#define LINUX_ALONE (sizeof linux_alone / sizeof linux_alone[0])

static struct trial {
    const struct micro *micro;
    const struct world_ops *ops;
    const char *world;
    char name[80];
} simulated_trials[MICROS], linux_trials[MICROS + LINUX_ALONE];

static void try(void **state) {
    const struct trial *trial = *state;
    struct world w = {.ops = trial->ops, .name = trial->world};
    w.ops->start(&w);
    if (w.mismatches == 0) trial->micro->run(&w);
    w.ops->finish(&w);
    assert_int_equal(w.mismatches, 0);
}

static struct CMUnitTest test_of(struct trial *trial, const struct micro *micro,
                                 const struct world_ops *ops, const char *world) {
    *trial = (struct trial){.micro = micro, .ops = ops, .world = world};
    snprintf(trial->name, sizeof trial->name, "%s_%s", world, micro->name);
    return (struct CMUnitTest){trial->name, try, NULL, NULL, trial};
}

int main(void) {
    struct CMUnitTest simulated[MICROS];
    struct CMUnitTest real[MICROS + LINUX_ALONE];
    for (size_t i = 0; i < MICROS; i++) {
        simulated[i] = test_of(&simulated_trials[i], &micros[i], &simulated_world, "simulated");
        real[i] = test_of(&linux_trials[i], &micros[i], &sockets_world, "linux");
    }
    for (size_t i = 0; i < LINUX_ALONE; i++)
        real[MICROS + i] =
            test_of(&linux_trials[MICROS + i], &linux_alone[i], &sockets_world, "linux");
    int failed = cmocka_run_group_tests_name("simulated", simulated, NULL, NULL);
    return failed + cmocka_run_group_tests_name("linux", real, NULL, NULL);
}
