#include "under/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "scenario/file.h"
#include "under/channel.h"

/* The server has so long to start, and so much CPU time from one wait to the next. Without CPU time
 * it is blocked in a real call, for which a simulated client may be the reason. */
#define START_MS 30000
#define HANG_CPU_MS 1000
#define BLOCKED_MS 30000
#define LOOK_MS 5

#define REPEATS 3
#define WORDS_MAX 64
#define REASONS_MAX 32

/* How one run ended. */
enum verdict { VERDICT_JUDGED, VERDICT_UNSUPPORTED, VERDICT_ENDED, VERDICT_HANGS };

/* How a wait for the library ended. */
enum wait { WAIT_TURN, WAIT_ENDED, WAIT_BUSY, WAIT_LATE };

/* What was not judged. */
struct reason {
    char text[200];
    uint64_t runs;
};

static struct {
    char command[4096], library[64], memory[64];
    struct channel *channel;
    bool plain;        /* the command is of plain words: it takes no shell */
    bool shows_errors; /* what the server prints on stderr */
    pid_t pid;         /* 0: it does not run */
    int status;        /* as of waitpid, once it does not run */
    struct reason reasons[REASONS_MAX];
    size_t reason_count;
} under;

static uint64_t milliseconds(clockid_t clock) {
    struct timespec now = {.tv_sec = 0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The server's process */

static bool runs(void) {
    if (under.pid != 0 && waitpid(under.pid, &under.status, WNOHANG) == under.pid) under.pid = 0;
    return under.pid != 0;
}

static void end(void) {
    if (!runs()) return;
    kill(-under.pid, SIGKILL); /* its process group, which it leads */
    while (waitpid(under.pid, &under.status, 0) < 0 && errno == EINTR)
        continue;
    /* What a shell between us and the server leaves behind is ours, too: its port must be free. */
    while (waitpid(-under.pid, NULL, 0) > 0 || errno == EINTR)
        continue;
    under.pid = 0;
}

/* Without a shell, which starts as slowly as a small server. */
static void execute_words(void) {
    static char words[sizeof under.command];
    char *arguments[WORDS_MAX + 1] = {NULL};
    size_t count = 0;
    memcpy(words, under.command, sizeof words);
    for (char *word = strtok(words, " \t"); word != NULL; word = strtok(NULL, " \t")) {
        if (count == WORDS_MAX) return;
        arguments[count++] = word;
    }
    if (count > 0) execvp(arguments[0], arguments);
}

static _Noreturn void become_server(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    personality(ADDR_NO_RANDOMIZE); /* what depends on addresses repeats */
    setenv("LD_PRELOAD", under.library, 1);
    setenv(CHANNEL_VARIABLE, under.memory, 1);
    int null = open("/dev/null", O_RDWR);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fd != STDERR_FILENO || !under.shows_errors) dup2(null, fd);
    if (null > STDERR_FILENO) close(null);
    if (under.plain) execute_words();
    execl("/bin/sh", "sh", "-c", under.command, (char *)NULL);
    _exit(127);
}

/* Waits until the library has had its turn, or the server ends or has used up what it has. */
static enum wait await_turn(uint64_t limit_ms, clockid_t cpu_clock) {
    const struct timespec look = {.tv_nsec = LOOK_MS * 1000000L};
    struct channel *channel = under.channel;
    uint64_t begin_ms = 0, begin_cpu_ms = 0, waits = 0;
    for (;;) {
        uint32_t turn = channel->turn;
        if (turn == TURN_COMMAND) return WAIT_TURN;
        if (syscall(SYS_futex, &channel->turn, FUTEX_WAIT, turn, &look, NULL, 0) == 0) continue;
        if (errno != ETIMEDOUT) continue;
        if (!runs()) return channel->turn == TURN_COMMAND ? WAIT_TURN : WAIT_ENDED;
        if (begin_ms == 0 || waits != channel->waits) {
            waits = channel->waits;
            begin_ms = milliseconds(CLOCK_MONOTONIC);
            begin_cpu_ms = milliseconds(cpu_clock);
        }
        if (milliseconds(CLOCK_MONOTONIC) - begin_ms > limit_ms) return WAIT_LATE;
        if (cpu_clock == CLOCK_MONOTONIC) continue;
        if (milliseconds(cpu_clock) - begin_cpu_ms > HANG_CPU_MS) return WAIT_BUSY;
    }
}

static void start_server(void) {
    under.channel->turn = TURN_NOBODY;
    under.channel->loaded = 0;
    under.channel->pid = 0;
    under.channel->unsupported[0] = '\0';
    fflush(NULL);
    under.pid = fork();
    if (under.pid < 0) quit("fork", strerror(errno));
    if (under.pid == 0) become_server();
    setpgid(under.pid, under.pid);
    enum wait wait = await_turn(START_MS, CLOCK_MONOTONIC);
    if (wait == WAIT_TURN && under.channel->unsupported[0] == '\0') return;
    end();
    if (under.channel->unsupported[0] != '\0')
        quit(under.command, under.channel->unsupported); /* while it started */
    if (under.channel->loaded == 0)
        quit(under.command, "the library was not loaded (a static program?)");
    quit(under.command, wait == WAIT_LATE
                            ? "does not wait for clients on its port within 30 s"
                            : "ended before it waited for clients (--trace shows what it prints)");
}

/* Runs */

static enum verdict play_once(const struct scenario *scenario, enum run_judge judge, bool traced,
                              uint64_t seeds) {
    struct channel *channel = under.channel;
    if (!runs()) start_server();
    clockid_t clock;
    if (clock_getcpuclockid(channel->pid, &clock) != 0) clock = CLOCK_MONOTONIC;
    channel->scenario = *scenario;
    channel->judge = judge;
    channel->traced = traced;
    channel->seeds = seeds;
    channel->passed = 0;
    channel->ended = false;
    memset(&channel->result, 0, sizeof channel->result);
    channel->turn = TURN_LIBRARY;
    syscall(SYS_futex, &channel->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
    enum wait wait = await_turn(BLOCKED_MS, clock);
    if (wait == WAIT_LATE)
        snprintf(channel->unsupported, sizeof channel->unsupported,
                 "a real call that blocks for %d s", BLOCKED_MS / 1000);
    bool unsupported = channel->unsupported[0] != '\0';
    if (wait != WAIT_TURN || channel->ended || unsupported) end();
    if (unsupported) return VERDICT_UNSUPPORTED;
    return wait == WAIT_TURN ? VERDICT_JUDGED : wait == WAIT_BUSY ? VERDICT_HANGS : VERDICT_ENDED;
}

static void play(const struct scenario *scenario, enum run_judge judge, bool traced,
                 enum verdict *verdict, struct run_result *result) {
    *verdict = play_once(scenario, judge, traced, 1);
    *result = under.channel->result;
    if (*verdict == VERDICT_JUDGED) return;
    result->failed = *verdict != VERDICT_UNSUPPORTED;
    char *text = result->failure;
    size_t room = sizeof result->failure;
    if (*verdict == VERDICT_HANGS)
        snprintf(text, room, "the server hangs: %d ms of CPU time without a wait [server-stuck]",
                 HANG_CPU_MS);
    else if (WIFSIGNALED(under.status))
        snprintf(text, room, "the server was ended by signal %d [server-died]",
                 WTERMSIG(under.status));
    else
        snprintf(text, room, "the server's process ended with status %d [server-died]",
                 WEXITSTATUS(under.status));
}

/* Notes a run that is not judged. */
static void leave_out(const char *kind, const char *text, struct run_result *result) {
    char line[sizeof under.reasons[0].text];
    size_t i = 0;
    snprintf(line, sizeof line, "%s: %s", kind, text);
    while (i < under.reason_count && strcmp(under.reasons[i].text, line) != 0)
        i++;
    if (i == under.reason_count && i < REASONS_MAX)
        memcpy(under.reasons[under.reason_count++].text, line, sizeof line);
    if (i < REASONS_MAX) under.reasons[i].runs++;
    result->failed = false;
    result->cut = true;
}

/* A failure is one if it repeats, each time in a fresh process. */
static void repeat(const struct scenario *scenario, enum run_judge judge, bool traced,
                   struct run_result *result) {
    char first[sizeof result->failure];
    enum verdict verdict;
    memcpy(first, result->failure, sizeof first);
    for (int i = 0; i < REPEATS && result->failed; i++) {
        end();
        play(scenario, judge, traced, &verdict, result);
    }
    if (!result->failed) leave_out("unstable", first, result);
}

static void run(void *self, const struct scenario *asked, enum sim_poller poller,
                enum run_judge judge, struct sim_trace *trace, struct run_result *result) {
    static struct scenario scenario;
    enum verdict verdict;
    scenario = *asked;
    run_make_foreign(&scenario);
    play(&scenario, judge, trace != NULL, &verdict, result);
    if (verdict == VERDICT_UNSUPPORTED)
        leave_out("unsupported", under.channel->unsupported, result);
    else if (result->failed)
        repeat(&scenario, judge, trace != NULL, result);
    if (trace == NULL) return;
    size_t count = under.channel->trace.count;
    trace->count = count < trace->max ? count : trace->max;
    memcpy(trace->events, under.channel->events, trace->count * sizeof trace->events[0]);
}

static uint64_t run_seeds(void *self, const struct scenario *asked, enum run_judge judge,
                          uint64_t count) {
    static struct scenario scenario;
    uint64_t passed = 0;
    scenario = *asked;
    run_make_foreign(&scenario);
    while (passed < count) {
        scenario.seed = asked->seed + (uint32_t)passed;
        enum verdict verdict = play_once(&scenario, judge, false, count - passed);
        passed += under.channel->passed;
        if (verdict != VERDICT_JUDGED || under.channel->result.failed) break;
        if (under.channel->ended) passed++; /* by a stop, and good */
    }
    return passed;
}

/* What is left of the scenario if it is made foreign is the same again: nothing else was chosen. */
static void explore_one(void *self, const struct scenario *scenario, enum sim_poller poller,
                        struct explore *asked, struct run_result *result) {
    enum verdict verdict;
    struct explore *its = &under.channel->explore;
    its->kinds = asked->kinds;
    its->fixed = asked->fixed;
    its->first = asked->first;
    its->ended = its->known = false;
    its->points.count = 0;
    under.channel->explores = true;
    play(scenario, RUN_ORACLE, false, &verdict, result);
    under.channel->explores = false;
    asked->ended = its->ended;
    asked->steps_end = its->steps_end;
    asked->points.count = its->points.count;
    memcpy(asked->points.at, its->points.at, its->points.count * sizeof its->points.at[0]);
    if (verdict == VERDICT_UNSUPPORTED)
        leave_out("unsupported", under.channel->unsupported, result);
    else if (result->failed)
        repeat(scenario, RUN_ORACLE, false, result);
}

static struct run_target target = {
    .run = run, .run_seeds = run_seeds, .explore = explore_one, .pollers = 1, .foreign = true};

/* The start */

static uint16_t free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        quit("a free port", strerror(errno));
    close(fd);
    return ntohs(address.sin_port);
}

/* The command with its port filled in. */
static void fill_in(const char *command, uint16_t port) {
    const char *place = strstr(command, "{port}");
    int before = place == NULL ? (int)strlen(command) : (int)(place - command);
    bool simple = strpbrk(command, ";&|()<>=`$\n") == NULL;
    under.plain = simple && strpbrk(command, "\"'\\*?[~#") == NULL;
    const char *exec = simple && !under.plain ? "exec " : ""; /* it takes the place of the shell */
    int length = place == NULL
                     ? snprintf(under.command, sizeof under.command, "%s%s", exec, command)
                     : snprintf(under.command, sizeof under.command, "%s%.*s%u%s", exec, before,
                                command, port, place + strlen("{port}"));
    if (length >= (int)sizeof under.command) quit("--under", "the command is too long");
    under.channel->port = place == NULL ? 0 : port;
}

/* The library lies beside this program. It is named by a descriptor of this process: the list of
 * libraries to load ends at a blank. */
static void find_library(void) {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path);
    char *slash = length < 0 ? NULL : memrchr(path, '/', (size_t)length);
    if (slash == NULL) quit("/proc/self/exe", "cannot be read");
    *slash = '\0';
    int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = openat(folder, "libtouchstone_under.so", O_RDONLY | O_CLOEXEC);
    if (fd < 0) quit("libtouchstone_under.so", strerror(errno));
    close(folder);
    snprintf(under.library, sizeof under.library, "/proc/%d/fd/%d", (int)getpid(), fd);
}

const struct run_target *under_start(const char *command, bool shows_errors, bool never_stopped) {
    target.command = command;
    target.never_stopped = never_stopped;
    under.shows_errors = shows_errors;
    find_library();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int fd = memfd_create("touchstone-under", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof *under.channel) < 0) quit("memfd", strerror(errno));
    under.channel = mmap(NULL, sizeof *under.channel, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (under.channel == MAP_FAILED) quit("mmap", strerror(errno));
    snprintf(under.memory, sizeof under.memory, "/proc/%d/fd/%d", (int)getpid(), fd);
    fill_in(command, free_port());
    start_server();
    return &target;
}

int under_finish(int status) {
    end();
    fprintf(stderr, "simulated: %s\n", under.channel->seen);
    for (size_t i = 0; i < under.reason_count; i++)
        printf("not judged: %" PRIu64 " runs, %s\n", under.reasons[i].runs, under.reasons[i].text);
    return status == EXIT_SUCCESS && under.reason_count > 0 ? STATUS_NOT_JUDGED : status;
}
