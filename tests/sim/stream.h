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
};

void stream_init(struct stream *stream, const struct scenario *scenario);

/* `count` bytes of what the client sends, from `position` on. */
void stream_fill(const struct stream *stream, uint32_t client, uint64_t position, uint8_t *bytes,
                 size_t count);
