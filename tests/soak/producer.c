/*
 * A producer of the soak: FOLDER TOPIC GROUP NAME SPACE SEED (GROUP is its pace: `-`, `calm`, or
 * `bulky`, whose messages are larger)
 *
 * Sends until it is told to end, writes what it will send before and what it got after each call.
 * Some messages have a delay, a time to live, a priority, or a header that filters go by.
 */
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 40
#define CHILD_ROUNDS 30
#define PAUSE_US 16000
#define CALM_US 60000
#define BULKY 5000

struct batch {
    lq_message messages[BATCH_MOST];
    lq_message_id ids[BATCH_MOST];
    char keys[BATCH_MOST][16];
    uint8_t *payloads[BATCH_MOST];
};

/* Most are small; one in a hundred takes the path of large batches. */
static size_t size_of_next(struct worker *me)
{
    if (strcmp(me->group_name, "bulky") == 0) {
        return (size_t)(BULKY + draw(me, BULKY));
    }
    if (draw(me, 100) == 0) {
        return (size_t)(33000 + draw(me, draw(me, 8) == 0 ? 1000000 : 100000));
    }
    return (size_t)draw(me, draw(me, 4) == 0 ? 2000 : 200);
}

/* Delay, time to live, priority and kind; says them as a line of history does. */
static void draw_attributes(struct worker *me, lq_message *message, struct lines *lines)
{
    static const lq_header kinds[2] = {
        {{(const uint8_t *)"kind", 4}, {(const uint8_t *)"sale", 4}},
        {{(const uint8_t *)"kind", 4}, {(const uint8_t *)"test", 4}},
    };
    const char *kind = "-";
    uint64_t which = draw(me, 4);
    if (which < 2) {
        message->headers = &kinds[which];
        message->headers_len = 1;
        kind = which == 0 ? "sale" : "test";
    }
    message->delay_ms = draw(me, 12) == 0 ? 1 + (int64_t)draw(me, 1200) : 0;
    message->ttl_ms = draw(me, 10) == 0 ? 20 + (int64_t)draw(me, 3000) : 0;
    message->priority = draw(me, 5) == 0 ? 1 + (int32_t)draw(me, 9) : 0;
    say(lines, " %lld %lld %ld %s %lld\n", (long long)message->delay_ms,
        (long long)message->ttl_ms, (long)message->priority, kind, (long long)wall_ns());
}

static void send_some(struct worker *me, struct batch *batch, uint64_t *number)
{
    struct lines lines = {.len = 0};
    size_t count = draw(me, 3) == 0 ? 1 + (size_t)draw(me, BATCH_MOST) : 1;
    uint64_t first = *number + 1;
    for (size_t i = 0; i < count; i++) {
        lq_message *message = &batch->messages[i];
        *message = (lq_message)LQ_MESSAGE_INIT;
        size_t size = size_of_next(me);
        uint32_t sum = make_payload(me, first + i, batch->payloads[i], &size);
        message->payload.data = batch->payloads[i];
        message->payload.len = size;
        snprintf(batch->keys[i], sizeof batch->keys[i], "-");
        if (draw(me, 5) < 3) {
            snprintf(batch->keys[i], sizeof batch->keys[i], "k%u", (unsigned)draw(me, KEYS));
            message->key = lq_bytes_of(batch->keys[i]);
        }
        say(&lines, "W %llu %llu %s %zu %08lx", (unsigned long long)boot_ns(),
            (unsigned long long)(first + i), batch->keys[i], size, (unsigned long)sum);
        draw_attributes(me, message, &lines);
    }
    put(me, &lines);
    if (lq_send(me->topic, batch->messages, count, batch->ids) != LQ_OK) {
        die(me, "send");
    }
    unsigned long long now = boot_ns();
    for (size_t i = 0; i < count; i++) {
        say(&lines, "S %llu %llu %lu %llu\n", now, (unsigned long long)(first + i),
            (unsigned long)batch->ids[i].partition, (unsigned long long)batch->ids[i].offset);
    }
    put(me, &lines);
    *number += count;
}

int main(int argc, char **argv)
{
    static struct worker me;
    static struct batch batch;
    begin(&me, "producer", argc, argv);
    for (size_t i = 0; i < BATCH_MOST; i++) {
        batch.payloads[i] = malloc(2 * PAYLOAD_MOST);
        if (batch.payloads[i] == NULL) {
            fprintf(stderr, "%s: no memory\n", me.name);
            return 1;
        }
    }
    uint64_t pause_us = strcmp(me.group_name, "calm") == 0 ? CALM_US : PAUSE_US;
    uint64_t number = 0, left = UINT64_MAX;
    while (left-- > 0 && !should_end(&me, "stop-producers")) {
        if (forked(&me)) {
            number = 0;
            left = CHILD_ROUNDS;
        }
        send_some(&me, &batch, &number);
        rest_us(draw(&me, pause_us));
    }
    end(&me);
    for (size_t i = 0; i < BATCH_MOST; i++) {
        free(batch.payloads[i]);
    }
    return 0;
}
