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

/* Opens a listening socket; -1 with errno if that fails. */
static int open_listener(const struct addrinfo *address, bool dual_stack) {
    bool is_v6 = address->ai_family == AF_INET6;
    int v6_only = !dual_stack;
    int descriptor = socket(address->ai_family, SOCK_STREAM, 0);
    if (descriptor >= 0 && prepare(descriptor) &&
        (!is_v6 ||
         setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only) == 0) &&
        bind(descriptor, address->ai_addr, address->ai_addrlen) == 0 &&
        listen(descriptor, SOMAXCONN) == 0)
        return descriptor;
    return -1; /* the process exits now, which closes the descriptor */
}

enum fault posix_resolver_fault(int status) {
    bool temporary = status == EAI_AGAIN || status == EAI_MEMORY || status == EAI_SYSTEM;
    return temporary ? FAULT_WOULD_BLOCK : FAULT_OTHER;
}

/* Only a zone says which of the host's links a link-local address belongs to. */
static bool lacks_zone(const struct addrinfo *address) {
    struct sockaddr_in6 in6;
    if (address->ai_family != AF_INET6) return false;
    memcpy(&in6, address->ai_addr, sizeof in6);
    return IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) && in6.sin6_scope_id == 0;
}

struct result system_resolve(const char *host, uint16_t port, struct addrinfo **address,
                             char complaint[SYSTEM_COMPLAINT_BYTES]) {
    char service[sizeof "65535"];
    bool all = strcmp(host, "*") == 0;
    struct addrinfo hints = {.ai_family = all ? AF_INET6 : AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = all ? AI_PASSIVE : 0};
    snprintf(service, sizeof service, "%u", port);
    int status = getaddrinfo(all ? NULL : host, service, &hints, address);
    if (status != 0) {
        snprintf(complaint, SYSTEM_COMPLAINT_BYTES, "%s", gai_strerror(status));
        return (struct result){.fault = posix_resolver_fault(status)};
    }
    if (lacks_zone(*address)) {
        snprintf(complaint, SYSTEM_COMPLAINT_BYTES,
                 "a link-local address needs a zone (expected, for example, fe80::1%%eth0)");
        freeaddrinfo(*address);
        return (struct result){.fault = FAULT_OTHER};
    }
    return (struct result){.fault = FAULT_NONE};
}

struct result system_listen(struct addrinfo *address, bool dual_stack) {
    int descriptor = open_listener(address, dual_stack);
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
    posix_listener_inherited = true;
    if (strcmp(count, "1") != 0)
        snprintf(complaint, SYSTEM_COMPLAINT_BYTES, "LISTEN_FDS is '%.20s', expected 1", count);
    else if (getsockopt(ACTIVATED, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) < 0 ||
             !listening || !prepare(ACTIVATED))
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
