/*
 * A backup, an export and an import of a store in use: DIR.
 */
#include "check.h"

struct told {
    uint64_t calls, done, of;
    int32_t more;
};

static int32_t tell(uint64_t done, uint64_t of, void *context)
{
    struct told *told = context;
    told->calls++;
    told->done = done;
    told->of = of;
    return told->more;
}

static uint64_t messages_of(const char *path, const char *name)
{
    lq_store *store = NULL;
    lq_topic *topic = NULL;
    lq_topic_stats stats = LQ_TOPIC_STATS_INIT;
    OK(lq_store_open(path, NULL, &store));
    OK(lq_topic_open_existing(store, name, &topic));
    OK(lq_topic_get_stats(topic, &stats));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return stats.messages;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *dir = argv[1];
    lq_store *store = NULL, *other = NULL;
    lq_topic *topic = NULL;
    OK(lq_store_open(inside(dir, "a"), NULL, &store));
    OK(lq_topic_open(store, "orders", NULL, &topic));
    for (int i = 0; i < 10; i++) {
        send_text(topic, "key", "text");
    }

    struct told told = {0, 0, 0, 1};
    lq_copy_options options = LQ_COPY_OPTIONS_INIT;
    lq_copy_stats stats = LQ_COPY_STATS_INIT;
    options.progress = tell;
    options.context = &told;
    char *copy = inside(dir, "copy"), *file = inside(dir, "all.lqx");
    OK(lq_store_backup(store, copy, &options, &stats));
    CHECK(stats.topics == 1 && stats.groups == 0 && stats.bytes > 0);
    CHECK(told.calls > 0 && told.done == told.of && told.of > 0);
    CHECK(messages_of(copy, "orders") == 10);
    GIVES(LQ_ALREADY_EXISTS, lq_store_backup(store, copy, NULL, NULL));
    TELLS("copy");
    INVALID(lq_store_backup(store, inside(dir, "a/inside"), NULL, NULL));
    INVALID(lq_store_backup(store, NULL, NULL, NULL));
    INVALID(lq_store_backup(NULL, copy, NULL, NULL));
    told.more = 0;
    GIVES(LQ_TIMEOUT, lq_store_backup(store, inside(dir, "never"), &options, NULL));
    GIVES(LQ_TIMEOUT, lq_store_export(store, file, &options, NULL));
    told.more = 1;

    const char *names[] = {"orders"};
    options.topics = names;
    options.topics_len = 1;
    OK(lq_store_export(store, file, &options, &stats));
    CHECK(stats.topics == 1 && stats.messages == 10 && stats.bytes > 400);
    names[0] = "none";
    GIVES(LQ_NOT_FOUND, lq_store_export(store, inside(dir, "none"), &options, NULL));
    names[0] = NULL;
    INVALID(lq_store_export(store, inside(dir, "none"), &options, NULL));
    options.topics_len = 0;

    OK(lq_store_open(inside(dir, "b"), NULL, &other));
    OK(lq_store_import(other, file, &options, &stats));
    CHECK(stats.topics == 1 && stats.messages == 10 && stats.appended == 0);
    GIVES(LQ_ALREADY_EXISTS, lq_store_import(other, file, NULL, NULL));
    options.append = 1;
    OK(lq_store_import(other, file, &options, &stats));
    CHECK(stats.topics == 0 && stats.messages == 0 && stats.appended == 10);
    options.append = 2;
    INVALID(lq_store_import(other, file, &options, NULL));
    INVALID(lq_store_import(other, NULL, NULL, NULL));
    GIVES(LQ_NOT_FOUND, lq_store_import(other, inside(dir, "missing"), NULL, NULL));
    GIVES(LQ_DAMAGED, lq_store_import(other, inside(dir, "a/store.meta"), NULL, NULL));
    TELLS("at byte");
    options = (lq_copy_options)LQ_COPY_OPTIONS_INIT;
    options.size = 1;
    INVALID(lq_store_import(other, file, &options, NULL));
    OK(lq_store_close(other));
    CHECK(messages_of(inside(dir, "b"), "orders") == 20);
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
