/*
 * Dead letters: DIR. Their story, redriving all, some and with a filter, a rate, progress; purging.
 */
#include "check.h"

static lq_store *store;
static lq_topic *topic;
static lq_group *group;
static lq_consumer *consumer;

/* Sends one message with a key, and gives up on it. */
static void bury(const char *payload, const char *key, const char *reason)
{
    lq_message m = LQ_MESSAGE_INIT;
    lq_batch *batch = NULL;
    m.payload = lq_bytes_of(payload);
    m.key = lq_bytes_of(key);
    OK(lq_send(topic, &m, 1, NULL));
    OK(lq_receive(consumer, 1, 1000, &batch));
    OK(lq_dead_letter(consumer, &lq_batch_get(batch, 0)->receipt, 1, reason));
    OK(lq_batch_free(batch));
}

/* How many dead letters there are; the id of the one at i goes to id. */
static size_t letters(size_t i, lq_message_id *id)
{
    lq_dead_letters *list = NULL;
    OK(lq_group_dead_letters(group, 100, &list));
    size_t len = lq_dead_letters_len(list);
    if (id != NULL) {
        *id = lq_dead_letters_get(list, i)->message.id;
    }
    OK(lq_dead_letters_free(list));
    return len;
}

/* Receives one message with this payload, and its lq-cycles. */
static void expect(const char *payload, const char *cycles, const char *again)
{
    lq_batch *batch = NULL;
    OK(lq_receive(consumer, 1, 1000, &batch));
    const lq_delivery *d = lq_batch_get(batch, 0);
    CHECK(same(d->payload, payload));
    const lq_header *last = &d->headers[d->headers_len - 1];
    CHECK(same(last->name, "lq-cycles") && same(last->value, cycles));
    if (again != NULL) {
        OK(lq_dead_letter(consumer, &d->receipt, 1, again));
    } else {
        OK(lq_ack(consumer, &d->receipt, 1));
    }
    OK(lq_batch_free(batch));
}

static int32_t stop_at(uint64_t done, uint64_t of, void *context)
{
    uint64_t *told = context;
    told[0] = done;
    told[1] = of;
    return done < told[2];
}

static void stories(void)
{
    lq_dead_letters *list = NULL;
    bury("0", "a", "no such account");
    OK(lq_group_dead_letters(group, 100, &list));
    const lq_dead_letter_entry *one = lq_dead_letters_get(list, 0);
    CHECK(strcmp(one->source_topic, "orders") == 0 && one->cycles == 0);
    CHECK(one->source_id.offset == 0 && one->source_id.topic_id != one->message.id.topic_id);
    CHECK(one->first_failed_ns > 0 && one->last_failed_ns >= one->first_failed_ns);
    OK(lq_dead_letters_free(list));
}

static void redriving(void)
{
    uint64_t count = 9;
    OK(lq_group_redrive(group, NULL, NULL, &count));
    CHECK(count == 1 && letters(0, NULL) == 0);
    expect("0", "0", "no such account still");
    lq_message_id ids[2];
    CHECK(letters(0, &ids[0]) == 1);
    ids[1] = ids[0];
    ids[1].offset += 40;
    lq_redrive_options options = LQ_REDRIVE_OPTIONS_INIT;
    options.ids = ids;
    options.ids_len = 2;
    lq_status results[2] = {77, 77};
    count = 9;
    CHECK(lq_group_redrive(group, &options, results, &count) == LQ_NOT_FOUND);
    CHECK(results[0] == LQ_OK && results[1] == LQ_NOT_FOUND && count == 9);
    TELLS("1 others were redriven");
    expect("0", "1", NULL);
    OK(lq_group_redrive(group, NULL, NULL, NULL));
}

static void choosing(void)
{
    lq_redrive_options options = LQ_REDRIVE_OPTIONS_INIT;
    uint64_t count = 0;
    uint64_t told[3] = {0, 0, 1};
    bury("1", "a", "timeout of the bank");
    bury("2", "b", "no such account");
    bury("3", "b", "timeout of the bank");
    options.error_contains = "timeout";
    options.key = lq_bytes_of("b");
    OK(lq_group_redrive(group, &options, NULL, &count));
    CHECK(count == 1);
    expect("3", "0", NULL);
    options = (lq_redrive_options)LQ_REDRIVE_OPTIONS_INIT;
    options.source_partition = 7;
    OK(lq_group_redrive(group, &options, NULL, &count));
    CHECK(count == 0);
    options.source_partition = 0;
    options.failed_until_ns = 1;
    OK(lq_group_redrive(group, &options, NULL, &count));
    CHECK(count == 0);
    options.failed_until_ns = 0;
    options.failed_since_ns = 1;
    options.rate = 1000.0;
    options.limit = 1;
    options.progress = stop_at;
    options.context = told;
    OK(lq_group_redrive(group, &options, NULL, &count));
    CHECK(count == 1 && told[0] == 1 && told[1] == 1);
    expect("1", "0", NULL);

    options.source_partition = -2;
    INVALID(lq_group_redrive(group, &options, NULL, &count));
    options.source_partition = -1;
    options.rate = -1.0;
    INVALID(lq_group_redrive(group, &options, NULL, &count));
    options.rate = 0.0;
    options.ids_len = 1;
    INVALID(lq_group_redrive(group, &options, NULL, &count));
    INVALID(lq_group_redrive(NULL, NULL, NULL, &count));
}

static void purging(void)
{
    lq_message_id id;
    uint64_t count = 0;
    lq_status result = 77;
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    CHECK(letters(0, &id) == 1);
    OK(lq_group_purge_dead_letters(group, &id, 1, &result, &count));
    CHECK(count == 1 && result == LQ_OK && letters(0, NULL) == 0);
    CHECK(lq_group_purge_dead_letters(group, &id, 1, &result, &count) == LQ_NOT_FOUND);
    CHECK(result == LQ_NOT_FOUND);
    bury("4", "a", "hopeless");
    OK(lq_group_purge_dead_letters(group, NULL, 0, NULL, &count));
    CHECK(count == 1);
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.redriven == 4 && stats.purged == 2 && stats.lag_messages == 0);
    INVALID(lq_group_purge_dead_letters(NULL, NULL, 0, NULL, &count));
    INVALID(lq_group_purge_dead_letters(group, NULL, 1, NULL, &count));
}

/* A group that is made again under the name of a deleted one has none of its letters. */
static void made_again(void)
{
    uint64_t count = 9;
    bury("5", "a", "hopeless");
    CHECK(letters(0, NULL) == 1);
    OK(lq_group_delete(group));
    OK(lq_consumer_close(consumer));
    OK(lq_group_close(group));
    OK(lq_group_create(topic, "g", NULL, &group));
    OK(lq_consumer_open(topic, "g", NULL, &consumer));
    CHECK(letters(0, NULL) == 0);
    OK(lq_group_redrive(group, NULL, NULL, &count));
    CHECK(count == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(inside(argv[1], "store"), NULL, &store));
    OK(lq_topic_open(store, "orders", NULL, &topic));
    OK(lq_consumer_open(topic, "g", NULL, &consumer));
    OK(lq_group_open(topic, "g", &group));
    stories();
    redriving();
    choosing();
    purging();
    made_again();
    OK(lq_consumer_close(consumer));
    OK(lq_group_close(group));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
