#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shell/text.h"

#define RANDOM_ADDRESSES 200000

static void error_has_its_name_or_its_number(void **state) {
    char text[TEXT_ERROR_BYTES];
    text_of_error(EACCES, text);
    assert_string_equal(text, "EACCES");
    text_of_error(ETIMEDOUT, text);
    assert_string_equal(text, "ETIMEDOUT");
    text_of_error(99999, text);
    assert_string_equal(text, "99999");
    text_of_error(INT32_MIN, text);
    assert_string_equal(text, "-2147483648");
}

/* The text of an IPv6 address is what the C library's inet_ntop writes. */
static void expect_as_inet_ntop(const struct endpoint *endpoint) {
    char address[INET6_ADDRSTRLEN];
    char expected[INET6_ADDRSTRLEN + 16];
    char text[TEXT_ENDPOINT_BYTES];
    assert_non_null(inet_ntop(AF_INET6, endpoint->address, address, sizeof address));
    snprintf(expected, sizeof expected, "[%s]:%u", address, endpoint->port);
    text_of_endpoint(endpoint, text);
    assert_string_equal(text, expected);
}

static void ipv4_endpoint_is_dotted(void **state) {
    char text[TEXT_ENDPOINT_BYTES];
    text_of_endpoint(&(struct endpoint){{192, 0, 2, 1}, 0, 4444, ENDPOINT_IPV4}, text);
    assert_string_equal(text, "192.0.2.1:4444");
    text_of_endpoint(&(struct endpoint){{255, 255, 255, 255}, 0, 65535, ENDPOINT_IPV4}, text);
    assert_string_equal(text, "255.255.255.255:65535");
}

static void longest_endpoint_fits(void **state) {
    char text[TEXT_ENDPOINT_BYTES];
    struct endpoint longest = {.scope = UINT32_MAX, .port = UINT16_MAX, .family = ENDPOINT_IPV6};
    memset(longest.address, 0xff, sizeof longest.address);
    text_of_endpoint(&longest, text);
    assert_string_equal(text, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

static void special_ipv6_addresses_are_as_inet_ntop_writes_them(void **state) {
    static const char *const addresses[] = {
        "::",
        "::1",
        "::1:0",
        "::1.2.3.4",
        "::ffff:1.2.3.4",
        "::ffff:0:1",
        "::fffe:1.2.3.4",
        "::ffff:0.0.0.0",
        "0:0:0:0:1:ffff:1:2",
        "1::ffff:1:2",
        "1::",
        "fe80::1",
        "2001:db8::1",
        "2001:db8:0:1:1:1:1:1",
        "1:0:0:2:0:0:0:3",
        "1:0:0:2:0:0:3:4",
        "0:1:0:1:0:1:0:1",
        "1:2:3:4:5:6:7:8",
        "0:0:3:4:5:6:0:0",
        "64:ff9b::1.2.3.4",
        "ABCD:EF01::",
        "1:2:3:4:5:6:7::",
    };
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct endpoint endpoint = {.port = 4444, .family = ENDPOINT_IPV6};
        assert_int_equal(inet_pton(AF_INET6, addresses[i], endpoint.address), 1);
        expect_as_inet_ntop(&endpoint);
    }
}

/* Each group is zero, all ones, small or anything, so that runs of zeros of each length and place,
 * and what looks like an embedded IPv4 address, come up. */
static void random_ipv6_addresses_are_as_inet_ntop_writes_them(void **state) {
    uint32_t seed = 1;
    for (unsigned i = 0; i < RANDOM_ADDRESSES; i++) {
        struct endpoint endpoint = {.port = 1, .family = ENDPOINT_IPV6};
        for (size_t group = 0; group < 8; group++) {
            seed = seed * 1664525u + 1013904223u; /* Numerical Recipes' generator */
            uint32_t kind = seed >> 29;
            uint32_t value = kind < 5 ? 0 : kind == 5 ? 0xffff : seed >> (kind == 6 ? 20 : 8);
            endpoint.address[2 * group] = (uint8_t)(value >> 8);
            endpoint.address[2 * group + 1] = (uint8_t)value;
        }
        expect_as_inet_ntop(&endpoint);
    }
    print_message("endpoints: %d cases\n", RANDOM_ADDRESSES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_has_its_name_or_its_number),
        cmocka_unit_test(ipv4_endpoint_is_dotted),
        cmocka_unit_test(longest_endpoint_fits),
        cmocka_unit_test(special_ipv6_addresses_are_as_inet_ntop_writes_them),
        cmocka_unit_test(random_ipv6_addresses_are_as_inet_ntop_writes_them),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
