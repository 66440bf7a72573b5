/* Settling: DIR. Done, failed, handed back, extended, given up, and receipts that are stale. */
#include "check.h"

static lq_store *store;
static lq_topic *topic;
static lq_consumer *consumer;

static lq_batch *receive(size_t expected)
{
    lq_batch *batch = NULL;
    OK(lq_receive(consumer, 10, 10000, &batch));
    CHECK(lq_batch_len(batch) == expected);
    return batch;
}

static void nothing_comes(void)
{
    lq_batch *batch = NULL;
    GIVES(LQ_TIMEOUT, lq_receive(consumer, 1, 0, &batch));
    CHECK(batch == NULL);
}

static lq_group_stats look(void)
{
    lq_group *group = NULL;
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    OK(lq_group_open(topic, "billing", &group));
    OK(lq_group_get_stats(group, &stats));
    OK(lq_group_close(group));
    CHECK(stats.size == sizeof stats);
    return stats;
}

static void acks_and_stale_ones(void)
{
    for (int i = 0; i < 3; i++) {
        send_text(topic, NULL, "paid");
    }
    lq_batch *batch = receive(3);
    lq_receipt receipts[3];
    for (size_t i = 0; i < 3; i++) {
        receipts[i] = lq_batch_get(batch, i)->receipt;
        CHECK(lq_batch_get(batch, i)->attempt == 1);
    }
    OK(lq_batch_free(batch));
    CHECK(look().leased == 3);

    lq_status results[3] = {77, 77, 77};
    OK(lq_ack_results(consumer, &receipts[1], 1, results));
    CHECK(results[0] == LQ_OK && results[1] == 77);
    GIVES(LQ_STALE_RECEIPT, lq_ack_results(consumer, receipts, 3, results));
    CHECK(results[0] == LQ_OK && results[1] == LQ_STALE_RECEIPT && results[2] == LQ_OK);
    GIVES(LQ_STALE_RECEIPT, lq_ack(consumer, receipts, 3));
    TELLS("3 of 3");
    lq_group_stats stats = look();
    CHECK(stats.leased == 0 && stats.lag_messages == 0 && stats.acked == 3);
    nothing_comes();
}

static void handed_back(void)
{
    send_text(topic, "k", "again");
    lq_batch *batch = receive(1);
    const lq_delivery *first = lq_batch_get(batch, 0);
    lq_status result = 77;
    OK(lq_extend_results(consumer, &first->receipt, 1, 60000, &result));
    CHECK(result == LQ_OK);
    OK(lq_extend(consumer, &first->receipt, 1, 60000));
    result = 77;
    OK(lq_release_results(consumer, &first->receipt, 1, &result));
    CHECK(result == LQ_OK);
    lq_batch *again = receive(1);
    const lq_delivery *second = lq_batch_get(again, 0);
    CHECK(second->attempt == 2 && second->offset == first->offset);
    CHECK(same(second->payload, "again"));
    GIVES(LQ_STALE_RECEIPT, lq_ack(consumer, &first->receipt, 1));
    OK(lq_release(consumer, &second->receipt, 1));
    OK(lq_batch_free(batch));
    OK(lq_batch_free(again));
    batch = receive(1);
    OK(lq_ack(consumer, &lq_batch_get(batch, 0)->receipt, 1));
    OK(lq_batch_free(batch));
    CHECK(look().failed == 0);
}

/* max_attempts is 2: the second failure makes a dead letter. */
static void failed(void)
{
    lq_message_id id = send_text(topic, "user", "bad");
    lq_batch *batch = receive(1);
    lq_status result = 77;
    OK(lq_nack_results(consumer, &lq_batch_get(batch, 0)->receipt, 1, 0, "bad total", &result));
    CHECK(result == LQ_OK);
    OK(lq_batch_free(batch));
    batch = receive(1);
    CHECK(lq_batch_get(batch, 0)->attempt == 2);
    OK(lq_nack(consumer, &lq_batch_get(batch, 0)->receipt, 1, LQ_BACKOFF, "still b\xe4" "d"));
    OK(lq_batch_free(batch));
    nothing_comes();

    send_text(topic, NULL, "hopeless");
    batch = receive(1);
    result = 77;
    OK(lq_dead_letter_results(consumer, &lq_batch_get(batch, 0)->receipt, 1, "no such user",
                              &result));
    CHECK(result == LQ_OK);
    OK(lq_batch_free(batch));
    send_text(topic, NULL, "more");
    batch = receive(1);
    OK(lq_dead_letter(consumer, &lq_batch_get(batch, 0)->receipt, 1, NULL));
    OK(lq_batch_free(batch));
    nothing_comes();

    lq_group *group = NULL;
    OK(lq_group_open(topic, "billing", &group));
    lq_dead_letters *list = NULL;
    INVALID(lq_group_dead_letters(group, 0, &list));
    OK(lq_group_dead_letters(group, 100, &list));
    CHECK(lq_dead_letters_len(list) == 3 && lq_dead_letters_get(list, 3) == NULL);
    const lq_dead_letter_entry *one = lq_dead_letters_get(list, 0);
    CHECK(same(one->message.payload, "bad") && same(one->message.key, "user"));
    CHECK(one->source_offset == id.offset && one->source_partition == id.partition);
    CHECK(one->attempts == 2 && one->failures == 2 && one->message.headers_len > 5);
    CHECK(strncmp(one->error, "still b", 7) == 0 && strcmp(one->consumer, "worker one") == 0);
    CHECK(strcmp(lq_dead_letters_get(list, 1)->error, "no such user") == 0);
    CHECK(one->message.id.topic_id != id.topic_id && one->message.receipt.attempt == 0);
    OK(lq_group_close(group));
    OK(lq_dead_letters_free(list));
    INVALID(lq_dead_letters_free(list));
    lq_group_stats stats = look();
    CHECK(stats.dead_lettered == 3 && stats.lag_messages == 0);
}

static void configured(void)
{
    lq_group *group = NULL;
    lq_group_options config = LQ_GROUP_OPTIONS_INIT;
    OK(lq_group_open(topic, "billing", &group));
    OK(lq_group_config(group, &config));
    CHECK(config.max_attempts == 2 && config.ordering == LQ_ORDERING_KEY && config.window == 512);
    CHECK(config.lease_ms == 30000 && config.backoff_first_ms == 0);
    CHECK(config.backoff_longest_ms == 300000 && config.backoff_factor == 2.0);
    CHECK(config.dead_letters == LQ_DEAD_LETTERS_TOPIC);
    CHECK(strcmp(config.dead_letter_topic, "graveyard") == 0);
    lq_group *same_again = NULL;
    OK(lq_group_create(topic, "billing", &config, &same_again));
    const char *name = NULL;
    OK(lq_group_dead_letter_topic(same_again, &name));
    CHECK(strcmp(name, "graveyard") == 0);
    OK(lq_group_name(same_again, &name));
    CHECK(strcmp(name, "billing") == 0);
    config.max_attempts = 3;
    lq_group *none = NULL;
    GIVES(LQ_CONFIG_MISMATCH, lq_group_create(topic, "billing", &config, &none));
    OK(lq_group_close(same_again));
    OK(lq_group_close(group));

    lq_group_options dropping = LQ_GROUP_OPTIONS_INIT;
    dropping.dead_letters = LQ_DEAD_LETTERS_DROP;
    dropping.start = LQ_START_LATEST;
    OK(lq_group_create(topic, "dropping", &dropping, &group));
    OK(lq_group_dead_letter_topic(group, &name));
    CHECK(name == NULL);
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.lag_messages == 0 && stats.consumers == 0);
    OK(lq_group_close(group));
    OK(lq_group_create(topic, "plain", NULL, &group));
    OK(lq_group_dead_letter_topic(group, &name));
    CHECK(strcmp(name, "orders.plain.dlq") == 0);
    OK(lq_group_close(group));
}

/* What a consumer has in hand when it closes goes to another one, uncounted. */
static void closed_with_messages_in_hand(void)
{
    send_text(topic, NULL, "handed on");
    lq_batch *batch = receive(1);
    const lq_delivery *held = lq_batch_get(batch, 0);
    OK(lq_consumer_close(consumer));
    CHECK(same(held->payload, "handed on"));
    OK(lq_consumer_open(topic, "billing", NULL, &consumer));
    const char *name = NULL;
    OK(lq_consumer_name(consumer, &name));
    CHECK(strlen(name) > 0);
    lq_batch *next = receive(1);
    CHECK(lq_batch_get(next, 0)->attempt == 2);
    OK(lq_ack(consumer, &lq_batch_get(next, 0)->receipt, 1));
    OK(lq_batch_free(next));
    OK(lq_consumer_close(consumer));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    /* The batch outlives everything. */
    CHECK(same(held->payload, "handed on"));
    OK(lq_batch_free(batch));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(inside(argv[1], "settle"), NULL, &store));
    OK(lq_topic_open(store, "orders", NULL, &topic));
    lq_group_options group = LQ_GROUP_OPTIONS_INIT;
    group.max_attempts = 2;
    group.backoff_first_ms = 0;
    group.window = 512;
    group.dead_letters = LQ_DEAD_LETTERS_TOPIC;
    group.dead_letter_topic = "graveyard";
    lq_consumer_options options = LQ_CONSUMER_OPTIONS_INIT;
    options.group = &group;
    options.name = "worker one";
    OK(lq_consumer_open(topic, "billing", &options, &consumer));
    acks_and_stale_ones();
    handed_back();
    failed();
    configured();
    closed_with_messages_in_hand();
    return 0;
}
