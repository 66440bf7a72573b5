/*
 * A second, independent group that counts every flight: STORE TOPIC SEEN STOP
 *
 * SEEN is a file with one byte a row, mapped; a row is marked before its message is acknowledged,
 * so that a kill at any moment neither loses a flight nor counts one twice. It ends when the file
 * STOP exists and nothing is left.
 */
#define _DEFAULT_SOURCE
#include <libqueue.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *doing)
{
    fprintf(stderr, "count_flights: %s: %s\n", doing, lq_last_error_message());
    exit(1);
}

static uint8_t *map_seen(const char *path, size_t *rows)
{
    struct stat status;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0) {
        perror(path);
        exit(1);
    }
    *rows = (size_t)status.st_size;
    void *seen = mmap(NULL, *rows, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (seen == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(file);
    return seen;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: count_flights STORE TOPIC SEEN STOP\n");
        return 2;
    }
    size_t rows = 0;
    uint8_t *seen = map_seen(argv[3], &rows);
    lq_store *store = NULL;
    lq_topic *topic = NULL;
    lq_consumer *audit = NULL;
    if (lq_store_open(argv[1], NULL, &store) != LQ_OK
        || lq_topic_open(store, argv[2], NULL, &topic) != LQ_OK
        || lq_consumer_open(topic, "audit", NULL, &audit) != LQ_OK) {
        die("join the group audit");
    }
    for (;;) {
        lq_batch *batch = NULL;
        lq_status status = lq_receive(audit, 1000, 200, &batch);
        if (status == LQ_TIMEOUT) {
            if (access(argv[4], F_OK) == 0) {
                break;
            }
            continue;
        }
        if (status != LQ_OK) {
            die("receive");
        }
        for (size_t i = 0; i < lq_batch_len(batch); i++) {
            const lq_delivery *flight = lq_batch_get(batch, i);
            size_t row = 0;
            for (size_t at = 0; at < flight->payload.len; at++) {
                if (flight->payload.data[at] == '\t') {
                    break;
                }
                row = row * 10 + (size_t)(flight->payload.data[at] - '0');
            }
            if (row >= rows) {
                fprintf(stderr, "count_flights: row %zu, expected below %zu\n", row, rows);
                return 1;
            }
            seen[row] = 1;
        }
        for (size_t i = 0; i < lq_batch_len(batch); i++) {
            status = lq_ack(audit, &lq_batch_get(batch, i)->receipt, 1);
            if (status != LQ_OK && status != LQ_STALE_RECEIPT) {
                die("ack");
            }
        }
        lq_batch_free(batch);
    }
    size_t total = 0;
    for (size_t row = 0; row < rows; row++) {
        total += seen[row];
    }
    printf("%zu flights counted by the group audit\n", total);
    if (lq_consumer_close(audit) != LQ_OK || lq_topic_close(topic) != LQ_OK
        || lq_store_close(store) != LQ_OK) {
        die("close");
    }
    return 0;
}
