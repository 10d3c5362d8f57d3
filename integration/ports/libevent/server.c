/* Echoes bytes with ASCII a-z in upper case: port-libevent PORT.
 *
 * A bufferevent reads into its input and writes from its output, which it stores without limit. So
 * reading stops while much output is pending: memory is bounded. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PENDING_BYTES_MAX 65536

static const struct timeval accept_retry = {.tv_usec = 100000};
static const struct timeval drain = {.tv_sec = 5};

struct client {
    struct bufferevent *stream;
    struct client *next, **link; /* all clients */
    size_t owed;                 /* once stopping: bytes that had arrived and are not read yet */
    bool fin_received, fin_sent;
};

static struct event_base *loop;
static struct evconnlistener *listener;
static struct event *retry;
static struct client *clients;
static bool stopping;

static size_t pending_of(const struct client *client) {
    return evbuffer_get_length(bufferevent_get_output(client->stream));
}

/* The end of a connection. */

static void leave(struct client *client) {
    *client->link = client->next;
    if (client->next != NULL) client->next->link = client->link;
    bufferevent_free(client->stream); /* closes the socket */
    free(client);
    if (stopping && clients == NULL) event_base_loopbreak(loop);
}

/* Once nothing is pending: the client's FIN is answered by closing. After the stop signal ours is
 * sent, and what comes after it is read and discarded, because closing a socket with bytes unread
 * sends RST, which destroys answers in flight. */
static void end_if_even(struct client *client) {
    if (pending_of(client) > 0 || client->fin_sent) return;
    if (client->fin_received) {
        leave(client);
    } else if (stopping && client->owed == 0) {
        client->fin_sent = true;
        if (shutdown(bufferevent_getfd(client->stream), SHUT_WR) < 0) leave(client);
    }
}

/* Answering. */

static void upper(unsigned char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (bytes[i] >= 'a' && bytes[i] <= 'z') bytes[i] -= 'a' - 'A';
}

static void after_read(struct bufferevent *stream, void *context) {
    struct client *client = context;
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t length = evbuffer_get_length(input);
    unsigned char *bytes = evbuffer_pullup(input, -1); /* in one piece */
    if (bytes == NULL) {
        leave(client);
        return;
    }
    upper(bytes, length);
    size_t answered = stopping && length > client->owed ? client->owed : length;
    client->owed -= stopping ? answered : 0;
    /* Copied: moved, each read would keep a buffer of its own, however short it was. */
    if (evbuffer_add(bufferevent_get_output(stream), bytes, answered) < 0) {
        leave(client);
        return;
    }
    evbuffer_drain(input, length);
    if (pending_of(client) > PENDING_BYTES_MAX) bufferevent_disable(stream, EV_READ);
}

/* All output is written. */
static void after_write(struct bufferevent *stream, void *context) {
    struct client *client = context;
    if (!client->fin_received && bufferevent_enable(stream, EV_READ) < 0) {
        leave(client);
        return;
    }
    end_if_even(client);
}

/* Here the close is decided: BEV_EVENT_EOF is a read of 0 bytes, the client's FIN, and all other
 * events are a reset or another failure. Each ends this connection only. */
static void after_event(struct bufferevent *stream, short what, void *context) {
    struct client *client = context;
    bool fin = (what & BEV_EVENT_EOF) != 0 && (what & BEV_EVENT_READING) != 0;
    if (!fin || client->fin_sent) {
        leave(client);
        return;
    }
    client->fin_received = true;
    end_if_even(client);
}

/* New connections. */

static void welcome(evutil_socket_t descriptor) {
    int yes = 1;
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) abort(); /* out of memory */
    client->stream = bufferevent_socket_new(loop, descriptor, BEV_OPT_CLOSE_ON_FREE);
    if (client->stream == NULL) abort();
    client->next = clients;
    client->link = &clients;
    if (clients != NULL) clients->link = &client->next;
    clients = client;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(descriptor, SOL_SOCKET, SO_OOBINLINE, &yes, sizeof yes);
    bufferevent_setcb(client->stream, after_read, after_write, after_event, client);
    if (bufferevent_enable(client->stream, EV_READ) < 0) leave(client); /* writing is by default */
}

static void on_client(struct evconnlistener *from, evutil_socket_t descriptor,
                      struct sockaddr *address, int length, void *context) {
    welcome(descriptor);
}

/* An error of one client, or no descriptors. The listener stays readable, so asking again at once
 * would be a busy loop. */
static void on_accept_error(struct evconnlistener *from, void *context) {
    evconnlistener_disable(listener);
    event_add(retry, &accept_retry);
}

static void accept_again(evutil_socket_t none, short what, void *context) {
    if (!stopping && evconnlistener_enable(listener) < 0) event_add(retry, &accept_retry);
}

/* The stop: the backlog is served, new connections are refused, and all clients get what is due. */

static void accept_backlog(void) {
    evutil_socket_t descriptor;
    do {
        descriptor = accept(evconnlistener_get_fd(listener), NULL, NULL);
        if (descriptor < 0) continue;
        evutil_make_socket_nonblocking(descriptor);
        evutil_make_socket_closeonexec(descriptor);
        welcome(descriptor);
    } while (descriptor >= 0 || errno == EINTR || errno == ECONNABORTED || errno == EPROTO);
    evconnlistener_free(listener);
}

static void stop(evutil_socket_t number, short what, void *context) {
    if (stopping) return;
    accept_backlog();
    stopping = true;
    event_base_loopexit(loop, &drain);
    if (clients == NULL) event_base_loopbreak(loop);
    for (struct client *client = clients, *next; client != NULL; client = next) {
        int unread = 0; /* exact, because urgent data is in line */
        next = client->next;
        ioctl(bufferevent_getfd(client->stream), FIONREAD, &unread);
        client->owed = (size_t)unread;
        end_if_even(client);
    }
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    unsigned flags = LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC;
    listener = evconnlistener_new_bind(loop, on_client, NULL, flags, SOMAXCONN,
                                       (struct sockaddr *)&address, sizeof address);
    if (listener == NULL) {
        fprintf(stderr, "port-libevent: cannot listen on port %d: %s\n", port, strerror(errno));
        return -1;
    }
    evconnlistener_set_error_cb(listener, on_accept_error);
    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &length);
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return 0;
}

int main(int count, char **words) {
    char *end = NULL;
    long port = count == 2 ? strtol(words[1], &end, 10) : -1;
    if (port < 0 || port > 65535 || end == words[1] || *end != '\0') {
        fprintf(stderr, "port-libevent: expected one argument, a port from 0 to 65535\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int null; /* no client may get a standard descriptor */
    do
        null = open("/dev/null", O_RDWR);
    while (null >= 0 && null <= STDERR_FILENO);
    close(null);
    loop = event_base_new();
    if (loop == NULL) return 1;
    retry = evtimer_new(loop, accept_again, NULL);
    struct event *terminate = evsignal_new(loop, SIGTERM, stop, NULL);
    struct event *interrupt = evsignal_new(loop, SIGINT, stop, NULL);
    if (retry == NULL || terminate == NULL || interrupt == NULL) return 1;
    event_add(terminate, NULL); /* before anybody is told that it listens */
    event_add(interrupt, NULL);
    if (listen_on((int)port) < 0) return 1;
    return event_base_dispatch(loop) < 0 ? 1 : 0;
}
