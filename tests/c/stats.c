/*
 * Statistics: DIR. What a topic and a group say of themselves, and structs of another size.
 */
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "check.h"

static lq_store *store;
static lq_topic *topic;
static lq_consumer *consumer;
static lq_group *group;

/* Bytes of a record with a payload of 10. */
#define RECORD 64

static lq_topic_stats of_topic(void)
{
    lq_topic_stats stats = LQ_TOPIC_STATS_INIT;
    OK(lq_topic_get_stats(topic, &stats));
    return stats;
}

static lq_group_stats of_group(void)
{
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    OK(lq_group_get_stats(group, &stats));
    return stats;
}

static void send_some(int count)
{
    lq_message message = LQ_MESSAGE_INIT;
    message.payload = lq_bytes_of("0123456789");
    for (int i = 0; i < count; i++) {
        OK(lq_send(topic, &message, 1, NULL));
    }
}

static void counted(void)
{
    lq_batch *batch = NULL;
    lq_partition_stats part = LQ_PARTITION_STATS_INIT;
    send_some(5);
    OK(lq_topic_get_partition_stats(topic, 0, &part));
    CHECK(part.sent == 5 && part.sent_bytes == 5 * RECORD);
    CHECK(of_topic().sent == 5 && of_topic().sent_bytes == 5 * RECORD);
    CHECK(of_topic().removed_messages == 0 && of_topic().removed_bytes == 0);
    CHECK(of_topic().waiting_senders == 0 && of_topic().lock_waits == 0);
    CHECK(of_group().lag_messages == 5 && of_group().lag_bytes == 5 * RECORD);
    CHECK(of_group().window_used == 0.0 && of_group().dying == 0);
    OK(lq_receive(consumer, 3, 0, &batch));
    OK(lq_ack(consumer, &lq_batch_get(batch, 0)->receipt, 1));
    lq_batch_free(batch);
    CHECK(of_group().lag_messages == 4 && of_group().lag_bytes == 4 * RECORD);
    CHECK(of_group().leased == 2 && of_group().delivered == 3 && of_group().acked == 1);
    CHECK(of_group().window_used > 0.0 && of_group().window_used < 0.001);
    CHECK(of_group().lock_waits == 0 && of_group().lock_wait_seconds == 0.0);
    CHECK(of_group().syncs == 0 && of_group().sync_seconds == 0.0);
}

static void synced(void)
{
    const uint64_t before = of_topic().syncs;
    OK(lq_topic_sync(topic));
    send_some(1);
    OK(lq_topic_sync(topic));
    CHECK(of_topic().syncs == before + 2);
    CHECK(of_topic().sync_longest_seconds > 0.0);
    CHECK(of_topic().sync_longest_seconds <= of_topic().sync_seconds);
}

static void *waits(void *unused)
{
    lq_batch *batch = NULL;
    (void)unused;
    for (int had = 0; had < 3;) {
        OK(lq_receive(consumer, 100, 60000, &batch));
        had += (int)lq_batch_len(batch);
        lq_batch_free(batch);
    }
    OK(lq_receive(consumer, 1, 60000, &batch));
    lq_batch_free(batch);
    return NULL;
}

static void waited_for(void)
{
    const time_t end = time(NULL) + 60;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, waits, NULL) == 0);
    while (of_group().waiting_receivers == 0 || of_group().leased < 5) {
        CHECK(time(NULL) < end);
    }
    CHECK(of_group().waiting_receivers == 1);
    send_some(1);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(of_group().waiting_receivers == 0);
}

/* A struct that is too short is told of, and nothing is written to it. */
static void of_another_build(void)
{
    lq_group_stats stats;
    memset(&stats, 0x7F, sizeof stats);
    stats.size = offsetof(lq_group_stats, dying);
    INVALID(lq_group_get_stats(group, &stats));
    TELLS("_INIT");
    CHECK(stats.lag_messages == 0x7F7F7F7F7F7F7F7F && stats.dying == 0x7F7F7F7F7F7F7F7F);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(argv[1], NULL, &store));
    OK(lq_topic_open(store, "t", NULL, &topic));
    OK(lq_consumer_open(topic, "g", NULL, &consumer));
    OK(lq_group_open(topic, "g", &group));
    counted();
    synced();
    waited_for();
    of_another_build();
    OK(lq_consumer_close(consumer));
    OK(lq_group_close(group));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
