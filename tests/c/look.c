/*
 * Looking: DIR. Readers, statistics, names, durability, versions; forks, and closing a consumer
 * that waits.
 */
#define _DEFAULT_SOURCE
#include "check.h"

#include <pthread.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static lq_store *store;
static lq_topic *topic;

static void versions(void)
{
    CHECK(lq_abi_version() == LQ_ABI_VERSION);
    int dots = 0;
    for (const char *at = lq_version(); *at != '\0'; at++) {
        dots += *at == '.';
    }
    CHECK(dots == 2);
    CHECK(strcmp(lq_status_name(LQ_OK), "LQ_OK") == 0);
    CHECK(strcmp(lq_status_name(LQ_INTERNAL), "LQ_INTERNAL") == 0);
    CHECK(strcmp(lq_status_name(-1), "LQ_UNKNOWN") == 0);
}

static void sending(void)
{
    lq_message many[4] = {LQ_MESSAGE_INIT, LQ_MESSAGE_INIT, LQ_MESSAGE_INIT, LQ_MESSAGE_INIT};
    lq_message_id ids[4];
    lq_header header = {lq_bytes_of("trace"), lq_bytes_of("42")};
    const uint8_t nothing = 0;
    many[0].payload = lq_bytes_of("first");
    many[0].timestamp_ns = 1000;
    many[1].payload = lq_bytes_of("second");
    many[1].headers = &header;
    many[1].headers_len = 1;
    many[2].key.data = &nothing;
    for (int i = 0; i < 4; i++) {
        many[i].partition = i < 3 ? 0 : 1;
    }
    OK(lq_send(topic, many, 4, ids));
    for (int i = 0; i < 3; i++) {
        CHECK(ids[i].partition == 0 && ids[i].offset == (uint64_t)i && ids[i].reserved == 0);
        CHECK(ids[i].topic_id == ids[3].topic_id);
    }
    CHECK(ids[3].partition == 1 && ids[3].offset == 0);
    OK(lq_topic_sync(topic));
    OK(lq_topic_wait_durable(topic, &ids[3], 0));
    uint64_t durable[2] = {0, 0};
    INVALID(lq_topic_durable_offsets(topic, durable, 1));
    TELLS("2");
    OK(lq_topic_durable_offsets(topic, durable, 2));
    CHECK(durable[0] == 3 && durable[1] == 1);
    OK(lq_store_sync(store));
}

static void reading(void)
{
    const uint32_t first = 0;
    lq_reader_options options = LQ_READER_OPTIONS_INIT;
    options.partitions = &first;
    options.partitions_len = 1;
    options.start = LQ_START_OFFSET;
    options.start_at = 1;
    lq_reader *reader = NULL;
    OK(lq_reader_open(topic, &options, &reader));
    lq_batch *batch = NULL;
    OK(lq_reader_receive(reader, 10, LQ_FOREVER, &batch));
    CHECK(lq_batch_len(batch) == 2);
    const lq_delivery *second = lq_batch_get(batch, 0);
    CHECK(same(second->payload, "second") && second->key.data == NULL && second->offset == 1);
    CHECK(second->headers_len == 1 && same(second->headers[0].name, "trace"));
    CHECK(same(second->headers[0].value, "42"));
    const lq_delivery *third = lq_batch_get(batch, 1);
    CHECK(third->key.data != NULL && third->key.len == 0 && third->payload.len == 0);
    OK(lq_batch_free(batch));
    batch = NULL;
    GIVES(LQ_TIMEOUT, lq_reader_receive(reader, 10, 0, &batch));
    CHECK(batch == NULL);
    OK(lq_reader_seek(reader, LQ_START_EARLIEST, 0));
    OK(lq_reader_receive(reader, 1, 0, &batch));
    CHECK(lq_batch_get(batch, 0)->timestamp_ns == 1000);
    OK(lq_batch_free(batch));
    OK(lq_reader_seek(reader, LQ_START_TIME, 1001));
    OK(lq_reader_receive(reader, 1, 0, &batch));
    CHECK(same(lq_batch_get(batch, 0)->payload, "second"));
    OK(lq_batch_free(batch));
    OK(lq_reader_seek(reader, LQ_START_LATEST, 0));
    GIVES(LQ_TIMEOUT, lq_reader_receive(reader, 1, 0, &batch));
    OK(lq_reader_close(reader));

    OK(lq_reader_open(topic, NULL, &reader));
    INVALID(lq_reader_seek(reader, LQ_START_OFFSET, 0));
    OK(lq_reader_close(reader));
}

static void counting(const char *path)
{
    lq_store_stats of_store = LQ_STORE_STATS_INIT;
    OK(lq_store_get_stats(store, &of_store));
    CHECK(of_store.topics == 1 && of_store.members == 1 && of_store.disk_bytes > 0);
    lq_topic_stats of_topic = LQ_TOPIC_STATS_INIT;
    OK(lq_topic_get_stats(topic, &of_topic));
    CHECK(of_topic.messages == 4 && of_topic.bytes > 0);
    lq_partition_stats of_partition = LQ_PARTITION_STATS_INIT;
    OK(lq_topic_get_partition_stats(topic, 0, &of_partition));
    CHECK(of_partition.earliest_offset == 0 && of_partition.next_offset == 3);
    CHECK(of_partition.durable_offset == 3);
    INVALID(lq_topic_get_partition_stats(topic, 2, &of_partition));

    lq_topic_options config = LQ_TOPIC_OPTIONS_INIT;
    OK(lq_topic_config(topic, &config));
    CHECK(config.partitions == 2 && config.durability == LQ_DURABILITY_INTERVAL);
    CHECK(config.sync_interval_ms == 20 && config.max_message_bytes == 1000);
    lq_topic *again = NULL;
    OK(lq_topic_open(store, "orders", &config, &again));
    uint32_t partitions = 0;
    OK(lq_topic_partitions(again, &partitions));
    CHECK(partitions == 2);
    const char *text = NULL;
    OK(lq_topic_name(again, &text));
    CHECK(strcmp(text, "orders") == 0);
    OK(lq_topic_close(again));

    OK(lq_store_path(store, &text));
    CHECK(text[0] == '/' && strstr(path, strrchr(text, '/')) != NULL);
    const char *id = NULL;
    const char *same_id = NULL;
    OK(lq_store_id(store, &id));
    OK(lq_store_id(store, &same_id));
    CHECK(strlen(id) > 8 && id == same_id);
    lq_names *names = NULL;
    OK(lq_store_topics(store, &names));
    CHECK(lq_names_len(names) == 1 && strcmp(lq_names_get(names, 0), "orders") == 0);
    CHECK(lq_names_get(names, 1) == NULL);
    OK(lq_names_free(names));
    CHECK(lq_names_len(names) == 0);
}

/* All messages of a partition that are there. */
static lq_batch *look(lq_topic *in)
{
    const uint32_t partition = 1;
    lq_reader_options options = LQ_READER_OPTIONS_INIT;
    lq_reader *reader = NULL;
    lq_batch *batch = NULL;
    options.partitions = &partition;
    options.partitions_len = 1;
    OK(lq_reader_open(in, &options, &reader));
    OK(lq_reader_receive(reader, 100, 0, &batch));
    OK(lq_reader_close(reader));
    return batch;
}

/* Batches from before the fork are the child's, too, each process's in a copy of its own. */
static void batches_of_a_child(lq_batch *open, lq_batch *freed)
{
    CHECK(lq_batch_len(open) == 1 && lq_batch_get(open, 0)->partition == 1);
    CHECK(lq_batch_get(freed, 0) == NULL);
    GIVES(LQ_INVALID_ARGUMENT, lq_batch_free(freed));
    OK(lq_batch_free(open));
    CHECK(lq_batch_len(open) == 0);
}

/* The child joins the store anew; what the parent had opened from it is not the child's. */
static void forking(void)
{
    lq_batch *open = look(topic);
    lq_batch *freed = look(topic);
    OK(lq_batch_free(freed));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        batches_of_a_child(open, freed);
        lq_message message = LQ_MESSAGE_INIT;
        GIVES(LQ_FORKED, lq_send(topic, &message, 1, NULL));
        lq_topic *mine = NULL;
        OK(lq_topic_open(store, "orders", NULL, &mine));
        message.payload = lq_bytes_of("from the child");
        message.partition = 1;
        OK(lq_send(mine, &message, 1, NULL));
        lq_batch *read = look(mine);
        CHECK(read != open && read != freed && lq_batch_len(read) == 2);
        OK(lq_batch_free(read));
        OK(lq_topic_close(mine));
        OK(lq_topic_close(topic));
        OK(lq_store_close(store));
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(lq_batch_len(open) == 1 && lq_batch_get(open, 0)->partition == 1);
    OK(lq_batch_free(open));
    GIVES(LQ_INVALID_ARGUMENT, lq_batch_free(open));
    lq_partition_stats stats = LQ_PARTITION_STATS_INIT;
    OK(lq_topic_get_partition_stats(topic, 1, &stats));
    CHECK(stats.next_offset == 2);
}

struct waiter {
    lq_consumer *consumer;
    lq_status status;
};

static void *wait_for_ever(void *of)
{
    struct waiter *waiter = of;
    lq_batch *batch = NULL;
    while ((waiter->status = lq_receive(waiter->consumer, 1, LQ_FOREVER, &batch)) == LQ_OK) {
        lq_batch_free(batch);
    }
    return NULL;
}

/* Closing a consumer ends the wait of a thread that is in it, whenever that begins. */
static void closing_while_waiting(void)
{
    struct waiter waiter = {NULL, LQ_OK};
    lq_consumer_options options = LQ_CONSUMER_OPTIONS_INIT;
    lq_group_options group = LQ_GROUP_OPTIONS_INIT;
    group.start = LQ_START_LATEST;
    options.group = &group;
    OK(lq_consumer_open(topic, "waiting", &options, &waiter.consumer));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_for_ever, &waiter) == 0);
    OK(lq_consumer_close(waiter.consumer));
    CHECK(pthread_join(thread, NULL) == 0);
    /* Closed while it waited, or before it began. */
    CHECK(waiter.status == LQ_CLOSED || waiter.status == LQ_INVALID_ARGUMENT);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *path = inside(argv[1], "look");
    lq_store_options store_options = LQ_STORE_OPTIONS_INIT;
    store_options.durability = LQ_DURABILITY_SYNC;
    store_options.lock_timeout_ms = 5000;
    lq_topic_options options = LQ_TOPIC_OPTIONS_INIT;
    options.partitions = 2;
    options.durability = LQ_DURABILITY_INTERVAL;
    options.sync_interval_ms = 20;
    options.max_message_bytes = 1000;
    versions();
    OK(lq_store_open(path, &store_options, &store));
    OK(lq_topic_create(store, "orders", &options, &topic));
    sending();
    reading();
    counting(path);
    forking();
    closing_while_waiting();
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
