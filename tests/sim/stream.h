#pragma once

#include "scenario/scenario.h"

/* What each client of a scenario sends, as a function of the position. Only the positions of
 * literals are stored. */
struct stream {
    const struct scenario *scenario;
    struct {
        uint32_t client, count, offset;
        uint64_t position;
    } pieces[SCENARIO_STEPS_MAX];
    uint32_t piece_count;
    bool has_pieces[SCENARIO_CLIENTS_MAX];
    /* Bytes that are not part of it any more, in the order of their clients' positions; each was
     * sent by a step. */
    struct {
        uint32_t client;
        uint64_t position; /* among all that were sent */
    } left_out[SCENARIO_STEPS_MAX];
    uint32_t left_out_count;
};

void stream_init(struct stream *stream, const struct scenario *scenario);

/* From here on it is as if the client had not sent this byte: later ones move up. Positions that
 * are left out must come in order. */
void stream_leave_out(struct stream *stream, uint32_t client, uint64_t position);

/* `count` bytes of what the client sends, from `position` on. */
void stream_fill(const struct stream *stream, uint32_t client, uint64_t position, uint8_t *bytes,
                 size_t count);
