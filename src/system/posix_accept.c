/* accept for systems where a new socket does not reliably inherit all options (macOS, the BSDs). */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "posix.h"

/* A socket whose client has already disconnected may have an address of length 0 and refuse options
 * with EINVAL (macOS): it counts as aborted. */
struct result posix_accept(void *self, int32_t listener, struct endpoint *peer) {
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    int descriptor = accept(listener, (struct sockaddr *)&address, &length);
    struct result result = posix_result(descriptor);
    if (descriptor >= 0 && (length == 0 || !posix_prepare(descriptor))) {
        close(descriptor);
        return (struct result){.fault = FAULT_ABORTED, .raw = ECONNABORTED};
    }
    *peer = posix_endpoint(&address);
    return result;
}
