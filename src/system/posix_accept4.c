/* accept for systems with accept4 where a new socket inherits the listener's options (Linux). */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "posix.h"

struct result posix_accept(void *self, int32_t listener, struct endpoint *peer) {
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    struct result result = posix_result(
        accept4(listener, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (posix_listener_inherited && result.fault == FAULT_NONE &&
        !posix_prepare((int)result.value)) {
        close((int)result.value);
        return (struct result){.fault = FAULT_ABORTED, .raw = ECONNABORTED};
    }
    *peer = posix_endpoint(&address);
    return result;
}
