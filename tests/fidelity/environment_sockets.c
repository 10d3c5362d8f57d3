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

/* The system's own kernel: clients are sockets on the loopback interface. Each action waits until
 * the kernel reports that it has arrived. */

#define TIMEOUT_S 5
#define CHUNK_BYTES 32768

struct sockets sockets;

static struct poller poller;
static struct rlimit descriptor_limit;

static uint8_t bytes[CHUNK_BYTES];

/* Polls a condition every millisecond; false if it does not become true in time. */
static bool eventually(bool (*condition)(struct environment *, enum client),
                       struct environment *env, enum client client) {
    time_t end = time(NULL) + TIMEOUT_S;
    while (!condition(env, client)) {
        if (time(NULL) > end) return false;
        poll(NULL, 0, 1);
    }
    return true;
}

static void leave(struct environment *env, enum client client) {
    bool detected = !arrival_expects_end(env, client);
    close(sockets.clients[client]);
    sockets.clients[client] = -1;
    if (!detected && !eventually(arrival_of_end, env, client))
        environment_fail(env, "the server's end does not see that the client has left");
}

static void settle_client(struct environment *env, enum client client) {
    if (!eventually(arrival_at_server, env, client))
        environment_fail(env, "what the client sent does not arrive");
}

static void settle(struct environment *env, enum client client) {
    if (!eventually(arrival_at_client, env, client))
        environment_fail(env, "what the server sent does not arrive");
}

static uint32_t backlog_before;

static bool backlog_grew(struct environment *env, enum client client) {
    (void)client;
    return arrival_backlog(env) > backlog_before;
}

static void let_connect(struct environment *env, enum client client, uint32_t window) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(sockets.port)};
    socklen_t length = sizeof address;
    int on = 1;
    int size = (int)window;
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    backlog_before = arrival_backlog(env);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (window != PLENTY) setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(descriptor, (struct sockaddr *)&address, length) < 0 ||
        fcntl(descriptor, F_SETFL, O_NONBLOCK) < 0 ||
        getsockname(descriptor, (struct sockaddr *)&address, &length) < 0)
        environment_fail(env, "connect: %s", strerror(errno));
    sockets.clients[client] = descriptor;
    sockets.shut[client] = false;
    env->clients[client].port = ntohs(address.sin_port);
    if (!eventually(backlog_grew, env, client)) environment_fail(env, "the client does not arrive");
}

/* Sends up to `count` bytes; false once the kernel accepts no more. */
static bool send_some(struct environment *env, enum client client, uint64_t count, int flags) {
    uint64_t position = env->clients[client].sent;
    if (count > sizeof bytes) count = sizeof bytes;
    for (uint64_t i = 0; i < count; i++)
        bytes[i] = environment_byte(client, position + i);
    ssize_t sent = send(sockets.clients[client], bytes, (size_t)count, flags);
    if (sent > 0) env->clients[client].sent += (uint64_t)sent;
    if (sent < 0 && errno != EAGAIN)
        environment_fail(env, "the client's send: %s", strerror(errno));
    settle_client(env, client);
    return sent > 0;
}

static void let_send(struct environment *env, enum client client, uint64_t count) {
    uint64_t end = env->clients[client].sent + count;
    while (env->clients[client].sent < end) {
        if (!send_some(env, client, end - env->clients[client].sent, 0)) {
            environment_fail(env, "the client cannot send");
            return;
        }
    }
}

static void let_send_until_full(struct environment *env, enum client client) {
    while (send_some(env, client, sizeof bytes, 0)) {
    }
}

static void let_send_urgent(struct environment *env, enum client client) {
    send_some(env, client, 1, MSG_OOB);
}

static void listen_out_of_band(struct environment *env) {
    const int in_line = 0;
    setsockopt(env->listener, SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof in_line);
}

static void let_shutdown(struct environment *env, enum client client) {
    shutdown(sockets.clients[client], SHUT_WR);
    sockets.shut[client] = true;
    settle_client(env, client);
}

static void let_reset(struct environment *env, enum client client) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(sockets.clients[client], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    leave(env, client);
}

static void let_close(struct environment *env, enum client client) { leave(env, client); }

/* False once there is nothing to read. */
static bool read_some(struct environment *env, enum client client, uint64_t most) {
    size_t asked = most < sizeof bytes ? (size_t)most : sizeof bytes;
    ssize_t count = recv(sockets.clients[client], bytes, asked, 0);
    if (count < 0 && errno != EAGAIN)
        env->clients[client].seen = SEEN_RST;
    else if (count == 0 && asked > 0)
        env->clients[client].seen = SEEN_FIN;
    for (ssize_t i = 0; i < count; i++) {
        uint64_t position = env->clients[client].got++;
        if (bytes[i] != oracle_mapped(environment_byte(client, position)))
            environment_fail(env, "byte %llu of the answer is wrong", (unsigned long long)position);
    }
    return count > 0;
}

static void let_read(struct environment *env, enum client client, uint64_t most) {
    uint64_t end = env->clients[client].got + most;
    while (env->clients[client].seen == SEEN_OPEN &&
           read_some(env, client, end - env->clients[client].got)) {
    }
}

static bool rest(uint32_t turn) {
    poll(NULL, 0, 1);
    return turn < TIMEOUT_S * 1000;
}

/* All descriptors below the lowest free one are in use: with that as the limit none is left. */
static void exhaust(struct environment *env, bool exhausted) {
    struct rlimit limit = descriptor_limit;
    if (exhausted) {
        int lowest_free = fcntl(env->listener, F_DUPFD_CLOEXEC, 0);
        close(lowest_free);
        limit.rlim_cur = (rlim_t)lowest_free;
    }
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        environment_fail(env, "the descriptor limit: %s", strerror(errno));
}

static uint64_t outstanding(struct environment *env, enum client client) {
    return arrival_outstanding(env->clients[client].descriptor);
}

static void start(struct environment *env) {
    char complaint[SYSTEM_COMPLAINT_BYTES];
    struct addrinfo *address;
    struct endpoint endpoint = {.port = 0};
    system_ignore_signals();
    getrlimit(RLIMIT_NOFILE, &descriptor_limit);
    if (system_resolve("127.0.0.1", 0, &address, complaint).fault != FAULT_NONE) {
        environment_fail(env, "%s", complaint);
        return;
    }
    env->listener = (int32_t)system_listen(address, false).value;
    system_local_endpoint(env->listener, &endpoint);
    if (system_open_poller(&poller).fault != FAULT_NONE) environment_fail(env, "no poller");
    sockets.port = endpoint.port;
    env->kernel = poller.kernel;
    env->queue = poller.queue;
    memset(sockets.clients, -1, sizeof sockets.clients);
}

static void finish(struct environment *env) {
    for (enum client i = A; i < CLIENTS; i++) {
        if (sockets.clients[i] >= 0) close(sockets.clients[i]);
        if (env->clients[i].descriptor > 0) close(env->clients[i].descriptor);
    }
    if (env->listener >= 0) close(env->listener);
    close(env->queue);
}

const struct environment_ops sockets_environment = {
    .start = start,
    .finish = finish,
    .connect = let_connect,
    .send = let_send,
    .send_until_full = let_send_until_full,
    .send_urgent = let_send_urgent,
    .listen_out_of_band = listen_out_of_band,
    .shutdown = let_shutdown,
    .reset = let_reset,
    .close = let_close,
    .read = let_read,
    .rest = rest,
    .exhaust = exhaust,
    .settle = settle,
    .outstanding = outstanding,
};
