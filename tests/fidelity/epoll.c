/* Fidelity of the simulated kernel, compared with Linux.
 *
 * Each function is a small test: a few actions of clients, and the results of the server's calls.
 * It runs on the simulated kernel and on Linux sockets, with the same expectations. Where a kernel
 * may choose, alternatives are separated by bars. */

/* clang-format off */
/* Facts about kernels that requirements of SPEC.md rely on, and the tests that measure them:
 *
 *   COST-3   an armed RDHUP spins             rdhup_spins, half_close_under_a_full_send_buffer
 *   CLOSE-4  data arrives with FIN            data_with_fin, data_and_fin_in_the_backlog
 *   CLOSE-5  read or write may see RST        reset_seen_first_by_read, reset_seen_first_by_write
 *   CLOSE-6  reset before the server looks    reset_in_the_backlog, data_and_reset_in_the_backlog
 *   FLOW-5   a burst over one buffer          burst_over_one_buffer
 *   FLOW-7   a read stops at the mark         read_stops_at_the_urgent_mark, urgent_*
 *   FAULT-1  a false EAGAIN, and an edge      edge_is_reported_once
 *   FAULT-3  no descriptors                   descriptors_exhausted, …_with_an_empty_backlog
 *   STOP-2   close with unread input is RST   close_with_unread_input, …_under_a_full_send_buffer
 *   REF-7    no progress under a zero window  stalled_client; that keep-alive does not detect it
 *                                             takes minutes, and is not measured
 *            a duplicate holds the FIN back   duplicated_descriptor_holds_the_connection */
/* clang-format on */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "fidelity/environment.h"

static void connects(struct environment *env, enum client client, uint32_t window) {
    env->ops->connect(env, client, window);
}
static void client_sends(struct environment *env, enum client client, uint64_t count) {
    env->ops->send(env, client, count);
}
static void client_sends_urgent(struct environment *env, enum client client) {
    env->ops->send_urgent(env, client);
}
static void client_shuts(struct environment *env, enum client client) {
    env->ops->shutdown(env, client);
}
static void client_resets(struct environment *env, enum client client) {
    env->ops->reset(env, client);
}
static void client_closes(struct environment *env, enum client client) {
    env->ops->close(env, client);
}

/* The backlog */

static void empty_backlog(struct environment *env) {
    watches_listener(env, IN);
    waits(env, 4, "");
    accepts(env, "EAGAIN");
}

static void backlog_in_order(struct environment *env) {
    watches_listener(env, IN);
    connects(env, A, PLENTY);
    connects(env, B, PLENTY);
    waits(env, 4, "L:IN");
    accepts(env, "A");
    waits(env, 4, "L:IN");
    accepts(env, "B");
    waits(env, 4, "");
    accepts(env, "EAGAIN");
}

static void data_and_fin_in_the_backlog(struct environment *env) {
    connects(env, A, PLENTY);
    client_sends(env, A, 5);
    client_shuts(env, A);
    accepts(env, "A");
    hints(env, A, "IN OUT RDHUP");
    receives(env, A, 100, "5");
    receives(env, A, 100, "0");
    closes(env, A, "0");
    client_sees(env, A, "0 FIN");
}

static void reset_in_the_backlog(struct environment *env) {
    connects(env, A, PLENTY);
    client_resets(env, A);
    accepts(env, "A");
    hints(env, A, "IN OUT RDHUP ERR HUP");
    receives(env, A, 100, "ECONNRESET");
    receives(env, A, 100, "0");
    closes(env, A, "0");
}

static void data_and_reset_in_the_backlog(struct environment *env) {
    connects(env, A, PLENTY);
    client_sends(env, A, 5);
    client_resets(env, A);
    accepts(env, "A");
    receives(env, A, 100, "5");
    receives(env, A, 100, "ECONNRESET");
    receives(env, A, 100, "0");
}

static void closing_the_listener_resets_the_backlog(struct environment *env) {
    connects(env, A, PLENTY);
    connects(env, B, PLENTY);
    accepts(env, "A");
    env->kernel.ops->close(env->kernel.self, env->listener);
    env->listener = -1;
    client_sees(env, B, "0 RST");
    sends(env, A, 5, "5");
    client_sees(env, A, "5");
}

/* Without a descriptor nothing is taken from the backlog, and the listener stays ready. */
static void descriptors_exhausted(struct environment *env) {
    watches_listener(env, IN);
    connects(env, A, PLENTY);
    env->ops->exhaust(env, true);
    accepts(env, "EMFILE");
    waits(env, 4, "L:IN");
    accepts(env, "EMFILE");
    env->ops->exhaust(env, false);
    accepts(env, "A");
    accepts(env, "EAGAIN");
}

/* The descriptor is reserved before the backlog is examined. */
static void descriptors_exhausted_with_an_empty_backlog(struct environment *env) {
    env->ops->exhaust(env, true);
    accepts(env, "EMFILE");
    env->ops->exhaust(env, false);
    accepts(env, "EAGAIN");
}

static void lowest_descriptor_is_reused(struct environment *env) {
    connects(env, A, PLENTY);
    connects(env, B, PLENTY);
    connects(env, C, PLENTY);
    accepts(env, "A");
    accepts(env, "B");
    int32_t freed = env->clients[A].descriptor;
    closes(env, A, "0");
    accepts(env, "C");
    finds(env, "the descriptor", env->clients[C].descriptor == freed ? "the one freed" : "another",
          "the one freed");
}

/* Data and FIN */

static void connection_without_data(struct environment *env) {
    serves(env, A);
    hints(env, A, "OUT");
    counts_unread(env, A, "0");
    receives(env, A, 100, "EAGAIN");
}

static void data_in_two_reads(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    hints(env, A, "IN OUT");
    receives(env, A, 3, "3");
    hints(env, A, "IN OUT");
    counts_unread(env, A, "2");
    receives(env, A, 100, "2");
    receives(env, A, 100, "EAGAIN");
    hints(env, A, "OUT");
}

static void answer(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    receives(env, A, 100, "5");
    sends(env, A, 5, "5");
    client_sees(env, A, "5");
}

static void data_with_fin(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_shuts(env, A);
    hints(env, A, "IN OUT RDHUP");
    counts_unread(env, A, "5");
    receives(env, A, 100, "5");
    receives(env, A, 100, "0");
    receives(env, A, 100, "0");
    hints(env, A, "IN OUT RDHUP");
    sends(env, A, 5, "5");
    closes(env, A, "0");
    client_sees(env, A, "5 FIN");
}

static void bare_fin(struct environment *env) {
    serves(env, A);
    client_shuts(env, A);
    hints(env, A, "IN OUT RDHUP");
    counts_unread(env, A, "0");
    receives(env, A, 100, "0");
    closes(env, A, "0");
    client_sees(env, A, "0 FIN");
}

static void fin_after_the_data_was_read(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    receives(env, A, 100, "5");
    client_shuts(env, A);
    hints(env, A, "IN OUT RDHUP");
    receives(env, A, 100, "0");
}

/* Data larger than one read stays ready until all of it is read, without a new event. */
static void burst_over_one_buffer(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 30000);
    controls(env, A, EPOLL_ADD, IN, "0");
    for (int i = 0; i < 3; i++) {
        waits(env, 4, "A:IN");
        receives(env, A, 8192, "8192");
    }
    waits(env, 4, "A:IN");
    receives(env, A, 8192, "5424");
    waits(env, 4, "");
}

static void fin_behind_a_full_receive_buffer(struct environment *env) {
    serves(env, A);
    env->ops->send_until_full(env, A);
    client_shuts(env, A);
    hints(env, A, "IN OUT");
    empties(env, A, "0");
    hints(env, A, "IN OUT RDHUP");
    bool all = env->clients[A].received == env->clients[A].sent;
    finds(env, "the server has", all ? "all" : "less", "all");
}

/* Reset */

static void reset_when_idle(struct environment *env) {
    serves(env, A);
    client_resets(env, A);
    hints(env, A, "IN OUT RDHUP ERR HUP");
    receives(env, A, 100, "ECONNRESET");
    hints(env, A, "IN OUT RDHUP HUP");
    receives(env, A, 100, "0");
    sends(env, A, 5, "EPIPE");
    closes(env, A, "0");
}

static void reset_seen_first_by_read(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_resets(env, A);
    hints(env, A, "IN OUT RDHUP ERR HUP");
    counts_unread(env, A, "5");
    receives(env, A, 100, "5");
    receives(env, A, 100, "ECONNRESET");
    receives(env, A, 100, "0");
    receives(env, A, 100, "0");
}

static void reset_seen_first_by_write(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_resets(env, A);
    sends(env, A, 5, "ECONNRESET");
    hints(env, A, "IN OUT RDHUP HUP");
    receives(env, A, 100, "5");
    receives(env, A, 100, "0");
    sends(env, A, 5, "EPIPE");
}

/* After FIN the same RST is another error, which no read returns. */
static void reset_after_fin_seen_first_by_read(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_shuts(env, A);
    client_resets(env, A);
    hints(env, A, "IN OUT RDHUP ERR HUP");
    receives(env, A, 100, "5");
    receives(env, A, 100, "0");
    receives(env, A, 100, "0");
    hints(env, A, "IN OUT RDHUP ERR HUP");
    sends(env, A, 5, "EPIPE");
    hints(env, A, "IN OUT RDHUP HUP");
}

static void reset_after_fin_seen_first_by_write(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_shuts(env, A);
    client_resets(env, A);
    sends(env, A, 5, "EPIPE");
    hints(env, A, "IN OUT RDHUP HUP");
    receives(env, A, 100, "5");
    receives(env, A, 100, "0");
}

static void reset_after_our_shutdown(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    shuts(env, A, "0");
    client_resets(env, A);
    hints(env, A, "IN OUT RDHUP ERR HUP");
    receives(env, A, 100, "5");
    receives(env, A, 100, "ECONNRESET");
    receives(env, A, 100, "0");
}

static void reset_while_output_is_pending_after_shutdown(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    fills(env, A);
    client_shuts(env, A);
    shuts(env, A, "0");
    hints(env, A, "IN OUT RDHUP HUP");
    client_resets(env, A);
    hints(env, A, "IN OUT RDHUP ERR HUP");
    receives(env, A, 100, "0");
    sends(env, A, 5, "ECONNRESET");
}

static void reset_under_a_full_send_buffer(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    fills(env, A);
    hints(env, A, "");
    client_resets(env, A);
    hints(env, A, "IN OUT RDHUP ERR HUP");
    sends(env, A, 5, "ECONNRESET");
    receives(env, A, 100, "0");
}

/* What the client could not send yet is lost. */
static void reset_behind_a_full_receive_buffer(struct environment *env) {
    serves(env, A);
    env->ops->send_until_full(env, A);
    client_resets(env, A);
    empties(env, A, "ECONNRESET");
    receives(env, A, 100, "0");
}

static void shutdown_after_reset(struct environment *env) {
    serves(env, A);
    client_resets(env, A);
    shuts(env, A, "ENOTCONN");
    hints(env, A, "IN OUT RDHUP ERR HUP");
    receives(env, A, 100, "ECONNRESET");
    shuts(env, A, "ENOTCONN");
    closes(env, A, "0");
}

/* A client that closes */

/* The first send succeeds, since the RST that it causes has not arrived yet. */
static void send_after_the_client_closed(struct environment *env) {
    serves(env, A);
    client_closes(env, A);
    hints(env, A, "IN OUT RDHUP");
    sends(env, A, 5, "5");
    hints(env, A, "IN OUT RDHUP ERR HUP");
    sends(env, A, 5, "EPIPE");
    hints(env, A, "IN OUT RDHUP HUP");
    receives(env, A, 100, "0");
}

static void receive_after_the_client_closed(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_closes(env, A);
    receives(env, A, 100, "5");
    receives(env, A, 100, "0");
    sends(env, A, 5, "5");
    receives(env, A, 100, "0");
    sends(env, A, 5, "EPIPE");
}

static void client_closes_with_unread_output(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    sends(env, A, 5, "5");
    client_closes(env, A);
    hints(env, A, "IN OUT RDHUP ERR HUP");
    receives(env, A, 100, "5");
    receives(env, A, 100, "ECONNRESET");
}

/* Our shutdown and close */

static void receive_after_our_shutdown(struct environment *env) {
    serves(env, A);
    shuts(env, A, "0");
    client_sees(env, A, "0 FIN");
    hints(env, A, "OUT");
    client_sends(env, A, 5);
    hints(env, A, "IN OUT");
    receives(env, A, 100, "5");
    receives(env, A, 100, "EAGAIN");
}

static void send_after_our_shutdown(struct environment *env) {
    serves(env, A);
    shuts(env, A, "0");
    sends(env, A, 5, "EPIPE");
}

static void shutdown_twice(struct environment *env) {
    serves(env, A);
    shuts(env, A, "0");
    shuts(env, A, "0");
}

static void both_shut_down_client_first(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_shuts(env, A);
    shuts(env, A, "0");
    hints(env, A, "IN OUT RDHUP HUP");
    counts_unread(env, A, "5");
    receives(env, A, 100, "5");
    receives(env, A, 100, "0");
    client_sees(env, A, "0 FIN");
    shuts(env, A, "ENOTCONN");
}

static void both_shut_down_server_first(struct environment *env) {
    serves(env, A);
    shuts(env, A, "0");
    client_sends(env, A, 5);
    client_shuts(env, A);
    hints(env, A, "IN OUT RDHUP HUP");
    receives(env, A, 100, "5");
    receives(env, A, 100, "0");
    shuts(env, A, "ENOTCONN");
}

/* A connection that both sides have ended cannot be reset. */
static void reset_after_both_ended(struct environment *env) {
    serves(env, A);
    client_shuts(env, A);
    shuts(env, A, "0");
    client_resets(env, A);
    hints(env, A, "IN OUT RDHUP HUP");
    receives(env, A, 100, "0");
    sends(env, A, 5, "EPIPE");
    closes(env, A, "0");
}

static void close_without_unread_input(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    receives(env, A, 100, "5");
    sends(env, A, 5, "5");
    closes(env, A, "0");
    client_sees(env, A, "5 FIN");
}

static void close_with_unread_input(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    receives(env, A, 2, "2");
    sends(env, A, 2, "2");
    closes(env, A, "0");
    client_sees(env, A, "2 RST");
}

/* It discards what the client had no room for yet, … */
static void close_with_unread_input_under_a_full_send_buffer(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    client_sends(env, A, 5);
    fills(env, A);
    closes(env, A, "0");
    client_sees_all(env, A, "less RST");
}

/* … which a close without unread input delivers, … */
static void close_under_a_full_send_buffer(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    fills(env, A);
    closes(env, A, "0");
    client_sees_all(env, A, "all FIN");
}

/* … and so does a shutdown. */
static void shutdown_under_a_full_send_buffer(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    client_sends(env, A, 5);
    fills(env, A);
    shuts(env, A, "0");
    hints(env, A, "IN OUT");
    client_sees_all(env, A, "all FIN");
    receives(env, A, 100, "5");
}

/* The client has received FIN already, and observes no RST after it. */
static void close_with_unread_input_after_shutdown(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    sends(env, A, 5, "5");
    shuts(env, A, "0");
    closes(env, A, "0");
    client_sees(env, A, "5 FIN");
}

static void input_after_close(struct environment *env) {
    serves(env, A);
    sends(env, A, 5, "5");
    shuts(env, A, "0");
    closes(env, A, "0");
    client_sends(env, A, 5);
    client_sees(env, A, "5 FIN");
}

static void close_after_reset(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_resets(env, A);
    closes(env, A, "0");
}

/* Flow control */

static void half_close_under_a_full_send_buffer(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    fills(env, A);
    hints(env, A, "");
    client_shuts(env, A);
    hints(env, A, "IN RDHUP");
    receives(env, A, 100, "0");
    hints(env, A, "IN RDHUP");
    client_sees_all(env, A, "all");
    hints(env, A, "IN OUT RDHUP");
    closes(env, A, "0");
    client_sees_all(env, A, "all FIN");
}

/* A client that does not read is never reported: no event distinguishes it from an idle one. */
static void stalled_client(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    fills(env, A);
    hints(env, A, "");
    sends(env, A, 1, "EAGAIN");
    receives(env, A, 1, "EAGAIN");
    hints(env, A, "");
}

static void stalled_client_reads_again(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    fills(env, A);
    controls(env, A, EPOLL_ADD, OUT, "0");
    waits(env, 4, "");
    client_sees_all(env, A, "all");
    waits(env, 4, "A:OUT");
    sends(env, A, 5, "5");
    client_sees_all(env, A, "all");
}

/* A socket is writable once about a third of its buffer is free. The kernel counts its own
 * overhead, so sizes are not exact. */
static void writable_is_a_threshold(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    fills(env, A);
    uint64_t full = env->ops->outstanding(env, A);
    uint32_t turn = 0;
    while (!is_writable(env, A) && turn < 100000) {
        env->ops->read(env, A, 8192);
        env->ops->rest(turn++);
    }
    uint64_t left = env->ops->outstanding(env, A);
    printf("%s: full with %llu, writable with %llu\n", env->name, (unsigned long long)full,
           (unsigned long long)left);
    finds(env, "writable", left * 4 <= full * 3 ? "late" : "early", "late");
    finds(env, "writable", left > 0 ? "before it is empty" : "empty", "before it is empty|empty");
}

/* Urgent data, in line */

static void read_stops_at_the_urgent_mark(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    hints(env, A, "IN OUT");
    counts_unread(env, A, "11");
    receives(env, A, 100, "5");
    hints(env, A, "IN OUT");
    receives(env, A, 100, "6");
    receives(env, A, 100, "EAGAIN");
}

static void short_reads_before_the_urgent_mark(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    receives(env, A, 3, "3");
    receives(env, A, 3, "2");
    receives(env, A, 3, "3");
    receives(env, A, 100, "3");
}

static void urgent_first(struct environment *env) {
    serves(env, A);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    counts_unread(env, A, "6");
    receives(env, A, 100, "6");
}

static void urgent_last_then_fin(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_shuts(env, A);
    hints(env, A, "IN OUT RDHUP");
    receives(env, A, 100, "5");
    receives(env, A, 100, "1");
    receives(env, A, 100, "0");
}

static void last_urgent_mark_counts(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    receives(env, A, 100, "11");
    receives(env, A, 100, "6");
}

static void urgent_after_earlier_data_was_read(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    receives(env, A, 100, "5");
    client_sends_urgent(env, A);
    hints(env, A, "IN OUT");
    client_sends(env, A, 5);
    receives(env, A, 100, "6");
}

static void urgent_then_reset(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_resets(env, A);
    receives(env, A, 100, "5");
    receives(env, A, 100, "1");
    receives(env, A, 100, "ECONNRESET");
}

/* Urgent data without SO_OOBINLINE, which the reference always sets and other servers do not */

static void serves_out_of_band(struct environment *env, enum client client) {
    env->ops->listen_out_of_band(env);
    serves(env, client);
}

/* What is received next comes after the byte that was passed over. */
static void passed_over(struct environment *env, enum client client) {
    env->clients[client].received++;
}

static void out_of_band_is_passed_over(struct environment *env) {
    serves_out_of_band(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    counts_unread(env, A, "5");
    receives(env, A, 100, "5");
    hints(env, A, "IN OUT");
    counts_unread(env, A, "0");
    passed_over(env, A);
    receives(env, A, 100, "5");
    receives(env, A, 100, "EAGAIN");
}

static void out_of_band_alone_is_not_readable(struct environment *env) {
    serves_out_of_band(env, A);
    client_sends_urgent(env, A);
    hints(env, A, "OUT");
    counts_unread(env, A, "0");
    receives(env, A, 100, "EAGAIN");
    closes(env, A, "0");
    client_sees(env, A, "0 FIN");
}

static void close_with_unread_out_of_band(struct environment *env) {
    serves_out_of_band(env, A);
    client_sends_urgent(env, A);
    closes(env, A, "0");
    client_sees(env, A, "0 RST");
}

static void out_of_band_last_then_fin(struct environment *env) {
    serves_out_of_band(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_shuts(env, A);
    receives(env, A, 100, "5");
    receives(env, A, 100, "0");
}

static void earlier_out_of_band_is_in_line(struct environment *env) {
    serves_out_of_band(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    receives(env, A, 100, "11");
    passed_over(env, A);
    receives(env, A, 100, "5");
}

/* Unless it would be read next: then another one passes over it. */
static void out_of_band_is_passed_over_by_another(struct environment *env) {
    serves_out_of_band(env, A);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    passed_over(env, A);
    receives(env, A, 100, "5");
    passed_over(env, A);
    receives(env, A, 100, "5");
}

static void out_of_band_in_the_backlog(struct environment *env) {
    env->ops->listen_out_of_band(env);
    connects(env, A, PLENTY);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    client_sends_urgent(env, A);
    client_sends(env, A, 5);
    accepts(env, "A");
    counts_unread(env, A, "5");
    passed_over(env, A);
    receives(env, A, 100, "5");
    passed_over(env, A);
    receives(env, A, 100, "5");
}

/* Counts */

static void receive_of_no_bytes(struct environment *env) {
    serves(env, A);
    receives(env, A, 0, "EAGAIN");
    client_sends(env, A, 5);
    receives(env, A, 0, "0");
    receives(env, A, 100, "5");
    client_shuts(env, A);
    receives(env, A, 0, "0");
}

static void send_of_no_bytes(struct environment *env) {
    serves(env, A);
    sends(env, A, 0, "0");
    client_sees(env, A, "0");
    connects(env, B, 4096);
    accepts(env, "B");
    fills(env, B);
    sends(env, B, 0, "0");
}

static void receive_of_more_than_2_gib(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    receives(env, A, (size_t)INT32_MAX + 4096, "5");
    receives(env, A, (size_t)INT32_MAX + 4096, "EAGAIN");
}

/* epoll */

static void registration_errors(struct environment *env) {
    serves(env, A);
    controls(env, A, EPOLL_MODIFY, IN, "ENOENT");
    controls(env, A, EPOLL_DELETE, NOTHING, "ENOENT");
    controls(env, A, EPOLL_ADD, IN, "0");
    controls(env, A, EPOLL_ADD, OUT, "EEXIST");
    waits(env, 4, "");
    controls(env, A, EPOLL_MODIFY, OUT, "0");
    waits(env, 4, "A:OUT");
    controls(env, A, EPOLL_DELETE, NOTHING, "0");
    controls(env, A, EPOLL_DELETE, NOTHING, "ENOENT");
    waits(env, 4, "");
}

/* A closed descriptor is no longer registered, and its number can be registered again. */
static void closing_deregisters(struct environment *env) {
    connects(env, A, PLENTY);
    connects(env, B, PLENTY);
    accepts(env, "A");
    controls(env, A, EPOLL_ADD, OUT, "0");
    closes(env, A, "0");
    waits(env, 4, "");
    accepts(env, "B");
    waits(env, 4, "");
    controls(env, B, EPOLL_ADD, OUT, "0");
    waits(env, 4, "B:OUT");
}

static void level_triggered(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    controls(env, A, EPOLL_ADD, IN, "0");
    waits(env, 4, "A:IN");
    waits(env, 4, "A:IN");
    receives(env, A, 3, "3");
    waits(env, 4, "A:IN");
    receives(env, A, 2, "2");
    waits(env, 4, "");
}

static void only_registered_events_are_reported(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    controls(env, A, EPOLL_ADD, NOTHING, "0");
    waits(env, 4, "");
    controls(env, A, EPOLL_MODIFY, OUT, "0");
    waits(env, 4, "A:OUT");
    controls(env, A, EPOLL_MODIFY, IN, "0");
    waits(env, 4, "A:IN");
    client_shuts(env, A);
    waits(env, 4, "A:IN");
}

static void err_and_hup_cannot_be_masked(struct environment *env) {
    serves(env, A);
    controls(env, A, EPOLL_ADD, NOTHING, "0");
    client_resets(env, A);
    waits(env, 4, "A:ERR HUP");
    receives(env, A, 100, "ECONNRESET");
    waits(env, 4, "A:HUP");
    controls(env, A, EPOLL_MODIFY, OUT, "0");
    waits(env, 4, "A:OUT HUP");
    controls(env, A, EPOLL_DELETE, NOTHING, "0");
    waits(env, 4, "");
}

static void both_shut_down_is_hup(struct environment *env) {
    serves(env, A);
    controls(env, A, EPOLL_ADD, NOTHING, "0");
    client_shuts(env, A);
    waits(env, 4, "");
    shuts(env, A, "0");
    waits(env, 4, "A:HUP");
}

/* With RDHUP registered every wait reports it, and a server spins while output is pending. */
static void rdhup_spins(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    fills(env, A);
    client_shuts(env, A);
    controls(env, A, EPOLL_ADD, OUT, "0");
    waits(env, 4, "");
    controls(env, A, EPOLL_MODIFY, OUT | RDHUP, "0");
    waits(env, 4, "A:RDHUP");
    receives(env, A, 100, "0");
    waits(env, 4, "A:RDHUP");
    waits(env, 4, "A:RDHUP");
}

/* After shutdown a socket is always writable. */
static void out_spins_after_our_shutdown(struct environment *env) {
    serves(env, A);
    shuts(env, A, "0");
    controls(env, A, EPOLL_ADD, OUT, "0");
    waits(env, 4, "A:OUT");
    sends(env, A, 5, "EPIPE");
    waits(env, 4, "A:OUT");
}

/* The kernel chooses which one a wait reports first. */
static void fewer_records_than_ready(struct environment *env) {
    serves(env, A);
    serves(env, B);
    controls(env, A, EPOLL_ADD, IN, "0");
    controls(env, B, EPOLL_ADD, IN, "0");
    client_sends(env, A, 5);
    client_sends(env, B, 5);
    waits(env, 1, "A:IN|B:IN");
    waits(env, 4, "A:IN, B:IN");
    receives(env, A, 100, "5");
    waits(env, 1, "B:IN");
}

static void connections_are_independent(struct environment *env) {
    serves(env, A);
    serves(env, B);
    controls(env, A, EPOLL_ADD, IN, "0");
    controls(env, B, EPOLL_ADD, IN, "0");
    client_resets(env, A);
    client_sends(env, B, 5);
    waits(env, 4, "A:IN ERR HUP, B:IN");
    receives(env, B, 100, "5");
    receives(env, A, 100, "ECONNRESET");
    sends(env, B, 5, "5");
    client_sees(env, B, "5");
}

/* Linux only: the simulated kernel has one descriptor per socket. */

/* While a duplicated descriptor is open, as when a test duplicates the server's socket, close sends
 * nothing and events continue. */
static void duplicated_descriptor_holds_the_connection(struct environment *env) {
    serves(env, A);
    controls(env, A, EPOLL_ADD, IN, "0");
    int duplicate = dup(env->clients[A].descriptor);
    closes(env, A, "0");
    client_sends(env, A, 5);
    waits(env, 4, "A:IN");
    client_sees(env, A, "0");
    close(duplicate);
    waits(env, 4, "");
    client_sees(env, A, "0 RST");
}

/* An edge is reported once: after a spurious EAGAIN the next event comes only with new
 * data_in_two_reads. */
static void edge_is_reported_once(struct environment *env) {
    serves(env, A);
    controls(env, A, EPOLL_ADD, IN | EPOLLET, "0");
    client_sends(env, A, 5);
    waits(env, 4, "A:IN");
    waits(env, 4, "");
    receives(env, A, 2, "2");
    waits(env, 4, "");
    client_sends(env, A, 5);
    waits(env, 4, "A:IN");
    receives(env, A, 100, "8");
}

/* A FIN is an edge for a writer, too; data is not. */
static void edge_of_a_fin(struct environment *env) {
    serves(env, A);
    controls(env, A, EPOLL_ADD, OUT | EPOLLET, "0");
    waits(env, 4, "A:OUT");
    client_sends(env, A, 5);
    waits(env, 4, "");
    client_shuts(env, A);
    waits(env, 4, "A:OUT");
    waits(env, 4, "");
}

static void edge_of_a_reset(struct environment *env) {
    serves(env, A);
    controls(env, A, EPOLL_ADD, OUT | EPOLLET, "0");
    waits(env, 4, "A:OUT");
    client_resets(env, A);
    waits(env, 4, "A:OUT ERR HUP");
    waits(env, 4, "");
}

static void edge_of_room_after_a_full_buffer(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    controls(env, A, EPOLL_ADD, OUT | EPOLLET, "0");
    waits(env, 4, "A:OUT");
    fills(env, A);
    waits(env, 4, "");
    client_sees_all(env, A, "all");
    waits(env, 4, "A:OUT");
    waits(env, 4, "");
}

/* A registration that finds no room asks for it, though no send has failed since. */
static void edge_of_room_that_was_asked_for(struct environment *env) {
    connects(env, A, 4096);
    accepts(env, "A");
    fills(env, A);
    controls(env, A, EPOLL_ADD, OUT | EPOLLET, "0");
    waits(env, 4, "");
    client_sees_all(env, A, "all");
    waits(env, 4, "A:OUT");
}

static void edge_of_the_listener(struct environment *env) {
    watches_listener(env, IN | EPOLLET);
    connects(env, A, PLENTY);
    waits(env, 4, "L:IN");
    waits(env, 4, "");
    connects(env, B, PLENTY);
    waits(env, 4, "L:IN");
    accepts(env, "A");
    waits(env, 4, "");
    accepts(env, "B");
}

static void registration_reports_what_is_ready(struct environment *env) {
    serves(env, A);
    client_sends(env, A, 5);
    controls(env, A, EPOLL_ADD, IN | EPOLLET, "0");
    waits(env, 4, "A:IN");
    waits(env, 4, "");
    controls(env, A, EPOLL_MODIFY, IN | OUT | EPOLLET, "0");
    waits(env, 4, "A:IN OUT");
    waits(env, 4, "");
}

static void one_shot_reports_once(struct environment *env) {
    serves(env, A);
    controls(env, A, EPOLL_ADD, IN | EPOLLONESHOT, "0");
    client_sends(env, A, 5);
    waits(env, 4, "A:IN");
    client_sends(env, A, 5);
    waits(env, 4, "");
    client_resets(env, A);
    waits(env, 4, "");
    controls(env, A, EPOLL_MODIFY, IN | EPOLLONESHOT, "0");
    waits(env, 4, "A:IN ERR HUP");
    waits(env, 4, "");
}

/* Running */

#define TEST(function)                                                                             \
    { #function, function }

struct test {
    const char *name;
    void (*run)(struct environment *env);
};
static const struct test tests[] = {
    TEST(empty_backlog),
    TEST(backlog_in_order),
    TEST(data_and_fin_in_the_backlog),
    TEST(reset_in_the_backlog),
    TEST(data_and_reset_in_the_backlog),
    TEST(closing_the_listener_resets_the_backlog),
    TEST(descriptors_exhausted),
    TEST(descriptors_exhausted_with_an_empty_backlog),
    TEST(lowest_descriptor_is_reused),
    TEST(connection_without_data),
    TEST(data_in_two_reads),
    TEST(answer),
    TEST(data_with_fin),
    TEST(bare_fin),
    TEST(fin_after_the_data_was_read),
    TEST(burst_over_one_buffer),
    TEST(fin_behind_a_full_receive_buffer),
    TEST(reset_when_idle),
    TEST(reset_seen_first_by_read),
    TEST(reset_seen_first_by_write),
    TEST(reset_after_fin_seen_first_by_read),
    TEST(reset_after_fin_seen_first_by_write),
    TEST(reset_after_our_shutdown),
    TEST(reset_while_output_is_pending_after_shutdown),
    TEST(reset_under_a_full_send_buffer),
    TEST(reset_behind_a_full_receive_buffer),
    TEST(shutdown_after_reset),
    TEST(send_after_the_client_closed),
    TEST(receive_after_the_client_closed),
    TEST(client_closes_with_unread_output),
    TEST(receive_after_our_shutdown),
    TEST(send_after_our_shutdown),
    TEST(shutdown_twice),
    TEST(both_shut_down_client_first),
    TEST(both_shut_down_server_first),
    TEST(reset_after_both_ended),
    TEST(close_without_unread_input),
    TEST(close_with_unread_input),
    TEST(close_with_unread_input_under_a_full_send_buffer),
    TEST(close_under_a_full_send_buffer),
    TEST(shutdown_under_a_full_send_buffer),
    TEST(close_with_unread_input_after_shutdown),
    TEST(input_after_close),
    TEST(close_after_reset),
    TEST(half_close_under_a_full_send_buffer),
    TEST(stalled_client),
    TEST(stalled_client_reads_again),
    TEST(writable_is_a_threshold),
    TEST(read_stops_at_the_urgent_mark),
    TEST(short_reads_before_the_urgent_mark),
    TEST(urgent_first),
    TEST(urgent_last_then_fin),
    TEST(last_urgent_mark_counts),
    TEST(urgent_after_earlier_data_was_read),
    TEST(urgent_then_reset),
    TEST(out_of_band_is_passed_over),
    TEST(out_of_band_alone_is_not_readable),
    TEST(close_with_unread_out_of_band),
    TEST(out_of_band_last_then_fin),
    TEST(earlier_out_of_band_is_in_line),
    TEST(out_of_band_is_passed_over_by_another),
    TEST(out_of_band_in_the_backlog),
    TEST(receive_of_no_bytes),
    TEST(send_of_no_bytes),
    TEST(receive_of_more_than_2_gib),
    TEST(registration_errors),
    TEST(closing_deregisters),
    TEST(level_triggered),
    TEST(only_registered_events_are_reported),
    TEST(err_and_hup_cannot_be_masked),
    TEST(both_shut_down_is_hup),
    TEST(rdhup_spins),
    TEST(out_spins_after_our_shutdown),
    TEST(fewer_records_than_ready),
    TEST(connections_are_independent),
    TEST(edge_is_reported_once),
    TEST(edge_of_a_fin),
    TEST(edge_of_a_reset),
    TEST(edge_of_room_after_a_full_buffer),
    TEST(edge_of_room_that_was_asked_for),
    TEST(edge_of_the_listener),
    TEST(registration_reports_what_is_ready),
    TEST(one_shot_reports_once),
};
static const struct test linux_only[] = {
    TEST(duplicated_descriptor_holds_the_connection),
};

#define TESTS (sizeof tests / sizeof tests[0])
#define LINUX_ONLY (sizeof linux_only / sizeof linux_only[0])

static struct trial {
    const struct test *test;
    const struct environment_ops *ops;
    const char *environment;
    char name[80];
} simulated_trials[TESTS], linux_trials[TESTS + LINUX_ONLY];

static void try(void **state) {
    const struct trial *trial = *state;
    struct environment env = {.ops = trial->ops, .name = trial->environment};
    env.ops->start(&env);
    if (env.mismatches == 0) trial->test->run(&env);
    env.ops->finish(&env);
    assert_int_equal(env.mismatches, 0);
}

static struct CMUnitTest test_of(struct trial *trial, const struct test *test,
                                 const struct environment_ops *ops, const char *environment) {
    *trial = (struct trial){.test = test, .ops = ops, .environment = environment};
    snprintf(trial->name, sizeof trial->name, "%s_%s", environment, test->name);
    return (struct CMUnitTest){trial->name, try, NULL, NULL, trial};
}

int main(void) {
    struct CMUnitTest simulated[TESTS];
    struct CMUnitTest real[TESTS + LINUX_ONLY];
    for (size_t i = 0; i < TESTS; i++) {
        simulated[i] =
            test_of(&simulated_trials[i], &tests[i], &simulated_environment, "simulated");
        real[i] = test_of(&linux_trials[i], &tests[i], &sockets_environment, "linux");
    }
    for (size_t i = 0; i < LINUX_ONLY; i++)
        real[TESTS + i] =
            test_of(&linux_trials[TESTS + i], &linux_only[i], &sockets_environment, "linux");
    int failed = cmocka_run_group_tests_name("simulated", simulated, NULL, NULL);
    return failed + cmocka_run_group_tests_name("linux", real, NULL, NULL);
}
