/* A small server for the tests of `scenario --under`: right in each style, or with one mistake.
 *
 *   broken PORT STYLE [MISTAKE]
 *   broken --list
 *
 * Each mistake is one that event loops have had. STYLE is how it waits. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define BUFFER_BYTES 256
#define RETRY_MS 100
#define DRAIN_MS 5000

static const char *const styles[] = {"level", "edges", "one-shot", "poll", "select", "blocking"};
enum style { LEVEL, EDGES, ONE_SHOT, POLL, SELECT, BLOCKING };

enum mistake {
    NONE,
    ONE_READ,       /* the rest waits for an edge that has been */
    ONE_ACCEPT,     /* likewise */
    SHORT_READ,     /* the FIN behind it is never read */
    SHORT_END,      /* after a FIN; but a read is also short before an urgent byte */
    WRITE_EDGE,     /* only input is registered */
    NOT_ARMED,      /* armed again only after bytes came */
    NOT_ARMED_OUT,  /* armed again for input alone */
    WRITE_INTEREST, /* the rest of the output waits for input */
    SHORT_WRITE,    /* the rest of the output is lost */
    WRONG_RESUME,   /* one byte too far */
    DROP_AT_FIN,    /* the FIN closes, whatever is pending */
    LEAK_RESET,     /* deregistered, and never closed */
    CRASH_RESET,
    ABORT_ADD, /* one client that cannot be registered */
    LEAK_ADD,  /* likewise, and it is not closed */
    EXIT_ACCEPT,
    DEAF,        /* the listener is never watched again */
    SPIN_ACCEPT, /* the listener stays ready */
    INTERRUPTED,
    RETRY,       /* in a loop, without a wait */
    SPIN_OUTPUT, /* input stays watched, and is not read */
    SLOT,        /* the next client inherits what was pending */
    NO_BACKLOG,
    NO_DRAIN,
    STATUS,
    NO_WAIT, /* computes for ever */
    /* Right, but not modelled: no verdict. */
    DUPLICATE,
    FORK,
    THREAD,
};

static const struct {
    const char *name;
    enum style style; /* that shows it */
} mistakes[] = {
    [NONE] = {"none", LEVEL},
    [ONE_READ] = {"one-read-per-event", EDGES},
    [ONE_ACCEPT] = {"one-accept-per-event", EDGES},
    [SHORT_READ] = {"short-read-has-drained", EDGES},
    [SHORT_END] = {"short-read-is-the-end", LEVEL},
    [WRITE_EDGE] = {"write-edge-not-asked-for", EDGES},
    [NOT_ARMED] = {"not-armed-after-nothing", ONE_SHOT},
    [NOT_ARMED_OUT] = {"not-armed-for-output", ONE_SHOT},
    [WRITE_INTEREST] = {"write-interest-forgotten", LEVEL},
    [SHORT_WRITE] = {"short-write-taken-as-whole", LEVEL},
    [WRONG_RESUME] = {"short-write-resumed-wrong", LEVEL},
    [DROP_AT_FIN] = {"output-dropped-at-fin", POLL},
    [LEAK_RESET] = {"leak-after-reset", LEVEL},
    [CRASH_RESET] = {"crash-after-reset", SELECT},
    [ABORT_ADD] = {"abort-without-registration", LEVEL},
    [LEAK_ADD] = {"leak-without-registration", LEVEL},
    [EXIT_ACCEPT] = {"exit-without-descriptors", POLL},
    [DEAF] = {"deaf-after-no-descriptors", LEVEL},
    [SPIN_ACCEPT] = {"spin-without-descriptors", SELECT},
    [INTERRUPTED] = {"interrupted-is-an-error", LEVEL},
    [RETRY] = {"would-block-is-retried", LEVEL},
    [SPIN_OUTPUT] = {"spin-while-output-pends", LEVEL},
    [SLOT] = {"slot-not-cleared", LEVEL},
    [NO_BACKLOG] = {"stop-drops-the-backlog", LEVEL},
    [NO_DRAIN] = {"stop-at-once", POLL},
    [STATUS] = {"stop-with-status-1", LEVEL},
    [NO_WAIT] = {"no-wait-after-reset", LEVEL},
    [DUPLICATE] = {"duplicated-descriptor", LEVEL},
    [FORK] = {"forked-process", POLL},
    [THREAD] = {"second-thread", LEVEL},
};
#define MISTAKES (sizeof mistakes / sizeof mistakes[0])

static struct client {
    uint8_t bytes[BUFFER_BYTES];
    size_t from, to; /* pending output */
    size_t owed;     /* once stopping: bytes that had arrived and are not read yet */
    bool used, leaked, ended, shut;
} clients[CLIENTS_MAX];

static enum style style;
static enum mistake mistake;
static int listener, queue, stop_fd, timer_fd; /* with edges, a timer ends the waits */
static bool stopping, paused, listening = true;
static int64_t drain_end_ms;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_epoll(void) { return style <= ONE_SHOT; }

/* What a client is watched for. */
static uint32_t interest_of(const struct client *c) {
    if (mistake == WRITE_INTEREST || mistake == NOT_ARMED_OUT) return EPOLLIN;
    if (c->from == c->to) return EPOLLIN;
    return mistake == SPIN_OUTPUT ? EPOLLIN | EPOLLOUT : EPOLLOUT;
}

static int watch(int fd, int operation, uint32_t events) {
    uint32_t edges = EPOLLIN | EPOLLRDHUP | EPOLLET | (mistake == WRITE_EDGE ? 0 : EPOLLOUT);
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (style == EDGES) event.events = edges;
    if (style == ONE_SHOT) event.events |= EPOLLONESHOT;
    return epoll_ctl(queue, operation, fd, &event);
}

static void leave(int fd) {
    struct client *c = &clients[fd];
    bool leaks = mistake == LEAK_RESET && !c->ended && !stopping;
    if (leaks && is_epoll()) epoll_ctl(queue, EPOLL_CTL_DEL, fd, NULL);
    c->leaked = leaks;
    c->used = leaks;
    if (!leaks) close(fd);
}

static void fail(int fd) {
    if (mistake == CRASH_RESET) *(volatile int *)(uintptr_t)fd = 0;
    while (mistake == NO_WAIT)
        continue;
    leave(fd);
}

/* Sends what is pending; false if not all could be sent, or the client has left. */
static bool flush(int fd) {
    struct client *c = &clients[fd];
    while (c->from < c->to) {
        ssize_t sent = send(fd, c->bytes + c->from, c->to - c->from, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR && mistake != INTERRUPTED) continue;
        if (sent < 0 && errno == EAGAIN && mistake == RETRY) continue;
        if (sent < 0 && errno != EAGAIN) fail(fd);
        if (sent < 0) return false;
        bool is_short = (size_t)sent < c->to - c->from;
        c->from += (size_t)sent + (is_short && mistake == WRONG_RESUME);
        if (mistake == SHORT_WRITE) c->from = c->to;
    }
    return true;
}

static void take(struct client *c, const uint8_t *bytes, size_t count) {
    c->from = c->to = 0;
    if (stopping) c->owed -= count < c->owed ? count : c->owed;
    if (c->shut) return; /* came after the stop */
    for (size_t i = 0; i < count; i++) {
        bool lower = bytes[i] >= 'a' && bytes[i] <= 'z';
        c->bytes[c->to++] = (uint8_t)(lower ? bytes[i] - ('a' - 'A') : bytes[i]);
    }
}

/* Whether the peer's FIN has arrived. */
static bool is_ending(int fd) {
    struct pollfd polled = {.fd = fd, .events = POLLRDHUP};
    return poll(&polled, 1, 0) > 0;
}

/* Receives once; false if there was nothing, or the client has left. */
static bool receive(int fd, bool *drained) {
    struct client *c = &clients[fd];
    uint8_t bytes[BUFFER_BYTES];
    size_t room = stopping && c->owed > 0 && c->owed < sizeof bytes ? c->owed : sizeof bytes;
    bool ending = mistake == SHORT_END && is_ending(fd);
    ssize_t got = recv(fd, bytes, room, 0);
    if (got < 0 && errno == EINTR && mistake != INTERRUPTED) return true;
    if (got < 0 && errno != EAGAIN) fail(fd);
    if (got < 0) return false;
    c->ended = got == 0 || (ending && (size_t)got < room);
    take(c, bytes, (size_t)got);
    *drained = mistake == ONE_READ || (mistake == SHORT_READ && (size_t)got < room);
    return true;
}

/* Serves a client until it would block; true if a byte came. */
static bool serve(int fd) {
    struct client *c = &clients[fd];
    bool any = false, drained = false;
    while (c->used && !c->leaked) {
        if (!flush(fd)) break;
        if (c->ended) {
            leave(fd);
            break;
        }
        if (stopping && c->owed == 0 && !c->shut) {
            c->shut = true;
            if (shutdown(fd, SHUT_WR) < 0) fail(fd);
            continue;
        }
        if (drained || !receive(fd, &drained)) break;
        any |= c->from < c->to;
        if (c->ended && mistake == DROP_AT_FIN) c->to = c->from;
    }
    return any;
}

/* DROP_AT_FIN: the end is looked for before what is pending is sent. */
static bool drops(int fd) {
    uint8_t byte;
    if (mistake != DROP_AT_FIN || clients[fd].from == clients[fd].to) return false;
    if (recv(fd, &byte, 0, 0) < 0 || !is_ending(fd)) return false;
    close(fd);
    clients[fd].used = false;
    return true;
}

static void serve_and_watch(int fd) {
    struct client *c = &clients[fd];
    if (drops(fd)) return;
    uint32_t before = interest_of(c);
    bool any = serve(fd);
    if (!c->used || c->leaked || !is_epoll()) return;
    bool changed = style == LEVEL && interest_of(c) != before;
    bool armed = style == ONE_SHOT && (any || mistake != NOT_ARMED);
    if (changed || armed) watch(fd, EPOLL_CTL_MOD, interest_of(c));
}

/* New connections */

static void *receive_nothing(void *pointer) {
    recv(*(const int *)pointer, NULL, 0, MSG_DONTWAIT);
    return NULL;
}

/* What is not modelled. */
static void share(int fd) {
    pthread_t thread;
    if (mistake == DUPLICATE) close(dup(fd));
    if (mistake == FORK && fork() == 0) _exit(0);
    if (mistake != THREAD) return;
    pthread_create(&thread, NULL, receive_nothing, &fd);
    pthread_join(thread, NULL);
}

static void welcome(int fd) {
    int yes = 1;
    if (fd >= CLIENTS_MAX) {
        close(fd);
        return;
    }
    struct client kept = clients[fd];
    clients[fd] = (struct client){.used = true};
    if (mistake == SLOT) clients[fd].from = kept.from, clients[fd].to = kept.to;
    if (mistake == SLOT) memcpy(clients[fd].bytes, kept.bytes, sizeof kept.bytes);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &yes, sizeof yes);
    share(fd);
    if (!is_epoll() || watch(fd, EPOLL_CTL_ADD, EPOLLIN) == 0) return;
    if (mistake == ABORT_ADD) abort();
    clients[fd].used = false;
    if (mistake != LEAK_ADD) close(fd);
}

static void pause_accepting(void) {
    if (mistake == EXIT_ACCEPT) exit(1);
    if (mistake == SPIN_ACCEPT) return;
    paused = true;
    if (mistake == DEAF) epoll_ctl(queue, EPOLL_CTL_DEL, listener, NULL);
    if (mistake != DEAF && style == LEVEL) watch(listener, EPOLL_CTL_MOD, 0);
}

static void accept_all(void) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) welcome(fd);
        bool passing = errno == EINTR || errno == ECONNABORTED || errno == EPROTO;
        if (fd < 0 && errno != EAGAIN && !passing) pause_accepting();
        if (fd < 0 && !passing) break;
        if (mistake == ONE_ACCEPT) break;
    }
    if (style == ONE_SHOT && !paused && listening) watch(listener, EPOLL_CTL_MOD, EPOLLIN);
}

static void accept_again(void) {
    paused = false;
    if (mistake == DEAF) return;
    if (style == LEVEL) watch(listener, EPOLL_CTL_MOD, EPOLLIN);
    accept_all();
}

/* The stop: the backlog is served, and every client gets what had arrived. */

static void stop(void) {
    struct signalfd_siginfo info;
    if (read(stop_fd, &info, sizeof info) < 0) return;
    if (mistake == NO_DRAIN) exit(0);
    if (paused) accept_again();
    if (mistake != NO_BACKLOG) accept_all();
    stopping = true;
    paused = listening = false;
    drain_end_ms = now_ms() + DRAIN_MS;
    close(listener);
    for (int fd = 0; fd < CLIENTS_MAX; fd++) {
        int unread = 0;
        if (!clients[fd].used || clients[fd].leaked) continue;
        ioctl(fd, FIONREAD, &unread);
        clients[fd].owed = (size_t)unread;
        serve_and_watch(fd);
    }
}

static bool is_over(void) {
    if (!stopping) return false;
    for (int fd = 0; fd < CLIENTS_MAX && now_ms() < drain_end_ms; fd++)
        if (clients[fd].used && !clients[fd].leaked) return false;
    return true;
}

static int timeout_ms(void) {
    if (paused && mistake != DEAF) return RETRY_MS;
    if (!stopping) return -1;
    int64_t left_ms = drain_end_ms - now_ms();
    return left_ms > 0 ? (int)left_ms : 0;
}

/* Styles */

static void serve_ready(int fd) {
    if (fd == stop_fd)
        stop();
    else if (fd == listener && listening)
        accept_all();
    else if (fd < CLIENTS_MAX && clients[fd].used)
        serve_and_watch(fd);
}

/* The timeout of the next wait; with edges the timer is set instead. */
static int set_timer(void) {
    int ms = timeout_ms();
    struct itimerspec time = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}};
    if (style != EDGES || ms == 0) return ms;
    if (ms < 0) time.it_value = (struct timespec){.tv_sec = 0};
    timerfd_settime(timer_fd, 0, &time, NULL);
    return -1;
}

static int pass_epoll(void) {
    struct epoll_event events[16];
    uint64_t expirations;
    int count = epoll_wait(queue, events, 16, set_timer());
    bool timed_out = false;
    for (int i = 0; i < count; i++) {
        timed_out |= events[i].data.fd == timer_fd &&
                     read(timer_fd, &expirations, sizeof expirations) == sizeof expirations;
        serve_ready(events[i].data.fd);
    }
    return timed_out ? 0 : count;
}

static int gather(struct pollfd polled[CLIENTS_MAX + 2]) {
    int count = 0;
    polled[count++] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
    if (listening && !paused) polled[count++] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (int fd = 0; fd < CLIENTS_MAX; fd++) {
        if (!clients[fd].used || clients[fd].leaked) continue;
        short events = (short)interest_of(&clients[fd]);
        polled[count++] = (struct pollfd){.fd = fd, .events = events};
    }
    return count;
}

static int pass_poll(void) {
    static struct pollfd polled[CLIENTS_MAX + 2];
    int count = gather(polled);
    int found = poll(polled, (nfds_t)count, timeout_ms());
    for (int i = 0; i < count && found > 0; i++)
        if (polled[i].revents != 0) serve_ready(polled[i].fd);
    return found;
}

static int pass_select(void) {
    static struct pollfd polled[CLIENTS_MAX + 2];
    fd_set reads, writes;
    int count = gather(polled);
    int ms = timeout_ms();
    struct timeval timeout = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000L};
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    for (int i = 0; i < count; i++)
        FD_SET(polled[i].fd, (polled[i].events & POLLIN) ? &reads : &writes);
    int found = select(FD_SETSIZE, &reads, &writes, NULL, ms < 0 ? NULL : &timeout);
    for (int i = 0; i < count && found > 0; i++)
        if (FD_ISSET(polled[i].fd, &reads) || FD_ISSET(polled[i].fd, &writes))
            serve_ready(polled[i].fd);
    return found;
}

/* One client after the other, by blocking calls. */
static _Noreturn void serve_blocking(void) {
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        clients[fd] = (struct client){.used = true};
        while (clients[fd].used)
            serve(fd);
    }
}

/* The start */

static _Noreturn void refuse(const char *word, const char *expected) {
    fprintf(stderr, "broken: %s: expected %s\n", word, expected);
    exit(2);
}

static enum style style_of(const char *word) {
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++)
        if (strcmp(styles[i], word) == 0) return (enum style)i;
    refuse(word, "a style");
}

static enum mistake mistake_of(const char *word) {
    for (size_t i = 0; i < MISTAKES; i++)
        if (strcmp(mistakes[i].name, word) == 0) return (enum mistake)i;
    refuse(word, "a mistake");
}

/* Each style, and each mistake with its own. */
static void list(void) {
    for (size_t i = LEVEL; i < BLOCKING; i++)
        printf("%s none\n", styles[i]);
    for (size_t i = NONE + 1; i < MISTAKES; i++)
        printf("%s %s\n", styles[mistakes[i].style], mistakes[i].name);
}

static void start(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    stop_fd = signalfd(-1, &stops, SFD_CLOEXEC);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int kind = SOCK_STREAM | SOCK_CLOEXEC | (style == BLOCKING ? 0 : SOCK_NONBLOCK);
    listener = socket(AF_INET, kind, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, SOMAXCONN) < 0)
        exit(1);
    if (style == BLOCKING) serve_blocking();
    if (!is_epoll()) return;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = stop_fd};
    queue = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(queue, EPOLL_CTL_ADD, stop_fd, &event);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    event.data.fd = timer_fd;
    epoll_ctl(queue, EPOLL_CTL_ADD, timer_fd, &event);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
}

int main(int argc, char *argv[]) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0) return list(), 0;
    if (argc != 3 && argc != 4) refuse("usage", "PORT STYLE [MISTAKE], or --list");
    style = style_of(argv[2]);
    if (argc == 4) mistake = mistake_of(argv[3]);
    start((uint16_t)strtoul(argv[1], NULL, 10));
    while (!is_over()) {
        int found = is_epoll() ? pass_epoll() : style == POLL ? pass_poll() : pass_select();
        if (found == 0 && paused) accept_again();
    }
    return mistake == STATUS;
}
