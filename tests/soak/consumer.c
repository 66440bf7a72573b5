/*
 * A consumer of the soak: FOLDER TOPIC GROUP NAME SPACE SEED
 *
 * Takes messages and settles each in one of the ways there are; which one follows from the
 * message's number, so that a message that is refused is refused by everybody until it is a dead
 * letter. Writes each hand-out, and each settling before and after the call.
 */
#include "work.h"

#include <stdio.h>
#include <stdlib.h>

#define CHILD_ROUNDS 20
#define EXTENSION_MS 2000
/* A call that took longer than this without waiting for messages is worth a line. */
#define SLOW_NS 500000

struct held {
    lq_receipt receipt;
    char how;
};

static unsigned long long big(uint64_t number)
{
    return (unsigned long long)number;
}

/* a: ack, n: nack, r: release, d: dead letter, x: extend and ack. The same in consumer.py. */
static char how_to_settle(uint64_t number, uint32_t attempt)
{
    if (number % 53 == 0) {
        return 'n';
    }
    if (number % 211 == 7) {
        return 'd';
    }
    if (number % 17 == 3 && attempt == 1) {
        return 'r';
    }
    if (number % 19 == 5 && attempt == 1) {
        return 'n';
    }
    return number % 13 == 1 ? 'x' : 'a';
}

static void settle(struct worker *me, lq_consumer *consumer, const struct held *held, char how)
{
    struct lines lines = {.len = 0};
    const lq_receipt *receipt = &held->receipt;
    char names[96];
    snprintf(names, sizeof names, "%c %lu %llu %lu", how, (unsigned long)receipt->id.partition,
             big(receipt->id.offset), (unsigned long)receipt->attempt);
    say(&lines, "V %llu %s %d\n", big(boot_ns()), names, how == 'x' ? EXTENSION_MS : 0);
    put(me, &lines);
    lq_status status = LQ_INTERNAL;
    switch (how) {
    case 'a': status = lq_ack(consumer, receipt, 1); break;
    case 'n': status = lq_nack(consumer, receipt, 1, LQ_BACKOFF, "refused"); break;
    case 'r': status = lq_release(consumer, receipt, 1); break;
    case 'd': status = lq_dead_letter(consumer, receipt, 1, "given up"); break;
    case 'x': status = lq_extend(consumer, receipt, 1, EXTENSION_MS); break;
    default: break;
    }
    if (status != LQ_OK && status != LQ_STALE_RECEIPT) {
        die(me, "settle");
    }
    say(&lines, "D %llu %s %d\n", big(boot_ns()), names, status == LQ_OK ? 0 : 1);
    put(me, &lines);
}

/* All of a batch that is acknowledged, in one call. */
static void settle_together(struct worker *me, lq_consumer *consumer, const struct held *held,
                            size_t count)
{
    struct lines before = {.len = 0}, after = {.len = 0};
    lq_receipt receipts[BATCH_MOST];
    lq_status results[BATCH_MOST];
    uint64_t began = boot_ns();
    for (size_t i = 0; i < count; i++) {
        receipts[i] = held[i].receipt;
        say(&before, "V %llu a %lu %llu %lu 0\n", big(began),
            (unsigned long)receipts[i].id.partition, big(receipts[i].id.offset),
            (unsigned long)receipts[i].attempt);
    }
    put(me, &before);
    lq_status status = lq_ack_results(consumer, receipts, count, results);
    if (status != LQ_OK && status != LQ_STALE_RECEIPT) {
        die(me, "settle together");
    }
    uint64_t ended = boot_ns();
    for (size_t i = 0; i < count; i++) {
        say(&after, "D %llu a %lu %llu %lu %d\n", big(ended),
            (unsigned long)receipts[i].id.partition, big(receipts[i].id.offset),
            (unsigned long)receipts[i].attempt, results[i] == LQ_OK ? 0 : 1);
    }
    put(me, &after);
}

/* Writes down a batch and keeps what settles it. */
static size_t note(struct worker *me, const lq_batch *batch, uint64_t began, struct held *held)
{
    struct lines lines = {.len = 0};
    uint64_t ended = boot_ns();
    int64_t to_boot = (int64_t)ended - wall_ns();
    size_t count = lq_batch_len(batch);
    for (size_t i = 0; i < count; i++) {
        const lq_delivery *d = lq_batch_get(batch, i);
        if (d == NULL) {
            die(me, "look at a batch");
        }
        struct claim claim = read_payload(d->payload.data, d->payload.len);
        held[i].receipt = d->receipt;
        held[i].how = how_to_settle(claim.number, d->attempt);
        say(&lines, "G %llu %llu %lu %llu %lu %lld %s %llu %08lx %d\n", big(began), big(ended),
            (unsigned long)d->partition, big(d->offset), (unsigned long)d->attempt,
            (long long)(d->deadline_ns + to_boot), claim.sender, big(claim.number),
            (unsigned long)claim.sum, claim.whole ? 1 : 0);
    }
    put(me, &lines);
    return count;
}

static void settle_batch(struct worker *me, lq_consumer *consumer, struct held *held, size_t count)
{
    bool all_acks = true;
    for (size_t i = 0; i < count; i++) {
        all_acks = all_acks && held[i].how == 'a';
    }
    if (all_acks && draw(me, 2) == 0) {
        rest_us(draw(me, 4000));
        settle_together(me, consumer, held, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        rest_us(draw(me, 3000));
        settle(me, consumer, &held[i], held[i].how);
        if (held[i].how == 'x') {
            settle(me, consumer, &held[i], 'a');
        }
    }
}

static lq_consumer *open_consumer(struct worker *me)
{
    lq_consumer *consumer = NULL;
    if (lq_consumer_open(me->topic, me->group_name, NULL, &consumer) != LQ_OK) {
        die(me, "open the consumer");
    }
    return consumer;
}

int main(int argc, char **argv)
{
    static struct worker me;
    begin(&me, "consumer", argc, argv);
    lq_consumer *consumer = open_consumer(&me);
    static const int64_t waits[3] = {0, 20, 100};
    unsigned rounds = 0, left = 0;
    while ((left == 0 || rounds < left) && !should_end(&me, "stop-consumers")) {
        struct held held[BATCH_MOST];
        lq_batch *batch = NULL;
        int64_t wait = waits[draw(&me, 3)];
        uint64_t began = boot_ns();
        lq_status status = lq_receive(consumer, 1 + (size_t)draw(&me, BATCH_MOST), wait, &batch);
        uint64_t ended = boot_ns();
        rounds++;
        if (wait == 0 && ended - began > SLOW_NS) {
            struct lines lines = {.len = 0};
            say(&lines, "L %llu %llu\n", big(began), big(ended));
            put(&me, &lines);
        }
        if (status != LQ_OK && status != LQ_TIMEOUT) {
            die(&me, "receive");
        }
        size_t count = status == LQ_OK ? note(&me, batch, began, held) : 0;
        if (forked(&me)) {
            /* What the parent holds is the parent's: closing it here hands nothing back. */
            lq_batch_free(batch);
            status = lq_consumer_close(consumer);
            if (status != LQ_OK && status != LQ_FORKED) {
                die(&me, "close the parent's consumer in a child");
            }
            consumer = open_consumer(&me);
            left = CHILD_ROUNDS;
            rounds = 0;
            continue;
        }
        settle_batch(&me, consumer, held, count);
        lq_batch_free(batch);
        if (count == 0 && wait == 0) {
            rest_us(1000 + draw(&me, 4000));
        }
    }
    struct lines lines = {.len = 0};
    say(&lines, "C %llu\n", big(boot_ns()));
    put(&me, &lines);
    if (lq_consumer_close(consumer) != LQ_OK) {
        die(&me, "close the consumer");
    }
    end(&me);
    return 0;
}
