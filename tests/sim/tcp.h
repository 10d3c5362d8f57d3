#pragma once

#include "sim/kernel.h"

/* Connections: what is in flight between the two ends, and what each end can see of it. */

/* Delivers what is in flight between both ends of every connection; if `vary`, which is VARY_DELAY
 * or 0, perhaps only part of it. */
void tcp_deliver(struct sim_kernel *sim, uint32_t vary);

/* A client connects; `window`: its receive buffer, or 0. */
void tcp_connect(struct sim_kernel *sim, uint32_t client, uint32_t window);

/* Every client of the crowd sends, unless much of what it sent is unread. */
void tcp_crowd_sends(struct sim_kernel *sim);

/* A client's step. */
void tcp_act(struct sim_kernel *sim, const struct step *step);

/* The server's end sends RST. */
void tcp_server_resets(struct sim_link *link);

/* Edges, which EPOLLET reports: data wakes readers, room writers, FIN and RST everybody (Linux,
 * sock_def_readable, sk_stream_write_space, sock_def_wakeup). */
enum { EDGE_READ, EDGE_WRITE, EDGE_ALL };

/* How many connections wait to be accepted. */
static inline uint32_t tcp_backlog(const struct sim_kernel *sim) {
    return sim->backlog_end - sim->backlog_taken;
}

/* Not `room > 0`: a kernel reports a socket writable only once a good part of its buffer is free
 * (Linux: a third; BSD: SO_SNDLOWAT). A server that waits for a smaller part would wait for
 * ever. */
bool tcp_is_writable(const struct sim_kernel *sim, const struct sim_link *link);

/* Both FINs have arrived: for the network the connection no longer exists. */
static inline bool tcp_is_over(const struct sim_link *link) {
    return link->fin_arrived && link->server_shut && link->delivered == link->written;
}

/* SO_SNDLOWAT of BSD: 2048, but no more than the buffer (sbreserve). */
static inline uint64_t tcp_low_water(const struct sim_kernel *sim) {
    return sim->send_bytes < 2048 ? sim->send_bytes : 2048;
}

static inline uint64_t tcp_unread(const struct sim_link *link) {
    return link->arrived - link->taken;
}

/* Without SO_OOBINLINE the urgent byte is no part of what is read: a read stops before it, and the
 * next one passes it over (source: Linux, tcp_recvmsg_locked). True if it would be read next. */
static inline bool tcp_at_urgent(const struct sim_link *link) {
    return link->out_of_band && link->urgent_end == link->taken + 1;
}

/* The urgent byte by itself does not make a socket readable (source: Linux, tcp_poll). */
static inline bool tcp_is_readable(const struct sim_link *link) {
    return tcp_unread(link) > tcp_at_urgent(link);
}

/* What FIONREAD tells: what comes before the urgent byte (source: Linux, tcp_inq). */
static inline uint64_t tcp_counted(const struct sim_link *link) {
    bool ahead = link->urgent_end > link->taken && link->urgent_end <= link->arrived;
    return link->out_of_band && ahead ? link->urgent_end - 1 - link->taken : tcp_unread(link);
}

/* Of the first `end` bytes those that have to be answered: not an urgent one at their end that no
 * read has passed over. */
static inline uint64_t tcp_due(const struct sim_link *link, uint64_t end) {
    return end - (tcp_at_urgent(link) && link->urgent_end == end);
}

/* A read, or another urgent byte, passes over the urgent byte that would be read next. */
void tcp_pass_urgent(struct sim_kernel *sim, uint32_t client);

static inline bool tcp_at_end(const struct sim_link *link) {
    return link->fin_arrived || link->reset_arrived;
}

static inline uint64_t tcp_send_room(const struct sim_kernel *sim, const struct sim_link *link) {
    return sim->send_bytes - (link->written - link->delivered);
}
