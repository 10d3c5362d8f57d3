/* Echoes bytes with ASCII a-z in upper case: port-libuv PORT.
 *
 * libuv passes input to a callback (level-triggered, so nothing gets lost) and stores what the
 * kernel does not accept, without limit. So output is written at once; the rest is written by
 * libuv, and reading stops until that is done: nothing is read while output is pending,
 * memory is bounded, and a client's end comes after its last answer. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define BUFFER_BYTES 65536
#define DRAIN_MS 5000

struct client {
    uv_tcp_t tcp; /* first, so that a pointer to it is one to the client */
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct client *next, **link; /* all clients */
    char *rest;                  /* what libuv is still writing; null if nothing */
    size_t owed;                 /* once stopping: bytes that had arrived and are not read yet */
    bool ended;                  /* our FIN is sent, or about to be */
};

static struct client *clients;
static bool stopping;
static uv_tcp_t listener;
static uv_signal_t terminate, interrupt;
static uv_timer_t deadline;
static char scratch[BUFFER_BYTES]; /* all clients read into it: nothing stays there */

static void read_on(struct client *client);

static uv_stream_t *stream_of(struct client *client) { return (uv_stream_t *)&client->tcp; }

static int descriptor_of(const uv_tcp_t *tcp) {
    uv_os_fd_t descriptor = -1;
    uv_fileno((const uv_handle_t *)tcp, &descriptor);
    return descriptor;
}

/* Exact, because urgent data is in line. */
static size_t unread_of(const struct client *client) {
    int unread = 0;
    ioctl(descriptor_of(&client->tcp), FIONREAD, &unread);
    return (size_t)unread;
}

/* The end of a connection. */

static void forget(uv_handle_t *handle) {
    struct client *client = (struct client *)handle;
    free(client->rest);
    free(client);
}

static void leave(struct client *client) {
    if (uv_is_closing((uv_handle_t *)&client->tcp)) return;
    *client->link = client->next;
    if (client->next != NULL) client->next->link = client->link;
    uv_close((uv_handle_t *)&client->tcp, forget);
    if (stopping && clients == NULL) uv_close((uv_handle_t *)&deadline, NULL);
}

static void after_shutdown(uv_shutdown_t *request, int status) {
    struct client *client = request->data;
    if (status < 0 && status != UV_ECANCELED) leave(client);
}

/* After the stop signal, all that had arrived is answered: FIN. What comes after it is read and
 * discarded, because closing a socket with bytes unread sends RST, which destroys
 * answers in flight. */
static void end_if_even(struct client *client) {
    if (!stopping || client->owed > 0 || client->rest != NULL || client->ended) return;
    client->ended = true;
    client->shutdown.data = client;
    if (uv_shutdown(&client->shutdown, stream_of(client), after_shutdown) < 0) leave(client);
}

/* Answering. */

static void upper(char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (bytes[i] >= 'a' && bytes[i] <= 'z') bytes[i] = (char)(bytes[i] - ('a' - 'A'));
}

static void after_write(uv_write_t *request, int status) {
    struct client *client = request->data;
    if (status == UV_ECANCELED) return; /* by our own close */
    if (status < 0) {
        leave(client);
        return;
    }
    free(client->rest);
    client->rest = NULL;
    end_if_even(client);
    read_on(client);
}

static void answer(struct client *client, char *bytes, size_t length) {
    upper(bytes, length);
    uv_buf_t buffer = uv_buf_init(bytes, (unsigned)length);
    int sent = uv_try_write(stream_of(client), &buffer, 1);
    if (sent == UV_EAGAIN) sent = 0;
    if (sent < 0 || (size_t)sent == length) {
        if (sent < 0) leave(client);
        return;
    }
    size_t left = length - (size_t)sent;
    client->rest = malloc(left);
    if (client->rest == NULL) {
        leave(client);
        return;
    }
    memcpy(client->rest, bytes + sent, left);
    buffer = uv_buf_init(client->rest, (unsigned)left);
    client->write.data = client;
    uv_read_stop(stream_of(client));
    if (uv_write(&client->write, stream_of(client), &buffer, 1, after_write) < 0) leave(client);
}

/* Reading. After the stop signal, no more is read at a time than is owed. */

static void lend_scratch(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct client *client = (struct client *)handle;
    bool limited = stopping && client->owed > 0 && client->owed < sizeof scratch;
    *buffer = uv_buf_init(scratch, (unsigned)(limited ? client->owed : sizeof scratch));
}

/* Here the close is decided: UV_EOF is a read of 0 bytes, the client's FIN, and all other errors
 * are a reset or another failure. Each ends this connection only.
 *
 * After both FINs libuv takes a short read for the last one, and says UV_EOF. But a read is also
 * short before an urgent byte, and a close with that byte unread would send RST. */
static void after_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
    struct client *client = (struct client *)stream;
    if (count == UV_EOF && unread_of(client) > 0) {
        read_on(client);
    } else if (count < 0) {
        leave(client);
    } else if (count > 0 && !client->ended) {
        if (stopping) client->owed -= (size_t)count;
        answer(client, buffer->base, (size_t)count);
        end_if_even(client);
    }
}

static void read_on(struct client *client) {
    if (uv_is_closing((uv_handle_t *)&client->tcp)) return;
    if (uv_read_start(stream_of(client), lend_scratch, after_read) < 0) leave(client);
}

/* New connections. */

/* Accepts one client: from libuv, or with a descriptor that is given. */
static void welcome(uv_loop_t *loop, int descriptor) {
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) abort(); /* out of memory */
    uv_tcp_init(loop, &client->tcp);
    client->next = clients;
    client->link = &clients;
    if (clients != NULL) clients->link = &client->next;
    clients = client;
    int status = descriptor < 0 ? uv_accept((uv_stream_t *)&listener, stream_of(client))
                                : uv_tcp_open(&client->tcp, descriptor);
    if (status < 0) {
        leave(client);
        return;
    }
    int yes = 1;
    uv_tcp_nodelay(&client->tcp, yes);
    setsockopt(descriptor_of(&client->tcp), SOL_SOCKET, SO_OOBINLINE, &yes, sizeof yes);
    read_on(client);
}

/* An error of one client, or no descriptors: libuv then closes the new connection. */
static void on_connection(uv_stream_t *stream, int status) {
    if (status == 0) welcome(stream->loop, -1);
}

/* The stop: the backlog is served, new connections are refused, and all clients get what is
 * due. libuv accepts in its loop; the backlog is accepted here at once. */

static void expire(uv_timer_t *timer) {
    while (clients != NULL)
        leave(clients);
}

static void stop(uv_signal_t *signal, int number) {
    int descriptor;
    do {
        descriptor = accept(descriptor_of(&listener), NULL, NULL);
        if (descriptor >= 0) welcome(signal->loop, descriptor);
    } while (descriptor >= 0 || errno == EINTR || errno == ECONNABORTED || errno == EPROTO);
    stopping = true;
    uv_close((uv_handle_t *)&listener, NULL);
    uv_close((uv_handle_t *)&terminate, NULL);
    uv_close((uv_handle_t *)&interrupt, NULL);
    uv_timer_init(signal->loop, &deadline);
    uv_timer_start(&deadline, expire, DRAIN_MS, 0);
    if (clients == NULL) uv_close((uv_handle_t *)&deadline, NULL);
    for (struct client *client = clients, *next; client != NULL; client = next) {
        next = client->next;
        client->owed = unread_of(client);
        end_if_even(client);
    }
}

static int listen_on(uv_loop_t *loop, int port) {
    struct sockaddr_in address;
    int length = sizeof address;
    uv_tcp_init(loop, &listener);
    uv_ip4_addr("127.0.0.1", port, &address);
    int status = uv_tcp_bind(&listener, (struct sockaddr *)&address, 0);
    if (status == 0) status = uv_listen((uv_stream_t *)&listener, SOMAXCONN, on_connection);
    if (status == 0) status = uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length);
    if (status < 0) {
        fprintf(stderr, "port-libuv: cannot listen on port %d: %s\n", port, uv_strerror(status));
        return status;
    }
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return 0;
}

int main(int count, char **words) {
    char *end = NULL;
    long port = count == 2 ? strtol(words[1], &end, 10) : -1;
    if (port < 0 || port > 65535 || end == words[1] || *end != '\0') {
        fprintf(stderr, "port-libuv: expected one argument, a port from 0 to 65535\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int null; /* no client may get a standard descriptor */
    do
        null = open("/dev/null", O_RDWR);
    while (null >= 0 && null <= STDERR_FILENO);
    close(null);
    uv_loop_t *loop = uv_default_loop();
    uv_signal_init(loop, &terminate); /* before anybody is told that it listens */
    uv_signal_init(loop, &interrupt);
    uv_signal_start(&terminate, stop, SIGTERM);
    uv_signal_start(&interrupt, stop, SIGINT);
    if (listen_on(loop, (int)port) < 0) return 1;
    return uv_run(loop, UV_RUN_DEFAULT);
}
