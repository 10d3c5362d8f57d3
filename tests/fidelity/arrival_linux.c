#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "fidelity/arrival.h"

static struct tcp_info info_of(int descriptor) {
    struct tcp_info info = {.tcpi_state = TCP_CLOSE};
    socklen_t length = sizeof info;
    getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length);
    return info;
}

/* Of a listening socket (source: Linux, tcp_get_info). */
uint32_t arrival_backlog(const struct environment *env) {
    return info_of(env->listener).tcpi_unacked;
}

/* Nothing sent by this socket is in flight: the peer acknowledged what it had room for. */
static bool is_quiet(int descriptor) { return info_of(descriptor).tcpi_unacked == 0; }

bool arrival_at_server(struct environment *env, enum client client) {
    (void)env;
    return is_quiet(sockets.clients[client]);
}

bool arrival_at_client(struct environment *env, enum client client) {
    return is_quiet(env->clients[client].descriptor);
}

/* The state of a socket without descriptor: not accepted, or closed. 0: there is none (source:
 * proc_net_tcp.txt of the kernel's documentation). */
static unsigned listed_state(uint16_t peer) {
    char line[256];
    unsigned found = 0;
    FILE *table = fopen("/proc/net/tcp", "r");
    while (table != NULL && fgets(line, sizeof line, table) != NULL) {
        unsigned local, remote, state;
        /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
        if (sscanf(line, " %*u: %*x:%x %*x:%x %x", &local, &remote, &state) == 3 &&
            local == sockets.port && remote == peer)
            found = state;
    }
    if (table != NULL) fclose(table);
    return found;
}

static unsigned server_state(const struct environment *env, enum client client) {
    int descriptor = env->clients[client].descriptor;
    return descriptor > 0 ? info_of(descriptor).tcpi_state
                          : listed_state(env->clients[client].port);
}

/* A closed client has no socket to query: its end has arrived when the state of the server's end
 * has changed. */
static unsigned state_before;

bool arrival_expects_end(struct environment *env, enum client client) {
    state_before = server_state(env, client);
    return state_before != 0 && state_before != TCP_CLOSE;
}

bool arrival_of_end(struct environment *env, enum client client) {
    return server_state(env, client) != state_before;
}

uint64_t arrival_outstanding(int descriptor) {
    int count = 0;
    return ioctl(descriptor, SIOCOUTQ, &count) < 0 ? 0 : (uint64_t)count;
}
