#include "scenario/timeline.h"

#include <stdio.h>

#define LANE_COLUMNS 16

static const char *const fault_words[] = {
    [FAULT_NONE] = "",
    [FAULT_WOULD_BLOCK] = "would block",
    [FAULT_INTERRUPTED] = "interrupted",
    [FAULT_RESET] = "reset",
    [FAULT_PIPE] = "broken pipe",
    [FAULT_ABORTED] = "aborted",
    [FAULT_DESCRIPTORS] = "no descriptors",
    [FAULT_MEMORY] = "no memory",
    [FAULT_NOT_FOUND] = "not found",
    [FAULT_EXISTS] = "exists",
    [FAULT_NO_SPACE] = "no space",
    [FAULT_OTHER] = "error",
};

/* What a client did, or saw. */
static void lane_text(const struct sim_event *event, char *text, size_t room) {
    long long value = event->value;
    switch (event->call) {
    case SIM_ARRIVES: snprintf(text, room, "%lld arrive >", value); break;
    case SIM_READS: snprintf(text, room, "< reads %lld", value); break;
    case SIM_SEES_FIN: snprintf(text, room, "< FIN"); break;
    case SIM_SEES_RST: snprintf(text, room, "< RST"); break;
    case SIM_PASSES_URGENT: snprintf(text, room, "urgent byte passed over"); break;
    case SIM_ENVIRONMENT + STEP_SEND: snprintf(text, room, "send %lld", value); break;
    case SIM_ENVIRONMENT + STEP_SHORT_RECEIVE:
    case SIM_ENVIRONMENT + STEP_SHORT_SEND:
        snprintf(text, room, "%s %lld", scenario_step_words[event->call - SIM_ENVIRONMENT], value);
        break;
    case SIM_ENVIRONMENT + STEP_SHUTDOWN: snprintf(text, room, "FIN >"); break;
    case SIM_ENVIRONMENT + STEP_RESET: snprintf(text, room, "RST >"); break;
    default: snprintf(text, room, "%s", scenario_step_words[event->call - SIM_ENVIRONMENT]);
    }
}

static void print_call(const struct sim_event *event) {
    const char *word = scenario_call_words[event->call];
    if (event->descriptor >= 0)
        printf("%s %d", word, event->descriptor);
    else
        printf("%s", word);
    bool counts = event->call == CALL_RECEIVE || event->call == CALL_SEND ||
                  event->call == CALL_UNREAD || event->call == CALL_WAIT;
    if (event->call == CALL_RECEIVE || event->call == CALL_SEND)
        printf(" of %llu", (unsigned long long)event->argument);
    if (event->fault != FAULT_NONE)
        printf(": %s", fault_words[event->fault]);
    else if (counts)
        printf(": %lld", (long long)event->value);
}

/* What a client without a name does, and sees. */
static bool is_of_crowd(const struct sim_event *event) {
    return event->call >= SIM_ENVIRONMENT && event->client >= SCENARIO_CLIENTS_MAX &&
           event->call != SIM_ENVIRONMENT + STEP_REPORT;
}

static void print_event(const struct sim_event *event, uint32_t client_count) {
    if (is_of_crowd(event)) return;
    bool in_lane = event->call >= SIM_ENVIRONMENT && event->client >= 0 &&
                   event->client < (int16_t)client_count;
    for (uint32_t i = 0; i < client_count; i++) {
        char text[LANE_COLUMNS + 8] = "|";
        if (in_lane && (uint32_t)event->client == i) lane_text(event, text, sizeof text);
        bool last = in_lane && i + 1 == client_count;
        printf("%-*s", last ? 0 : LANE_COLUMNS, text);
    }
    if (event->call < SIM_ENVIRONMENT)
        print_call(event);
    else if (event->call == SIM_ENVIRONMENT + STEP_REPORT && !in_lane)
        printf("[report %s]", event->client == WHO_STOP ? "stop" : "listener");
    else if (!in_lane)
        printf("[%s %lld]", scenario_step_words[event->call - SIM_ENVIRONMENT],
               (long long)event->value);
    printf("\n");
}

void timeline_print(const struct sim_trace *trace, uint32_t client_count) {
    for (uint32_t i = 0; i < client_count; i++)
        printf("%c%*s", 'a' + i, LANE_COLUMNS - 1, "");
    printf("server\n");
    for (size_t i = 0; i < trace->count; i++)
        print_event(&trace->events[i], client_count);
}
