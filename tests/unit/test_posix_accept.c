/* The accept of macOS and the BSDs, on Linux, with system calls that do what those systems do to a
 * client that is already gone. */
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

struct world {
    int listener;
    int client;
    struct sockaddr_in client_address;
};

static int set_up(void **state) {
    static struct world world;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    address_is_empty = false;
    option_refused = 0;
    world.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(world.listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(world.listener, 1), 0);
    assert_int_equal(getsockname(world.listener, (struct sockaddr *)&address, &length), 0);
    world.client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(world.client, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(world.client, (struct sockaddr *)&world.client_address, &length),
                     0);
    *state = &world;
    return 0;
}

static int tear_down(void **state) {
    struct world *world = *state;
    close(world->client);
    close(world->listener);
    return 0;
}

static bool is_on(int descriptor, int level, int option) {
    int value = 0;
    socklen_t length = sizeof value;
    assert_int_equal(getsockopt(descriptor, level, option, &value, &length), 0);
    return value != 0;
}

/* The listener has none of these options: the new socket gets them all the same. */
static void test_a_client(void **state) {
    struct world *world = *state;
    struct endpoint peer;
    struct result result = posix_accept(NULL, world->listener, &peer);
    assert_int_equal(result.fault, FAULT_NONE);
    assert_int_equal(result.value, accepted);
    assert_int_equal(peer.family, ENDPOINT_IPV4);
    assert_int_equal(peer.port, ntohs(world->client_address.sin_port));
    assert_true(fcntl(accepted, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(accepted, F_GETFD) & FD_CLOEXEC);
    assert_true(is_on(accepted, SOL_SOCKET, SO_KEEPALIVE));
    assert_true(is_on(accepted, SOL_SOCKET, SO_OOBINLINE));
    assert_true(is_on(accepted, IPPROTO_TCP, TCP_NODELAY));
    close(accepted);
}

/* It counts as aborted, so that the next one is tried at once, and its descriptor is closed. */
static void expect_dropped(struct world *world) {
    struct endpoint peer;
    struct result result = posix_accept(NULL, world->listener, &peer);
    assert_int_equal(result.fault, FAULT_ABORTED);
    assert_int_equal(result.raw, ECONNABORTED);
    assert_int_equal(fcntl(accepted, F_GETFD), -1);
    assert_int_equal(errno, EBADF);
}

static void test_no_address(void **state) {
    address_is_empty = true;
    expect_dropped(*state);
}

static void test_no_options(void **state) {
    static const int options[] = {SO_KEEPALIVE, SO_OOBINLINE};
    for (size_t i = 0; i < 2; i++) {
        if (i > 0) set_up(state);
        option_refused = options[i];
        expect_dropped(*state);
        if (i == 0) tear_down(state);
    }
}

static void test_nobody(void **state) {
    struct world *world = *state;
    struct endpoint peer;
    fcntl(world->listener, F_SETFL, O_NONBLOCK);
    close((int)posix_accept(NULL, world->listener, &peer).value);
    assert_int_equal(posix_accept(NULL, world->listener, &peer).fault, FAULT_WOULD_BLOCK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_options, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
