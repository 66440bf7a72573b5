/*
 * Filters of groups: DIR. Creating with one, what is handed out and what is counted, changing it
 * and taking it off, contradictions, and filters that are none.
 */
#include "check.h"

#define EUROPE "{\"key_prefix\":\"eu-\",\"headers\":{\"test\":false}}"

static lq_store *store;
static lq_topic *topic;
static lq_group *group;

static void send(const char *payload, const char *key, int test)
{
    const lq_header header = {lq_bytes_of("test"), lq_bytes_of("1")};
    lq_message message = LQ_MESSAGE_INIT;
    message.payload = lq_bytes_of(payload);
    message.key = lq_bytes_of(key);
    if (test) {
        message.headers = &header;
        message.headers_len = 1;
    }
    OK(lq_send(topic, &message, 1, NULL));
}

/* Receives one message and acknowledges it; NULL for none. */
static void expect(lq_consumer *consumer, const char *payload)
{
    lq_batch *batch = NULL;
    lq_status status = lq_receive(consumer, 10, 0, &batch);
    CHECK(status == (payload ? LQ_OK : LQ_TIMEOUT));
    if (payload) {
        CHECK(lq_batch_len(batch) == 1);
        const lq_delivery *one = lq_batch_get(batch, 0);
        CHECK(same(one->payload, payload));
        OK(lq_ack(consumer, &one->receipt, 1));
        OK(lq_batch_free(batch));
    }
}

static uint64_t filtered(void)
{
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.lag_messages == 0);
    return stats.filtered;
}

static void taking(lq_consumer *consumer)
{
    lq_group_options stored = LQ_GROUP_OPTIONS_INIT;
    OK(lq_group_config(group, &stored));
    CHECK(strcmp(stored.filter, EUROPE) == 0);
    send("one", "us-1", 0);
    send("two", "eu-1", 1);
    send("three", "eu-1", 0);
    expect(consumer, "three");
    expect(consumer, NULL);
    CHECK(filtered() == 2);
}

static void changing(lq_consumer *consumer)
{
    lq_group_options changes = LQ_GROUP_OPTIONS_INIT;
    lq_group_options before = LQ_GROUP_OPTIONS_INIT;
    lq_group_options after = LQ_GROUP_OPTIONS_INIT;
    OK(lq_group_config(group, &before));
    changes.filter = "{\"key\": {\"base64\": \"dXMtMQ==\"}}";
    OK(lq_group_configure(group, &changes));
    OK(lq_group_config(group, &after));
    CHECK(strcmp(after.filter, "{\"key\":\"us-1\"}") == 0);
    CHECK(strcmp(before.filter, EUROPE) == 0);
    send("four", "us-1", 1);
    send("five", "eu-1", 0);
    expect(consumer, "four");
    expect(consumer, NULL);
    CHECK(filtered() == 3);
    /* Another change leaves it, the empty text takes it off. */
    changes.filter = NULL;
    changes.lease_ms = 60000;
    OK(lq_group_configure(group, &changes));
    OK(lq_group_config(group, &after));
    CHECK(after.filter != NULL && after.lease_ms == 60000);
    changes.filter = "";
    OK(lq_group_configure(group, &changes));
    OK(lq_group_config(group, &after));
    CHECK(after.filter == NULL);
    send("six", "eu-1", 1);
    expect(consumer, "six");
    CHECK(filtered() == 3);
}

static void refusing(void)
{
    lq_group *other = NULL;
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    options.filter = EUROPE;
    GIVES(LQ_CONFIG_MISMATCH, lq_group_create(topic, "g", &options, &other));
    TELLS("configure");
    static const struct {
        const char *text, *told;
    } wrong[] = {
        {"{", "at byte 1"},
        {"{\"keys\": \"a\"}", "filter.keys"},
        {"{\"any\": [{\"key\": 1}]}", "filter.any[0].key is a number"},
        {"\xff", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        options.filter = wrong[i].text;
        GIVES(LQ_INVALID_FILTER, lq_group_create(topic, "never", &options, &other));
        TELLS(wrong[i].told);
        GIVES(LQ_INVALID_FILTER, lq_group_configure(group, &options));
    }
    GIVES(LQ_NOT_FOUND, lq_group_open(topic, "never", &other));
    CHECK(other == NULL);
    CHECK(strcmp(lq_status_name(LQ_INVALID_FILTER), "LQ_INVALID_FILTER") == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(inside(argv[1], "filter"), NULL, &store));
    OK(lq_topic_open(store, "orders", NULL, &topic));
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    options.filter = EUROPE;
    OK(lq_group_create(topic, "g", &options, &group));
    lq_consumer *consumer = NULL;
    OK(lq_consumer_open(topic, "g", NULL, &consumer));
    taking(consumer);
    changing(consumer);
    refusing();
    OK(lq_consumer_close(consumer));
    OK(lq_group_close(group));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
