/* libuv: writes at once; what that leaves is copied and written later, and the client is not read
 * until then. */

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "core/upper.h"
#include "peer.h"

struct rest {
    uv_write_t request;
    char bytes[];
};

static char buffer[PEER_BUFFER_BYTES];

static void on_closed(uv_handle_t *client) { free(client); }

static void leave(uv_stream_t *client) {
    if (!uv_is_closing((uv_handle_t *)client)) uv_close((uv_handle_t *)client, on_closed);
}

static void give_buffer(uv_handle_t *client, size_t suggested, uv_buf_t *given) {
    *given = uv_buf_init(buffer, sizeof buffer);
}

static void on_readable(uv_stream_t *client, ssize_t received, const uv_buf_t *given);

static void on_written(uv_write_t *request, int status) {
    uv_stream_t *client = request->handle;
    free(request->data);
    if (status < 0)
        leave(client);
    else
        uv_read_start(client, give_buffer, on_readable);
}

static void keep(uv_stream_t *client, const char *bytes, size_t length) {
    struct rest *rest = malloc(sizeof *rest + length);
    if (rest == NULL) abort();
    memcpy(rest->bytes, bytes, length);
    rest->request.data = rest;
    uv_buf_t given = uv_buf_init(rest->bytes, (unsigned)length);
    uv_read_stop(client);
    if (uv_write(&rest->request, client, &given, 1, on_written) < 0) abort();
}

static void on_readable(uv_stream_t *client, ssize_t received, const uv_buf_t *given) {
    if (received < 0) leave(client);
    if (received <= 0) return;
    upper((uint8_t *)given->base, (size_t)received);
    uv_buf_t answer = uv_buf_init(given->base, (unsigned)received);
    int sent = uv_try_write(client, &answer, 1);
    if (sent < 0 && sent != UV_EAGAIN)
        leave(client);
    else if (sent < received)
        keep(client, given->base + (sent > 0 ? sent : 0),
             (size_t)(received - (sent > 0 ? sent : 0)));
}

static void on_client(uv_stream_t *listener, int status) {
    uv_tcp_t *client = malloc(sizeof *client);
    if (client == NULL) abort();
    uv_tcp_init(listener->loop, client);
    if (status == 0 && uv_accept(listener, (uv_stream_t *)client) == 0)
        uv_read_start((uv_stream_t *)client, give_buffer, on_readable);
    else
        leave((uv_stream_t *)client);
}

int main(int count, char *arguments[]) {
    signal(SIGPIPE, SIG_IGN);
    uv_tcp_t listener;
    uv_tcp_init(uv_default_loop(), &listener);
    if (uv_tcp_open(&listener, peer_listen(count, arguments)) != 0 ||
        uv_listen((uv_stream_t *)&listener, SOMAXCONN, on_client) != 0)
        abort();
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
