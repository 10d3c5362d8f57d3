/* load: clients of an echo server, for ci/bench. They verify every byte, but those of a flood.
 *
 *    ready  is printed once all clients are connected, a warm-up has run, and every answer has
 *           arrived, with the milliseconds that it took; then a line on standard input is awaited
 *    {...}  is printed after the load has run for --ms and every answer has arrived: the result as
 *           JSON. Then the clients stay connected until standard input ends
 *
 * CPU time read at both lines is the cost of exactly the load between them. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"
#include "pattern.h"

static const char usage[] =
    "usage: load WORKLOAD --port N [OPTION N]...\n"
    "  ping     messages of --size bytes, --depth of them in flight on each connection\n"
    "  stream   an endless stream, written and read at the same time\n"
    "  flood    the same with less work for the load: of each read the beginning is verified\n"
    "  churn    connections that send one message, get their answer and close\n"
    "  stall    an endless stream, written until the socket is full, never read\n"
    "options: --connections 1, --size 64, --depth 1, and\n"
    "  --idle 0       additional connections that get one answer and then stay idle\n"
    "  --pause 0      milliseconds from one message of ping to the next, at least\n"
    "  --ms 1000      duration\n"
    "  --timeout 10   seconds without an answer until the run fails\n"
    "Exit status: 0 every answer was right; 1 one was wrong or missing; 2 bad usage.\n";

#define CLIENTS_MAX 65536u
#define EVENTS_MAX 256
#define LOOK_MS 50
/* The warm-up is this part of the duration. */
#define WARM_PART 5
#define STALLED_NS 300000000u
/* The buffers of a stalled client; by default the kernel would allow megabytes. */
#define STALL_BUFFER_BYTES 16384
/* Connections per source address: there are 28,000 ports by default. */
#define CONNECTIONS_PER_ADDRESS 8192u
#define STREAM_UNIT 65536u
/* A load that copies what it sends and reads every answer would be slower than the server, and
 * would not flood it. Of each read so many bytes are verified, and at most so many more
 * discarded. */
#define FLOOD_VERIFIED 4096u
#define FLOOD_DISCARDED (1u << 20)
/* The buffers of a flood: by default those of a thousand would take more than the system has. */
#define FLOOD_BUFFER_BYTES (1u << 17)

#define STATUS_WRONG 1
#define STATUS_USAGE 2

enum workload { PING, STREAM, FLOOD, CHURN, STALL };

struct client {
    uint64_t number; /* selects the pattern it sends */
    uint64_t sent, got;
    uint64_t allowed; /* it may send up to this position */
    uint64_t asked_ns;
    int descriptor;
    uint32_t events; /* registered with epoll */
    bool idle;
};

static struct {
    enum workload workload;
    uint64_t port, connections, size, depth, idle, pause, ms, timeout;
} command = {.connections = 1, .size = 64, .depth = 1, .ms = 1000, .timeout = 10};

static struct client clients[CLIENTS_MAX];
static size_t client_count;
static int queue;
static uint64_t connected;       /* since the start */
static uint64_t outstanding;     /* clients that wait for an answer */
static uint64_t messages, bytes; /* answered since the last reset */
static bool sending;             /* answered clients send again */
static uint64_t last_ns;         /* time of the last event */

static _Noreturn void fail(const struct client *client, const char *what) {
    fprintf(stderr, "load: client %" PRIu64 ", after %" PRIu64 " of %" PRIu64 " bytes: %s\n",
            client->number, client->got, client->sent, what);
    exit(STATUS_WRONG);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* One client */

static void set_option(int descriptor, int level, int option, int value) {
    if (setsockopt(descriptor, level, option, &value, sizeof value) != 0) perror("setsockopt");
}

static void set_buffers(int descriptor, int bytes_each) {
    set_option(descriptor, SOL_SOCKET, SO_RCVBUF, bytes_each);
    set_option(descriptor, SOL_SOCKET, SO_SNDBUF, bytes_each);
}

static struct sockaddr_in loopback(uint32_t host, uint16_t port) {
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK + host)};
}

/* Blocking; on loopback the connection is established at once. */
static int connect_one(struct client *client) {
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in from = loopback((uint32_t)(connected / CONNECTIONS_PER_ADDRESS % 65536), 0);
    struct sockaddr_in to = loopback(0, (uint16_t)command.port);
    if (descriptor < 0) fail(client, strerror(errno));
    set_option(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    if (command.workload == STALL) set_buffers(descriptor, STALL_BUFFER_BYTES);
    if (command.workload == FLOOD) set_buffers(descriptor, FLOOD_BUFFER_BYTES);
    if (bind(descriptor, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(descriptor, (struct sockaddr *)&to, sizeof to) != 0)
        fail(client, strerror(errno));
    if (fcntl(descriptor, F_SETFL, O_NONBLOCK) != 0) fail(client, strerror(errno));
    return descriptor;
}

/* One that ends when it is told to. */
static bool is_stream(void) { return command.workload == STREAM || command.workload == FLOOD; }

static void watch(struct client *client, uint32_t events) {
    if (client->events == events) return;
    struct epoll_event event = {.events = events, .data.ptr = client};
    int operation = client->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(queue, operation, client->descriptor, &event) != 0) fail(client, strerror(errno));
    client->events = events;
}

static ssize_t send_some(const struct client *client, size_t length) {
    off_t place = pattern_place(client->number, client->sent);
    if (command.workload == FLOOD)
        return sendfile(client->descriptor, pattern_file(), &place, length);
    return send(client->descriptor, pattern_sent(client->number, client->sent), length, 0);
}

/* Sends once what is allowed; the rest follows when the socket is writable. */
static void ask(struct client *client) {
    uint64_t left = client->allowed - client->sent;
    size_t length = left < PATTERN_MAX ? (size_t)left : PATTERN_MAX;
    ssize_t sent = length == 0 ? 0 : send_some(client, length);
    if (sent < 0 && errno != EAGAIN) fail(client, strerror(errno));
    client->sent += sent > 0 ? (uint64_t)sent : 0;
    uint32_t wants = client->sent < client->allowed ? EPOLLOUT : 0u;
    watch(client, wants | (command.workload == STALL ? 0u : EPOLLIN));
}

static void begin(struct client *client) {
    *client = (struct client){.number = connected, .idle = client->idle};
    client->descriptor = connect_one(client);
    connected++;
}

/* Allows a client that waits for nothing to send. */
static void start(struct client *client) {
    if (command.workload == CHURN && !client->idle) begin(client);
    bool endless = is_stream() || command.workload == STALL;
    uint64_t more = command.workload == PING ? command.size * command.depth : command.size;
    client->allowed = endless && !client->idle ? UINT64_MAX : client->allowed + more;
    client->asked_ns = now_ns();
    outstanding++;
    ask(client);
}

/* All answers have arrived. */
static void rest(struct client *client) {
    outstanding--;
    if (sending && !client->idle && command.pause == 0) start(client);
}

static void stop_sending(void) {
    sending = false;
    for (size_t i = 0; i < client_count; i++)
        if (clients[i].allowed == UINT64_MAX && is_stream()) {
            clients[i].allowed = clients[i].sent;
            watch(&clients[i], EPOLLIN);
            if (clients[i].got == clients[i].sent) rest(&clients[i]);
        }
}

/* Answers */

static void take_messages(struct client *client, uint64_t before) {
    uint64_t answered = client->got / command.size - before / command.size;
    messages += answered;
    if (answered > 0 && command.depth == 1) {
        uint64_t now = now_ns();
        latency_add(now - client->asked_ns);
        client->asked_ns = now;
    }
    if (sending && command.pause == 0) client->allowed += answered * command.size;
    if (client->sent < client->allowed)
        ask(client);
    else if (client->got == client->allowed)
        rest(client);
}

/* FIN shows that the server has closed its socket. */
static void take_end(struct client *client) {
    if (command.workload != CHURN || client->got < command.size)
        fail(client, "the server closed the connection [closed-early]");
    close(client->descriptor);
    client->descriptor = -1;
    messages++;
    rest(client);
}

/* `received` is null for what was discarded. */
static void take(struct client *client, const uint8_t *received, size_t length) {
    uint64_t before = client->got;
    if (length > client->sent - before) fail(client, "more bytes than were sent [unasked-data]");
    if (received != NULL && !pattern_answers(client->number, before, received, length))
        fail(client, "a wrong byte [wrong-byte]");
    client->got += length;
    bytes += length;
    if (command.workload == CHURN && !client->idle) {
        if (client->got == command.size) shutdown(client->descriptor, SHUT_WR);
    } else if (command.workload == PING && !client->idle) {
        take_messages(client, before);
    } else if (client->got == client->allowed) {
        rest(client);
    }
}

static _Noreturn void fail_by_error(const struct client *client) {
    fail(client, errno == ECONNRESET ? "the connection was reset [reset]" : strerror(errno));
}

/* With MSG_TRUNC bytes are dropped and not copied (source: tcp(7)). */
static void discard(struct client *client) {
    static uint8_t nowhere[FLOOD_DISCARDED];
    ssize_t discarded = recv(client->descriptor, nowhere, sizeof nowhere, MSG_TRUNC);
    if (discarded > 0) take(client, NULL, (size_t)discarded);
    if (discarded < 0 && errno != EAGAIN) fail_by_error(client);
}

static void receive(struct client *client) {
    static uint8_t buffer[PATTERN_MAX];
    size_t most = command.workload == FLOOD ? FLOOD_VERIFIED : sizeof buffer;
    ssize_t received = recv(client->descriptor, buffer, most, 0);
    if (received > 0) {
        take(client, buffer, (size_t)received);
        if (command.workload == FLOOD) discard(client);
    } else if (received == 0)
        take_end(client);
    else if (errno != EAGAIN)
        fail_by_error(client);
}

/* The loop */

static const struct client *waiting_client(void) {
    for (size_t i = 0; i < client_count; i++)
        if (clients[i].got < clients[i].sent) return &clients[i];
    return &clients[0];
}

static void step(void) {
    struct epoll_event events[EVENTS_MAX];
    bool pauses = sending && command.pause > 0 && command.pause < LOOK_MS;
    int ready = epoll_wait(queue, events, EVENTS_MAX, pauses ? (int)command.pause : LOOK_MS);
    uint64_t now = now_ns();
    if (ready > 0) last_ns = now;
    if (now - last_ns > command.timeout * 1000000000u && outstanding > 0 &&
        command.workload != STALL)
        fail(waiting_client(), "no answer in time [no-answer]");
    for (int i = 0; i < ready; i++) {
        struct client *client = events[i].data.ptr;
        if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0) receive(client);
        if ((events[i].events & EPOLLOUT) != 0 && client->descriptor >= 0) ask(client);
    }
}

/* Those whose pause is over: without one, a ping beside floods takes half of the load's time. */
static void ask_again(void) {
    uint64_t now = now_ns();
    for (size_t i = 0; i < client_count; i++) {
        struct client *client = &clients[i];
        bool answered = !client->idle && client->got == client->allowed;
        if (answered && now - client->asked_ns >= command.pause * 1000000u) start(client);
    }
}

static void run_until_quiet(void) {
    last_ns = now_ns();
    while (command.workload == STALL ? now_ns() - last_ns < STALLED_NS : outstanding > 0)
        step();
}

static void run_for(uint64_t ns) {
    uint64_t end = now_ns() + ns;
    last_ns = now_ns();
    sending = true;
    for (size_t i = 0; i < client_count; i++)
        if (!clients[i].idle && !(command.workload == STALL && clients[i].allowed > 0))
            start(&clients[i]);
    while (now_ns() < end) {
        step();
        if (command.pause > 0) ask_again();
    }
    stop_sending();
    run_until_quiet();
}

static void connect_all(void) {
    for (uint64_t i = 0; i < command.connections + command.idle; i++) {
        struct client *client = &clients[client_count++];
        client->idle = i >= command.connections;
        if (command.workload != CHURN || client->idle) begin(client);
        if (client->idle) start(client);
        if (client->idle) run_until_quiet();
    }
}

static void report(uint64_t ns) {
    double units = is_stream() ? (double)bytes / STREAM_UNIT : (double)messages;
    printf("{\"units\": %.2f, \"bytes\": %" PRIu64 ", \"seconds\": %.6f, \"connected\": %" PRIu64
           ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
           units, bytes, (double)ns / 1e9, connected, (double)latency_at(50) / 1e3,
           (double)latency_at(99) / 1e3, (double)latency_at(100) / 1e3);
    fflush(stdout);
}

/* The command line */

static _Noreturn void quit(const char *what, const char *why) {
    fprintf(stderr, "load: %s: %s\n%s", what, why, usage);
    exit(STATUS_USAGE);
}

static uint64_t *option_named(const char *name) {
    const struct {
        const char *name;
        uint64_t *value;
    } options[] = {{"--port", &command.port}, {"--connections", &command.connections},
                   {"--size", &command.size}, {"--depth", &command.depth},
                   {"--idle", &command.idle}, {"--pause", &command.pause},
                   {"--ms", &command.ms},     {"--timeout", &command.timeout}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (strcmp(options[i].name, name) == 0) return options[i].value;
    quit(name, "is no option");
}

static void parse(int count, char *arguments[]) {
    static const char *const workloads[] = {"ping", "stream", "flood", "churn", "stall", NULL};
    size_t found = 0;
    if (count < 2) quit("a workload", "is expected");
    while (workloads[found] != NULL && strcmp(workloads[found], arguments[1]) != 0)
        found++;
    if (workloads[found] == NULL) quit(arguments[1], "is no workload");
    command.workload = (enum workload)found;
    for (int i = 2; i < count; i += 2) {
        char *end = arguments[i];
        uint64_t *value = option_named(arguments[i]);
        if (i + 1 < count) *value = strtoull(arguments[i + 1], &end, 10);
        if (end == arguments[i] || *end != '\0') quit(arguments[i], "needs a number");
    }
    if (command.port < 1 || command.port > 65535) quit("--port", "is to be 1 to 65535");
    if (command.pause > 0 && command.workload != PING) quit("--pause", "is of ping");
    if (command.size < 1 || command.depth < 1) quit("--size, --depth", "are at least 1");
    if (command.connections + command.idle > CLIENTS_MAX) quit("--connections", "are too many");
}

int main(int count, char *arguments[]) {
    char line[16];
    parse(count, arguments);
    signal(SIGPIPE, SIG_IGN);
    pattern_init();
    if (command.workload == FLOOD && pattern_file() < 0) quit("a file in memory", strerror(errno));
    queue = epoll_create1(EPOLL_CLOEXEC);
    uint64_t from = now_ns();
    connect_all();
    run_for(command.ms * 1000000u / WARM_PART);
    printf("ready %.1f\n", (double)(now_ns() - from) / 1e6);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        latency_reset();
        messages = bytes = 0;
        from = now_ns();
        run_for(command.ms * 1000000u);
        report(now_ns() - from);
    }
    return EXIT_SUCCESS;
}
