#include "sim/tcp.h"

#include "sim/faults.h"
#include "sim/trace.h"

static void reset_arrives(struct sim_kernel *sim, struct sim_link *link) {
    if (link->reset_arrived || tcp_is_over(link)) return;
    link->reset_arrived = sim->oracle->clients[link - sim->links].left = true;
    /* After the peer's FIN the same RST is a broken pipe (Linux, tcp_reset). */
    bool pipe = sim->system == SIM_LINUX && link->fin_arrived && !link->server_shut;
    link->error = pipe ? FAULT_PIPE : FAULT_RESET;
    link->edges[EDGE_ALL]++;
    sim->progress++;
}

/* The server's end answers with RST: what it sent and has not been delivered is lost (Linux,
 * tcp_close with unread data, and tcp_rcv_state_process of an orphan). */
void tcp_server_resets(struct sim_link *link) {
    link->server_reset = true;
    link->written = link->delivered;
}

static void deliver_to_server(struct sim_kernel *sim, uint32_t client, uint32_t vary) {
    struct sim_link *link = &sim->links[client];
    /* An urgent byte that does not make the socket readable takes no room: behind it nothing would
     * ever arrive in a buffer of one byte. */
    uint64_t size = sim->receive_bytes + tcp_at_urgent(link);
    uint64_t room = tcp_unread(link) < size ? size - tcp_unread(link) : 0;
    uint64_t count = link->sent - link->arrived;
    if (link->reset_arrived) return;
    if (count > room) count = room;
    if (count > 0 && (vary == 0 || !vary_one_in(sim, vary, 4))) {
        count = vary == 0 ? count : vary_part_of(sim, vary, count);
        link->arrived += count;
        link->edges[EDGE_READ]++;
        sim->progress++;
        trace_environment(sim, SIM_ARRIVES, client, count);
        if (link->server_closed) tcp_server_resets(link); /* nothing is left to receive it */
    }
    bool all = link->arrived == link->sent;
    if (link->reset_sent && (all || room == 0 || vary != 0)) reset_arrives(sim, link);
    if (link->fin_sent && all && !link->fin_arrived && (vary == 0 || !vary_one_in(sim, vary, 4))) {
        link->fin_arrived = sim->oracle->clients[client].left = true;
        link->edges[EDGE_ALL]++;
        sim->progress++;
    }
}

/* After the server's FIN the client observes no RST: reads return 0 (Linux, tcp_recvmsg). */
static void client_sees_end(struct sim_kernel *sim, uint32_t client) {
    struct sim_link *link = &sim->links[client];
    if (link->gone || link->fin_seen || link->reset_seen) return;
    if (link->server_shut && !link->server_reset && link->delivered == link->written)
        link->fin_delivered = true;
    if (link->fin_delivered && link->got == link->written) {
        link->fin_seen = true;
        trace_environment(sim, SIM_SEES_FIN, client, 0);
        oracle_end_seen(sim->oracle, client);
        sim->progress++;
    } else if (link->server_reset && !link->fin_delivered) {
        link->reset_seen = true;
        trace_environment(sim, SIM_SEES_RST, client, 0);
        sim->progress++;
    }
}

static void client_reads(struct sim_kernel *sim, uint32_t client) {
    struct sim_link *link = &sim->links[client];
    if (link->paused || link->gone || link->got == link->delivered) return;
    trace_environment(sim, SIM_READS, client, link->delivered - link->got);
    link->got = link->delivered;
    sim->oracle->clients[client].got = link->got;
    sim->progress++;
}

static void deliver_to_client(struct sim_kernel *sim, uint32_t client, uint32_t vary) {
    struct sim_link *link = &sim->links[client];
    uint64_t room = link->window - (link->delivered - link->got);
    uint64_t count = link->written - link->delivered;
    if (link->gone) { /* a closed socket answers data with RST */
        if (count > 0) {
            link->delivered = link->written;
            reset_arrives(sim, link);
        }
        return;
    }
    if (count > room) count = room;
    if (count > 0 && (vary == 0 || !vary_one_in(sim, vary, 4))) {
        link->delivered += vary == 0 ? count : vary_part_of(sim, vary, count);
        sim->progress++;
    }
    client_reads(sim, client);
    client_sees_end(sim, client);
}

/* Nothing is in flight between the two ends. That is nearly always so: no branches. */
static bool is_quiet(const struct sim_link *link) {
    bool ends = link->server_shut | link->server_reset;
    bool seen = link->fin_seen | link->reset_seen | link->gone;
    return (link->sent == link->arrived) & (link->written == link->got) &
           (link->fin_sent == link->fin_arrived) & (link->reset_sent == link->reset_arrived) &
           (!ends | seen);
}

/* Of the links below `end`; the result is one above the last that was not quiet. */
static uint32_t deliver_below(struct sim_kernel *sim, uint32_t end, uint32_t vary) {
    uint32_t busy = 0;
    for (uint32_t i = 0; i < end; i++) {
        if (!sim->links[i].connected || is_quiet(&sim->links[i])) continue;
        busy = i + 1;
        deliver_to_server(sim, i, vary);
        deliver_to_client(sim, i, vary);
        if (!sim->links[i].full || !tcp_is_writable(sim, &sim->links[i])) continue;
        sim->links[i].full = false;
        sim->links[i].edges[EDGE_WRITE]++;
    }
    return busy;
}

void tcp_deliver(struct sim_kernel *sim, uint32_t vary) {
    deliver_below(sim, sim->link_count, vary);
}

/* What is quiet stays so meanwhile: a client with a small window is not slower beside a crowd. */
void sim_deliver(struct sim_kernel *sim) {
    uint32_t end = sim->link_count;
    uint64_t before;
    do {
        before = sim->progress;
        end = deliver_below(sim, end, 0);
    } while (sim->progress != before);
}

void sim_deliver_after_step(struct sim_kernel *sim) {
    uint32_t before = sim->deviations;
    tcp_deliver(sim, sim->vary & VARY_DELAY);
    sim->late = sim->deviations != before;
    if (!sim->late) sim_deliver(sim);
}

bool tcp_is_writable(const struct sim_kernel *sim, const struct sim_link *link) {
    uint64_t used = link->written - link->delivered;
    uint64_t room = tcp_send_room(sim, link);
    if (sim->system != SIM_LINUX) return link->reset_arrived || room >= tcp_low_water(sim);
    return link->reset_arrived || (room > 0 && room >= used / 2);
}

bool sim_writable(const struct sim_kernel *sim, uint32_t client) {
    return tcp_is_writable(sim, &sim->links[client]);
}

void tcp_connect(struct sim_kernel *sim, uint32_t client, uint32_t window) {
    sim->links[client] = (struct sim_link){.connected = true,
                                           .waiting = true,
                                           .out_of_band = sim->out_of_band,
                                           .window = window > 0 ? window : UINT32_MAX};
    if (sim->link_count <= client) sim->link_count = client + 1;
    sim->backlog[sim->backlog_end++] = (uint16_t)client;
    sim->listener_edges++;
    oracle_connected(sim->oracle, client);
}

/* Those that saw the server's FIN answer it with theirs. */
void tcp_crowd_sends(struct sim_kernel *sim) {
    for (uint32_t i = 0; i < sim->crowd; i++) {
        uint32_t client = SCENARIO_CLIENTS_MAX + i;
        struct sim_link *link = &sim->links[client];
        if (link->fin_seen) link->fin_sent = sim->oracle->clients[client].shut = true;
        if (link->fin_sent || link->gone || link->reset_seen) continue;
        uint64_t sent = link->taken + SIM_CROWD_BYTES;
        if (link->sent < sent) sim->oracle->clients[client].sent = link->sent = sent;
    }
}

void tcp_pass_urgent(struct sim_kernel *sim, uint32_t client) {
    struct sim_link *link = &sim->links[client];
    oracle_left_out(sim->oracle, client);
    trace_environment(sim, SIM_PASSES_URGENT, client, 1);
    link->sent--;
    link->arrived--;
    link->urgent_end--;
    sim->progress++;
}

void tcp_act(struct sim_kernel *sim, const struct step *step) {
    struct sim_link *link = &sim->links[step->client];
    struct oracle_client *judged = &sim->oracle->clients[step->client];
    switch (step->kind) {
    case STEP_CONNECT: tcp_connect(sim, step->client, step->count); break;
    case STEP_SEND: link->sent += step->count; break;
    case STEP_URGENT:
        if (tcp_at_urgent(link) && tcp_unread(link) > 0) tcp_pass_urgent(sim, step->client);
        link->urgent_end = ++link->sent;
        break;
    case STEP_SHUTDOWN: link->fin_sent = judged->shut = true; break;
    case STEP_RESET:
        deliver_to_server(sim, step->client, sim->vary & VARY_DELAY);
        link->reset_sent = link->gone = judged->gone = true;
        link->sent = link->arrived; /* what was in flight is lost */
        break;
    case STEP_CLOSE:
        link->gone = judged->gone = true;
        if (link->delivered > link->got)
            link->reset_sent = true;
        else
            link->fin_sent = judged->shut = true;
        break;
    case STEP_PAUSE: link->paused = true; break;
    case STEP_RESUME: link->paused = false; break;
    case STEP_SHORT_RECEIVE:
    case STEP_SHORT_SEND: link->shorts[step->kind - STEP_SHORT_RECEIVE].steps++; break;
    default: break;
    }
    judged->sent = link->sent;
}
