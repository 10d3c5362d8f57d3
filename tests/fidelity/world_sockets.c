#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fidelity/arrival.h"
#include "sim/oracle.h"
#include "system/system.h"

/* The system that we run on: clients are sockets on the loopback interface, the server's kernel is
 * the real one. After each action the driver looks until the kernel says that it has arrived. */

#define PATIENCE_S 5
#define CHUNK_BYTES 32768

struct sockets sockets;

static struct poller poller;
static struct rlimit descriptor_limit;

static uint8_t bytes[CHUNK_BYTES];

/* Asks again and again, a millisecond apart; false if it does not come true in time. */
static bool eventually(bool (*condition)(struct world *, enum client), struct world *w,
                       enum client client) {
    time_t end = time(NULL) + PATIENCE_S;
    while (!condition(w, client)) {
        if (time(NULL) > end) return false;
        poll(NULL, 0, 1);
    }
    return true;
}

static void leave(struct world *w, enum client client) {
    bool noticed = !arrival_expects_end(w, client);
    close(sockets.clients[client]);
    sockets.clients[client] = -1;
    if (!noticed && !eventually(arrival_of_end, w, client))
        world_fail(w, "the server's end does not notice that the client left");
}

static void settle_client(struct world *w, enum client client) {
    if (!eventually(arrival_at_server, w, client))
        world_fail(w, "what the client sent does not arrive");
}

static void settle(struct world *w, enum client client) {
    if (!eventually(arrival_at_client, w, client))
        world_fail(w, "what the server sent does not arrive");
}

static uint32_t backlog_before;

static bool backlog_grew(struct world *w, enum client client) {
    (void)client;
    return arrival_backlog(w) > backlog_before;
}

static void let_connect(struct world *w, enum client client, uint32_t window) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(sockets.port)};
    socklen_t length = sizeof address;
    int on = 1;
    int size = (int)window;
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    backlog_before = arrival_backlog(w);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (window != PLENTY) setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(descriptor, (struct sockaddr *)&address, length) < 0 ||
        fcntl(descriptor, F_SETFL, O_NONBLOCK) < 0 ||
        getsockname(descriptor, (struct sockaddr *)&address, &length) < 0)
        world_fail(w, "connect: %s", strerror(errno));
    sockets.clients[client] = descriptor;
    sockets.shut[client] = false;
    w->clients[client].port = ntohs(address.sin_port);
    if (!eventually(backlog_grew, w, client)) world_fail(w, "the client does not arrive");
}

/* Sends up to so many bytes; false once no more is taken. */
static bool send_some(struct world *w, enum client client, uint64_t count, int flags) {
    uint64_t position = w->clients[client].sent;
    if (count > sizeof bytes) count = sizeof bytes;
    for (uint64_t i = 0; i < count; i++)
        bytes[i] = world_byte(client, position + i);
    ssize_t sent = send(sockets.clients[client], bytes, (size_t)count, flags);
    if (sent > 0) w->clients[client].sent += (uint64_t)sent;
    if (sent < 0 && errno != EAGAIN) world_fail(w, "the client's send: %s", strerror(errno));
    settle_client(w, client);
    return sent > 0;
}

static void let_send(struct world *w, enum client client, uint64_t count) {
    uint64_t end = w->clients[client].sent + count;
    while (w->clients[client].sent < end) {
        if (!send_some(w, client, end - w->clients[client].sent, 0)) {
            world_fail(w, "the client cannot send");
            return;
        }
    }
}

static void let_send_until_full(struct world *w, enum client client) {
    while (send_some(w, client, sizeof bytes, 0)) {
    }
}

static void let_send_urgent(struct world *w, enum client client) {
    send_some(w, client, 1, MSG_OOB);
}

static void let_shutdown(struct world *w, enum client client) {
    shutdown(sockets.clients[client], SHUT_WR);
    sockets.shut[client] = true;
    settle_client(w, client);
}

static void let_reset(struct world *w, enum client client) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(sockets.clients[client], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    leave(w, client);
}

static void let_close(struct world *w, enum client client) { leave(w, client); }

/* False once there is nothing more to read now. */
static bool read_some(struct world *w, enum client client, uint64_t most) {
    size_t asked = most < sizeof bytes ? (size_t)most : sizeof bytes;
    ssize_t count = recv(sockets.clients[client], bytes, asked, 0);
    if (count < 0 && errno != EAGAIN)
        w->clients[client].seen = SEEN_RST;
    else if (count == 0 && asked > 0)
        w->clients[client].seen = SEEN_FIN;
    for (ssize_t i = 0; i < count; i++) {
        uint64_t position = w->clients[client].got++;
        if (bytes[i] != oracle_mapped(world_byte(client, position)))
            world_fail(w, "byte %llu of the answer is wrong", (unsigned long long)position);
    }
    return count > 0;
}

static void let_read(struct world *w, enum client client, uint64_t most) {
    uint64_t end = w->clients[client].got + most;
    while (w->clients[client].seen == SEEN_OPEN &&
           read_some(w, client, end - w->clients[client].got)) {
    }
}

static bool rest(uint32_t turn) {
    poll(NULL, 0, 1);
    return turn < PATIENCE_S * 1000;
}

/* All descriptors below the lowest free one are in use: with that as limit there are no more. */
static void exhaust(struct world *w, bool exhausted) {
    struct rlimit limit = descriptor_limit;
    if (exhausted) {
        int lowest_free = fcntl(w->listener, F_DUPFD_CLOEXEC, 0);
        close(lowest_free);
        limit.rlim_cur = (rlim_t)lowest_free;
    }
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        world_fail(w, "the descriptor limit: %s", strerror(errno));
}

static uint64_t outstanding(struct world *w, enum client client) {
    return arrival_outstanding(w->clients[client].descriptor);
}

static void start(struct world *w) {
    char complaint[SYSTEM_COMPLAINT_BYTES];
    struct addrinfo *address;
    struct endpoint endpoint = {.port = 0};
    system_ignore_signals();
    getrlimit(RLIMIT_NOFILE, &descriptor_limit);
    if (system_resolve("127.0.0.1", 0, &address, complaint).fault != FAULT_NONE) {
        world_fail(w, "%s", complaint);
        return;
    }
    w->listener = (int32_t)system_listen(address, false).value;
    system_local_endpoint(w->listener, &endpoint);
    if (system_open_poller(&poller).fault != FAULT_NONE) world_fail(w, "no poller");
    sockets.port = endpoint.port;
    w->kernel = poller.kernel;
    w->queue = poller.queue;
    memset(sockets.clients, -1, sizeof sockets.clients);
}

static void finish(struct world *w) {
    for (enum client i = A; i < CLIENTS; i++) {
        if (sockets.clients[i] >= 0) close(sockets.clients[i]);
        if (w->clients[i].descriptor > 0) close(w->clients[i].descriptor);
    }
    if (w->listener >= 0) close(w->listener);
    close(w->queue);
}

const struct world_ops sockets_world = {
    .start = start,
    .finish = finish,
    .connect = let_connect,
    .send = let_send,
    .send_until_full = let_send_until_full,
    .send_urgent = let_send_urgent,
    .shutdown = let_shutdown,
    .reset = let_reset,
    .close = let_close,
    .read = let_read,
    .rest = rest,
    .exhaust = exhaust,
    .settle = settle,
    .outstanding = outstanding,
};
