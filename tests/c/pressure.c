/*
 * Topics with limits: DIR. Refusing, waiting, dropping, the pressure, and what is stored of it.
 */
#include "check.h"

static lq_store *store;
static lq_topic *topic;
static lq_consumer *consumer;

static lq_status offer(const char *text, int64_t timeout_ms)
{
    lq_message message = LQ_MESSAGE_INIT;
    lq_send_options options = LQ_SEND_OPTIONS_INIT;
    message.payload = lq_bytes_of(text);
    options.timeout_ms = timeout_ms;
    return lq_send_with(topic, &message, 1, &options, NULL);
}

static double pressure(void)
{
    double found = -1.0;
    OK(lq_topic_pressure(topic, &found));
    return found;
}

static void configure(int64_t messages, int32_t on_full)
{
    lq_topic_options changes = LQ_TOPIC_OPTIONS_INIT;
    changes.max_messages = messages;
    changes.on_full = on_full;
    OK(lq_topic_configure(topic, &changes));
}

static void stored(void)
{
    lq_topic_options changes = LQ_TOPIC_OPTIONS_INIT;
    lq_topic_options found = LQ_TOPIC_OPTIONS_INIT;
    OK(lq_topic_config(topic, &found));
    CHECK(found.max_messages == 0 && found.max_bytes == 0 && found.on_full == LQ_ON_FULL_REJECT);
    CHECK(found.low_mark == 50 && found.high_mark == 90 && found.send_timeout_ms == -1);
    changes.max_bytes = 1 << 20;
    changes.send_timeout_ms = 20;
    changes.low_mark = 10;
    changes.high_mark = 20;
    changes.min_free_bytes = 4096;
    changes.on_full = LQ_ON_FULL_THROTTLE;
    OK(lq_topic_configure(topic, &changes));
    OK(lq_topic_config(topic, &found));
    CHECK(found.max_bytes == 1 << 20 && found.send_timeout_ms == 20);
    CHECK(found.low_mark == 10 && found.high_mark == 20 && found.min_free_bytes == 4096);
    CHECK(found.on_full == LQ_ON_FULL_THROTTLE);
    /* What is read agrees with what is stored. */
    OK(lq_topic_configure(topic, &found));
    changes = (lq_topic_options)LQ_TOPIC_OPTIONS_INIT;
    changes.on_full = 5;
    INVALID(lq_topic_configure(topic, &changes));
    TELLS("LQ_ON_FULL_");
    changes = (lq_topic_options)LQ_TOPIC_OPTIONS_INIT;
    changes.max_messages = -2;
    INVALID(lq_topic_configure(topic, &changes));
    TELLS("max_messages is -2");
    changes = (lq_topic_options)LQ_TOPIC_OPTIONS_INIT;
    changes.max_bytes = 0;
    changes.min_free_bytes = 0;
    OK(lq_topic_configure(topic, &changes));
}

static void full(void)
{
    lq_message three[3] = {LQ_MESSAGE_INIT, LQ_MESSAGE_INIT, LQ_MESSAGE_INIT};
    configure(2, LQ_ON_FULL_REJECT);
    CHECK(lq_send(topic, three, 3, NULL) == LQ_TOO_LARGE);
    TELLS("max_messages, 2");
    OK(lq_send(topic, three, 2, NULL));
    CHECK(pressure() == 1.0);
    CHECK(lq_send(topic, three, 1, NULL) == LQ_FULL);
    TELLS("2 of max_messages 2");
    CHECK(offer("x", 0) == LQ_FULL);
    configure(2, LQ_ON_FULL_BLOCK);
    CHECK(offer("x", LQ_TIMEOUT_STORED) == LQ_TIMEOUT);
    TELLS("nothing was sent");
    CHECK(offer("x", 0) == LQ_TIMEOUT);
    INVALID(offer("x", -3));
    CHECK(lq_send_with(topic, three, 1, NULL, NULL) == LQ_TIMEOUT);
    lq_batch *batch = NULL;
    OK(lq_receive(consumer, 1, 0, &batch));
    CHECK(offer("x", 0) == LQ_TIMEOUT);
    OK(lq_ack(consumer, &lq_batch_get(batch, 0)->receipt, 1));
    OK(lq_batch_free(batch));
    CHECK(pressure() == 0.5);
    OK(offer("x", LQ_FOREVER));
    INVALID(lq_topic_pressure(topic, NULL));
    INVALID(lq_topic_pressure(NULL, NULL));
}

static void oldest(void)
{
    lq_group *group = NULL;
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    configure(2, LQ_ON_FULL_DROP_OLDEST);
    OK(offer("new", LQ_TIMEOUT_STORED));
    OK(lq_group_open(topic, "g", &group));
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.dropped == 1 && stats.lag_messages == 2);
    OK(lq_group_close(group));
}

int main(int count, char **arguments)
{
    CHECK(count == 2);
    OK(lq_store_open(arguments[1], NULL, &store));
    OK(lq_topic_open(store, "orders", NULL, &topic));
    OK(lq_consumer_open(topic, "g", NULL, &consumer));
    stored();
    full();
    oldest();
    OK(lq_consumer_close(consumer));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
