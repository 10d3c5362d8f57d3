#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#include "posix.h"
#include "shell/text.h"

/* The errors that the calls of this program may return by their man pages. No portable function
 * has their names. */
#define ERROR(name, fault)                                                                         \
    { name, #name, fault }
static const struct {
    int number;
    const char *name;
    enum fault fault;
} errors[] = {ERROR(EAGAIN, FAULT_WOULD_BLOCK),   ERROR(EINTR, FAULT_INTERRUPTED),
              ERROR(ECONNRESET, FAULT_RESET),     ERROR(EPIPE, FAULT_PIPE),
              ERROR(ECONNABORTED, FAULT_ABORTED), ERROR(EPROTO, FAULT_ABORTED),
              ERROR(EMFILE, FAULT_DESCRIPTORS),   ERROR(ENFILE, FAULT_DESCRIPTORS),
              ERROR(ENOMEM, FAULT_MEMORY),        ERROR(ENOBUFS, FAULT_MEMORY),
              ERROR(ENOENT, FAULT_NOT_FOUND),     ERROR(EEXIST, FAULT_EXISTS),
              ERROR(ENOSPC, FAULT_NO_SPACE),      ERROR(EACCES, FAULT_OTHER),
              ERROR(EADDRINUSE, FAULT_OTHER),     ERROR(EADDRNOTAVAIL, FAULT_OTHER),
              ERROR(EAFNOSUPPORT, FAULT_OTHER),   ERROR(EBADF, FAULT_OTHER),
              ERROR(EHOSTDOWN, FAULT_OTHER),      ERROR(EHOSTUNREACH, FAULT_OTHER),
              ERROR(EINVAL, FAULT_OTHER),         ERROR(EIO, FAULT_OTHER),
              ERROR(ENETDOWN, FAULT_OTHER),       ERROR(ENETUNREACH, FAULT_OTHER),
              ERROR(ENOTCONN, FAULT_OTHER),       ERROR(EPERM, FAULT_OTHER),
              ERROR(ETIMEDOUT, FAULT_OTHER)};
#define ERRORS (sizeof errors / sizeof errors[0])

static size_t find(int number) {
    size_t i = 0;
    while (i < ERRORS && errors[i].number != number)
        i++;
    return i;
}

enum fault posix_fault(int error) {
    size_t i = find(error);
    return i < ERRORS ? errors[i].fault : FAULT_OTHER;
}

void text_of_error(int32_t error, char text[TEXT_ERROR_BYTES]) {
    size_t i = find(error);
    if (i < ERRORS)
        snprintf(text, TEXT_ERROR_BYTES, "%s", errors[i].name);
    else
        snprintf(text, TEXT_ERROR_BYTES, "%d", error);
}

void text_of_endpoint(const struct endpoint *endpoint, char text[TEXT_ENDPOINT_BYTES]) {
    char address[INET6_ADDRSTRLEN];
    bool is_v6 = endpoint->family == ENDPOINT_IPV6;
    inet_ntop(is_v6 ? AF_INET6 : AF_INET, endpoint->address, address, sizeof address);
    if (endpoint->scope != 0)
        snprintf(text, TEXT_ENDPOINT_BYTES, "[%s%%%u]:%u", address, endpoint->scope,
                 endpoint->port);
    else
        snprintf(text, TEXT_ENDPOINT_BYTES, is_v6 ? "[%s]:%u" : "%s:%u", address, endpoint->port);
}
