/* The calls on sockets, in place of libc's. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sim/epoll.h"
#include "sim/socket.h"
#include "sim/tcp.h"
#include "under/pollers.h"
#include "under/real.h"
#include "under/timers.h"
#include "under/world.h"

/* Real sockets without a connection, which reserve the numbers of clients: by simulated descriptor,
 * 1 + the number, or 0. Once reserved, a number stays so: the lowest free one is that of a client
 * that has left. */
static int32_t reserved[SIM_DESCRIPTORS];
static struct sockaddr_storage local;
static socklen_t local_length;

/* The bytes of a vector, joined. A call may transfer fewer bytes than there are. */
static uint8_t joined[1u << 18];

static struct descriptor *of(int fd) { return &world_descriptors[fd]; }

static struct sim_link *link_of(int fd) {
    int32_t client = sim_client_of(world_sim, of(fd)->sim);
    if (client < 0) world_unsupported("a call on a client of an earlier run");
    return &world_sim->links[client];
}

/* A call on a blocking socket that would block waits; false if it may not, or was interrupted. */
static bool blocks(int fd, int flags, struct result result, short events) {
    if (result.fault != FAULT_WOULD_BLOCK) return false;
    if (of(fd)->nonblocking || (flags & MSG_DONTWAIT)) return false;
    return pollers_wait_for(fd, events) > 0;
}

/* accept */

static void give_address(struct sockaddr *address, socklen_t *length, uint16_t port) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(in6.sin6_addr.s6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16);
    bool is_v4 = local.ss_family == AF_INET;
    socklen_t size = is_v4 ? sizeof in : sizeof in6;
    memcpy(address, is_v4 ? (void *)&in : (void *)&in6, *length < size ? *length : size);
    *length = size;
}

static void know_local(int listener) {
    local_length = sizeof local;
    REAL(SYS_getsockname, listener, &local, &local_length);
}

static int reserve(int32_t sim) {
    if (reserved[sim] == 0) {
        int fd = (int)REAL(SYS_socket, local.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || fd >= DESCRIPTORS_MAX) world_unsupported("accept above descriptor 65535");
        reserved[sim] = 1 + fd;
    }
    return reserved[sim] - 1;
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags) {
    if (world_kind(fd) != DESCRIPTOR_LISTENER)
        return (int)REAL(SYS_accept4, fd, address, length, flags);
    struct result result;
    struct endpoint peer = {.port = 0};
    do {
        world_called("accept");
        result = sim_accept(world_sim, SIM_LISTENER, &peer);
    } while (blocks(fd, 0, result, POLLIN));
    if (result.fault != FAULT_NONE) return (int)world_result(result);
    if (local_length == 0) know_local(fd);
    int accepted = reserve((int32_t)result.value);
    *of(accepted) = (struct descriptor){
        .kind = DESCRIPTOR_CLIENT,
        .nonblocking = (flags & SOCK_NONBLOCK) != 0,
        .sim = (int32_t)result.value,
    };
    if (address != NULL && length != NULL) give_address(address, length, peer.port);
    return accepted;
}

int accept(int fd, struct sockaddr *restrict address, socklen_t *restrict length) {
    return accept4(fd, address, length, 0);
}

int listen(int fd, int backlog) {
    if (world_kind(fd) == DESCRIPTOR_LISTENER) return 0;
    return world_listens(fd) ? 0 : (int)REAL(SYS_listen, fd, backlog);
}

/* Receiving */

static ssize_t take(int fd, void *bytes, size_t length, int flags) {
    struct result result;
    if (flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC))
        world_unsupported("recv with MSG_PEEK, MSG_WAITALL, MSG_OOB or MSG_TRUNC");
    do {
        world_called("recv");
        result = sim_receive(world_sim, of(fd)->sim, bytes, length);
    } while (blocks(fd, flags, result, POLLIN));
    return world_result(result);
}

static ssize_t take_parts(int fd, const struct iovec *parts, int count, int flags) {
    if (count == 1) return take(fd, parts[0].iov_base, parts[0].iov_len, flags);
    size_t wanted = 0;
    for (int i = 0; i < count; i++)
        wanted += parts[i].iov_len;
    ssize_t got = take(fd, joined, wanted < sizeof joined ? wanted : sizeof joined, flags);
    size_t at = 0;
    for (int i = 0; got > 0 && at < (size_t)got; i++) {
        size_t left = (size_t)got - at;
        size_t part = left < parts[i].iov_len ? left : parts[i].iov_len;
        memcpy(parts[i].iov_base, joined + at, part);
        at += part;
    }
    return got;
}

ssize_t recv(int fd, void *bytes, size_t length, int flags) {
    if (world_is_client(fd)) return take(fd, bytes, length, flags);
    return REAL(SYS_recvfrom, fd, bytes, length, flags);
}

ssize_t recvfrom(int fd, void *restrict bytes, size_t length, int flags,
                 struct sockaddr *restrict address, socklen_t *restrict address_length) {
    if (world_is_client(fd)) return take(fd, bytes, length, flags);
    return REAL(SYS_recvfrom, fd, bytes, length, flags, address, address_length);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    if (!world_is_client(fd)) return REAL(SYS_recvmsg, fd, message, flags);
    message->msg_controllen = 0;
    message->msg_namelen = 0;
    message->msg_flags = 0;
    return take_parts(fd, message->msg_iov, (int)message->msg_iovlen, flags);
}

ssize_t read(int fd, void *bytes, size_t length) {
    return world_is_client(fd) ? take(fd, bytes, length, 0) : REAL(SYS_read, fd, bytes, length);
}

ssize_t readv(int fd, const struct iovec *parts, int count) {
    if (world_is_client(fd)) return take_parts(fd, parts, count, 0);
    return REAL(SYS_readv, fd, parts, count);
}

/* Sending */

/* Of a blocking socket all bytes are sent, unless a call fails. */
static ssize_t put(int fd, const uint8_t *bytes, size_t length, int flags) {
    size_t done = 0;
    struct result result;
    if (flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE))
        world_unsupported("send with MSG_OOB, MSG_ZEROCOPY or MSG_FASTOPEN");
    bool whole = !of(fd)->nonblocking && !(flags & MSG_DONTWAIT);
    for (;;) {
        world_called("send");
        result = sim_send(world_sim, of(fd)->sim, bytes + done, length - done);
        if (result.fault == FAULT_NONE) done += (size_t)result.value;
        bool again = result.fault == FAULT_NONE && whole && done < length;
        if (!again && !blocks(fd, flags, result, POLLOUT)) break;
    }
    if (result.fault == FAULT_NONE || done > 0) return (ssize_t)done;
    if (result.fault == FAULT_PIPE && !(flags & MSG_NOSIGNAL)) raise(SIGPIPE);
    return world_result(result);
}

static ssize_t put_parts(int fd, const struct iovec *parts, int count, int flags) {
    if (count == 1) return put(fd, parts[0].iov_base, parts[0].iov_len, flags);
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        size_t left = sizeof joined - at;
        size_t part = parts[i].iov_len < left ? parts[i].iov_len : left;
        memcpy(joined + at, parts[i].iov_base, part);
        at += part;
    }
    return put(fd, joined, at, flags);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
    if (world_is_client(fd)) return put(fd, bytes, length, flags);
    world_stirred();
    return REAL(SYS_sendto, fd, bytes, length, flags);
}

ssize_t sendto(int fd, const void *bytes, size_t length, int flags, const struct sockaddr *address,
               socklen_t address_length) {
    if (world_is_client(fd)) return put(fd, bytes, length, flags);
    world_stirred();
    return REAL(SYS_sendto, fd, bytes, length, flags, address, address_length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    if (world_is_client(fd))
        return put_parts(fd, message->msg_iov, (int)message->msg_iovlen, flags);
    world_stirred();
    return REAL(SYS_sendmsg, fd, message, flags);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (world_is_client(fd)) return put(fd, bytes, length, 0);
    if (fd > STDERR_FILENO) world_stirred();
    return REAL(SYS_write, fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (world_is_client(fd)) return put_parts(fd, parts, count, 0);
    if (fd > STDERR_FILENO) world_stirred();
    return REAL(SYS_writev, fd, parts, count);
}

int eventfd_write(int fd, eventfd_t value) {
    return write(fd, &value, sizeof value) == sizeof value ? 0 : -1;
}

/* The variants of a build with _FORTIFY_SOURCE. */
ssize_t __read_chk(int fd, void *bytes, size_t length, size_t room);
ssize_t __recv_chk(int fd, void *bytes, size_t length, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *bytes, size_t length, size_t room, int flags,
                       struct sockaddr *address, socklen_t *address_length);

ssize_t __read_chk(int fd, void *bytes, size_t length, size_t room) {
    return read(fd, bytes, length);
}

ssize_t __recv_chk(int fd, void *bytes, size_t length, size_t room, int flags) {
    return recv(fd, bytes, length, flags);
}

ssize_t __recvfrom_chk(int fd, void *bytes, size_t length, size_t room, int flags,
                       struct sockaddr *address, socklen_t *address_length) {
    return recvfrom(fd, bytes, length, flags, address, address_length);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t count) {
    if (world_is_simulated(to) || world_is_simulated(from)) world_unsupported("sendfile");
    world_stirred();
    return REAL(SYS_sendfile, to, from, offset, count);
}

ssize_t splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t length,
               unsigned flags) {
    if (world_is_simulated(from) || world_is_simulated(to)) world_unsupported("splice");
    world_stirred();
    return REAL(SYS_splice, from, from_offset, to, to_offset, length, flags);
}

/* The end of a connection */

int shutdown(int fd, int how) {
    if (!world_is_client(fd)) {
        world_stirred();
        return (int)REAL(SYS_shutdown, fd, how);
    }
    world_called("shutdown");
    if (how != SHUT_WR) world_unsupported("shutdown with SHUT_RD or SHUT_RDWR");
    return (int)world_result(sim_shutdown(world_sim, of(fd)->sim));
}

int close(int fd) {
    if (!world_is_simulated(fd)) {
        pollers_forget(fd);
        timers_forget(fd);
        world_stirred();
        world_closes_real();
        return (int)REAL(SYS_close, fd);
    }
    world_called("close");
    int32_t sim = of(fd)->sim;
    *of(fd) = (struct descriptor){.kind = DESCRIPTOR_REAL};
    return (int)world_result(sim_close(world_sim, sim));
}

/* Options */

static int pending_error(int fd) {
    struct sim_link *link = link_of(fd);
    enum fault fault = link->error;
    link->error = FAULT_NONE;
    return fault == FAULT_NONE ? 0 : fault == FAULT_PIPE ? EPIPE : ECONNRESET;
}

/* An option of a listener holds for clients that connect afterwards; each client of one that was
 * passed counts as having connected before. */
static void take_urgent_in_line(int fd, bool in_line) {
    if (world_is_client(fd))
        link_of(fd)->out_of_band = !in_line;
    else if (!of(fd)->passed)
        world_sim->out_of_band = !in_line;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    int result = (int)REAL(SYS_setsockopt, fd, level, name, value, length);
    if (!world_is_simulated(fd) || result < 0 || level != SOL_SOCKET) return result;
    const struct linger *linger = value;
    if (name == SO_LINGER && linger->l_onoff) world_unsupported("SO_LINGER");
    if (name == SO_RCVTIMEO || name == SO_SNDTIMEO) world_unsupported("SO_RCVTIMEO or SO_SNDTIMEO");
    if (name == SO_RCVLOWAT) world_unsupported("SO_RCVLOWAT");
    if (name == SO_OOBINLINE) take_urgent_in_line(fd, *(const int *)value != 0);
    return result;
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict length) {
    bool enough = length != NULL && *length >= sizeof(int) && level == SOL_SOCKET;
    int answer = 0;
    if (enough && name == SO_ACCEPTCONN && world_kind(fd) == DESCRIPTOR_LISTENER)
        answer = 1;
    else if (enough && name == SO_ERROR && world_is_client(fd))
        answer = pending_error(fd);
    else
        return (int)REAL(SYS_getsockopt, fd, level, name, value, length);
    memcpy(value, &answer, sizeof answer);
    *length = sizeof answer;
    return 0;
}

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict length) {
    if (!world_is_client(fd)) return (int)REAL(SYS_getsockname, fd, address, length);
    memcpy(address, &local, *length < local_length ? *length : local_length);
    *length = local_length;
    return 0;
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict length) {
    if (!world_is_client(fd)) return (int)REAL(SYS_getpeername, fd, address, length);
    if (link_of(fd)->reset_arrived) {
        errno = ENOTCONN;
        return -1;
    }
    give_address(address, length, (uint16_t)(10000 + sim_client_of(world_sim, of(fd)->sim)));
    return 0;
}

static int control(int fd, int command, long argument) {
    if (!world_is_simulated(fd)) return (int)REAL(SYS_fcntl, fd, command, argument);
    switch (command) {
    case F_GETFL: return O_RDWR | (of(fd)->nonblocking ? O_NONBLOCK : 0);
    case F_SETFL:
        if (argument & O_ASYNC) world_unsupported("fcntl with O_ASYNC");
        of(fd)->nonblocking = (argument & O_NONBLOCK) != 0;
        return 0;
    case F_GETFD:
    case F_SETFD: return (int)REAL(SYS_fcntl, fd, command, argument);
    default: world_unsupported("fcntl other than F_GETFL, F_SETFL, F_GETFD and F_SETFD");
    }
}

int fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    return control(fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    return control(fd, command, argument);
}

static int count_unread(int fd, int *count) {
    world_called("ioctl");
    struct result result = sim_unread(world_sim, of(fd)->sim);
    if (result.fault == FAULT_NONE) *count = (int)result.value;
    return result.fault == FAULT_NONE ? 0 : (int)world_result(result);
}

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (!world_is_simulated(fd) || request == FIOCLEX || request == FIONCLEX)
        return (int)REAL(SYS_ioctl, fd, request, argument);
    if (request == FIONBIO) {
        of(fd)->nonblocking = *(int *)argument != 0;
        return 0;
    }
    if (request == FIONREAD && world_is_client(fd)) return count_unread(fd, argument);
    if (request == TIOCOUTQ && world_is_client(fd)) {
        *(int *)argument = (int)(link_of(fd)->written - link_of(fd)->delivered);
        return 0;
    }
    world_unsupported("ioctl other than FIONBIO, FIONREAD, SIOCOUTQ, FIOCLEX and FIONCLEX");
}

/* Opening a file takes a descriptor. */

static int open_at(int folder, const char *path, int flags, int mode) {
    if (!world_opens_real()) return -1;
    return (int)REAL(SYS_openat, folder, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    return open_at(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    return open_at(folder, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}

int dup(int fd) {
    if (world_is_simulated(fd)) world_unsupported("dup");
    return (int)REAL(SYS_dup, fd);
}

int dup2(int from, int to) {
    if (world_is_simulated(from) || world_is_simulated(to)) world_unsupported("dup2");
    world_stirred();
    return (int)REAL(SYS_dup2, from, to);
}

int dup3(int from, int to, int flags) {
    if (world_is_simulated(from) || world_is_simulated(to)) world_unsupported("dup3");
    world_stirred();
    return (int)REAL(SYS_dup3, from, to, flags);
}

void _exit(int status) {
    world_exits(status);
    for (;;)
        REAL(SYS_exit_group, status);
}

void _Exit(int status) { _exit(status); }
