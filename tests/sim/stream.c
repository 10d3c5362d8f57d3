#include "sim/stream.h"

#include <string.h>

void stream_init(struct stream *stream, const struct scenario *scenario) {
    uint64_t sent[SCENARIO_CLIENTS_MAX] = {0};
    stream->scenario = scenario;
    stream->piece_count = stream->left_out_count = 0;
    memset(stream->has_pieces, 0, sizeof stream->has_pieces);
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        const struct step *step = &scenario->steps[i];
        if (step->kind == STEP_SEND && step->literal) {
            stream->pieces[stream->piece_count].client = step->client;
            stream->pieces[stream->piece_count].count = step->count;
            stream->pieces[stream->piece_count].offset = step->offset;
            stream->pieces[stream->piece_count++].position = sent[step->client];
            stream->has_pieces[step->client] = true;
        }
        if (step->kind == STEP_SEND) sent[step->client] += step->count;
        if (step->kind == STEP_URGENT) sent[step->client]++;
    }
}

static void overlay(const struct stream *stream, uint32_t client, uint64_t position, uint8_t *bytes,
                    size_t count) {
    for (uint32_t i = 0; i < stream->piece_count; i++) {
        uint64_t begin = stream->pieces[i].position;
        uint64_t end = begin + stream->pieces[i].count;
        uint64_t from = begin > position ? begin : position;
        uint64_t to = end < position + count ? end : position + count;
        if (stream->pieces[i].client == client && from < to)
            memcpy(bytes + (from - position),
                   stream->scenario->bytes + stream->pieces[i].offset + (from - begin),
                   (size_t)(to - from));
    }
}

/* As scenario_generated. Within 256 positions the value grows by 7, which compilers vectorise: a
 * simulation with much data spends most of its time here. */
static void generate(uint32_t client, uint64_t position, uint8_t *bytes, size_t count) {
    for (size_t done = 0; done < count;) {
        size_t run = 256 - (size_t)((position + done) % 256);
        if (run > count - done) run = count - done;
        uint8_t first = scenario_generated(client, position + done);
        for (size_t i = 0; i < run; i++)
            bytes[done + i] = (uint8_t)(first + 7 * i);
        done += run;
    }
}

static void fill_sent(const struct stream *stream, uint32_t client, uint64_t position,
                      uint8_t *bytes, size_t count) {
    generate(client, position, bytes, count);
    if (client < SCENARIO_CLIENTS_MAX && stream->has_pieces[client])
        overlay(stream, client, position, bytes, count);
}

/* The position, among all bytes that were sent, of one that is left. */
static uint64_t sent_position(const struct stream *stream, uint32_t client, uint64_t position) {
    for (uint32_t i = 0; i < stream->left_out_count; i++)
        position +=
            stream->left_out[i].client == client && stream->left_out[i].position <= position;
    return position;
}

void stream_leave_out(struct stream *stream, uint32_t client, uint64_t position) {
    uint64_t sent = sent_position(stream, client, position);
    stream->left_out[stream->left_out_count].client = client;
    stream->left_out[stream->left_out_count++].position = sent;
}

void stream_fill(const struct stream *stream, uint32_t client, uint64_t position, uint8_t *bytes,
                 size_t count) {
    if (stream->left_out_count == 0) {
        fill_sent(stream, client, position, bytes, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        fill_sent(stream, client, sent_position(stream, client, position + i), bytes + i, 1);
}
