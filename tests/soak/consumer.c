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
#include <string.h>

#define CHILD_ROUNDS 20
#define EXTENSION_MS 2000
/* A call that took longer than this without waiting for messages is worth a line. */
#define SLOW_NS 500000

#define DRAIN_MS 5000

/* A message that it has. The receipt of a redriven one names its letter. */
struct held {
    lq_receipt receipt;
    uint32_t partition;
    uint64_t offset;
    char how;
};

/* How a batch was asked for. */
struct asked {
    uint64_t began;
    bool gathers;
    int64_t lease_ms;
    bool waits;
};

static unsigned long long big(uint64_t number)
{
    return (unsigned long long)number;
}

/* Whether its group hands out at most once: there are no leases then. */
static bool once(const struct worker *me)
{
    return strcmp(me->group_name, "once") == 0;
}

/* Whether nothing dies in its group: what is dead and comes again would be there twice. */
static bool letterless(const struct worker *me)
{
    static const char *const groups[] = {"sought", "view", "near", "far"};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (strcmp(me->group_name, groups[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* a: ack, n: nack, r: release, d: dead letter, x: extend and ack. The same in consumer.py. What is
 * refused, until it is dead, is so again after one redrive or two, and then it is not. */
static char how_to_settle(const struct worker *me, uint64_t number, uint32_t attempt)
{
    bool quick = strcmp(me->group_name, "held") == 0;
    uint64_t refused = quick ? 29 : 53, given_up = quick ? 37 : 211;
    if (once(me)) {
        return number % 7 == 0 ? 'n' : 'a';
    }
    if (number % refused == 0 && attempt <= (number % (2 * refused) == 0 ? 12u : 6u)) {
        return 'n';
    }
    if (number % given_up == 7 && attempt <= 2 && !letterless(me)) {
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
    snprintf(names, sizeof names, "%c %lu %llu %lu", how, (unsigned long)held->partition,
             big(held->offset), (unsigned long)receipt->attempt);
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
            (unsigned long)held[i].partition, big(held[i].offset),
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
            (unsigned long)held[i].partition, big(held[i].offset),
            (unsigned long)receipts[i].attempt, results[i] == LQ_OK ? 0 : 1);
    }
    put(me, &after);
}

/* How often the message was redriven out of the dead-letter topic. */
static unsigned long cycle_of(const lq_delivery *delivery)
{
    static const char name[] = "lq-cycles";
    for (size_t i = 0; i < delivery->headers_len; i++) {
        const lq_header *header = &delivery->headers[i];
        char digits[24] = {0};
        if (header->name.len == sizeof name - 1 && header->value.len < sizeof digits
            && memcmp(header->name.data, name, header->name.len) == 0) {
            memcpy(digits, header->value.data, header->value.len);
            return 1 + strtoul(digits, NULL, 10);
        }
    }
    return 0;
}

/* Writes down a batch and keeps what settles it. */
static size_t note(struct worker *me, const lq_batch *batch, const struct asked *asked,
                   struct held *held)
{
    struct lines lines = {.len = 0};
    uint64_t ended = boot_ns();
    int64_t wall = wall_ns(), to_boot = (int64_t)ended - wall;
    size_t count = lq_batch_len(batch);
    for (size_t i = 0; i < count; i++) {
        const lq_delivery *d = lq_batch_get(batch, i);
        if (d == NULL) {
            die(me, "look at a batch");
        }
        struct claim claim = read_payload(d->payload.data, d->payload.len);
        held[i].receipt = d->receipt;
        held[i].partition = d->partition;
        held[i].offset = d->offset;
        held[i].how = how_to_settle(me, claim.number, d->attempt);
        /* What is handed out at most once has no end of its lease: it stays where it is. */
        int64_t deadline = d->deadline_ns == INT64_MAX ? INT64_MAX : d->deadline_ns + to_boot;
        say(&lines, "G %llu %llu %lu %llu %lu %lld %s %llu %08lx %d", big(asked->began), big(ended),
            (unsigned long)d->partition, big(d->offset), (unsigned long)d->attempt,
            (long long)deadline, claim.sender, big(claim.number), (unsigned long)claim.sum,
            claim.whole ? 1 : 0);
        say(&lines, " %d %lld %lu %lld %lu\n", asked->gathers ? 1 : 0, (long long)asked->lease_ms,
            cycle_of(d), (long long)wall, (unsigned long)d->receipt.epoch);
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

/* One receive call of one kind or the other; NULL where there was nothing. */
static lq_batch *receive(struct worker *me, lq_consumer *consumer, struct asked *asked)
{
    static const int64_t waits[3] = {0, 20, 100};
    int64_t wait = waits[draw(me, 3)];
    lq_receive_options options = LQ_RECEIVE_OPTIONS_INIT;
    lq_batch *batch = NULL;
    lq_status status = LQ_OK;
    bool plain = draw(me, 2) == 0;
    options.max_messages = 1 + (size_t)draw(me, BATCH_MOST);
    options.timeout_ms = wait;
    if (!plain) {
        options.min_messages = wait > 0 ? 1 + (size_t)draw(me, options.max_messages) : 1;
        options.max_bytes = draw(me, 2) == 0 ? 1 + draw(me, 4000) : 0;
        options.lease_ms = draw(me, 4) == 0 && !once(me) ? 300 + (int64_t)draw(me, 300) : 0;
    }
    asked->gathers = options.min_messages > 1;
    asked->lease_ms = options.lease_ms;
    asked->waits = wait > 0;
    asked->began = boot_ns();
    if (plain) {
        status = lq_receive(consumer, options.max_messages, wait, &batch);
    } else {
        status = lq_receive_with(consumer, &options, &batch);
    }
    uint64_t ended = boot_ns();
    if (wait == 0 && ended - asked->began > SLOW_NS) {
        struct lines lines = {.len = 0};
        say(&lines, "L %llu %llu\n", big(asked->began), big(ended));
        put(me, &lines);
    }
    if (status != LQ_OK && status != LQ_TIMEOUT) {
        die(me, plain ? "receive" : "receive with options");
    }
    return status == LQ_OK ? batch : NULL;
}

/* Ends with messages in its hands: they are settled while it drains, and nothing more comes. */
static void drain(struct worker *me, lq_consumer *consumer)
{
    struct held held[BATCH_MOST];
    struct asked asked;
    mark(me, "drains");
    lq_batch *batch = receive(me, consumer, &asked);
    size_t count = batch != NULL ? note(me, batch, &asked, held) : 0;
    lq_status status = lq_consumer_drain(consumer, 0);
    if (status != LQ_OK && (status != LQ_TIMEOUT || count == 0)) {
        die(me, "begin to drain");
    }
    settle_batch(me, consumer, held, count);
    lq_batch_free(batch);
    if (lq_consumer_drain(consumer, DRAIN_MS) != LQ_OK) {
        die(me, "drain");
    }
    batch = NULL;
    status = lq_receive(consumer, 1, 0, &batch);
    if (status != LQ_CLOSED) {
        fprintf(stderr, "%s: drained, and receives: %s\n", me->name, lq_status_name(status));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static struct worker me;
    begin(&me, "consumer", argc, argv);
    lq_consumer *consumer = open_consumer(&me);
    unsigned rounds = 0, left = 0;
    while ((left == 0 || rounds < left) && !should_end(&me, "stop-consumers")) {
        struct held held[BATCH_MOST];
        struct asked asked;
        lq_batch *batch = receive(&me, consumer, &asked);
        rounds++;
        size_t count = batch != NULL ? note(&me, batch, &asked, held) : 0;
        if (forked(&me)) {
            /* What the parent holds is the parent's: closing it here hands nothing back. */
            lq_batch_free(batch);
            lq_status status = lq_consumer_close(consumer);
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
        if (count == 0 && !asked.waits) {
            rest_us(1000 + draw(&me, 4000));
        }
    }
    if (draw(&me, 2) == 0) {
        drain(&me, consumer);
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
