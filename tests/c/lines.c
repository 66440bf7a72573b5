/*
 * Topics as JSON lines, out of one store and into others: DIR.
 */
#include "check.h"

static uint64_t last_done, last_of;

static int32_t tell(uint64_t done, uint64_t of, void *context)
{
    CHECK(done >= last_done);
    last_done = done;
    last_of = of;
    return *(int32_t *)context;
}

/* The bytes of a file, ended by 0, to be given back by free. */
static char *contents(const char *path)
{
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    CHECK(fseek(file, 0, SEEK_END) == 0);
    long length = ftell(file);
    CHECK(length >= 0 && fseek(file, 0, SEEK_SET) == 0);
    char *text = calloc(1, (size_t)length + 1);
    CHECK(text != NULL && fread(text, 1, (size_t)length, file) == (size_t)length);
    CHECK(fclose(file) == 0);
    return text;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
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
        send_text(topic, "key", i == 0 ? "a \"text\"\n" : "text");
    }
    lq_group *group = NULL;
    OK(lq_group_create(topic, "g", NULL, &group));
    OK(lq_group_close(group));

    int32_t more = 1;
    lq_copy_options options = LQ_COPY_OPTIONS_INIT;
    lq_copy_stats stats = LQ_COPY_STATS_INIT;
    options.progress = tell;
    options.context = &more;
    char *file = inside(dir, "all.jsonl"), *again = inside(dir, "again.jsonl");
    OK(lq_store_export_lines(store, file, &options, &stats));
    CHECK(last_done == last_of && last_of > 0);
    CHECK(stats.topics == 1 && stats.groups == 1 && stats.messages == 10);
    char *lines = contents(file);
    CHECK(stats.bytes == strlen(lines));
    CHECK(strstr(lines, "{\"topic_config\":{\"topic\":\"orders\",") == lines);
    CHECK(strstr(lines, "\"key\":\"key\",\"payload\":\"a \\\"text\\\"\\n\"}\n") != NULL);
    CHECK(strstr(lines, "{\"end\":{\"topics\":1,\"groups\":1,\"messages\":10}}\n") != NULL);
    const char *names[] = {"orders"};
    options.topics = names;
    options.topics_len = 1;
    last_done = 0;
    OK(lq_store_export_lines(store, again, &options, NULL));
    names[0] = "none";
    GIVES(LQ_NOT_FOUND, lq_store_export_lines(store, again, &options, NULL));
    names[0] = NULL;
    INVALID(lq_store_export_lines(store, again, &options, NULL));
    options.topics_len = 0;
    more = 0;
    last_done = 0;
    GIVES(LQ_TIMEOUT, lq_store_export_lines(store, inside(dir, "never"), &options, NULL));
    INVALID(lq_store_export_lines(store, NULL, NULL, NULL));
    INVALID(lq_store_export_lines(NULL, file, NULL, NULL));

    /* P6: what comes back are the same lines. */
    OK(lq_store_open(inside(dir, "b"), NULL, &other));
    last_done = 0;
    GIVES(LQ_TIMEOUT, lq_store_import_lines(other, file, &options, NULL));
    more = 1;
    last_done = 0;
    OK(lq_store_import_lines(other, file, &options, &stats));
    CHECK(stats.topics == 1 && stats.groups == 1 && stats.messages == 10 && stats.appended == 0);
    CHECK(last_done == last_of && last_of == strlen(lines));
    OK(lq_store_export_lines(other, again, NULL, NULL));
    char *second = contents(again);
    CHECK(strcmp(lines, second) == 0);
    free(second);
    free(lines);
    GIVES(LQ_ALREADY_EXISTS, lq_store_import_lines(other, file, NULL, NULL));
    options.append = 1;
    last_done = 0;
    OK(lq_store_import_lines(other, file, &options, &stats));
    CHECK(stats.topics == 0 && stats.groups == 0 && stats.appended == 10);
    options.append = 2;
    INVALID(lq_store_import_lines(other, file, &options, NULL));
    INVALID(lq_store_import_lines(other, NULL, NULL, NULL));
    GIVES(LQ_NOT_FOUND, lq_store_import_lines(other, inside(dir, "missing"), NULL, NULL));

    /* A line that cannot be is told of with its number, and nothing is made. */
    write_text(again, "{\"topic\": \"visits\", \"payload\": \"x\"}\n\n{\"payload\": \"x\"}\n");
    INVALID(lq_store_import_lines(other, again, NULL, NULL));
    TELLS("line 3: topic is missing");
    TELLS("nothing was imported");
    lq_topic *visits = NULL;
    GIVES(LQ_NOT_FOUND, lq_topic_open_existing(other, "visits", &visits));
    write_text(again, "{\"topic\": \"visits\", \"payload\": \"x\", \"key\": \"user 1\"}");
    OK(lq_store_import_lines(other, again, NULL, &stats));
    CHECK(stats.topics == 1 && stats.messages == 1);
    OK(lq_store_close(other));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
