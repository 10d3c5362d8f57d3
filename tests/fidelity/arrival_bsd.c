#include <sys/types.h>
/* sys/event.h needs sys/types.h */
#include <stddef.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "fidelity/arrival.h"

/* FreeBSD, NetBSD and macOS do not report what is acknowledged, so the other end is queried, with a
 * kqueue separate from the one under test. A connection in the backlog has no other end yet, so
 * nothing of it is waited for. */

static struct kevent read_event(int descriptor) {
    struct kevent event;
    struct kevent found;
    const struct timespec now = {.tv_sec = 0};
    int queue = kqueue();
    EV_SET(&event, (uintptr_t)descriptor, EVFILT_READ, EV_ADD, 0, 0, NULL);
    EV_SET(&found, 0, EVFILT_READ, 0, 0, 0, NULL);
    kevent(queue, &event, 1, &found, 1, &now);
    close(queue);
    return found;
}

static bool sees_end(int descriptor) { return (read_event(descriptor).flags & EV_EOF) != 0; }

static uint64_t unread(int descriptor) {
    int count = 0;
    return ioctl(descriptor, FIONREAD, &count) < 0 ? 0 : (uint64_t)count;
}

uint32_t arrival_backlog(const struct environment *env) {
    return (uint32_t)read_event(env->listener).data;
}

bool arrival_at_server(struct environment *env, enum client client) {
    int descriptor = env->clients[client].descriptor;
    if (descriptor <= 0) return true;
    uint64_t due = env->clients[client].sent - env->clients[client].received;
    return unread(descriptor) == due && (!sockets.shut[client] || sees_end(descriptor));
}

/* True if every byte is in one of the two buffers. A byte that has arrived but is not yet
 * acknowledged is counted in both. */
bool arrival_at_client(struct environment *env, enum client client) {
    if (sockets.clients[client] < 0) return true;
    uint64_t arrived = env->clients[client].got + unread(sockets.clients[client]);
    return arrived + arrival_outstanding(env->clients[client].descriptor) ==
           env->clients[client].answered;
}

bool arrival_expects_end(struct environment *env, enum client client) {
    return env->clients[client].descriptor > 0;
}

bool arrival_of_end(struct environment *env, enum client client) {
    return sees_end(env->clients[client].descriptor);
}

uint64_t arrival_outstanding(int descriptor) {
    int count = 0;
#ifdef SO_NWRITE /* macOS */
    socklen_t length = sizeof count;
    int status = getsockopt(descriptor, SOL_SOCKET, SO_NWRITE, &count, &length);
#else
    int status = ioctl(descriptor, FIONWRITE, &count);
#endif
    return status < 0 ? 0 : (uint64_t)count;
}
