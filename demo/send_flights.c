/*
 * Sends every line of a CSV file of flights: STORE TOPIC FILE
 *
 * One message a line: the payload is "ROW<tab>LINE", the key the plane's tail number (a flight
 * without one has no key). Killed and started again, it reads what the topic holds already and
 * sends the rest, so that every flight is there exactly once.
 */
#include <libqueue.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 100
#define PARTITIONS 4

static void die(const char *doing)
{
    fprintf(stderr, "send_flights: %s: %s\n", doing, lq_last_error_message());
    exit(1);
}

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t room = 1 << 20;
    char *text = malloc(room);
    *len = 0;
    while (text != NULL) {
        size_t got = fread(text + *len, 1, room - *len, file);
        if (got == 0) {
            break;
        }
        *len += got;
        if (*len == room) {
            room *= 2;
            text = realloc(text, room);
        }
    }
    fclose(file);
    if (text == NULL) {
        fprintf(stderr, "send_flights: no memory for %s\n", path);
        exit(1);
    }
    return text;
}

/* The number of the column with this name in the header line, or -1. */
static int column_of(const char *header, size_t len, const char *name)
{
    int column = 0;
    const char *end = header + len;
    for (const char *at = header; at < end; column++) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t width = (size_t)((comma != NULL ? comma : end) - at);
        if (width == strlen(name) && memcmp(at, name, width) == 0) {
            return column;
        }
        if (comma == NULL) {
            break;
        }
        at = comma + 1;
    }
    return -1;
}

static lq_bytes field(const char *line, size_t len, int column)
{
    const char *at = line;
    const char *end = line + len;
    for (; column > 0; column--) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        if (comma == NULL) {
            return (lq_bytes){.data = NULL, .len = 0};
        }
        at = comma + 1;
    }
    const char *comma = memchr(at, ',', (size_t)(end - at));
    size_t width = (size_t)((comma != NULL ? comma : end) - at);
    return (lq_bytes){.data = (const uint8_t *)at, .len = width};
}

/* Marks the rows that an earlier life of this program has sent. */
static size_t mark_sent(lq_topic *topic, bool *sent, size_t rows)
{
    lq_reader *reader = NULL;
    if (lq_reader_open(topic, NULL, &reader) != LQ_OK) {
        die("open a reader");
    }
    size_t found = 0;
    lq_batch *batch = NULL;
    lq_status status;
    while ((status = lq_reader_receive(reader, 1000, 0, &batch)) == LQ_OK) {
        for (size_t i = 0; i < lq_batch_len(batch); i++) {
            const lq_delivery *flight = lq_batch_get(batch, i);
            size_t row = 0;
            for (size_t at = 0; at < flight->payload.len; at++) {
                if (flight->payload.data[at] == '\t') {
                    break;
                }
                row = row * 10 + (size_t)(flight->payload.data[at] - '0');
            }
            if (row < rows && !sent[row]) {
                sent[row] = true;
                found++;
            }
        }
        lq_batch_free(batch);
    }
    if (status != LQ_TIMEOUT) {
        die("read what was sent");
    }
    lq_reader_close(reader);
    return found;
}

struct batch {
    lq_message messages[BATCH];
    char text[BATCH][512];
    size_t count;
};

static void flush(lq_topic *topic, struct batch *batch)
{
    if (batch->count > 0 && lq_send(topic, batch->messages, batch->count, NULL) != LQ_OK) {
        die("send");
    }
    batch->count = 0;
}

static void add(struct batch *batch, size_t row, const char *line, size_t len, lq_bytes tail)
{
    char *text = batch->text[batch->count];
    int head = snprintf(text, sizeof batch->text[0], "%zu\t", row);
    if ((size_t)head + len > sizeof batch->text[0]) {
        fprintf(stderr, "send_flights: row %zu has %zu bytes, expected at most 480\n", row, len);
        exit(1);
    }
    memcpy(text + head, line, len);
    lq_message message = LQ_MESSAGE_INIT;
    message.payload.data = (const uint8_t *)text;
    message.payload.len = (size_t)head + len;
    if (tail.len > 0 && !(tail.len == 2 && memcmp(tail.data, "NA", 2) == 0)) {
        message.key = tail;
    }
    batch->messages[batch->count++] = message;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: send_flights STORE TOPIC FILE\n");
        return 2;
    }
    size_t len = 0;
    char *text = read_file(argv[3], &len);
    size_t rows = 0;
    for (size_t at = 0; at < len; at++) {
        rows += text[at] == '\n';
    }
    const char *end = text + len;
    const char *line = memchr(text, '\n', len);
    int tail = line == NULL ? -1 : column_of(text, (size_t)(line - text), "tailnum");
    if (tail < 0) {
        fprintf(stderr, "send_flights: %s has no column tailnum in its first line\n", argv[3]);
        return 1;
    }

    lq_store *store = NULL;
    lq_topic *topic = NULL;
    if (lq_store_open(argv[1], NULL, &store) != LQ_OK) {
        die("open the store");
    }
    lq_topic_options options = LQ_TOPIC_OPTIONS_INIT;
    options.partitions = PARTITIONS;
    if (lq_topic_open(store, argv[2], &options, &topic) != LQ_OK) {
        die("open the topic");
    }
    bool *sent = calloc(rows + 1, sizeof *sent);
    struct batch *batch = calloc(1, sizeof *batch);
    if (sent == NULL || batch == NULL) {
        fprintf(stderr, "send_flights: no memory for %zu rows\n", rows);
        return 1;
    }
    size_t earlier = mark_sent(topic, sent, rows + 1);
    size_t row = 0;
    while (line != NULL && line + 1 < end) {
        const char *at = line + 1;
        line = memchr(at, '\n', (size_t)(end - at));
        size_t width = (size_t)((line != NULL ? line : end) - at);
        if (!sent[row]) {
            add(batch, row, at, width, field(at, width, tail));
        }
        if (batch->count == BATCH) {
            flush(topic, batch);
        }
        row++;
    }
    flush(topic, batch);
    printf("%zu flights sent, %zu of them by an earlier life\n", row, earlier);
    free(batch);
    free(sent);
    free(text);
    if (lq_topic_close(topic) != LQ_OK || lq_store_close(store) != LQ_OK) {
        die("close");
    }
    return 0;
}
