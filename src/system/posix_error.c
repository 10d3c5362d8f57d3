#include <errno.h>

#include "posix.h"

enum fault posix_fault(int error) {
    switch (error) {
    case EAGAIN: return FAULT_WOULD_BLOCK;
    case EINTR: return FAULT_INTERRUPTED;
    case ECONNRESET:
    case ENOTCONN: return FAULT_RESET; /* ENOTCONN: of shutdown, after a reset */
    case EPIPE: return FAULT_PIPE;
    case ECONNABORTED:
    case EPROTO: return FAULT_ABORTED;
    case EMFILE:
    case ENFILE: return FAULT_DESCRIPTORS;
    case ENOMEM:
    case ENOBUFS: return FAULT_MEMORY;
    case ENOENT: return FAULT_NOT_FOUND;
    case EEXIST: return FAULT_EXISTS;
    case ENOSPC: return FAULT_NO_SPACE;
    default: return FAULT_OTHER;
    }
}

struct result posix_result(int64_t value) {
    if (value >= 0) return (struct result){.value = value, .fault = FAULT_NONE};
    return (struct result){.fault = posix_fault(errno), .raw = errno};
}
