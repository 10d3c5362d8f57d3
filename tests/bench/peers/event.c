/* libevent, with its own buffers. Input moves to the output without a copy; a client with much
 * output pending is not read. */

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdlib.h>

#include "core/upper.h"
#include "peer.h"

#define CHAINS_MAX 16

static void on_readable(struct bufferevent *client, void *context) {
    struct evbuffer *input = bufferevent_get_input(client);
    struct evbuffer *output = bufferevent_get_output(client);
    struct evbuffer_iovec chains[CHAINS_MAX];
    int count = evbuffer_peek(input, -1, NULL, chains, CHAINS_MAX);
    if (count > CHAINS_MAX) evbuffer_pullup(input, -1);
    if (count > CHAINS_MAX) count = evbuffer_peek(input, -1, NULL, chains, CHAINS_MAX);
    for (int i = 0; i < count; i++)
        upper(chains[i].iov_base, chains[i].iov_len);
    evbuffer_add_buffer(output, input);
    if (evbuffer_get_length(output) >= PEER_BUFFER_BYTES) bufferevent_disable(client, EV_READ);
}

static void on_flushed(struct bufferevent *client, void *context) {
    bufferevent_enable(client, EV_READ);
}

static void on_last_flushed(struct bufferevent *client, void *context) { bufferevent_free(client); }

static void on_end(struct bufferevent *client, short what, void *context) {
    size_t pending = evbuffer_get_length(bufferevent_get_output(client));
    if ((what & BEV_EVENT_EOF) != 0 && pending > 0)
        bufferevent_setcb(client, NULL, on_last_flushed, on_end, NULL);
    else
        bufferevent_free(client);
}

static void on_client(struct evconnlistener *listener, evutil_socket_t descriptor,
                      struct sockaddr *address, int length, void *context) {
    struct event_base *base = evconnlistener_get_base(listener);
    struct bufferevent *client = bufferevent_socket_new(base, descriptor, BEV_OPT_CLOSE_ON_FREE);
    if (client == NULL) abort();
    bufferevent_setcb(client, on_readable, on_flushed, on_end, NULL);
    bufferevent_enable(client, EV_READ | EV_WRITE);
}

int main(int count, char *arguments[]) {
    signal(SIGPIPE, SIG_IGN);
    struct event_base *base = event_base_new();
    int listener = peer_listen(count, arguments);
    if (evconnlistener_new(base, on_client, NULL, LEV_OPT_CLOSE_ON_EXEC, 0, listener) == NULL)
        abort();
    return event_base_dispatch(base);
}
