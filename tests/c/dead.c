/*
 * What becomes of a group's dead: DIR. Dead-letter topics in a circle.
 */
#include "check.h"

static lq_store *store;

static lq_topic *open_topic(const char *name)
{
    lq_topic *topic = NULL;
    OK(lq_topic_open(store, name, NULL, &topic));
    return topic;
}

/* Groups whose dead letters would come back to where they came from are refused. */
static void circles(void)
{
    lq_topic *a = open_topic("a");
    lq_topic *b = open_topic("b");
    lq_group *group = NULL;
    lq_group *other = NULL;
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    options.dead_letters = LQ_DEAD_LETTERS_TOPIC;
    options.dead_letter_topic = "b";
    OK(lq_group_create(a, "g", &options, &group));
    options.dead_letter_topic = "a";
    INVALID(lq_group_create(b, "h", &options, &other));
    TELLS("b/h -> a/g -> b");
    OK(lq_group_create(b, "h", NULL, &other));
    INVALID(lq_group_configure(other, &options));
    TELLS("b/h -> a/g -> b");
    OK(lq_group_close(other));
    OK(lq_group_close(group));
    OK(lq_topic_close(b));
    OK(lq_topic_close(a));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(inside(argv[1], "store"), NULL, &store));
    circles();
    OK(lq_store_close(store));
    return 0;
}
