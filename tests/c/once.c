/* A group that hands out at most once (P7), from C: once DIR. */
#include "check.h"

static lq_consumer *consumer_of(lq_topic *topic, const lq_group_options *group)
{
    lq_consumer_options with = LQ_CONSUMER_OPTIONS_INIT;
    lq_consumer *consumer = NULL;
    with.group = group;
    OK(lq_consumer_open(topic, "alarms", &with, &consumer));
    return consumer;
}

/* P7: what is about leases and failures contradicts it, and is named. */
static void no_leases(lq_topic *topic)
{
    lq_consumer_options with = LQ_CONSUMER_OPTIONS_INIT;
    lq_consumer *consumer = NULL;
    lq_group_options group = LQ_GROUP_OPTIONS_INIT;
    with.group = &group;
#define REFUSED(option, value, named)                                                              \
    do {                                                                                           \
        const lq_group_options init = LQ_GROUP_OPTIONS_INIT;                                       \
        group = init;                                                                              \
        group.delivery = LQ_DELIVERY_AT_MOST_ONCE;                                                 \
        group.option = value;                                                                      \
        INVALID(lq_consumer_open(topic, "alarms", &with, &consumer));                              \
        TELLS(named);                                                                              \
    } while (0)
    REFUSED(lease_ms, 1000, "lease");
    REFUSED(max_lease_ms, 1000, "max_lease");
    REFUSED(max_attempts, 3, "max_attempts");
    REFUSED(backoff_first_ms, 5, "backoff");
    REFUSED(delivery, 3, "LQ_DELIVERY_");
    REFUSED(delivery, -1, "LQ_DELIVERY_");
}

/* P7: settled before it comes; afterwards ack does nothing, nack counts, the rest has no sense. */
static void settled_before(lq_topic *topic, const lq_group_options *once)
{
    lq_consumer *consumer = consumer_of(topic, once);
    lq_batch *batch = NULL;
    lq_group *group = NULL;
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    lq_receipt receipts[2];
    send_text(topic, "k", "one");
    send_text(topic, "k", "two");
    for (int i = 0; i < 2; i++) {
        /* A key is free once its message was handed over. */
        OK(lq_receive(consumer, 9, 0, &batch));
        CHECK(lq_batch_len(batch) == 1);
        const lq_delivery *one = lq_batch_get(batch, 0);
        CHECK(same(one->payload, i == 0 ? "one" : "two") && one->deadline_ns == INT64_MAX);
        receipts[i] = one->receipt;
        OK(lq_batch_free(batch));
        batch = NULL;
    }
    GIVES(LQ_TIMEOUT, lq_receive(consumer, 9, 0, &batch));
    OK(lq_ack(consumer, receipts, 2));
    OK(lq_nack(consumer, receipts, 1, 0, "no use"));
    INVALID(lq_release(consumer, receipts, 1));
    TELLS("settled before");
    INVALID(lq_extend(consumer, receipts, 1, 1000));
    INVALID(lq_dead_letter(consumer, receipts, 1, NULL));
    GIVES(LQ_TIMEOUT, lq_receive(consumer, 9, 0, &batch));
    OK(lq_group_open(topic, "alarms", &group));
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.acked == 2 && stats.failed == 1 && stats.lag_messages == 0 && stats.leased == 0);
    lq_receive_options ask = LQ_RECEIVE_OPTIONS_INIT;
    ask.lease_ms = 1000;
    INVALID(lq_receive_with(consumer, &ask, &batch));
    TELLS("lease");
    OK(lq_group_close(group));
    OK(lq_consumer_close(consumer));
}

/* What is stored opens the group again, and is never changed. */
static void stored(lq_topic *topic)
{
    lq_group *group = NULL;
    lq_group_options config = LQ_GROUP_OPTIONS_INIT, changes = config;
    OK(lq_group_open(topic, "alarms", &group));
    OK(lq_group_config(group, &config));
    CHECK(config.delivery == LQ_DELIVERY_AT_MOST_ONCE && config.lease_ms == 0);
    OK(lq_consumer_close(consumer_of(topic, &config)));
    changes.delivery = LQ_DELIVERY_AT_LEAST_ONCE;
    INVALID(lq_group_configure(group, &changes));
    TELLS("another group");
    lq_consumer_options with = LQ_CONSUMER_OPTIONS_INIT;
    lq_consumer *consumer = NULL;
    with.group = &changes;
    GIVES(LQ_CONFIG_MISMATCH, lq_consumer_open(topic, "alarms", &with, &consumer));
    OK(lq_group_close(group));
}

int main(int argc, char **argv)
{
    lq_store *store = NULL;
    lq_topic *topic = NULL;
    lq_store_options sync = LQ_STORE_OPTIONS_INIT;
    lq_group_options once = LQ_GROUP_OPTIONS_INIT;
    CHECK(argc == 2);
    sync.durability = LQ_DURABILITY_SYNC;
    OK(lq_store_open(inside(argv[1], "store"), &sync, &store));
    OK(lq_topic_open(store, "t", NULL, &topic));
    once.delivery = LQ_DELIVERY_AT_MOST_ONCE;
    no_leases(topic);
    settled_before(topic, &once);
    stored(topic);
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
