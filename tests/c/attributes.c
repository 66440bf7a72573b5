/* What a message says of its delivery: DIR. Delays, times to live, priorities, one at a time. */
#include "check.h"

static lq_store *store;
static lq_topic *topic;

static lq_consumer *consumer_of(const char *group, int32_t ordering, int32_t on_expired)
{
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    options.ordering = ordering;
    options.on_expired = on_expired;
    lq_consumer_options with = LQ_CONSUMER_OPTIONS_INIT;
    with.group = &options;
    lq_consumer *consumer = NULL;
    OK(lq_consumer_open(topic, group, &with, &consumer));
    return consumer;
}

static void send(lq_message message, const char *text)
{
    message.payload = lq_bytes_of(text);
    OK(lq_send(topic, &message, 1, NULL));
}

/* The next one is this, and is acknowledged. */
static void comes(lq_consumer *consumer, const char *text)
{
    lq_batch *batch = NULL;
    OK(lq_receive(consumer, 1, 10000, &batch));
    const lq_delivery *one = lq_batch_get(batch, 0);
    CHECK(same(one->payload, text));
    OK(lq_ack(consumer, &one->receipt, 1));
    OK(lq_batch_free(batch));
}

static void nothing_comes(lq_consumer *consumer)
{
    lq_batch *batch = NULL;
    GIVES(LQ_TIMEOUT, lq_receive(consumer, 1, 0, &batch));
}

static void times_and_priorities(void)
{
    lq_consumer *consumer = consumer_of("g", LQ_ORDERING_DEFAULT, LQ_ON_EXPIRED_DEAD_LETTER);
    lq_message plain = LQ_MESSAGE_INIT, later = plain, never = plain, late = plain, urgent = plain;
    later.delay_ms = 300;
    never.deliver_at_ns = INT64_MAX;
    late.ttl_ms = 1;
    late.delay_ms = 2;
    urgent.priority = 9;
    send(never, "never");
    send(late, "late");
    send(plain, "plain");
    send(urgent, "urgent");
    send(later, "later");
    comes(consumer, "urgent");
    comes(consumer, "plain");
    comes(consumer, "later");
    nothing_comes(consumer);
    lq_group *group = NULL;
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    OK(lq_group_open(topic, "g", &group));
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.expired == 1 && stats.timed_out == 0);
    CHECK(stats.delayed == 1 && stats.lag_messages == 1);
    CHECK(stats.dead_lettered == 1);
    OK(lq_group_close(group));
    OK(lq_consumer_close(consumer));
}

static void one_at_a_time(void)
{
    lq_consumer *consumer = consumer_of("in-order", LQ_ORDERING_PARTITION, LQ_ON_EXPIRED_DEFAULT);
    lq_batch *batch = NULL;
    OK(lq_receive(consumer, 10, 10000, &batch));
    CHECK(lq_batch_len(batch) == 1);
    nothing_comes(consumer);
    OK(lq_batch_free(batch));
    OK(lq_consumer_close(consumer));
}

static void nonsense(void)
{
    lq_message bad = LQ_MESSAGE_INIT;
    bad.priority = 10;
    INVALID(lq_send(topic, &bad, 1, NULL));
    TELLS("0 to 9");
    bad.priority = -1;
    INVALID(lq_send(topic, &bad, 1, NULL));
    bad.priority = 0;
    bad.delay_ms = -5;
    INVALID(lq_send(topic, &bad, 1, NULL));
    TELLS("delay_ms");
    bad.delay_ms = 5;
    bad.deliver_at_ns = 5;
    INVALID(lq_send(topic, &bad, 1, NULL));
    bad.delay_ms = 0;
    bad.deliver_at_ns = 0;
    bad.ttl_ms = -1;
    INVALID(lq_send(topic, &bad, 1, NULL));
    TELLS("ttl_ms");
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(inside(argv[1], "store"), NULL, &store));
    OK(lq_topic_open(store, "t", NULL, &topic));
    times_and_priorities();
    one_at_a_time();
    nonsense();
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
