/*
 * Managing groups and topics: DIR. Configuring, pausing, consumers, peeking, settling by id,
 * deleting.
 */
#include "check.h"

static lq_store *store;
static lq_topic *topic;
static lq_group *group;
static lq_consumer *consumer;

static size_t receive(size_t max, lq_batch **batch)
{
    *batch = NULL;
    lq_status status = lq_receive(consumer, max, 0, batch);
    CHECK(status == LQ_OK || status == LQ_TIMEOUT);
    return status == LQ_OK ? lq_batch_len(*batch) : 0;
}

static void configuring(void)
{
    lq_group_options changes = LQ_GROUP_OPTIONS_INIT;
    lq_group_options stored = LQ_GROUP_OPTIONS_INIT;
    const char *name = NULL;
    const char *before = NULL;
    OK(lq_group_dead_letter_topic(group, &before));
    changes.lease_ms = 120000;
    changes.backoff_first_ms = 250;
    changes.dead_letters = LQ_DEAD_LETTERS_TOPIC;
    changes.dead_letter_topic = "dead";
    OK(lq_group_configure(group, &changes));
    OK(lq_group_config(group, &stored));
    CHECK(stored.lease_ms == 120000 && stored.max_attempts == 5);
    /* What is left out of the backoff stays as it is stored. */
    CHECK(stored.backoff_first_ms == 250 && stored.backoff_longest_ms == 300000);
    CHECK(strcmp(stored.dead_letter_topic, "dead") == 0);
    OK(lq_group_dead_letter_topic(group, &name));
    CHECK(strcmp(name, "dead") == 0);
    CHECK(strcmp(before, "orders.g.dlq") == 0);
    OK(lq_group_configure(group, NULL));

    lq_group_options wrong = LQ_GROUP_OPTIONS_INIT;
    wrong.window = 1 << 20;
    INVALID(lq_group_configure(group, &wrong));
    TELLS("make another group");
    INVALID(lq_group_configure(NULL, &changes));
}

static void pausing(void)
{
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    lq_batch *batch;
    OK(lq_group_pause(group));
    OK(lq_group_pause(group));
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.paused == 1);
    CHECK(receive(1, &batch) == 0);
    OK(lq_group_resume(group));
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.paused == 0);
    INVALID(lq_group_pause(NULL));
    INVALID(lq_group_resume(NULL));
}

static void looking(lq_message_id id)
{
    lq_batch *batch;
    lq_peeked *found = NULL;
    lq_consumers *list = NULL;
    CHECK(receive(1, &batch) == 1);
    OK(lq_group_peek(group, id.partition, id.offset, &found));
    const lq_peek *peek = lq_peeked_get(found);
    CHECK(peek->state == LQ_STATE_LEASED && peek->until_ns > peek->message.timestamp_ns);
    CHECK(peek->attempts == 1 && peek->failures == 0);
    CHECK(strcmp(peek->consumer, "worker") == 0);
    CHECK(same(peek->message.payload, "one") && same(peek->message.key, "k"));
    CHECK(peek->message.id.offset == id.offset);
    OK(lq_peeked_free(found));
    INVALID(lq_peeked_free(found));
    CHECK(lq_peeked_get(found) == NULL);
    OK(lq_peeked_free(NULL));
    GIVES(LQ_NOT_FOUND, lq_group_peek(group, 0, 99, &found));
    INVALID(lq_group_peek(group, 7, 0, &found));
    INVALID(lq_group_peek(group, 0, 0, NULL));

    OK(lq_nack(consumer, &lq_batch_get(batch, 0)->receipt, 1, 0, "no"));
    OK(lq_batch_free(batch));
    OK(lq_group_consumers(group, &list));
    CHECK(lq_consumers_len(list) == 1);
    const lq_consumer_stats *one = lq_consumers_get(list, 0);
    CHECK(strcmp(one->name, "worker") == 0 && one->process > 0);
    CHECK(one->failed_share == 1.0 && one->others_failed_share == 0.0 && one->stands_out == 0);
    CHECK(one->delivered == 1 && one->failed == 1 && one->acked == 0 && one->leased == 0);
    CHECK(lq_consumers_get(list, 1) == NULL);
    OK(lq_consumers_free(list));
    INVALID(lq_consumers_free(list));
    CHECK(lq_consumers_len(list) == 0);
    INVALID(lq_group_consumers(group, NULL));
}

static void by_id(lq_message_id first, lq_message_id second)
{
    lq_batch *batch;
    lq_dead_letters *letters = NULL;
    OK(lq_group_delay(group, &first, 0));
    CHECK(receive(1, &batch) == 1);
    lq_receipt receipt = lq_batch_get(batch, 0)->receipt;
    OK(lq_batch_free(batch));
    OK(lq_group_delay(group, &first, 3600000));
    GIVES(LQ_STALE_RECEIPT, lq_ack(consumer, &receipt, 1));
    GIVES(LQ_BUSY, lq_group_delay(group, &second, 0));
    TELLS("earlier message of its key");
    OK(lq_group_settle(group, &first));
    GIVES(LQ_STALE_RECEIPT, lq_group_settle(group, &first));
    OK(lq_group_dead_letter(group, &second, "poison"));
    OK(lq_group_dead_letters(group, 9, &letters));
    CHECK(lq_dead_letters_len(letters) == 1);
    CHECK(strcmp(lq_dead_letters_get(letters, 0)->error, "poison") == 0);
    OK(lq_dead_letters_free(letters));
    INVALID(lq_group_delay(group, &second, -2));
    INVALID(lq_group_settle(group, NULL));
    INVALID(lq_group_settle(NULL, &first));
    lq_message_id never = first;
    never.offset = 1000;
    GIVES(LQ_NOT_FOUND, lq_group_settle(group, &never));
}

static void deleting(void)
{
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    lq_batch *batch = NULL;
    lq_group *again = NULL;
    OK(lq_group_delete(group));
    GIVES(LQ_NOT_FOUND, lq_group_delete(group));
    TELLS("was deleted");
    GIVES(LQ_NOT_FOUND, lq_receive(consumer, 1, 1000, &batch));
    GIVES(LQ_NOT_FOUND, lq_group_get_stats(group, &stats));
    GIVES(LQ_NOT_FOUND, lq_group_open(topic, "g", &again));
    INVALID(lq_group_delete(NULL));
}

static void topics(void)
{
    lq_topic_options changes = LQ_TOPIC_OPTIONS_INIT;
    lq_topic_options stored = LQ_TOPIC_OPTIONS_INIT;
    lq_message large = LQ_MESSAGE_INIT;
    large.payload = lq_bytes_of("12345678");
    changes.max_message_bytes = 7;
    changes.durability = LQ_DURABILITY_SYNC;
    OK(lq_topic_configure(topic, &changes));
    OK(lq_topic_config(topic, &stored));
    CHECK(stored.max_message_bytes == 7 && stored.durability == LQ_DURABILITY_SYNC);
    GIVES(LQ_TOO_LARGE, lq_send(topic, &large, 1, NULL));
    changes.partitions = 2;
    INVALID(lq_topic_configure(topic, &changes));
    TELLS("expected 1");
    OK(lq_topic_configure(topic, NULL));
    INVALID(lq_topic_configure(NULL, NULL));
    OK(lq_topic_delete(store, "orders"));
    GIVES(LQ_NOT_FOUND, lq_send(topic, &large, 1, NULL));
    TELLS("was deleted");
    GIVES(LQ_NOT_FOUND, lq_topic_delete(store, "orders"));
    GIVES(LQ_INVALID_NAME, lq_topic_delete(store, "or/ders"));
    INVALID(lq_topic_delete(store, NULL));
    INVALID(lq_topic_delete(NULL, "orders"));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    lq_consumer_options options = LQ_CONSUMER_OPTIONS_INIT;
    options.name = "worker";
    OK(lq_store_open(inside(argv[1], "store"), NULL, &store));
    OK(lq_topic_open(store, "orders", NULL, &topic));
    lq_message_id first = send_text(topic, "k", "one");
    lq_message_id second = send_text(topic, "k", "two");
    OK(lq_group_create(topic, "g", NULL, &group));
    OK(lq_consumer_open(topic, "g", &options, &consumer));
    configuring();
    pausing();
    looking(first);
    by_id(first, second);
    deleting();
    topics();
    OK(lq_consumer_close(consumer));
    OK(lq_group_close(group));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
