/* The floor: the smallest level-triggered loop over epoll. One read and one write per event; what a
 * short write leaves is kept, and written before more is read. No log, no limits, no timeouts, no
 * drain, and descriptors are deregistered only by close. */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/upper.h"
#include "peer.h"

#define EVENTS_MAX 64
#define DESCRIPTORS_MAX 65536

struct client {
    size_t begin, end;
    uint8_t *pending; /* null: nothing is pending */
};

static int queue;
static struct client clients[DESCRIPTORS_MAX]; /* by descriptor */
static uint8_t buffer[PEER_BUFFER_BYTES];

static void watch(int descriptor, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = descriptor};
    epoll_ctl(queue, operation, descriptor, &event);
}

static void accept_one(int listener) {
    int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= DESCRIPTORS_MAX) abort();
    if (descriptor >= 0) watch(descriptor, EPOLL_CTL_ADD, EPOLLIN);
}

static void leave(int descriptor) {
    free(clients[descriptor].pending);
    clients[descriptor].pending = NULL;
    close(descriptor);
}

static void flush(int descriptor) {
    struct client *client = &clients[descriptor];
    ssize_t sent = send(descriptor, client->pending + client->begin, client->end - client->begin,
                        MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        leave(descriptor);
        return;
    }
    client->begin += sent > 0 ? (size_t)sent : 0;
    if (client->begin < client->end) return;
    free(client->pending);
    client->pending = NULL;
    watch(descriptor, EPOLL_CTL_MOD, EPOLLIN);
}

static void keep(int descriptor, const uint8_t *bytes, size_t length) {
    struct client *client = &clients[descriptor];
    client->pending = malloc(length);
    if (client->pending == NULL) abort();
    memcpy(client->pending, bytes, length);
    client->begin = 0;
    client->end = length;
    watch(descriptor, EPOLL_CTL_MOD, EPOLLOUT);
}

static void echo(int descriptor) {
    ssize_t received = recv(descriptor, buffer, sizeof buffer, 0);
    if (received < 0 && errno == EAGAIN) return;
    ssize_t sent = 0;
    if (received > 0) {
        upper(buffer, (size_t)received);
        sent = send(descriptor, buffer, (size_t)received, MSG_NOSIGNAL);
    }
    size_t gone = sent > 0 ? (size_t)sent : 0;
    if (received <= 0 || (sent < 0 && errno != EAGAIN))
        leave(descriptor);
    else if (sent < received)
        keep(descriptor, buffer + gone, (size_t)received - gone);
}

int main(int count, char *arguments[]) {
    int listener = peer_listen(count, arguments);
    struct epoll_event events[EVENTS_MAX];
    queue = epoll_create1(EPOLL_CLOEXEC);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        int ready = epoll_wait(queue, events, EVENTS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            int descriptor = events[i].data.fd;
            if (descriptor == listener)
                accept_one(listener);
            else if (clients[descriptor].pending != NULL)
                flush(descriptor);
            else
                echo(descriptor);
        }
    }
}
