#include "under/world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "scenario/judge.h"
#include "sim/epoll.h"
#include "sim/socket.h"
#include "under/channel.h"
#include "under/fuzz.h"
#include "under/real.h"
#include "under/stacks.h"
#include "under/timers.h"
#include "under/trap.h"

/* So many calls without a wait are a loop that does not end. */
#define CALLS_MAX 100000

#define PASSED 3 /* the first descriptor that a service manager passes (sd_listen_fds(3)) */

#define NEVER UINT64_MAX

struct descriptor world_descriptors[DESCRIPTORS_MAX];

/* Before the first run the server registers its listener. */
static struct sim_kernel nobody;
static struct oracle nobodys_oracle;
static struct stream nobodys_stream;
static struct scenario nobodys_scenario;
struct sim_kernel *world_sim = &nobody;

static struct run *run; /* null before the first one */
static struct channel *channel;
static bool listens, begun, exits, threads, fuzzed;
static _Thread_local bool mine __attribute__((tls_model("initial-exec")));
static _Atomic bool stirred;
static uint32_t calls; /* since the last wait */
static bool stop_is_due;
static uint64_t clock_base_ms; /* of all runs before this one */
/* Between two runs: */
static struct sim_watch listener_watch;
static bool out_of_band;
static uint64_t clock_last_ms;

bool world_exists(void) { return channel != NULL; }
bool world_runs(void) { return begun; }
bool world_is_mine(void) { return mine; }
bool world_has_threads(void) { return threads; }
void world_stirred(void) { stirred = true; }
bool world_is_stirred(void) { return stirred; }
void world_is_calm(void) { stirred = false; }

static void wake(void) {
    channel->turn = TURN_COMMAND;
    REAL(SYS_futex, &channel->turn, FUTEX_WAKE, 1);
}

void world_unsupported(const char *call) {
    if (channel->unsupported[0] == '\0')
        snprintf(channel->unsupported, sizeof channel->unsupported, "%s", call);
    wake();
    REAL(SYS_exit_group, 1);
    abort();
}

static bool is_limited(void) { return mine && world_sim->open_max < world_sim->slot_count; }

bool world_opens_real(void) {
    if (!is_limited()) return true;
    if (world_sim->open >= world_sim->open_max) {
        errno = EMFILE;
        return false;
    }
    world_sim->open_max--;
    return true;
}

void world_closes_real(void) {
    if (is_limited()) world_sim->open_max++;
}

/* The server does not run any more; the scenario runner ends the process. */
static void freeze(enum server_status status) {
    run->status = status;
    for (;;)
        stacks_to_runner();
}

void world_seen(const char *call) {
    static const char *seen[16];
    size_t i = 0;
    while (i < sizeof seen / sizeof seen[0] && seen[i] != NULL && seen[i] != call)
        i++;
    if (i == sizeof seen / sizeof seen[0] || seen[i] == call) return;
    seen[i] = call;
    /* Another process of the server may have noted it. */
    char *known = strstr(channel->seen, call);
    size_t length = strlen(call), used = strlen(channel->seen);
    if (known != NULL && (known[length] == ',' || known[length] == '\0')) return;
    snprintf(channel->seen + used, sizeof channel->seen - used, used == 0 ? "%s" : ", %s", call);
}

void world_called(const char *call) {
    if (run == NULL) return;
    world_seen(call);
    if (!mine) {
        char text[64];
        snprintf(text, sizeof text, "%s by a second thread", call);
        world_unsupported(text);
    }
    if (++calls < CALLS_MAX) return;
    oracle_fail(&run->oracle, "cpu", "%u calls without a wait", calls);
    freeze(SERVER_FAILED);
}

ssize_t world_result(struct result result) {
    if (result.fault == FAULT_NONE) return (ssize_t)result.value;
    errno = result.raw;
    return -1;
}

/* The start: the library is loaded, and a listener listens. */

static void on_exit_handler(int status, void *unused) {
    (void)unused;
    world_exits(status);
}

static struct channel *shared_channel(void) {
    const char *path = getenv(CHANNEL_VARIABLE);
    int fd = path == NULL ? -1 : (int)REAL(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return NULL;
    void *memory = mmap(NULL, sizeof *channel, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REAL(SYS_close, fd);
    return memory == MAP_FAILED ? NULL : memory;
}

__attribute__((constructor)) static void load(void) {
    channel = fuzz_channel();
    fuzzed = channel != NULL;
    if (!fuzzed) channel = shared_channel();
    if (channel == NULL) return;
    channel->loaded++;
    on_exit(on_exit_handler, NULL);
    if (getenv("LISTEN_FDS") != NULL && world_listens(PASSED))
        world_descriptors[PASSED].passed = true;
}

static uint16_t port_of(int fd) {
    struct sockaddr_in6 address;
    socklen_t length = sizeof address;
    if (REAL(SYS_getsockname, fd, &address, &length) < 0) return 0;
    bool inet = address.sin6_family == AF_INET || address.sin6_family == AF_INET6;
    return inet ? ntohs(address.sin6_port) : 0; /* in both it is at the same place */
}

bool world_listens(int fd) {
    uint16_t port = channel == NULL ? 0 : port_of(fd);
    if (listens || port == 0 || fd >= DESCRIPTORS_MAX) return false;
    if (channel->port != 0 && port != channel->port) return false;
    listens = true;
    stream_init(&nobodys_stream, &nobodys_scenario);
    oracle_init(&nobodys_oracle, &nobodys_stream, 0, 0);
    sim_init(&nobody, &nobodys_oracle, &nobodys_scenario, SIM_EPOLL, NULL);
    nobody.foreign = true;
    int in_line = 0;
    socklen_t length = sizeof in_line;
    REAL(SYS_getsockopt, fd, SOL_SOCKET, SO_OOBINLINE, &in_line, &length);
    nobody.out_of_band = in_line == 0;
    world_descriptors[fd] = (struct descriptor){
        .kind = DESCRIPTOR_LISTENER,
        .nonblocking = (REAL(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK) != 0,
        .sim = SIM_LISTENER,
    };
    return true;
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*entry)(void *), void *restrict argument) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&create = real_function("pthread_create");
    threads = true;
    return create(thread, attributes, entry, argument);
}

/* The scenario runner: scenario after scenario, each from where the server waits. */

uint64_t world_clock_ms(void) { return clock_base_ms + world_sim->now_ms; }

static void leave_run(void) {
    clock_last_ms = world_clock_ms();
    listener_watch = world_sim->watches[SIM_LISTENER];
    listener_watch.edges -= world_sim->listener_edges;
    out_of_band = world_sim->out_of_band;
}

static bool start(struct run *of, const struct scenario *scenario) {
    (void)scenario;
    run = of;
    world_sim = &of->sim;
    clock_base_ms = clock_last_ms + 1 - of->sim.now_ms;
    of->sim.watches[SIM_LISTENER] = listener_watch;
    of->sim.out_of_band = out_of_band;
    return true;
}

static void step(struct run *of) {
    of->wait_ms = -1;
    stacks_to_server();
}

static void stop(struct run *of) {
    of->sim.stop_told_ms = of->sim.now_ms;
    stop_is_due = true;
}

static const struct run_server foreign = {
    .start = start, .step = step, .stop = stop, .foreign = true};

/* True if another run can follow in this process: one that was cut short leaves clients behind. */
static bool play_one(void) {
    channel->trace = (struct sim_trace){.events = channel->events, .max = CHANNEL_TRACE_MAX};
    leave_run();
    run_server(&foreign, &channel->scenario, SIM_EPOLL, channel->judge,
               channel->traced ? &channel->trace : NULL,
               channel->explores ? &channel->explore : NULL, &channel->result);
    channel->ended = run->status != SERVER_RUNNING || channel->result.failed || channel->result.cut;
    return !channel->ended;
}

static void take_turn(void) {
    if (fuzzed) {
        fuzz_take(channel);
        return;
    }
    wake();
    while (channel->turn != TURN_LIBRARY)
        REAL(SYS_futex, &channel->turn, FUTEX_WAIT, TURN_COMMAND, NULL);
}

static void play(void) {
    for (;;) {
        take_turn();
        channel->passed = 0;
        while (play_one() && ++channel->passed < channel->seeds)
            channel->scenario.seed++;
        if (!channel->ended) continue;
        if (fuzzed && channel->result.failed) fuzz_failed();
        wake();
        REAL(SYS_exit_group, 0);
    }
}

static void begin(void) {
    if (channel->pid != 0) world_unsupported("a second process that waits");
    mine = begun = true;
    channel->pid = (int32_t)REAL(SYS_getpid);
    trap_start();
    stacks_start(play);
}

/* Waits */

/* The signal that stops the server, as a wait lets it in. True if a handler has run. */
static bool take_stop(const sigset_t *blocked) {
    struct sigaction action;
    sigset_t mask;
    stop_is_due = false;
    stirred = true;
    sigaction(SIGTERM, NULL, &action);
    pthread_sigmask(SIG_SETMASK, blocked, &mask);
    bool waits = sigismember(blocked == NULL ? &mask : blocked, SIGTERM) != 0; /* signalfd */
    if (action.sa_handler == SIG_DFL && !waits) world_exits(128 + SIGTERM);
    REAL(SYS_kill, REAL(SYS_getpid), SIGTERM);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return action.sa_handler != SIG_IGN && !waits;
}

/* How long a wait that ends at `end_ms` (UINT64_MAX: never) goes on; a timer ends it before. */
static int32_t left_of(uint64_t end_ms, int64_t timer_ms) {
    uint64_t now_ms = world_clock_ms();
    uint64_t left_ms = now_ms < end_ms ? end_ms - now_ms : 0;
    if (timer_ms >= 0 && (uint64_t)timer_ms < left_ms) left_ms = (uint64_t)timer_ms;
    if (end_ms == NEVER && timer_ms < 0) return -1;
    return left_ms > INT32_MAX ? INT32_MAX : (int32_t)left_ms;
}

int world_wait(const char *call, queue_gather *gather, void *records, size_t max,
               int64_t timeout_ms, const sigset_t *blocked) {
    if (!mine && run != NULL) world_unsupported("a wait of a second thread");
    if (!mine) begin();
    world_seen(call);
    uint64_t end_ms = timeout_ms < 0 ? NEVER : world_clock_ms() + (uint64_t)timeout_ms;
    for (;;) {
        calls = 0;
        channel->waits++;
        stacks_to_runner(); /* the end of a step */
        if (stop_is_due && take_stop(blocked)) {
            errno = EINTR;
            return -1;
        }
        int64_t timer_ms = timers_expire();
        struct result result =
            queue_wait(world_sim, gather, records, max, left_of(end_ms, timer_ms));
        bool by_timer =
            result.fault == FAULT_NONE && result.value == 0 && world_clock_ms() < end_ms;
        if (!world_sim->idle && !by_timer) return (int)world_result(result);
        run->wait_ms = left_of(end_ms, timers_expire());
    }
}

void world_exits(int status) {
    if (run == NULL || !mine || exits) return;
    exits = true;
    if (!run->oracle.stopping)
        oracle_fail(&run->oracle, "server-died", "the server exited with status %d", status);
    for (int32_t i = SIM_CLIENT_FIRST; i < (int32_t)world_sim->top; i++)
        if (sim_client_of(world_sim, i) >= 0) sim_close(world_sim, i);
    if (world_sim->listening) sim_close(world_sim, SIM_LISTENER);
    run->exit_status = status;
    freeze(status == 0 ? SERVER_STOPPED : SERVER_STOPPED_SHORT);
}
