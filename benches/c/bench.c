/*
 * The workloads from C: ROLE ARGUMENT...
 *
 * The roles, their arguments and what is printed are those of benches/src/workers/mod.rs, which
 * starts this program, so that the figures of all languages are verified in one place.
 */
#define _POSIX_C_SOURCE 200809L
#include <libqueue.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long one who sleeps does so before it looks whether its input has ended. */
#define LOOK_MS 20
/* After so many empty looks one who spins does. */
#define LOOKS 10000
/* Nothing came for so long: something is wrong. */
#define LONG_NS UINT64_C(60000000000)
#define NUMBER 8

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* What came, or was sent, and when. */
struct said {
    uint64_t count, sum, bytes, began, ended;
};

static void die(const char *doing)
{
    fprintf(stderr, "bench.c: %s: %s\n", doing, lq_last_error_message());
    exit(1);
}

static void wrong(const char *what)
{
    fprintf(stderr, "bench.c: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static size_t number_of(const char *text)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0') {
        wrong("an argument is no number");
    }
    return (size_t)number;
}

/* Numbers are little endian, as the processors are that libqueue is for. */
static void put(uint8_t *at, uint64_t number)
{
    memcpy(at, &number, NUMBER);
}

static uint64_t get(const uint8_t *at)
{
    uint64_t number;
    memcpy(&number, at, NUMBER);
    return number;
}

static void add(struct said *said, const uint8_t *payload, size_t size)
{
    said->count++;
    said->sum += get(payload);
    said->bytes += size;
}

/* Says that all is open, and waits for the word. */
static uint64_t wait_for_word(void)
{
    char word;
    puts("ready");
    fflush(stdout);
    if (read(STDIN_FILENO, &word, 1) != 1) {
        wrong("the driver has ended");
    }
    return now_ns();
}

static void open_topic(const char *path, const char *durability, lq_store **store, lq_topic **topic)
{
    lq_store_options options = LQ_STORE_OPTIONS_INIT;
    bool sync = strcmp(durability, "sync") == 0;
    options.durability = sync ? LQ_DURABILITY_SYNC : LQ_DURABILITY_PROCESS;
    if (lq_store_open(path, &options, store) != LQ_OK
        || lq_topic_open(*store, "bench", NULL, topic) != LQ_OK) {
        die("open");
    }
}

/* Until the message of this number is due: sleeps to just before, and spins. */
static void wait_until_due(uint64_t began, uint64_t number, size_t pace)
{
    uint64_t due = began + (uint64_t)((double)number * 1e9 / (double)pace);
    for (uint64_t now = now_ns(); now < due; now = now_ns()) {
        if (due - now > 60000) {
            struct timespec rest = {0, 0};
            rest.tv_sec = (time_t)((due - now - 55000) / 1000000000);
            rest.tv_nsec = (long)((due - now - 55000) % 1000000000);
            nanosleep(&rest, NULL);
        }
    }
}

/* STORE DURABILITY SIZE COUNT BATCH PACE */
static struct said send_all(char **args)
{
    size_t size = number_of(args[2]), count = number_of(args[3]), batch = number_of(args[4]);
    size_t pace = number_of(args[5]);
    struct said said = {0, 0, 0, 0, 0};
    lq_store *store = NULL;
    lq_topic *topic = NULL;
    if (batch == 0 || size < NUMBER || (pace > 0 && (size < 2 * NUMBER || batch != 1))) {
        wrong("a size or a batch that cannot be sent");
    }
    open_topic(args[0], args[1], &store, &topic);
    uint8_t *payloads = malloc(batch * size);
    lq_message *messages = malloc(batch * sizeof(lq_message));
    if (payloads == NULL || messages == NULL) {
        wrong("no memory for a batch");
    }
    memset(payloads, 'x', batch * size);
    for (size_t i = 0; i < batch; i++) {
        lq_message blank = LQ_MESSAGE_INIT;
        messages[i] = blank;
        messages[i].payload.data = payloads + i * size;
        messages[i].payload.len = size;
    }
    said.began = wait_for_word();
    for (size_t first = 0; first < count; first += batch) {
        if (pace > 0) {
            wait_until_due(said.began, first, pace);
            put(payloads + NUMBER, now_ns());
        }
        for (size_t i = 0; i < batch; i++) {
            put(payloads + i * size, first + i);
            add(&said, payloads + i * size, size);
        }
        if (lq_send(topic, messages, batch, NULL) != LQ_OK) {
            die("send");
        }
    }
    said.ended = now_ns();
    free(messages);
    free(payloads);
    if (lq_topic_close(topic) != LQ_OK || lq_store_close(store) != LQ_OK) {
        die("close");
    }
    return said;
}

/* Whether standard input has: nothing more comes. */
static bool has_ended(void)
{
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    return poll(&input, 1, 0) > 0;
}

/* One who receives: what it wants, and what it has. */
struct receiver {
    lq_consumer *consumer;
    /* 0 messages: until its input ends. */
    size_t size, count, batch;
    bool spins;
    lq_receipt *receipts;
    /* How long each was on its way, where that is wanted. */
    uint64_t *waits;
};

static void take(struct receiver *me, const lq_batch *batch, struct said *said)
{
    size_t len = lq_batch_len(batch);
    uint64_t now = me->waits != NULL ? now_ns() : 0;
    for (size_t i = 0; i < len; i++) {
        const lq_delivery *delivery = lq_batch_get(batch, i);
        if (delivery->payload.len != me->size) {
            wrong("a payload of another size came");
        }
        if (me->waits != NULL && said->count < me->count) {
            uint64_t sent = get(delivery->payload.data + NUMBER);
            me->waits[said->count] = now > sent ? now - sent : 0;
        }
        add(said, delivery->payload.data, delivery->payload.len);
        me->receipts[i] = delivery->receipt;
    }
    if (lq_ack(me->consumer, me->receipts, len) != LQ_OK) {
        die("ack");
    }
}

static void receive_all(struct receiver *me, struct said *said)
{
    uint64_t since = now_ns(), empty = 0;
    while (me->count == 0 || said->count < me->count) {
        lq_batch *batch = NULL;
        lq_status status = lq_receive(me->consumer, me->batch, me->spins ? 0 : LOOK_MS, &batch);
        if (status == LQ_OK) {
            if (empty > 0) {
                empty = 0;
                since = now_ns();
            }
            take(me, batch, said);
            lq_batch_free(batch);
            if (me->count == 0) {
                said->ended = now_ns();
            }
            continue;
        }
        if (status != LQ_TIMEOUT) {
            die("receive");
        }
        empty++;
        if (me->spins && empty % LOOKS != 0) {
            continue;
        }
        if (me->count == 0 && has_ended()) {
            return;
        }
        if (now_ns() - since > LONG_NS) {
            wrong("nothing came for a minute");
        }
    }
    said->ended = now_ns();
}

static void write_waits(const char *path, const struct receiver *me)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(me->waits, sizeof(uint64_t), me->count, file) != me->count
        || fclose(file) != 0) {
        wrong("the waits cannot be written");
    }
}

/* STORE GROUP SIZE COUNT BATCH HOW WAITS */
static struct said receive(char **args)
{
    struct said said = {0, 0, 0, 0, 0};
    struct receiver me = {NULL, number_of(args[2]), number_of(args[3]), number_of(args[4]),
                          strcmp(args[5], "spin") == 0, NULL, NULL};
    bool timed = strcmp(args[6], "-") != 0;
    lq_store *store = NULL;
    lq_topic *topic = NULL;
    if (me.batch == 0 || me.size < (timed ? 2 * NUMBER : NUMBER)) {
        wrong("a size or a batch that cannot be received");
    }
    open_topic(args[0], "process", &store, &topic);
    if (lq_consumer_open(topic, args[1], NULL, &me.consumer) != LQ_OK) {
        die("open the consumer");
    }
    me.receipts = malloc(me.batch * sizeof(lq_receipt));
    me.waits = timed ? calloc(me.count + 1, sizeof(uint64_t)) : NULL;
    if (me.receipts == NULL || (timed && me.waits == NULL)) {
        wrong("no memory for the receipts");
    }
    said.began = wait_for_word();
    said.ended = said.began;
    receive_all(&me, &said);
    if (timed) {
        write_waits(args[6], &me);
    }
    free(me.waits);
    free(me.receipts);
    if (lq_consumer_close(me.consumer) != LQ_OK || lq_topic_close(topic) != LQ_OK
        || lq_store_close(store) != LQ_OK) {
        die("close");
    }
    return said;
}

int main(int argc, char **argv)
{
    struct said said;
    const char *role = argc > 1 ? argv[1] : "";
    if (strcmp(role, "send") == 0 && argc == 8) {
        said = send_all(argv + 2);
    } else if (strcmp(role, "receive") == 0 && argc == 9) {
        said = receive(argv + 2);
    } else if (strcmp(role, "version") == 0) {
        puts(COMPILER);
        return 0;
    } else {
        fprintf(stderr, "usage: bench send|receive ARGUMENT..., bench version\n");
        return 2;
    }
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", said.count, said.sum,
           said.bytes, said.began, said.ended);
    return 0;
}
