/* Compaction: configured, what it takes, and who reads meanwhile. */

#include <string.h>
#include <time.h>

#include "check.h"

static lq_store *store;
static lq_topic *topic;

/* 300,000 bytes, of which three fill the first segment, and six the next, under one of two keys. */
static void fill(void)
{
    static char large[300000];
    static const char *const keys[] = {"apple", "pear"};
    for (int i = 0; i < 12; i++) {
        lq_message message = LQ_MESSAGE_INIT;
        large[0] = (char)i;
        message.payload.data = (const uint8_t *)large;
        message.payload.len = sizeof large;
        message.key.data = (const uint8_t *)keys[i % 2];
        message.key.len = strlen(keys[i % 2]);
        OK(lq_send(topic, &message, 1, NULL));
    }
}

static void configured(void)
{
    lq_topic_options changes = LQ_TOPIC_OPTIONS_INIT;
    lq_topic_options stored = LQ_TOPIC_OPTIONS_INIT;
    OK(lq_topic_config(topic, &stored));
    CHECK(stored.compaction == LQ_COMPACTION_OFF);
    CHECK(stored.tombstone_grace_ms == 24 * 3600 * 1000);
    changes.compaction = LQ_COMPACTION_ON;
    changes.retention = LQ_RETENTION_SETTLED;
    INVALID(lq_topic_configure(topic, &changes));
    TELLS("compaction");
    changes.compaction = 7;
    INVALID(lq_topic_configure(topic, &changes));
    TELLS("LQ_COMPACTION_");
    changes.compaction = LQ_COMPACTION_ON;
    changes.retention = LQ_RETENTION_DEFAULT;
    changes.tombstone_grace_ms = 5;
    OK(lq_topic_configure(topic, &changes));
    OK(lq_topic_config(topic, &stored));
    CHECK(stored.compaction == LQ_COMPACTION_ON && stored.tombstone_grace_ms == 5);
    CHECK(stored.retention == LQ_RETENTION_FOREVER);
    lq_topic *again = NULL;
    OK(lq_topic_open(store, "prices", &stored, &again));
    OK(lq_topic_close(again));
}

/* Housekeeping looks once a second. */
static void taken(void)
{
    const time_t end = time(NULL) + 60;
    lq_reader *reader = NULL, *later = NULL;
    lq_batch *held = NULL, *left = NULL;
    lq_topic_stats stats = LQ_TOPIC_STATS_INIT;
    OK(lq_reader_open(topic, NULL, &reader));
    OK(lq_reader_receive(reader, 1, 0, &held));
    do {
        CHECK(time(NULL) < end);
        OK(lq_topic_get_stats(topic, &stats));
    } while (stats.compacted_messages < 7);
    CHECK(stats.compacted_messages == 7 && stats.compacted_bytes > 2000000);
    CHECK(stats.messages == 12);
    /* Its bytes stay for as long as the batch is held. */
    CHECK(lq_batch_get(held, 0)->payload.len == 300000);
    CHECK(lq_batch_get(held, 0)->payload.data[0] == 0);
    lq_batch_free(held);
    OK(lq_reader_open(topic, NULL, &later));
    OK(lq_reader_receive(later, 12, 0, &left));
    CHECK(lq_batch_len(left) == 5);
    for (size_t i = 0; i < 5; i++) {
        CHECK(lq_batch_get(left, i)->payload.data[0] == (uint8_t)(7 + i));
    }
    lq_batch_free(left);
    OK(lq_reader_close(reader));
    OK(lq_reader_close(later));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(inside(argv[1], "store"), NULL, &store));
    OK(lq_topic_open(store, "prices", NULL, &topic));
    configured();
    fill();
    taken();
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
