#pragma once

#include <stdint.h>

enum endpoint_family { ENDPOINT_IPV4, ENDPOINT_IPV6 };

/* An address and a port. */
struct endpoint {
    uint8_t address[16]; /* network order; IPv4 in the first four bytes */
    uint32_t scope;      /* interface of a link-local IPv6 address, otherwise 0 */
    uint16_t port;       /* host order */
    uint8_t family;      /* enum endpoint_family */
};
