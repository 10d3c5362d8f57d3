/* libev: one watcher per client, for reading or writing. */

#include <errno.h>
#include <ev.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/upper.h"
#include "peer.h"

struct client {
    ev_io watcher; /* first, so that a watcher can be cast to its client */
    size_t begin, end;
    uint8_t *pending;
};

static uint8_t buffer[PEER_BUFFER_BYTES];

static void turn(struct ev_loop *loop, struct client *client, int events) {
    ev_io_stop(loop, &client->watcher);
    ev_io_set(&client->watcher, client->watcher.fd, events);
    ev_io_start(loop, &client->watcher);
}

static void leave(struct ev_loop *loop, struct client *client) {
    ev_io_stop(loop, &client->watcher);
    close(client->watcher.fd);
    free(client->pending);
    free(client);
}

static void flush(struct ev_loop *loop, struct client *client) {
    ssize_t sent = send(client->watcher.fd, client->pending + client->begin,
                        client->end - client->begin, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        leave(loop, client);
        return;
    }
    client->begin += sent > 0 ? (size_t)sent : 0;
    if (client->begin < client->end) return;
    free(client->pending);
    client->pending = NULL;
    turn(loop, client, EV_READ);
}

static void keep(struct ev_loop *loop, struct client *client, const uint8_t *bytes, size_t length) {
    client->pending = malloc(length);
    if (client->pending == NULL) abort();
    memcpy(client->pending, bytes, length);
    client->begin = 0;
    client->end = length;
    turn(loop, client, EV_WRITE);
}

static void echo(struct ev_loop *loop, struct client *client) {
    ssize_t received = recv(client->watcher.fd, buffer, sizeof buffer, 0);
    if (received < 0 && errno == EAGAIN) return;
    ssize_t sent = 0;
    if (received > 0) {
        upper(buffer, (size_t)received);
        sent = send(client->watcher.fd, buffer, (size_t)received, MSG_NOSIGNAL);
    }
    size_t gone = sent > 0 ? (size_t)sent : 0;
    if (received <= 0 || (sent < 0 && errno != EAGAIN))
        leave(loop, client);
    else if (sent < received)
        keep(loop, client, buffer + gone, (size_t)received - gone);
}

static void on_client(struct ev_loop *loop, ev_io *watcher, int events) {
    struct client *client = (struct client *)watcher;
    if (client->pending != NULL)
        flush(loop, client);
    else
        echo(loop, client);
}

static void on_listener(struct ev_loop *loop, ev_io *watcher, int events) {
    int descriptor = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) return;
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) abort();
    ev_io_init(&client->watcher, on_client, descriptor, EV_READ);
    ev_io_start(loop, &client->watcher);
}

int main(int count, char *arguments[]) {
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io listener;
    ev_io_init(&listener, on_listener, peer_listen(count, arguments), EV_READ);
    ev_io_start(loop, &listener);
    return ev_run(loop, 0);
}
