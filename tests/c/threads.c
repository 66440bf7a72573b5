/*
 * Threads: DIR. Many on one store, with handles that are closed under those who use them, and at
 * last the store itself. A call then ends as the header says; what was sent is there, once, and
 * what was acknowledged does not come back.
 */
#define _DEFAULT_SOURCE
#include "check.h"

#include <pthread.h>
#include <unistd.h>

#define SENDERS 3
#define WORKERS 3
#define GUESTS 2
#define MOST 20000

static lq_store *store;
static lq_topic *topic;
static lq_consumer *consumers[WORKERS];

/* Of each message: how often it was acknowledged, and whether a closing cut an ack short. */
static unsigned char settled[SENDERS * MOST];
static unsigned char unsure[SENDERS * MOST];
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static int no_more;

/* A thread, and how many it sent. */
struct told {
    int number;
    int count;
};

/* Whoever uses a handle while others close it, or the store, gets one of these. */
static int ended(lq_status status)
{
    if (status == LQ_OK || status == LQ_TIMEOUT) {
        return 0;
    }
    /* A consumer that is closed hands back what it had, and others may have it already. */
    CHECK(status == LQ_CLOSED || status == LQ_INVALID_ARGUMENT || status == LQ_STALE_RECEIPT);
    CHECK(lq_last_error_status() == status && strlen(lq_last_error_message()) > 10);
    return 1;
}

static int send_number(lq_topic *to, int number)
{
    char text[16];
    char key[16];
    snprintf(text, sizeof text, "%d", number);
    snprintf(key, sizeof key, "key-%d", number % 11);
    lq_header header = {lq_bytes_of("number"), lq_bytes_of(text)};
    lq_message message = LQ_MESSAGE_INIT;
    message.key = lq_bytes_of(key);
    message.payload = lq_bytes_of(text);
    message.headers = &header;
    message.headers_len = 1;
    return ended(lq_send(to, &message, 1, NULL));
}

static int number_of(const lq_delivery *d)
{
    char text[16] = {0};
    CHECK(d->payload.len > 0 && d->payload.len < sizeof text);
    memcpy(text, d->payload.data, d->payload.len);
    CHECK(d->headers_len == 1 && same(d->headers[0].name, "number"));
    CHECK(same(d->headers[0].value, text));
    int number = atoi(text);
    CHECK(number >= 0 && number < SENDERS * MOST);
    return number;
}

static void *send_until_closed(void *of)
{
    struct told *told = of;
    while (told->count < MOST && !send_number(topic, told->number * MOST + told->count)) {
        told->count++;
    }
    return NULL;
}

/* Settles in every way; the errors of a thread are its own, whatever others get meanwhile. */
static void *work_until_closed(void *of)
{
    lq_consumer *mine = consumers[*(int *)of];
    for (int round = 0;; round++) {
        lq_batch *batch = NULL;
        lq_status status = lq_receive(mine, 7, 20, &batch);
        if (ended(status)) {
            CHECK(batch == NULL);
            return NULL;
        }
        for (size_t i = 0; status == LQ_OK && i < lq_batch_len(batch); i++) {
            const lq_delivery *d = lq_batch_get(batch, i);
            int number = number_of(d);
            if ((round + (int)i) % 5 == 0) {
                ended(lq_release(mine, &d->receipt, 1));
            } else if ((round + (int)i) % 5 == 1) {
                ended(lq_extend(mine, &d->receipt, 1, 60000));
                ended(lq_nack(mine, &d->receipt, 1, 0, "not now"));
            } else {
                int cut = ended(lq_ack(mine, &d->receipt, 1));
                CHECK(pthread_mutex_lock(&counting) == 0);
                *(cut ? &unsure[number] : &settled[number]) += 1;
                CHECK(pthread_mutex_unlock(&counting) == 0);
                        }
        }
        if (status == LQ_OK) {
            OK(lq_batch_free(batch));
        }
    }
}

/* Opens, uses and closes everything else, until the store is gone. */
static void *come_and_go(void *of)
{
    (void)of;
    for (;;) {
        lq_topic *again = NULL;
        lq_group *group = NULL;
        lq_reader *reader = NULL;
        lq_batch *batch = NULL;
        lq_names *names = NULL;
        lq_group_stats counted = LQ_GROUP_STATS_INIT;
        lq_topic_stats looked = LQ_TOPIC_STATS_INIT;
        int over = ended(lq_topic_open(store, "numbers", NULL, &again));
        over = over || ended(lq_group_open(again, "workers", &group));
        over = over || ended(lq_group_get_stats(group, &counted));
        over = over || ended(lq_topic_get_stats(again, &looked));
        over = over || ended(lq_store_topics(store, &names));
        over = over || ended(lq_reader_open(again, NULL, &reader));
        over = over || ended(lq_reader_receive(reader, 50, 0, &batch));
        for (size_t i = 0; batch != NULL && i < lq_batch_len(batch); i++) {
            number_of(lq_batch_get(batch, i));
        }
        /* NULL needs no closing, so all are closed, whatever was opened. */
        ended(lq_reader_close(reader));
        ended(lq_names_free(names));
        ended(lq_group_close(group));
        ended(lq_topic_close(again));
        if (batch != NULL) {
            CHECK(number_of(lq_batch_get(batch, 0)) >= 0);
        }
        ended(lq_batch_free(batch));
        if (over || __atomic_load_n(&no_more, __ATOMIC_ACQUIRE)) {
            return NULL;
        }
    }
}

/* Each handle is closed by several threads at once: one of them does it. */
static void *close_them(void *of)
{
    (void)of;
    for (int i = 1; i < WORKERS; i++) {
        ended(lq_consumer_close(consumers[i]));
    }
    return NULL;
}

static void start(pthread_t *thread, void *(*body)(void *), void *of)
{
    CHECK(pthread_create(thread, NULL, body, of) == 0);
}

/* In the reopened store everything that was told as sent is there, and is acknowledged once. */
static void check_all(const char *path, const struct told *senders)
{
    static unsigned char there[SENDERS * MOST];
    OK(lq_store_open(path, NULL, &store));
    OK(lq_topic_open(store, "numbers", NULL, &topic));
    lq_reader *reader = NULL;
    lq_batch *batch = NULL;
    OK(lq_reader_open(topic, NULL, &reader));
    while (lq_reader_receive(reader, 1000, 0, &batch) == LQ_OK) {
        for (size_t i = 0; i < lq_batch_len(batch); i++) {
            there[number_of(lq_batch_get(batch, i))]++;
        }
        OK(lq_batch_free(batch));
    }
    OK(lq_reader_close(reader));
    OK(lq_consumer_open(topic, "workers", NULL, &consumers[0]));
    while (lq_receive(consumers[0], 1000, 50, &batch) == LQ_OK) {
        for (size_t i = 0; i < lq_batch_len(batch); i++) {
            const lq_delivery *d = lq_batch_get(batch, i);
            settled[number_of(d)]++;
            OK(lq_ack(consumers[0], &d->receipt, 1));
        }
        OK(lq_batch_free(batch));
    }
    OK(lq_consumer_close(consumers[0]));
    for (int s = 0; s < SENDERS; s++) {
        for (int i = 0; i < MOST; i++) {
            /* The one that was being sent while the store was closed may be there or not. */
            int known = i < senders[s].count;
            int number = s * MOST + i;
            CHECK(there[number] == known || (i == senders[s].count && there[number] <= 1));
            CHECK(settled[number] <= there[number]);
            CHECK(settled[number] + unsure[number] >= there[number]);
        }
    }
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
}

/* Whether messages go through. */
static int under_way(void)
{
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    lq_group *group = NULL;
    OK(lq_group_open(topic, "workers", &group));
    OK(lq_group_get_stats(group, &stats));
    OK(lq_group_close(group));
    return stats.acked > 200 && stats.failed > 20;
}

/* Closes the topic under those who send, then the store under those who come and go. */
static void close_all(void)
{
    pthread_t closers[2];
    for (int i = 0; i < 2; i++) {
        start(&closers[i], close_them, NULL);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(closers[i], NULL) == 0);
    }
    usleep(50000);
    OK(lq_topic_close(topic));
    OK(lq_consumer_close(consumers[0]));
    INVALID(lq_topic_sync(topic));
    lq_status status = LQ_BUSY;
    for (int tries = 0; status == LQ_BUSY; tries++) {
        status = lq_store_close(store);
        __atomic_store_n(&no_more, tries > 50, __ATOMIC_RELEASE);
        usleep(1000);
    }
    GIVES(LQ_OK, status);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *path = inside(argv[1], "threads");
    lq_group_options group = LQ_GROUP_OPTIONS_INIT;
    group.max_attempts = 60000;
    group.backoff_first_ms = 0;
    lq_consumer_options options = LQ_CONSUMER_OPTIONS_INIT;
    options.group = &group;
    lq_topic_options partitioned = LQ_TOPIC_OPTIONS_INIT;
    /* All that was sent is looked for at the end, whatever was settled. */
    partitioned.retention = LQ_RETENTION_FOREVER;
    partitioned.partitions = 2;
    OK(lq_store_open(path, NULL, &store));
    OK(lq_topic_open(store, "numbers", &partitioned, &topic));
    struct told senders[SENDERS];
    int workers[WORKERS];
    pthread_t threads[SENDERS + WORKERS + GUESTS];
    for (int i = 0; i < WORKERS; i++) {
        OK(lq_consumer_open(topic, "workers", &options, &consumers[i]));
    }
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = i;
        start(&threads[SENDERS + i], work_until_closed, &workers[i]);
    }
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct told){i, 0};
        start(&threads[i], send_until_closed, &senders[i]);
    }
    for (int i = 0; i < GUESTS; i++) {
        start(&threads[SENDERS + WORKERS + i], come_and_go, NULL);
    }
    /* Until all of them are at it. */
    for (int i = 0; i < 30000 && !under_way(); i++) {
        usleep(1000);
    }
    CHECK(under_way());
    close_all();
    for (int i = 0; i < SENDERS + WORKERS + GUESTS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    check_all(path, senders);
    return 0;
}
