/* The accept for macOS and the BSDs, run on Linux, with system calls that behave as there when the
 * client has already reset. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "system/system.h"

#include "../src/system/posix.h"

static bool address_is_empty;
static int option_refused; /* 0: none */
static int accepted;       /* the descriptor, before it is closed again */

/* NOLINTBEGIN(*-reserved-identifier,cert-dcl*): the names are those of the linker's --wrap */
int __real_accept(int listener, struct sockaddr *address, socklen_t *length);
int __wrap_accept(int listener, struct sockaddr *address, socklen_t *length);
int __real_setsockopt(int descriptor, int level, int name, const void *value, socklen_t length);
int __wrap_setsockopt(int descriptor, int level, int name, const void *value, socklen_t length);

int __wrap_accept(int listener, struct sockaddr *address, socklen_t *length) {
    accepted = __real_accept(listener, address, length);
    if (address_is_empty) *length = 0;
    return accepted;
}

int __wrap_setsockopt(int descriptor, int level, int name, const void *value, socklen_t length) {
    if (name == option_refused && level == SOL_SOCKET) {
        errno = EINVAL;
        return -1;
    }
    return __real_setsockopt(descriptor, level, name, value, length);
}
/* NOLINTEND(*-reserved-identifier,cert-dcl*) */

struct sockets {
    int listener;
    int client;
    struct sockaddr_in client_address;
};

static int set_up(void **state) {
    static struct sockets sockets;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    address_is_empty = false;
    option_refused = 0;
    sockets.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(sockets.listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(sockets.listener, 1), 0);
    assert_int_equal(getsockname(sockets.listener, (struct sockaddr *)&address, &length), 0);
    sockets.client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(sockets.client, (struct sockaddr *)&address, length), 0);
    assert_int_equal(
        getsockname(sockets.client, (struct sockaddr *)&sockets.client_address, &length), 0);
    *state = &sockets;
    return 0;
}

static int tear_down(void **state) {
    struct sockets *sockets = *state;
    close(sockets->client);
    close(sockets->listener);
    return 0;
}

static bool is_on(int descriptor, int level, int option) {
    int value = 0;
    socklen_t length = sizeof value;
    assert_int_equal(getsockopt(descriptor, level, option, &value, &length), 0);
    return value != 0;
}

/* The listener has none of these options, so none is inherited. */
static void accepted_socket_has_all_options_and_the_peer(void **state) {
    struct sockets *sockets = *state;
    struct endpoint peer;
    struct result result = posix_accept(NULL, sockets->listener, &peer);
    assert_int_equal(result.fault, FAULT_NONE);
    assert_int_equal(result.value, accepted);
    assert_int_equal(peer.family, ENDPOINT_IPV4);
    assert_int_equal(peer.port, ntohs(sockets->client_address.sin_port));
    assert_true(fcntl(accepted, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(accepted, F_GETFD) & FD_CLOEXEC);
    assert_true(is_on(accepted, SOL_SOCKET, SO_KEEPALIVE));
    assert_true(is_on(accepted, SOL_SOCKET, SO_OOBINLINE));
    assert_true(is_on(accepted, IPPROTO_TCP, TCP_NODELAY));
    close(accepted);
}

/* Aborted makes the server accept the next one at once. The descriptor must be closed. */
static void expect_dropped(struct sockets *sockets) {
    struct endpoint peer;
    struct result result = posix_accept(NULL, sockets->listener, &peer);
    assert_int_equal(result.fault, FAULT_ABORTED);
    assert_int_equal(result.raw, ECONNABORTED);
    assert_int_equal(fcntl(accepted, F_GETFD), -1);
    assert_int_equal(errno, EBADF);
}

static void empty_address_counts_as_aborted(void **state) {
    address_is_empty = true;
    expect_dropped(*state);
}

static void refused_option_counts_as_aborted(void **state) {
    static const int options[] = {SO_KEEPALIVE, SO_OOBINLINE};
    for (size_t i = 0; i < 2; i++) {
        if (i > 0) set_up(state);
        option_refused = options[i];
        expect_dropped(*state);
        if (i == 0) tear_down(state);
    }
}

static void empty_backlog_would_block(void **state) {
    struct sockets *sockets = *state;
    struct endpoint peer;
    fcntl(sockets->listener, F_SETFL, O_NONBLOCK);
    close((int)posix_accept(NULL, sockets->listener, &peer).value);
    assert_int_equal(posix_accept(NULL, sockets->listener, &peer).fault, FAULT_WOULD_BLOCK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(accepted_socket_has_all_options_and_the_peer, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(empty_address_counts_as_aborted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_option_counts_as_aborted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(empty_backlog_would_block, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
