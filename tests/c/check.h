/* What the test programs share: checks that say where they failed. */
#ifndef CHECK_H
#define CHECK_H

#include <libqueue.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void check_that(int good, const char *file, int line, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s:%d: not so: %s\n  last error: %s\n", file, line, what,
                lq_last_error_message());
        exit(1);
    }
}

/* The call gives this status; and if it failed, it left its status and a message. */
static inline void check_status(lq_status found, lq_status expected, const char *file, int line,
                                const char *what)
{
    if (found != expected) {
        fprintf(stderr, "%s:%d: %s\n  gave %s, expected %s\n  last error: %s\n", file, line, what,
                lq_status_name(found), lq_status_name(expected), lq_last_error_message());
        exit(1);
    }
    if (expected != LQ_OK) {
        check_that(lq_last_error_status() == expected, file, line, "the error is of this call");
        check_that(strlen(lq_last_error_message()) > 10, file, line, "it has a message");
    }
}

#define CHECK(that) check_that((that) != 0, __FILE__, __LINE__, #that)
#define GIVES(expected, call) check_status((call), (expected), __FILE__, __LINE__, #call)
#define OK(call) GIVES(LQ_OK, call)
#define INVALID(call) GIVES(LQ_INVALID_ARGUMENT, call)
/* The message of the last error names this. */
#define TELLS(word) CHECK(strstr(lq_last_error_message(), word) != NULL)

static inline int same(lq_bytes bytes, const char *text)
{
    return bytes.data != NULL && bytes.len == strlen(text)
        && memcmp(bytes.data, text, bytes.len) == 0;
}

/* DIR/name, in memory that lives as long as the program. */
static inline char *inside(const char *dir, const char *name)
{
    static char paths[16][1024];
    static int next = 0;
    char *path = paths[next++ % 16];
    int length = snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    CHECK(length > 0 && (size_t)length < sizeof paths[0]);
    return path;
}

static inline lq_message_id send_text(lq_topic *topic, const char *key, const char *text)
{
    lq_message message = LQ_MESSAGE_INIT;
    lq_message_id id;
    message.payload = lq_bytes_of(text);
    message.key = lq_bytes_of(key);
    OK(lq_send(topic, &message, 1, &id));
    return id;
}

#endif
