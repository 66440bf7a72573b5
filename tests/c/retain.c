/* Retention: configured, what keeps a segment, what is lost, and who is told of it. */

#include <string.h>
#include <time.h>

#include "check.h"

static lq_store *store;
static lq_topic *topic;
static lq_group *group;

/* 300,000 bytes, of which three fill the first segment, and six the next. */
static void fill(void)
{
    static char large[300000];
    lq_message message = LQ_MESSAGE_INIT;
    message.payload.data = (const uint8_t *)large;
    message.payload.len = sizeof large;
    for (int i = 0; i < 12; i++) {
        OK(lq_send(topic, &message, 1, NULL));
    }
}

/* Until one segment is left; housekeeping looks once a second. */
static lq_topic_stats until_one_is_left(void)
{
    const time_t end = time(NULL) + 60;
    lq_topic_stats stats = LQ_TOPIC_STATS_INIT;
    do {
        CHECK(time(NULL) < end);
        OK(lq_topic_get_stats(topic, &stats));
    } while (stats.segments > 1);
    return stats;
}

static void configured(void)
{
    lq_topic_options changes = LQ_TOPIC_OPTIONS_INIT;
    lq_topic_options stored = LQ_TOPIC_OPTIONS_INIT;
    OK(lq_topic_config(topic, &stored));
    CHECK(stored.retention == LQ_RETENTION_SETTLED && stored.retention_ms == 0);
    CHECK(stored.retention_bytes == LQ_NO_LIMIT && stored.on_lost == LQ_ON_LOST_COUNT);
    changes.retention_ms = 5;
    INVALID(lq_topic_configure(topic, &changes));
    TELLS("LQ_RETENTION_TIME");
    changes.retention = LQ_RETENTION_TIME;
    changes.retention_bytes = 1 << 30;
    changes.on_lost = LQ_ON_LOST_DEAD_LETTER;
    OK(lq_topic_configure(topic, &changes));
    OK(lq_topic_config(topic, &stored));
    CHECK(stored.retention == LQ_RETENTION_TIME && stored.retention_ms == 5);
    CHECK(stored.retention_bytes == 1 << 30 && stored.on_lost == LQ_ON_LOST_DEAD_LETTER);
    lq_topic *again = NULL;
    OK(lq_topic_open(store, "orders", &stored, &again));
    OK(lq_topic_close(again));
    changes.retention_ms = -1;
    INVALID(lq_topic_configure(topic, &changes));
    changes.retention = 9;
    changes.retention_ms = 0;
    INVALID(lq_topic_configure(topic, &changes));
    TELLS("LQ_RETENTION_");
    changes = (lq_topic_options)LQ_TOPIC_OPTIONS_INIT;
    changes.on_lost = 3;
    INVALID(lq_topic_configure(topic, &changes));
    TELLS("LQ_ON_LOST_");
    changes.retention = LQ_RETENTION_SETTLED;
    changes.retention_bytes = LQ_NO_LIMIT;
    changes.on_lost = LQ_ON_LOST_COUNT;
    OK(lq_topic_configure(topic, &changes));
}

static void pinned(void)
{
    lq_topic_stats stats = LQ_TOPIC_STATS_INIT;
    OK(lq_topic_get_stats(topic, &stats));
    CHECK(stats.pinned_by == LQ_PINNED_BY_GROUP && strcmp(stats.pinned_group, "g") == 0);
    CHECK(stats.pinned_bytes > 2000000 && stats.pinned_seconds >= 0.0);
}

static void taken(void)
{
    lq_topic_options changes = LQ_TOPIC_OPTIONS_INIT;
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    lq_reader *reader = NULL;
    lq_consumer *consumer = NULL;
    lq_batch *batch = NULL, *read = NULL;
    OK(lq_reader_open(topic, NULL, &reader));
    OK(lq_consumer_open(topic, "g", NULL, &consumer));
    OK(lq_receive(consumer, 1, 0, &batch));
    changes.retention_bytes = 1;
    OK(lq_topic_configure(topic, &changes));
    lq_topic_stats left = until_one_is_left();
    CHECK(left.pinned_by == LQ_PINNED_BY_NOTHING && left.pinned_group[0] == 0);
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.lost_messages == 9 && stats.lag_messages == 3);
    GIVES(LQ_STALE_RECEIPT, lq_ack(consumer, &lq_batch_get(batch, 0)->receipt, 1));
    /* Its bytes stay for as long as the batch is held. */
    CHECK(lq_batch_get(batch, 0)->payload.len == 300000);
    CHECK(lq_batch_get(batch, 0)->payload.data[299999] == 0);
    lq_batch_free(batch);
    GIVES(LQ_REMOVED, lq_reader_receive(reader, 10, 0, &read));
    TELLS("up to offset 8");
    CHECK(strcmp(lq_status_name(LQ_REMOVED), "LQ_REMOVED") == 0);
    OK(lq_reader_receive(reader, 10, 0, &read));
    CHECK(lq_batch_len(read) == 3);
    lq_batch_free(read);
    OK(lq_reader_close(reader));
    OK(lq_consumer_close(consumer));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(inside(argv[1], "store"), NULL, &store));
    OK(lq_topic_open(store, "orders", NULL, &topic));
    configured();
    OK(lq_group_create(topic, "g", NULL, &group));
    fill();
    pinned();
    taken();
    OK(lq_group_close(group));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
