#include "shell/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The errors that the system calls of this program may return according to their man pages. No
 * portable function gives their names. */
#define ERROR(name)                                                                                \
    { name, #name }
static const struct {
    int number;
    const char *name;
} errors[] = {
    ERROR(EACCES),      ERROR(EADDRINUSE), ERROR(EADDRNOTAVAIL), ERROR(EAFNOSUPPORT),
    ERROR(EAGAIN),      ERROR(EBADF),      ERROR(ECONNABORTED),  ERROR(ECONNRESET),
    ERROR(EEXIST),      ERROR(EHOSTDOWN),  ERROR(EHOSTUNREACH),  ERROR(EINTR),
    ERROR(EINVAL),      ERROR(EIO),        ERROR(EMFILE),        ERROR(ENETDOWN),
    ERROR(ENETUNREACH), ERROR(ENFILE),     ERROR(ENOBUFS),       ERROR(ENOENT),
    ERROR(ENOMEM),      ERROR(ENOSPC),     ERROR(ENOTCONN),      ERROR(EPERM),
    ERROR(EPIPE),       ERROR(EPROTO),     ERROR(ETIMEDOUT),
};

void text_of_error(int32_t error, char text[TEXT_ERROR_BYTES]) {
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (errors[i].number != error) continue;
        snprintf(text, TEXT_ERROR_BYTES, "%s", errors[i].name);
        return;
    }
    snprintf(text, TEXT_ERROR_BYTES, "%d", error);
}

#define GROUPS 8         /* of an IPv6 address, 16 bits each */
#define ADDRESS_BYTES 46 /* the longest text of one, and its final 0 */

struct run {
    size_t begin, end;
};

/* The first of the longest runs of zero groups; empty if none has two. */
static struct run find_zeros(const unsigned groups[GROUPS]) {
    struct run longest = {GROUPS, GROUPS};
    size_t length = 1;
    for (size_t begin = 0; begin < GROUPS; begin++) {
        size_t end = begin;
        while (end < GROUPS && groups[end] == 0)
            end++;
        if (end - begin <= length) continue;
        longest = (struct run){begin, end};
        length = end - begin;
    }
    return longest;
}

static void put_v4(const uint8_t *address, char *text, size_t room) {
    snprintf(text, room, "%u.%u.%u.%u", address[0], address[1], address[2], address[3]);
}

/* RFC 5952: lower case, no leading zeros, "::" for the longest run of zero groups. An IPv4 address
 * in the last 32 bits (::ffff:0:0/96 and ::/96) is written as one, as inet_ntop does. */
static void put_v6(const uint8_t address[16], char *text, size_t room) {
    unsigned groups[GROUPS];
    size_t used = 0;
    for (size_t i = 0; i < GROUPS; i++)
        groups[i] = address[2 * i] * 256u + address[2 * i + 1];
    struct run zeros = find_zeros(groups);
    bool mapped = zeros.end == 5 && groups[5] == 0xffff;
    bool embeds_v4 = zeros.begin == 0 && (zeros.end == 6 || mapped);
    for (size_t i = 0; i < GROUPS; i++) {
        if (i == zeros.begin) {
            used += (size_t)snprintf(text + used, room - used, "::");
            i = zeros.end;
        } else if (i > 0) {
            used += (size_t)snprintf(text + used, room - used, ":");
        }
        if (i == 6 && embeds_v4) {
            put_v4(address + 12, text + used, room - used);
            return;
        }
        if (i < GROUPS) used += (size_t)snprintf(text + used, room - used, "%x", groups[i]);
    }
}

void text_of_endpoint(const struct endpoint *endpoint, char text[TEXT_ENDPOINT_BYTES]) {
    char address[ADDRESS_BYTES];
    bool is_v6 = endpoint->family == ENDPOINT_IPV6;
    (is_v6 ? put_v6 : put_v4)(endpoint->address, address, sizeof address);
    if (endpoint->scope != 0)
        snprintf(text, TEXT_ENDPOINT_BYTES, "[%s%%%u]:%u", address, endpoint->scope,
                 endpoint->port);
    else
        snprintf(text, TEXT_ENDPOINT_BYTES, is_v6 ? "[%s]:%u" : "%s:%u", address, endpoint->port);
}
