#include <sys/types.h>
/* sys/event.h needs sys/types.h */
#include <stddef.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "fidelity/arrival.h"

/* FreeBSD, NetBSD and macOS: no system tells what is acknowledged, so the other end is asked, with
 * a kqueue of its own beside the one that is tried. Whoever is in the backlog has no other end yet,
 * and nothing of it is waited for. */

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

uint32_t arrival_backlog(const struct world *w) { return (uint32_t)read_event(w->listener).data; }

bool arrival_at_server(struct world *w, enum client client) {
    int descriptor = w->clients[client].descriptor;
    if (descriptor <= 0) return true;
    uint64_t due = w->clients[client].sent - w->clients[client].received;
    return unread(descriptor) == due && (!sockets.shut[client] || sees_end(descriptor));
}

/* All is in one of the two buffers, and so nothing on its way: what has arrived and is not
 * acknowledged yet is in both. */
bool arrival_at_client(struct world *w, enum client client) {
    if (sockets.clients[client] < 0) return true;
    uint64_t arrived = w->clients[client].got + unread(sockets.clients[client]);
    return arrived + arrival_outstanding(w->clients[client].descriptor) ==
           w->clients[client].answered;
}

bool arrival_expects_end(struct world *w, enum client client) {
    return w->clients[client].descriptor > 0;
}

bool arrival_of_end(struct world *w, enum client client) {
    return sees_end(w->clients[client].descriptor);
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
