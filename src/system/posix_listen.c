#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "posix.h"
#include "system/system.h"

/* SO_REUSEADDR: the port can be bound again at once after a restart. */
static bool prepare(int descriptor) {
    return posix_switch_on(descriptor, SOL_SOCKET, SO_REUSEADDR) && posix_prepare(descriptor);
}

bool posix_listener_inherited;

static bool adopt(int descriptor) {
    posix_listener_inherited = true;
    return prepare(descriptor);
}

/* Opens a listening socket; -1 with errno if that fails. */
static int open_listener(const struct addrinfo *address) {
    bool is_v6 = address->ai_family == AF_INET6;
    int descriptor = socket(address->ai_family, SOCK_STREAM, 0);
    if (descriptor >= 0 && prepare(descriptor) &&
        (!is_v6 || posix_switch_on(descriptor, IPPROTO_IPV6, IPV6_V6ONLY)) &&
        bind(descriptor, address->ai_addr, address->ai_addrlen) == 0 &&
        listen(descriptor, SOMAXCONN) == 0)
        return descriptor;
    return -1; /* the process exits now, which closes the descriptor */
}

bool system_resolve(const char *host, uint16_t port, struct addrinfo **address,
                    char complaint[SYSTEM_COMPLAINT_BYTES]) {
    char service[sizeof "65535"];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    snprintf(service, sizeof service, "%u", port);
    int status = getaddrinfo(host, service, &hints, address);
    if (status != 0) snprintf(complaint, SYSTEM_COMPLAINT_BYTES, "%s", gai_strerror(status));
    return status == 0;
}

struct result system_listen(struct addrinfo *address) {
    int descriptor = open_listener(address);
    struct result result = posix_result(descriptor);
    freeaddrinfo(address);
    return result;
}

/* The first passed descriptor (source: sd_listen_fds(3)). */
#define ACTIVATED 3

struct result system_activated(char complaint[SYSTEM_COMPLAINT_BYTES]) {
    char process[24];
    snprintf(process, sizeof process, "%ld", (long)getpid());
    const char *addressee = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    int listening = 0;
    socklen_t length = sizeof listening;
    if (addressee == NULL || count == NULL || strcmp(addressee, process) != 0)
        return posix_result(0);
    if (strcmp(count, "1") != 0)
        snprintf(complaint, SYSTEM_COMPLAINT_BYTES, "LISTEN_FDS is '%.20s', expected 1", count);
    else if (getsockopt(ACTIVATED, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) < 0 ||
             !listening || !adopt(ACTIVATED))
        snprintf(complaint, SYSTEM_COMPLAINT_BYTES, "descriptor 3 is not a listening TCP socket");
    else
        return posix_result(ACTIVATED);
    return (struct result){.fault = FAULT_OTHER};
}

struct result system_local_endpoint(int32_t descriptor, struct endpoint *endpoint) {
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    struct result result =
        posix_result(getsockname(descriptor, (struct sockaddr *)&address, &length));
    *endpoint = posix_endpoint(&address);
    return result;
}
