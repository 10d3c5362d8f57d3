/* accept for systems with accept4 where a new socket inherits the listener's options (Linux). */
#include <sys/socket.h>

#include "posix.h"

struct result posix_accept(void *self, int32_t listener, struct endpoint *peer) {
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    struct result result = posix_result(
        accept4(listener, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    *peer = posix_endpoint(&address);
    return result;
}
