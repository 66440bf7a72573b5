/*
 * Bad input: DIR. Each gives its own status and message; none ends the process or harms the store.
 */
#define _DEFAULT_SOURCE
#include "check.h"

#include <sys/stat.h>
#include <unistd.h>

static lq_store *store;
static lq_topic *topic;
static lq_consumer *consumer;

static void write_file(const char *path)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs("no store\n", file) >= 0 && fclose(file) == 0);
}

static void paths(const char *dir)
{
    lq_store *none = NULL;
    INVALID(lq_store_open(NULL, NULL, &none));
    INVALID(lq_store_open(dir, NULL, NULL));

    const char *file = inside(dir, "file");
    write_file(file);
    GIVES(LQ_NOT_A_STORE, lq_store_open(file, NULL, &none));
    TELLS(file);

    const char *folder = inside(dir, "folder");
    CHECK(mkdir(folder, 0777) == 0);
    write_file(inside(folder, "letter.txt"));
    GIVES(LQ_NOT_A_STORE, lq_store_open(folder, NULL, &none));
    TELLS(folder);
    CHECK(access(inside(folder, "letter.txt"), F_OK) == 0);

    lq_store_options options = LQ_STORE_OPTIONS_INIT;
    options.create = 0;
    const char *missing = inside(dir, "missing");
    GIVES(LQ_NOT_FOUND, lq_store_open(missing, &options, &none));
    TELLS(missing);
    CHECK(access(missing, F_OK) != 0);
    options.read_only = 1;
    GIVES(LQ_NOT_FOUND, lq_store_open(missing, &options, &none));

    if (geteuid() != 0) {
        const char *closed = inside(dir, "closed");
        CHECK(mkdir(closed, 0500) == 0);
        GIVES(LQ_PERMISSION_DENIED, lq_store_open(inside(closed, "store"), NULL, &none));
        CHECK(lq_last_error_os_code() == 13);
    }
    CHECK(none == NULL);
}

static void store_numbers(const char *dir)
{
    lq_store *none = NULL;
    const char *path = inside(dir, "never");
    const lq_store_options init = LQ_STORE_OPTIONS_INIT;
    lq_store_options options = init;
    options.size = 0;
    INVALID(lq_store_open(path, &options, &none));
    TELLS("lq_store_options");
    options.size = sizeof options - 1;
    INVALID(lq_store_open(path, &options, &none));
    options.size = (size_t)-1;
    INVALID(lq_store_open(path, &options, &none));
    options = init;
    options.create = 2;
    INVALID(lq_store_open(path, &options, &none));
    TELLS("create");
    options = init;
    options.durability = 4;
    INVALID(lq_store_open(path, &options, &none));
    TELLS("durability");
    options = init;
    options.sync_interval_ms = 5;
    INVALID(lq_store_open(path, &options, &none));
    TELLS("sync_interval_ms");
    options = init;
    options.mode = 0070;
    INVALID(lq_store_open(path, &options, &none));
    TELLS("mode");
    options = init;
    options.lock_timeout_ms = -5;
    INVALID(lq_store_open(path, &options, &none));
    TELLS("lock_timeout_ms");
    INVALID(lq_store_open(path, (const lq_store_options *)((const char *)&init + 1), &none));
    CHECK(none == NULL && access(path, F_OK) != 0);
}

static void names(void)
{
    lq_topic *none = NULL;
    char longest[300];
    memset(longest, 'x', sizeof longest);
    longest[250] = '\0';
    const char *const wrong[] = {"", ".", "..", "a/b", "a b", "\xc3\xa9", longest};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        GIVES(LQ_INVALID_NAME, lq_topic_open(store, wrong[i], NULL, &none));
        lq_consumer *nobody = NULL;
        GIVES(LQ_INVALID_NAME, lq_consumer_open(topic, wrong[i], NULL, &nobody));
        CHECK(nobody == NULL);
    }
    GIVES(LQ_INVALID_NAME, lq_topic_open(store, "\xff\xfe", NULL, &none));
    INVALID(lq_topic_open(store, NULL, NULL, &none));
    GIVES(LQ_NOT_FOUND, lq_topic_open_existing(store, "nowhere", &none));
    TELLS("nowhere");
    GIVES(LQ_ALREADY_EXISTS, lq_topic_create(store, "orders", NULL, &none));
    lq_group *nobody = NULL;
    GIVES(LQ_NOT_FOUND, lq_group_open(topic, "nobody", &nobody));
    CHECK(none == NULL && nobody == NULL);
}

static void topic_numbers(void)
{
    lq_topic *none = NULL;
    lq_topic_options options = LQ_TOPIC_OPTIONS_INIT;
    options.partitions = 1025;
    INVALID(lq_topic_open(store, "many", &options, &none));
    TELLS("1024");
    options.partitions = 3;
    GIVES(LQ_CONFIG_MISMATCH, lq_topic_open(store, "orders", &options, &none));
    TELLS("partitions");
    CHECK(none == NULL);

    struct {
        lq_topic_options known;
        uint64_t added;
    } newer = {LQ_TOPIC_OPTIONS_INIT, 0};
    newer.known.size = sizeof newer;
    OK(lq_topic_open(store, "orders", &newer.known, &none));
    OK(lq_topic_close(none));
    none = NULL;
    newer.added = 1;
    GIVES(LQ_UNSUPPORTED, lq_topic_open(store, "orders", &newer.known, &none));
    CHECK(none == NULL);
}

static void group_numbers(void)
{
    const lq_group_options init = LQ_GROUP_OPTIONS_INIT;
    lq_group *none = NULL;
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        lq_group_options options = init;                                                           \
        options.field = value;                                                                     \
        INVALID(lq_group_create(topic, "never", &options, &none));                                 \
        CHECK(none == NULL);                                                                       \
    } while (0)
    REFUSED(size, 8);
    REFUSED(ordering, 4);
    REFUSED(ordering, -1);
    REFUSED(max_attempts, 60001);
    REFUSED(lease_ms, -1);
    REFUSED(backoff_first_ms, -2);
    REFUSED(backoff_longest_ms, 1);
    REFUSED(backoff_factor, 0.5);
    REFUSED(dead_letters, 4);
    REFUSED(on_expired, 3);
    REFUSED(dead_letters, LQ_DEAD_LETTERS_TOPIC);
    REFUSED(dead_letter_topic, "name without the number");
    REFUSED(start, 5);
    REFUSED(start_at, 1);
    REFUSED(window, 255);
#undef REFUSED
    lq_group_options options = init;
    options.start = LQ_START_OFFSET;
    options.start_at = -1;
    INVALID(lq_group_create(topic, "never", &options, &none));
    lq_names *groups = NULL;
    OK(lq_topic_groups(topic, &groups));
    for (size_t i = 0; i < lq_names_len(groups); i++) {
        CHECK(strcmp(lq_names_get(groups, i), "never") != 0);
    }
    OK(lq_names_free(groups));
}

static void messages(void)
{
    lq_message_id id = {77, 77, 77, 77};
    lq_message good = LQ_MESSAGE_INIT;
    good.payload = lq_bytes_of("good");
    INVALID(lq_send(NULL, &good, 1, &id));
    INVALID(lq_send(topic, NULL, 1, &id));
    OK(lq_send(topic, NULL, 0, NULL));
    INVALID(lq_send(topic, &good, (size_t)-1, NULL));

    lq_message bad = good;
    bad.size = 0;
    INVALID(lq_send(topic, &bad, 1, &id));
    TELLS("LQ_MESSAGE_INIT");
    bad = good;
    bad.payload.data = NULL;
    INVALID(lq_send(topic, &bad, 1, &id));
    TELLS("payload");
    bad = good;
    bad.key.len = 3;
    INVALID(lq_send(topic, &bad, 1, &id));
    TELLS("key");
    bad = good;
    bad.partition = 9;
    INVALID(lq_send(topic, &bad, 1, &id));
    bad.partition = -2;
    INVALID(lq_send(topic, &bad, 1, &id));
    TELLS("LQ_ANY_PARTITION");
    bad = good;
    bad.headers_len = 1;
    INVALID(lq_send(topic, &bad, 1, &id));
    lq_header header = {lq_bytes_of("\xff"), {NULL, 0}};
    bad.headers = &header;
    INVALID(lq_send(topic, &bad, 1, &id));
    TELLS("UTF-8");
    CHECK(id.topic_id == 77 && id.offset == 77);

    lq_topic *small = NULL;
    lq_topic_options options = LQ_TOPIC_OPTIONS_INIT;
    options.max_message_bytes = 3;
    OK(lq_topic_open(store, "small", &options, &small));
    lq_message both[2] = {LQ_MESSAGE_INIT, good};
    GIVES(LQ_TOO_LARGE, lq_send(small, both, 2, NULL));
    lq_topic_stats stats = LQ_TOPIC_STATS_INIT;
    OK(lq_topic_get_stats(small, &stats));
    CHECK(stats.messages == 0);
    OK(lq_topic_close(small));

    lq_message_id never = {0, 0, 0, 0};
    INVALID(lq_topic_wait_durable(topic, &never, 0));
    INVALID(lq_topic_wait_durable(topic, NULL, 0));
    OK(lq_send(topic, &good, 1, &id));
    id.offset += 100;
    GIVES(LQ_NOT_FOUND, lq_topic_wait_durable(topic, &id, 0));
}

static void receiving(void)
{
    lq_batch *batch = NULL;
    INVALID(lq_receive(NULL, 1, 0, &batch));
    INVALID(lq_receive(consumer, 0, 0, &batch));
    INVALID(lq_receive(consumer, 1, -2, &batch));
    TELLS("LQ_FOREVER");
    INVALID(lq_receive(consumer, 1, 0, NULL));
    CHECK(batch == NULL);
    OK(lq_receive(consumer, (size_t)-1, INT64_MAX, &batch));
    CHECK(lq_batch_len(batch) == 1 && lq_batch_get(batch, 1) == NULL);
    TELLS("below 1");
    lq_receipt receipt = lq_batch_get(batch, 0)->receipt;
    INVALID(lq_ack(consumer, NULL, 1));
    INVALID(lq_ack(NULL, &receipt, 1));
    INVALID(lq_nack(consumer, &receipt, 1, -2, NULL));
    TELLS("LQ_BACKOFF");
    INVALID(lq_nack(consumer, &receipt, 1, INT64_MAX, NULL));
    INVALID(lq_extend(consumer, &receipt, 1, 0));
    INVALID(lq_extend(consumer, &receipt, 1, -1));
    lq_status results[2] = {77, 77};
    INVALID(lq_extend_results(consumer, &receipt, 1, -1, results));
    CHECK(results[0] == 77);
    OK(lq_ack(consumer, NULL, 0));
    OK(lq_ack(consumer, &receipt, 1));
    OK(lq_batch_free(batch));
    INVALID(lq_batch_free(batch));
    CHECK(lq_batch_len(batch) == 0 && lq_batch_get(batch, 0) == NULL);
    GIVES(LQ_TIMEOUT, lq_receive(consumer, 1, 0, &batch));
}

static void readers(void)
{
    lq_reader *none = NULL;
    const uint32_t missing = 7;
    lq_reader_options options = LQ_READER_OPTIONS_INIT;
    options.partitions_len = 1;
    INVALID(lq_reader_open(topic, &options, &none));
    options.partitions = &missing;
    INVALID(lq_reader_open(topic, &options, &none));
    options.partitions = NULL;
    options.partitions_len = 0;
    options.start = 9;
    INVALID(lq_reader_open(topic, &options, &none));
    CHECK(none == NULL);
    OK(lq_reader_open(topic, NULL, &none));
    lq_batch *batch = NULL;
    INVALID(lq_reader_receive(none, 0, 0, &batch));
    INVALID(lq_reader_receive(none, 1, -7, &batch));
    INVALID(lq_reader_seek(none, LQ_START_OFFSET, -1));
    INVALID(lq_reader_seek(none, LQ_START_LATEST, 3));
    OK(lq_reader_close(none));
    INVALID(lq_reader_receive(none, 1, 0, &batch));
    CHECK(batch == NULL);
}

/* NULL, closed handles, handles of another type and numbers that never were one. */
static void handles(const char *dir)
{
    OK(lq_store_close(NULL));
    OK(lq_topic_close(NULL));
    OK(lq_consumer_close(NULL));
    OK(lq_reader_close(NULL));
    OK(lq_group_close(NULL));
    OK(lq_batch_free(NULL));
    OK(lq_names_free(NULL));
    OK(lq_dead_letters_free(NULL));
    CHECK(lq_batch_len(NULL) == 0 && lq_batch_get(NULL, 0) == NULL);
    CHECK(lq_names_len(NULL) == 0 && lq_names_get(NULL, 0) == NULL);
    CHECK(lq_dead_letters_len(NULL) == 0 && lq_dead_letters_get(NULL, 0) == NULL);

    INVALID(lq_store_sync((lq_store *)topic));
    INVALID(lq_topic_sync((lq_topic *)store));
    INVALID(lq_store_sync((lq_store *)(void *)&store));
    INVALID(lq_store_sync((lq_store *)1));
    INVALID(lq_store_sync((lq_store *)UINTPTR_MAX));

    lq_store *other = NULL;
    OK(lq_store_open(inside(dir, "other"), NULL, &other));
    lq_topic *theirs = NULL;
    OK(lq_topic_open(other, "theirs", NULL, &theirs));
    GIVES(LQ_BUSY, lq_store_close(other));
    TELLS("theirs");
    OK(lq_store_sync(other));
    OK(lq_topic_close(theirs));
    INVALID(lq_topic_close(theirs));
    INVALID(lq_topic_sync(theirs));
    lq_topic_stats stats = LQ_TOPIC_STATS_INIT;
    INVALID(lq_topic_get_stats(theirs, &stats));
    stats.size = 1;
    INVALID(lq_topic_get_stats(topic, &stats));
    INVALID(lq_topic_get_stats(topic, NULL));
    OK(lq_store_close(other));
    INVALID(lq_store_close(other));
    TELLS("closed");
    const char *text = NULL;
    INVALID(lq_store_path(other, &text));
    INVALID(lq_store_path(store, NULL));
    CHECK(text == NULL);
}

static void read_only(const char *path)
{
    lq_store *reading = NULL;
    lq_topic *read = NULL;
    lq_topic *none = NULL;
    lq_consumer *nobody = NULL;
    lq_store_options options = LQ_STORE_OPTIONS_INIT;
    options.read_only = 1;
    OK(lq_store_open(path, &options, &reading));
    OK(lq_topic_open(reading, "orders", NULL, &read));
    lq_message message = LQ_MESSAGE_INIT;
    GIVES(LQ_READ_ONLY, lq_send(read, &message, 1, NULL));
    GIVES(LQ_READ_ONLY, lq_topic_open(reading, "new", NULL, &none));
    GIVES(LQ_READ_ONLY, lq_consumer_open(read, "billing", NULL, &nobody));
    GIVES(LQ_READ_ONLY, lq_store_sync(reading));
    OK(lq_topic_close(read));
    OK(lq_store_close(reading));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    CHECK(strcmp(lq_last_error_message(), "") == 0 && lq_last_error_status() == LQ_OK);
    paths(argv[1]);
    store_numbers(argv[1]);
    const char *path = inside(argv[1], "store");
    OK(lq_store_open(path, NULL, &store));
    OK(lq_topic_open(store, "orders", NULL, &topic));
    OK(lq_consumer_open(topic, "billing", NULL, &consumer));
    names();
    topic_numbers();
    group_numbers();
    messages();
    receiving();
    readers();
    handles(argv[1]);
    read_only(inside(argv[1], "store"));
    OK(lq_consumer_close(consumer));
    lq_batch *batch = NULL;
    INVALID(lq_receive(consumer, 1, 0, &batch));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
