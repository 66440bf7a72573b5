/*
 * libqueue: a durable message queue without a server.
 *
 * Generated from ffi/src by `make header`; do not edit. Link with -lqueue.
 *
 *     lq_store *store = NULL; lq_topic *orders = NULL; lq_consumer *billing = NULL;
 *     if (lq_store_open("/var/lib/shop/queue", NULL, &store) != LQ_OK)
 *         die(lq_last_error_message());
 *     lq_topic_open(store, "orders", NULL, &orders);
 *
 *     lq_message m = LQ_MESSAGE_INIT;
 *     m.key = lq_bytes_of("user-12345");
 *     m.payload = lq_bytes_of("paid");
 *     lq_send(orders, &m, 1, NULL);
 *
 *     lq_consumer_open(orders, "billing", NULL, &billing);
 *     lq_batch *batch = NULL;
 *     while (lq_receive(billing, 100, 1000, &batch) == LQ_OK) {
 *         for (size_t i = 0; i < lq_batch_len(batch); i++) {
 *             const lq_delivery *d = lq_batch_get(batch, i);
 *             if (handle(d->payload.data, d->payload.len))
 *                 lq_ack(billing, &d->receipt, 1);
 *             else
 *                 lq_nack(billing, &d->receipt, 1, LQ_BACKOFF, "bad total");
 *         }
 *         lq_batch_free(batch);
 *     }
 *
 * What holds for every function:
 *
 * - Whatever can fail returns an lq_status: LQ_OK, which is 0, or a code; lq_last_error_message()
 *   then says what was expected, what was found, where, and what to do. Outputs come last and are
 *   written only on success. Where a function returns something else, NULL or 0 says that it
 *   failed.
 * - Handles are opaque: never look behind the pointer. Each is closed once, by the function that
 *   its type names; NULL may be closed, too. NULL, a closed handle and a handle of another type
 *   give LQ_INVALID_ARGUMENT, whatever the function. Handles may be used from several threads at
 *   once, except a batch, a reader and a transaction.
 * - Pointers are checked for NULL and alignment; otherwise they must point to as much as their
 *   description says, until the call returns. Names and texts are C strings in UTF-8.
 * - Structs of options and statistics, and lq_message, begin with their size: start each with its
 *   _INIT macro. Fields are only ever added at the end. NULL options are the defaults. Numbers that
 *   choose have named constants; others are refused.
 * - No bug of the library ends the process: it is LQ_INTERNAL. Running out of memory does.
 */
#ifndef LIBQUEUE_H
#define LIBQUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/**
 * The binary interface that this header declares: the number at the end of libqueue.so.N. Raised
 * only when a program built against an earlier header would break.
 */
#define LQ_ABI_VERSION 0

/** All is well. */
#define LQ_OK 0

/**
 * An argument is outside of what the call takes: NULL, a number that is out of range, a handle
 * that was closed already or is of another type.
 */
#define LQ_INVALID_ARGUMENT 1

/** A topic's, group's or consumer's name has characters or a length that are not allowed. */
#define LQ_INVALID_NAME 2

/** The store, topic, group or file does not exist. */
#define LQ_NOT_FOUND 3

/** What was to be created exists already. */
#define LQ_ALREADY_EXISTS 4

/** The operating system does not let this user do it. */
#define LQ_PERMISSION_DENIED 5

/** The store was opened read-only, or lies on a read-only file system. */
#define LQ_READ_ONLY 6

/** The path is a file, or a folder that holds something else than a store. */
#define LQ_NOT_A_STORE 7

/** The store was written by a version that this one cannot share it with. */
#define LQ_INCOMPATIBLE 8

/** The path lies on a network file system, where locks and mappings cannot be relied on. */
#define LQ_NETWORK_FILESYSTEM 9

/** The disk or the quota is full; nothing was stored. */
#define LQ_DISK_FULL 10

/** The operating system reported another input or output error. */
#define LQ_IO 11

/** Stored bytes are not what was written: the message names file and position. */
#define LQ_DAMAGED 12

/** The time that the caller gave is over: nothing came, or the disk was too slow. */
#define LQ_TIMEOUT 13

/** The handle was closed. */
#define LQ_CLOSED 14

/** A receipt's message was handed out again, settled already, or its group was sought. */
#define LQ_STALE_RECEIPT 15

/** The topic is at its limit. */
#define LQ_FULL 16

/** The message is larger than the topic or the format allows. */
#define LQ_TOO_LARGE 17

/** A stored configuration says otherwise; open without the option that contradicts it. */
#define LQ_CONFIG_MISMATCH 18

/** A live process has held a lock for longer than the lock timeout. */
#define LQ_STUCK 19

/** This member or producer was replaced and may not write any more. */
#define LQ_FENCED 20

/** The handle was opened before a fork and cannot be used in the child. */
#define LQ_FORKED 21

/** A table of fixed size (members, consumers) has no free place. */
#define LQ_TOO_MANY 22

/** Something that depends on the handle is still open. */
#define LQ_BUSY 23

/** An earlier sync failed; the partition refuses to append until it was repaired. */
#define LQ_POISONED 24

/** The platform or file system cannot do this. */
#define LQ_UNSUPPORTED 25

/** A bug in libqueue: please report it with the message. */
#define LQ_INTERNAL 26

/** A group's filter does not parse: the message names the place in it. */
#define LQ_INVALID_FILTER 27

/**
 * Retention took the messages that were asked for: the message names their offsets and the
 * earliest one that is kept.
 */
#define LQ_REMOVED 28

/** Waits for as long as it takes: a value of timeout_ms. */
#define LQ_FOREVER (-1)

/** Takes the group's backoff: a value of delay_ms. */
#define LQ_BACKOFF (-1)

/** A value of dedup_window_ms: messages with a dedup_id are refused. */
#define LQ_DEDUP_OFF (-1)

/** A value of dedup_window_ms: until every group has settled the message. */
#define LQ_DEDUP_UNTIL_SETTLED -2

/**
 * The durability that is stored; for a new topic the store's; for a store LQ_DURABILITY_PROCESS.
 */
#define LQ_DURABILITY_DEFAULT 0

/**
 * Messages survive the end of any process; a power loss takes what the kernel had not written yet.
 */
#define LQ_DURABILITY_PROCESS 1

/**
 * As LQ_DURABILITY_PROCESS; a power loss takes at most what was sent in the last sync_interval_ms.
 */
#define LQ_DURABILITY_INTERVAL 2

/** A power loss takes nothing: each send waits for the disk, together with all that wait then. */
#define LQ_DURABILITY_SYNC 3

/** The ordering that is stored; for a new group LQ_ORDERING_KEY. */
#define LQ_ORDERING_DEFAULT 0

/** Messages are handed out in any order. */
#define LQ_ORDERING_NONE 1

/** A message is handed out once all earlier ones of its key are settled. */
#define LQ_ORDERING_KEY 2

/** A message is handed out once all earlier ones of its partition are settled. */
#define LQ_ORDERING_PARTITION 3

/** What is stored; for a new group LQ_ON_EXPIRED_DROP. */
#define LQ_ON_EXPIRED_DEFAULT 0

/** Messages that nobody was handed in time are settled, and counted as expired. */
#define LQ_ON_EXPIRED_DROP 1

/** They are counted as expired and become dead letters. */
#define LQ_ON_EXPIRED_DEAD_LETTER 2

/** The delivery that is stored; for a new group LQ_DELIVERY_AT_LEAST_ONCE. */
#define LQ_DELIVERY_DEFAULT 0

/** Each message comes until it is acknowledged, or is a dead letter. */
#define LQ_DELIVERY_AT_LEAST_ONCE 1

/**
 * Each message is settled before it is handed out, as durably as the topic's durability says: none
 * comes twice, and what a consumer was about to be handed when it died is lost. There are no
 * leases and no failures: lease_ms, max_lease_ms, max_attempts, the backoff, the brake and
 * LQ_ON_DEAD_LETTER_HOLD_KEY are to be left out, and lq_release, lq_extend and lq_dead_letter
 * return LQ_INVALID_ARGUMENT; lq_ack does nothing, and lq_nack counts a failure.
 */
#define LQ_DELIVERY_AT_MOST_ONCE 2

/** What is stored; for a new group LQ_ON_DEAD_LETTER_CONTINUE. */
#define LQ_ON_DEAD_LETTER_DEFAULT 0

/** Later messages of a dead letter's key go on. */
#define LQ_ON_DEAD_LETTER_CONTINUE 1

/** They wait until the dead letter is redriven, and then come after it, or purged. */
#define LQ_ON_DEAD_LETTER_HOLD_KEY 2

/** What is stored; for a new group LQ_DEAD_LETTERS_OWN. */
#define LQ_DEAD_LETTERS_DEFAULT 0

/** Dead letters go to the topic TOPIC.GROUP.dlq, which is created when it is first needed. */
#define LQ_DEAD_LETTERS_OWN 1

/** Dead letters go to the topic that dead_letter_topic names. */
#define LQ_DEAD_LETTERS_TOPIC 2

/** Messages that failed too often are counted and dropped. */
#define LQ_DEAD_LETTERS_DROP 3

/** What is stored; for a new topic LQ_ON_FULL_REJECT. */
#define LQ_ON_FULL_DEFAULT 0

/** A send to a topic that is full returns LQ_FULL. */
#define LQ_ON_FULL_REJECT 1

/** It waits for room, and returns LQ_TIMEOUT after send_timeout_ms. */
#define LQ_ON_FULL_BLOCK 2

/**
 * As LQ_ON_FULL_BLOCK, at the high mark; from the low mark on senders are slowed so that the topic
 * stays below the high one while consumers keep their pace.
 */
#define LQ_ON_FULL_THROTTLE 3

/**
 * The oldest messages that are not settled make room: they are settled for every group, leased
 * ones too, and counted as dropped.
 */
#define LQ_ON_FULL_DROP_OLDEST 4

/** Of a send: to wait for room as the topic is configured. */
#define LQ_TIMEOUT_STORED -2

/** What is stored; for a new topic LQ_RETENTION_SETTLED. */
#define LQ_RETENTION_DEFAULT 0

/**
 * A segment goes once every group has settled all that is in it. While the topic has no group
 * nothing counts as settled: messages wait for the first one.
 */
#define LQ_RETENTION_SETTLED 1

/** No segment goes for its age, or for being settled. */
#define LQ_RETENTION_FOREVER 2

/** A segment goes once the last message in it is older than retention_ms, settled or not. */
#define LQ_RETENTION_TIME 3

/** A value of retention_bytes: there is no limit. */
#define LQ_NO_LIMIT UINT64_MAX

/** What is stored; for a new topic LQ_ON_LOST_COUNT. */
#define LQ_ON_LOST_DEFAULT 0

/** What a time or retention_bytes takes from a group that has not settled it is counted as lost. */
#define LQ_ON_LOST_COUNT 1

/** It becomes a dead letter of the group first; until it can, its segment stays. */
#define LQ_ON_LOST_DEAD_LETTER 2

/** What is stored; for a new topic LQ_COMPACTION_OFF. */
#define LQ_COMPACTION_DEFAULT 0

/** Of each key only the last message is kept. */
#define LQ_COMPACTION_ON 1

/** All messages are kept, as retention says. */
#define LQ_COMPACTION_OFF 2

/** A value of pinned_by: nothing keeps the oldest segment, or it is the one that grows. */
#define LQ_PINNED_BY_NOTHING 0

/** A value of pinned_by: the topic's retention keeps it, or there is no group yet. */
#define LQ_PINNED_BY_RETENTION 1

/** A value of pinned_by: the group named by pinned_group has not settled all that is in it. */
#define LQ_PINNED_BY_GROUP 2

/**
 * A value of pinned_by: dead letters are in it, of the group that pinned_group names as
 * TOPIC/GROUP; where that is not known the name is empty.
 */
#define LQ_PINNED_BY_DEAD_LETTERS 3

/** A value of paused_by: the group is not paused. */
#define LQ_PAUSED_BY_NOBODY 0

/** A value of paused_by: somebody paused the group. */
#define LQ_PAUSED_BY_USER 1

/** A value of paused_by: too many of its messages died, and its brake paused the group. */
#define LQ_PAUSED_BY_BRAKE 2

/** The default place to start: LQ_START_EARLIEST. */
#define LQ_START_DEFAULT 0

/** At the oldest message that is kept. */
#define LQ_START_EARLIEST 1

/** Behind the newest message. */
#define LQ_START_LATEST 2

/**
 * At the offset start_at; only where one partition is meant. A reader waits for one behind the
 * end, and passes over what comes before it; a group is refused there.
 */
#define LQ_START_OFFSET 3

/** At the first message of the time start_at or later, in nanoseconds since the Unix epoch. */
#define LQ_START_TIME 4

/**
 * The partition of a message that names none: the one of its key, or without a key each in turn.
 */
#define LQ_ANY_PARTITION (-1)

/** The group has not come to the message yet. */
#define LQ_STATE_FRESH 1

/** It may be handed out. */
#define LQ_STATE_READY 2

/** It waits for its time. */
#define LQ_STATE_DELAYED 3

/** It is handed out. */
#define LQ_STATE_LEASED 4

/** It waits for an earlier message of its key. */
#define LQ_STATE_HELD 5

/** It is on its way to the dead letters. */
#define LQ_STATE_DYING 6

/** It is done. */
#define LQ_STATE_SETTLED 7

/** It is a dead letter that holds its key. */
#define LQ_STATE_HOLDING 8

/** Bytes of pinned_group: two names, what is between them, and the zero byte. */
#define LQ_PINNED_GROUP_SIZE 508

/**
 * The messages of one lq_receive or lq_reader_receive, at least one.
 *
 * Lifetime: until lq_batch_free; it may outlive the consumer, the reader and the store. Threads:
 * one at a time.
 */
typedef struct lq_batch lq_batch;

/**
 * A consumer: one worker of a group. The group's messages are shared among its consumers, in all
 * processes.
 *
 * Lifetime: from lq_consumer_open to lq_consumer_close, within that of its store; the topic's
 * handle may be closed earlier. Threads: any, several at once.
 */
typedef struct lq_consumer lq_consumer;

/** A list of consumers. Threads: any, several at once; none while or after it is freed. */
typedef struct lq_consumers lq_consumers;

/** A list of dead letters. Threads: any, several at once; none while or after it is freed. */
typedef struct lq_dead_letters lq_dead_letters;

/**
 * A group, to look at and to manage; lq_consumer_open receives in its name.
 *
 * Lifetime: from lq_group_open or lq_group_create to lq_group_close, within that of its store; the
 * topic's handle may be closed earlier. Threads: any, several at once.
 */
typedef struct lq_group lq_group;

/** A list of names. Threads: any, several at once; none while or after it is freed. */
typedef struct lq_names lq_names;

/**
 * What a look at a message found. Threads: any, several at once; none while or after it is freed.
 */
typedef struct lq_peeked lq_peeked;

/**
 * A named, idempotent producer of a topic: of its messages each has a sequence, and one that is
 * sent again is not there twice.
 *
 * Lifetime: from lq_producer_open to lq_producer_close, within that of its store; the topic's
 * handle may be closed earlier. Threads: any, several at once; they take turns.
 */
typedef struct lq_producer lq_producer;

/**
 * A reader: a place in a topic that belongs to no group. It sees everything and settles nothing.
 *
 * Lifetime: from lq_reader_open to lq_reader_close, within that of its store; the topic's handle
 * may be closed earlier. Threads: one at a time (a second one gets LQ_BUSY).
 */
typedef struct lq_reader lq_reader;

/**
 * What a seek does, for each partition that is sought. Threads: any, several at once; none while
 * or after it is freed.
 */
typedef struct lq_seek_plan lq_seek_plan;

/** A list of snapshots. Threads: any, several at once; none while or after it is freed. */
typedef struct lq_snapshots lq_snapshots;

/**
 * A store: a folder of topics that this process has open. In the child of a fork it joins the
 * store anew on its first use; topics and all else that was opened from it have to be opened
 * again there (LQ_FORKED), and may be closed.
 *
 * Lifetime: from lq_store_open to lq_store_close. Threads: any, several at once.
 */
typedef struct lq_store lq_store;

/**
 * A topic: a named stream of messages in one or several partitions.
 *
 * Lifetime: from lq_topic_open, lq_topic_create or lq_topic_open_existing to lq_topic_close,
 * within that of its store. Threads: any, several at once.
 */
typedef struct lq_topic lq_topic;

/**
 * A transaction: settles deliveries and sends messages, to any topics of its store, all or
 * nothing. Nothing happens before lq_transaction_commit, and nothing at all where it is aborted,
 * or its process ends before; an open one keeps nobody from anything.
 *
 *     lq_transaction *tx = NULL;
 *     lq_transaction_begin(store, &tx);
 *     lq_transaction_send(tx, invoices, &message, 1);
 *     lq_transaction_ack(tx, billing, &delivery->receipt, 1);
 *     if (lq_transaction_commit(tx, NULL, 0) != LQ_OK)
 *         puts(lq_last_error_message());
 *     lq_transaction_abort(tx);
 *
 * Lifetime: from lq_transaction_begin to lq_transaction_abort, which closes it after a commit as
 * well, within that of its store; handles of topics and consumers may be closed earlier. Threads:
 * one at a time (a second one gets LQ_BUSY).
 */
typedef struct lq_transaction lq_transaction;

/**
 * How a call went: LQ_OK or one of the other LQ_ codes. The numbers are never changed or reused;
 * a later library may return new ones.
 */
typedef int32_t lq_status;

/** How a store is opened. Begin with LQ_STORE_OPTIONS_INIT, which has the defaults. */
typedef struct lq_store_options {
    /** sizeof(lq_store_options). */
    size_t size;
    /** 1 creates the store where there is none (the default); 0 does not. */
    int32_t create;
    /** 1 only reads: no member is entered and nothing is ever written; 0 is the default. */
    int32_t read_only;
    /** The durability of topics that have none of their own: one of LQ_DURABILITY_. */
    int32_t durability;
    /** Permission bits of files that are created, as in 0660, which is what 0 stands for. */
    uint32_t mode;
    /** With LQ_DURABILITY_INTERVAL: the interval in milliseconds. 0: 10. Else to be left at 0. */
    int64_t sync_interval_ms;
    /** How long to wait for a lock that a live process holds, in milliseconds. 0: 10000. */
    int64_t lock_timeout_ms;
} lq_store_options;

/**
 * Configuration of a topic. Begin with LQ_TOPIC_OPTIONS_INIT, which leaves everything out: what is
 * left out takes the stored value where the topic exists, and the default where it is created.
 */
typedef struct lq_topic_options {
    /** sizeof(lq_topic_options). */
    size_t size;
    /** Number of partitions, 1 to 1024; fixed once the topic exists. 0: left out, default 1. */
    uint32_t partitions;
    /** Overrides the store's durability: one of LQ_DURABILITY_. 0: left out. */
    int32_t durability;
    /** With LQ_DURABILITY_INTERVAL: the interval in milliseconds. 0: 10. Else to be left at 0. */
    int64_t sync_interval_ms;
    /** Largest message in bytes: key, headers and payload. 0: left out, default 1 GiB, the most. */
    uint64_t max_message_bytes;
    /**
     * Most messages that some group has not settled; without groups, that are kept. Those that are
     * handed out or delayed count. 0 takes the limit off. -1: left out, default no limit.
     */
    int64_t max_messages;
    /** As max_messages, in bytes of their records in the log: with headers, key and 48 bytes. */
    int64_t max_bytes;
    /** What becomes of messages for which there is no room: one of LQ_ON_FULL_. 0: left out. */
    int32_t on_full;
    /**
     * With LQ_ON_FULL_THROTTLE: where senders begin to be slowed, in percent of the limit. 0: left
     * out, default 50.
     */
    uint32_t low_mark;
    /**
     * With LQ_ON_FULL_THROTTLE: where they block, in percent of the limit. 0: left out, default
     * 90.
     */
    uint32_t high_mark;
    /**
     * How long a send waits for room, in milliseconds. -1: left out, default as long as it takes.
     */
    int64_t send_timeout_ms;
    /**
     * Sends return LQ_DISK_FULL where the log would have to grow and fewer bytes than this would
     * be left free on the file system; consumers and dead letters go on. 0 takes it off. -1: left
     * out, default 0.
     */
    int64_t min_free_bytes;
    /** When segments go: one of LQ_RETENTION_. 0: left out. */
    int32_t retention;
    /**
     * What becomes of messages that a time or retention_bytes takes from a group that has not
     * settled them: one of LQ_ON_LOST_. 0: left out.
     */
    int32_t on_lost;
    /** With LQ_RETENTION_TIME: that time in milliseconds, 1 or more. Else to be left at 0. */
    int64_t retention_ms;
    /**
     * Bytes of segments that are kept in all partitions together, settled or not: beyond them the
     * oldest go. LQ_NO_LIMIT takes the limit off. 0: left out, default LQ_NO_LIMIT.
     */
    uint64_t retention_bytes;
    /**
     * For how many milliseconds after its first send a dedup_id keeps its message from being sent
     * again; LQ_DEDUP_UNTIL_SETTLED or LQ_DEDUP_OFF. 0: left out, default LQ_DEDUP_OFF.
     */
    int64_t dedup_window_ms;
    /**
     * How long after it was sent a tombstone, a message with a key and an empty payload, is kept
     * where the topic is compacted, in milliseconds. -1: left out, default 24 hours.
     */
    int64_t tombstone_grace_ms;
    /**
     * Whether of each key only the last message is kept: one of LQ_COMPACTION_. Segments are
     * compacted once every group has settled all in them. With LQ_COMPACTION_ON retention is
     * LQ_RETENTION_FOREVER unless a time is given; LQ_RETENTION_SETTLED is refused. 0: left out.
     */
    int32_t compaction;
} lq_topic_options;

/** Names a message for ever: an id is never used twice in a store. */
typedef struct lq_message_id {
    /** Id of the topic. */
    uint64_t topic_id;
    /** Number of the message in its partition, from 0. */
    uint64_t offset;
    /** Partition of the topic, from 0. */
    uint32_t partition;
    /** Always 0, so that ids may be compared and hashed as bytes. */
    uint32_t reserved;
} lq_message_id;

/** Bytes that belong to somebody else. */
typedef struct lq_bytes {
    /** The first byte. NULL where there is nothing, as with a message without a key. */
    const uint8_t *data;
    /** How many there are. */
    size_t len;
} lq_bytes;

/** A header of a message. */
typedef struct lq_header {
    /** The name, in UTF-8, without a NUL at the end; 0 to 65535 bytes. */
    lq_bytes name;
    /** The value: any bytes. */
    lq_bytes value;
} lq_header;

/**
 * A message to send. Begin with LQ_MESSAGE_INIT, which sets the size and leaves out all the rest.
 * Nothing of it is kept after the call.
 */
typedef struct lq_message {
    /** sizeof(lq_message); the same in all messages of one call. */
    size_t size;
    /** The payload: 0 bytes to the topic's max_message_bytes. */
    lq_bytes payload;
    /**
     * The key; messages of one key keep their order. No key where data is NULL; the empty key,
     * with data and without len, is a key.
     */
    lq_bytes key;
    /** The headers; may be NULL where headers_len is 0. */
    const lq_header *headers;
    /** How many headers there are; at most 65535. */
    size_t headers_len;
    /**
     * Nanoseconds since the Unix epoch; 0 takes the clock's. Raised to the timestamp of the
     * partition's last message if it is below.
     */
    int64_t timestamp_ns;
    /** The partition, or LQ_ANY_PARTITION. */
    int32_t partition;
    /**
     * 0 to 9: of the messages that are ready in a group those with the highest priority
     * come first, but for the order within a key.
     */
    int32_t priority;
    /**
     * For so many milliseconds no group hands it out; then it joins its key's order. 0: at once.
     */
    int64_t delay_ms;
    /**
     * As delay_ms, until a time in nanoseconds since the Unix epoch; give one of the two. 0: left
     * out.
     */
    int64_t deliver_at_ns;
    /**
     * After so many milliseconds nobody is handed it any more: it is settled, and counted as
     * expired. 0: never.
     */
    int64_t ttl_ms;
    /**
     * 1 to 255 bytes under which it is sent once: within the topic's dedup_window_ms another send
     * with the same id returns the first one's id and appends nothing. None where data is NULL.
     */
    lq_bytes dedup_id;
} lq_message;

/** How a send waits. Begin with LQ_SEND_OPTIONS_INIT, which waits as the topic is configured. */
typedef struct lq_send_options {
    /** sizeof(lq_send_options). */
    size_t size;
    /**
     * How long to wait for room in a topic that has none, in milliseconds; 0 does not wait.
     * LQ_FOREVER, or LQ_TIMEOUT_STORED, the default.
     */
    int64_t timeout_ms;
} lq_send_options;

/**
 * Configuration of a group. Begin with LQ_GROUP_OPTIONS_INIT, which leaves everything out: what is
 * left out takes the stored value where the group exists, and the default where it is created.
 */
typedef struct lq_group_options {
    /** sizeof(lq_group_options). */
    size_t size;
    /** In which order messages are handed out: one of LQ_ORDERING_. 0: left out. */
    int32_t ordering;
    /** After how many failures a message is a dead letter, 1 to 60000. 0: left out, default 5. */
    uint32_t max_attempts;
    /** How long a message is handed out for, in milliseconds. 0: left out, default 30000. */
    int64_t lease_ms;
    /**
     * How long a message waits after its first failure, in milliseconds. -1: left out, default
     * 1000. Where one of the three numbers of the backoff is given, the others take the default.
     */
    int64_t backoff_first_ms;
    /** The longest that it waits, in milliseconds. -1: left out, default 300000. */
    int64_t backoff_longest_ms;
    /** What each further failure multiplies the wait by, 1 to 1000. 0: left out, default 2. */
    double backoff_factor;
    /** Where messages go that failed too often: one of LQ_DEAD_LETTERS_. 0: left out. */
    int32_t dead_letters;
    /** Where the group starts, used only when it is created: one of LQ_START_. 0: the earliest. */
    int32_t start;
    /**
     * With LQ_START_OFFSET the offset, with LQ_START_TIME nanoseconds since the Unix epoch. Else
     * to be left at 0.
     */
    int64_t start_at;
    /** With LQ_DEAD_LETTERS_TOPIC: the name of the topic, read during the call only. Else NULL. */
    const char *dead_letter_topic;
    /**
     * How many messages the group may run ahead of its oldest unsettled one, 256 to 16777216.
     * 0: left out, default 65536.
     */
    uint32_t window;
    /**
     * What becomes of messages that nobody was handed in time: one of LQ_ON_EXPIRED_. 0: left out.
     */
    int32_t on_expired;
    /**
     * How long a message may be leased in total since its hand-out, extensions included, in
     * milliseconds, at least lease_ms. 0: left out, default no bound.
     */
    int64_t max_lease_ms;
    /**
     * Which messages the group takes, by key and headers, as an object of JSON with key,
     * key_prefix, headers, any, all and not, all of which must hold, as in
     * {"key_prefix": "eu-", "headers": {"kind": "sale", "test": false}}: a header is equal to a
     * text, begins with one ({"prefix": "..."}), is there (true) or is not (false). The others are
     * settled for the group, and nobody is handed them. A changed one holds for messages that the
     * group has not looked at yet. Read during the call only. NULL: left out, default all
     * messages; "" and "{}" are all messages, and take a stored filter off.
     */
    const char *filter;
    /** When messages are settled: one of LQ_DELIVERY_; fixed once the group exists. 0: left out. */
    int32_t delivery;
    /**
     * Pauses the group when more than so many of its messages die within brake_within_ms, 1 to
     * 10000. 0: no brake, the default. -1: left out.
     */
    int64_t brake_messages;
    /**
     * With brake_messages of 1 or more: that time in milliseconds, 1 or more. Else to be left at
     * 0.
     */
    int64_t brake_within_ms;
    /**
     * What becomes of a key whose message became a dead letter: one of LQ_ON_DEAD_LETTER_. 0: left
     * out.
     */
    int32_t on_dead_letter;
} lq_group_options;

/**
 * Settles one delivery: names the message and which of its hand-outs. A plain value: copy it, keep
 * it, pass it to another thread. It outlives its batch.
 */
typedef struct lq_receipt {
    /** The message. */
    lq_message_id id;
    /** The hand-out's number, from 1. */
    uint32_t attempt;
    /**
     * Which group handed it out. Changes when the group starts anew somewhere else; older receipts
     * are stale then.
     */
    uint32_t epoch;
} lq_receipt;

/**
 * A message that was received or read. It belongs to its batch, and so does all that it points to:
 * payload, key and headers lie in the mapped log and stay readable until the batch is freed, also
 * after the consumer, the topic and the store were closed.
 */
typedef struct lq_delivery {
    /** The payload. */
    lq_bytes payload;
    /** The key; data is NULL where there is none, and not NULL for the empty key. */
    lq_bytes key;
    /** The headers; NULL where there are none. */
    const lq_header *headers;
    /** How many headers there are. */
    size_t headers_len;
    /** Nanoseconds since the Unix epoch; never falls within a partition. */
    int64_t timestamp_ns;
    /** Number of the message in its partition, from 0. */
    uint64_t offset;
    /** Partition of the topic, from 0. */
    uint32_t partition;
    /** The number of this hand-out, from 1; counts released ones too. 0 from a reader. */
    uint32_t attempt;
    /** The message's id. */
    lq_message_id id;
    /**
     * When the lease ends, in nanoseconds since the Unix epoch, unless it is extended or the clock
     * is set. 0 from a reader.
     */
    int64_t deadline_ns;
    /** What settles it. All zero from a reader: there is nothing to settle. */
    lq_receipt receipt;
} lq_delivery;

/** A dead letter of a group. It belongs to its list, and so does all that it points to. */
typedef struct lq_dead_letter_entry {
    /** The message, with its id in the topic of dead letters; it has no receipt. */
    lq_delivery message;
    /** The partition it was in. */
    uint32_t source_partition;
    /** How often it was handed out. */
    uint32_t attempts;
    /** The offset it had there. */
    uint64_t source_offset;
    /** How many of the hand-outs failed. */
    uint32_t failures;
    /** The last error, in UTF-8; never NULL. */
    const char *error;
    /** The name of the last consumer; never NULL. */
    const char *consumer;
    /** The name of the topic it was in; never NULL. */
    const char *source_topic;
    /** The id it had. */
    lq_message_id source_id;
    /** When it first failed, in nanoseconds since the Unix epoch; 0 if that is not known. */
    int64_t first_failed_ns;
    /** When it became a dead letter. */
    int64_t last_failed_ns;
    /** How often it came back dead from a redrive; 0 in its first dead letter. */
    uint32_t cycles;
} lq_dead_letter_entry;

/**
 * Which dead letters to redrive, and how. Begin with LQ_REDRIVE_OPTIONS_INIT, which redrives all
 * that are there when the call begins, as fast as it can. A letter has to be what all of the
 * fields from limit to failed_until_ns ask for.
 */
typedef struct lq_redrive_options {
    /** sizeof(lq_redrive_options). */
    size_t size;
    /**
     * The ids of the letters, as lq_group_dead_letters shows them, read during the call only.
     * NULL: all.
     */
    const lq_message_id *ids;
    /** How many ids. */
    size_t ids_len;
    /** At most so many, the oldest first. 0: no limit. */
    uint64_t limit;
    /** The last error has this in it, in UTF-8, read during the call only. NULL: any. */
    const char *error_contains;
    /** The key, read during the call only. data NULL: any. */
    lq_bytes key;
    /** The partition that the message was in. -1: any. */
    int64_t source_partition;
    /** It became a dead letter then or later, in nanoseconds since the Unix epoch. 0: whenever. */
    int64_t failed_since_ns;
    /** It became a dead letter before then. 0: whenever. */
    int64_t failed_until_ns;
    /** At most so many in a second, which the call waits for. 0: no limit. */
    double rate;
    /**
     * Called after some were redriven, and every 50 ms while the call waits for the rate. NULL:
     * nobody is told.
     *
     * done: how many were redriven.
     * of: how many there are to redrive.
     * context: the field of this name.
     *
     * Returns: 0 to end the call early, which then gives how many were redriven; else to go on.
     * Threads: the one that made the call.
     */
    int32_t (*progress)(uint64_t done, uint64_t of, void *context);
    /** Handed to progress as it is. */
    void *context;
} lq_redrive_options;

/** Where to set a group. Begin with LQ_SEEK_OPTIONS_INIT, and say where: a start, or a snapshot. */
typedef struct lq_seek_options {
    /** sizeof(lq_seek_options). */
    size_t size;
    /**
     * One of LQ_START_EARLIEST, LQ_START_LATEST, LQ_START_OFFSET, LQ_START_TIME;
     * LQ_START_DEFAULT with a snapshot.
     */
    int32_t start;
    /**
     * With LQ_START_OFFSET the offset (of one partition), with LQ_START_TIME nanoseconds since the
     * Unix epoch: the first message that was appended then or later; else 0.
     */
    int64_t start_at;
    /** Name of a snapshot, read during the call only. NULL: none. */
    const char *snapshot;
    /** The partition. -1: all. */
    int64_t partition;
} lq_seek_options;

/**
 * What a seek does to one partition of a group. Messages are counted by their offsets. It belongs
 * to its plan.
 */
typedef struct lq_seek_partition {
    /** The partition. */
    uint32_t partition;
    /** The first offset that the group has not settled. */
    uint64_t position;
    /** The first one that it has not settled afterwards. */
    uint64_t target;
    /** Messages that it had settled, and gets again. */
    uint64_t again;
    /** Messages that it had not settled, and does not get any more. */
    uint64_t passed_over;
    /** Leases that become stale. */
    uint64_t stale_leases;
    /** Messages that it would get, but that the log does not have any more. */
    uint64_t gone;
} lq_seek_partition;

/** A snapshot of a group. It belongs to its list. */
typedef struct lq_snapshot {
    /** Its name; never NULL. */
    const char *name;
    /** When it was taken, in nanoseconds since the Unix epoch. */
    int64_t taken_ns;
    /** Messages that the group had taken in and not settled then. */
    uint64_t open;
    /** Bytes of its file. */
    uint64_t bytes;
    /**
     * 1 where it can be sought; 0 where its file is damaged, and then all but name and bytes is 0.
     */
    int32_t whole;
} lq_snapshot;

/** How a consumer is opened. Begin with LQ_CONSUMER_OPTIONS_INIT, which has the defaults. */
typedef struct lq_consumer_options {
    /** sizeof(lq_consumer_options). */
    size_t size;
    /** The group's configuration; NULL takes what is stored, or the defaults. */
    const lq_group_options *group;
    /** Shown in statistics and dead letters, in UTF-8. NULL: the program's name and process id. */
    const char *name;
    /**
     * How long what this consumer receives is handed out for, in milliseconds. 0: the group's
     * lease.
     */
    int64_t lease_ms;
    /**
     * 1 extends the leases of messages that were got with lq_batch_get, each at half of its lease,
     * until they are settled or their batch is freed, at most for the group's max_lease_ms in
     * total: a thread of the library does it, so one that hangs keeps its message until then, or
     * for ever. 0 does not (the default).
     */
    int32_t auto_extend;
} lq_consumer_options;

/**
 * What a receive waits for, and what it returns at most. Begin with LQ_RECEIVE_OPTIONS_INIT, which
 * has the defaults.
 */
typedef struct lq_receive_options {
    /** sizeof(lq_receive_options). */
    size_t size;
    /** How many messages at most, 1 or more. Default: 1. */
    size_t max_messages;
    /**
     * How many messages to wait for, at most for timeout_ms; then what there is is returned. More
     * than 1 needs a timeout, since those that came first wait with the call. Default: 1.
     */
    size_t min_messages;
    /**
     * How many bytes at most: keys, headers and payloads. The first message is returned whatever
     * its size; a batch that another message would not fit in is full. 0: no limit, the default.
     */
    uint64_t max_bytes;
    /** How long to wait, in milliseconds; 0 does not wait. Default: LQ_FOREVER. */
    int64_t timeout_ms;
    /**
     * How long the messages are handed out for, in milliseconds. 0: the consumer's lease, else the
     * group's.
     */
    int64_t lease_ms;
} lq_receive_options;

/**
 * A consumer of a group, and what it did since it was opened. It belongs to its list. One that
 * fails what others manage has a larger part of failed in delivered than they.
 */
typedef struct lq_consumer_stats {
    /** Its name, in UTF-8; never NULL. */
    const char *name;
    /** Id of its process, as its own container numbers it. */
    uint64_t process;
    /** Messages that it has now. */
    uint64_t leased;
    /** Messages that it was handed, each as often as it was. */
    uint64_t delivered;
    /** Those that were acknowledged while it had them. */
    uint64_t acked;
    /** Those that failed in its hands: nacks, leases that ran out, messages that it gave up. */
    uint64_t failed;
    /** The part of failed in delivered, 0 to 1. */
    double failed_share;
    /** That part of all other consumers of the group together; 0 where there are none. */
    double others_failed_share;
    /**
     * 1 where it fails what others manage: 5 messages or more failed in its hands, and its share
     * is more than twice that of the others and a twentieth. Else 0, also where there are no
     * others.
     */
    int32_t stands_out;
} lq_consumer_stats;

/**
 * A message, and where it stands in a group. It belongs to its lq_peeked, and so does all that it
 * points to.
 */
typedef struct lq_peek {
    /** The message; it has no receipt, and attempt and deadline_ns are 0. */
    lq_delivery message;
    /** One of LQ_STATE_. */
    int32_t state;
    /** How often it was handed out, as far as the group remembers. */
    uint32_t attempts;
    /** How many of the hand-outs failed. */
    uint64_t failures;
    /**
     * When its lease or delay ends, in nanoseconds since the Unix epoch, if the wall clock does
     * not jump; 0 in other states.
     */
    int64_t until_ns;
    /** Name of the consumer that it is handed out to; empty in other states, never NULL. */
    const char *consumer;
} lq_peek;

/** How a reader is opened. Begin with LQ_READER_OPTIONS_INIT, which has the defaults. */
typedef struct lq_reader_options {
    /** sizeof(lq_reader_options). */
    size_t size;
    /** Where it starts: one of LQ_START_. 0: the earliest. */
    int32_t start;
    /**
     * With LQ_START_OFFSET the offset, with LQ_START_TIME nanoseconds since the Unix epoch. Else
     * to be left at 0.
     */
    int64_t start_at;
    /** The partitions to read; NULL reads all. */
    const uint32_t *partitions;
    /** How many partitions are named; 0 reads all. */
    size_t partitions_len;
} lq_reader_options;

/** What a store holds at one moment. Begin with LQ_STORE_STATS_INIT. */
typedef struct lq_store_stats {
    /** sizeof(lq_store_stats). */
    size_t size;
    /** Number of topics. */
    uint64_t topics;
    /** Members now: openings of the store, in all processes. 0 in a store that is only read. */
    uint64_t members;
    /** Bytes of all its files. */
    uint64_t disk_bytes;
} lq_store_stats;

/** What a topic holds at one moment, over all its partitions. Begin with LQ_TOPIC_STATS_INIT. */
typedef struct lq_topic_stats {
    /** sizeof(lq_topic_stats). */
    size_t size;
    /** Offsets from the earliest to the next, over all partitions. */
    uint64_t messages;
    /** Bytes of the segments on disk. */
    uint64_t bytes;
    /** Number of segments. */
    uint64_t segments;
    /** Bytes of the segments that would be removed if what keeps the oldest one did not. */
    uint64_t pinned_bytes;
    /** Age of the oldest segment's first message in seconds. */
    double pinned_seconds;
    /** What keeps the oldest segment: one of LQ_PINNED_BY_. */
    int32_t pinned_by;
    /** The group that does, ended by a zero byte; empty where it is none. */
    char pinned_group[LQ_PINNED_GROUP_SIZE];
    /** Messages that compaction took so far. */
    uint64_t compacted_messages;
    /** Bytes of their records. */
    uint64_t compacted_bytes;
    /** Messages that were sent, those included that are gone since. */
    uint64_t sent;
    /** Bytes of their records. */
    uint64_t sent_bytes;
    /** Of those, the ones that went with the segments that retention removed. */
    uint64_t removed_messages;
    /** Bytes of their records. */
    uint64_t removed_bytes;
    /** Threads that wait for room to send, in all processes, as far as 32. */
    uint64_t waiting_senders;
    /**
     * How often somebody slept for a lock of the topic, since the first of those who have the
     * store open now opened it.
     */
    uint64_t lock_waits;
    /** How long, all together, in seconds. */
    double lock_wait_seconds;
    /** How often it was put on disk, failures included, since then. */
    uint64_t syncs;
    /** How long that took, all together, in seconds. */
    double sync_seconds;
    /** And the longest of them. */
    double sync_longest_seconds;
} lq_topic_stats;

/** What a partition of a topic holds at one moment. Begin with LQ_PARTITION_STATS_INIT. */
typedef struct lq_partition_stats {
    /** sizeof(lq_partition_stats). */
    size_t size;
    /** Offset of the oldest message. */
    uint64_t earliest_offset;
    /** Offset that the next message gets. */
    uint64_t next_offset;
    /** First offset that a power loss may take. */
    uint64_t durable_offset;
    /** Bytes of the segments on disk. */
    uint64_t bytes;
    /** Number of segments. */
    uint64_t segments;
    /** Messages that were sent, those included that are gone since. */
    uint64_t sent;
    /** Bytes of their records. */
    uint64_t sent_bytes;
} lq_partition_stats;

/** Where a group stands at one moment. Begin with LQ_GROUP_STATS_INIT. */
typedef struct lq_group_stats {
    /** sizeof(lq_group_stats). */
    size_t size;
    /** Messages that are not settled. */
    uint64_t lag_messages;
    /** Their bytes in the log. */
    uint64_t lag_bytes;
    /** Age of the oldest of them in seconds. */
    double lag_seconds;
    /** Handed out now. */
    uint64_t leased;
    /** Waiting for their time: with a delay of their own, or after a failure. */
    uint64_t delayed;
    /** Waiting for an earlier message of their key. */
    uint64_t held;
    /** Ready to be handed out again. */
    uint64_t ready;
    /** Became dead letters. */
    uint64_t dead_lettered;
    /** Messages that were too late to be handed out. */
    uint64_t expired;
    /** Messages that were gone before they were settled. */
    uint64_t lost_messages;
    /** Messages whose bytes were damaged. */
    uint64_t damaged;
    /** Hand-outs. */
    uint64_t delivered;
    /** Acknowledged. */
    uint64_t acked;
    /** Failures: nacks, expired leases, deaths. */
    uint64_t failed;
    /** Hand-outs that were not a message's first. */
    uint64_t redelivered;
    /** Consumers of the group, in all processes. */
    uint64_t consumers;
    /** Leases that ran out. */
    uint64_t timed_out;
    /** 1 while nothing is handed out until somebody resumes it, else 0. */
    uint64_t paused;
    /** Messages that the group's filter left out. */
    uint64_t filtered;
    /** Why that is: one of LQ_PAUSED_BY_. */
    uint64_t paused_by;
    /** Since when it is paused, in nanoseconds since the Unix epoch; else 0. */
    int64_t paused_at_ns;
    /** Dead letters that were redriven. */
    uint64_t redriven;
    /** Dead letters that were purged. */
    uint64_t purged;
    /** Dead letters that hold their keys. They are not settled, and count as lag. */
    uint64_t holding;
    /** Messages that were settled because they were the oldest of a topic that was full. */
    uint64_t dropped;
    /** On their way to the dead letters now. */
    uint64_t dying;
    /** Threads that wait in a receive, in all processes. */
    uint64_t waiting_receivers;
    /**
     * How much of the window is in use where it is most, 0 to 1: at 1 a message that is not
     * settled keeps all behind it from being handed out.
     */
    double window_used;
    /**
     * How often somebody slept for a lock of the group, since the first of those who have the
     * store open now opened it.
     */
    uint64_t lock_waits;
    /** How long, all together, in seconds. */
    double lock_wait_seconds;
    /** How often a window of the group was put on disk by itself, failures included, since then. */
    uint64_t syncs;
    /** How long that took, all together, in seconds. */
    double sync_seconds;
    /** And the longest of them. */
    double sync_longest_seconds;
} lq_group_stats;

/** How to back up, export or import. Begin with LQ_COPY_OPTIONS_INIT. */
typedef struct lq_copy_options {
    /** sizeof(lq_copy_options). */
    size_t size;
    /** Of an export the topics, by name, read during the call only. NULL: all. */
    const char *const *topics;
    /** How many topics. */
    size_t topics_len;
    /**
     * Of an import 1 to send the messages of a topic that exists to it, with new offsets and
     * without groups; 0 to refuse such a topic.
     */
    int32_t append;
    /**
     * Called now and then. NULL: nobody is told.
     *
     * done: how many bytes are done.
     * of: how many there are; 0 if nobody knows.
     * context: the field of this name.
     *
     * Returns: 0 to end the call, which then returns LQ_TIMEOUT and leaves nothing; else to go on.
     * Threads: the one that made the call.
     */
    int32_t (*progress)(uint64_t done, uint64_t of, void *context);
    /** Handed to progress as it is. */
    void *context;
} lq_copy_options;

/** What was backed up, exported or imported. Begin with LQ_COPY_STATS_INIT. */
typedef struct lq_copy_stats {
    /** sizeof(lq_copy_stats). */
    size_t size;
    /** Topics. */
    uint64_t topics;
    /** Groups. */
    uint64_t groups;
    /** Messages; 0 of a backup, which does not count them. */
    uint64_t messages;
    /** Of an export its bytes, of a backup those of its messages. */
    uint64_t bytes;
    /** Of an import the messages that were sent to topics that existed. */
    uint64_t appended;
} lq_copy_stats;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that is loaded, as in "0.1.0".
 *
 * Returns: a string that lives for ever; never NULL.
 * Threads: any.
 */
const char *lq_version(void);

/**
 * The binary interface of the library that is loaded. It is the LQ_ABI_VERSION of this header,
 * unless a library of another version was put in its place.
 *
 * Returns: the number.
 * Threads: any.
 */
uint32_t lq_abi_version(void);

/**
 * What went wrong in this thread's last call that failed: what was expected, what was found,
 * where, and what to do. In UTF-8, without a newline at the end.
 *
 * A call that succeeds leaves it as it is, so look at it only after a call that failed.
 *
 * Returns: a string, "" if no call failed yet; never NULL.
 * Memory: belongs to the library; valid until the next call of this thread that fails.
 * Threads: any; each has its own.
 */
const char *lq_last_error_message(void);

/**
 * The status of this thread's last call that failed.
 *
 * Returns: a code, LQ_OK if no call failed yet.
 * Threads: any; each has its own.
 */
lq_status lq_last_error_status(void);

/**
 * The operating system's error number (errno) behind this thread's last call that failed.
 *
 * Returns: the number, 0 where none is behind it.
 * Threads: any; each has its own.
 */
int32_t lq_last_error_os_code(void);

/**
 * The name of a status code, as in "LQ_DISK_FULL".
 *
 * status: any number.
 *
 * Returns: a string that lives for ever, "LQ_UNKNOWN" for numbers that are no code; never NULL.
 * Threads: any.
 */
const char *lq_status_name(lq_status status);

/**
 * Opens a store, and creates it where there is none.
 *
 * path: the store's folder.
 * options: NULL for the defaults.
 * store: gets the handle.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL; a number of the options); LQ_NOT_FOUND (none there,
 * and create is 0, or the folder above it is missing); LQ_NOT_A_STORE (a file, or a folder with
 * other things); LQ_INCOMPATIBLE (written by a newer version); LQ_NETWORK_FILESYSTEM;
 * LQ_PERMISSION_DENIED; LQ_READ_ONLY (a read-only file system: open with read_only); LQ_DAMAGED;
 * LQ_DISK_FULL; LQ_STUCK (another process is laying it out all the time); LQ_TOO_MANY (members);
 * LQ_UNSUPPORTED (fields of a newer header); LQ_IO, LQ_INTERNAL. A store that cannot be opened is
 * not changed.
 * Memory: close the handle with lq_store_close.
 * Threads: any, several at once.
 */
lq_status lq_store_open(const char *path,
                        const lq_store_options *options,
                        lq_store **store);

/**
 * Leaves a store. Close all topics, groups, consumers and readers before; batches may be freed
 * later.
 *
 * store: the store; NULL is fine.
 *
 * Returns: LQ_OK; LQ_BUSY (handles are open: the message names them, and the store stays open);
 * LQ_INVALID_ARGUMENT (it was closed before); or how leaving failed, with the handle closed:
 * LQ_IO, LQ_DISK_FULL, LQ_INTERNAL.
 * Memory: the handle is no longer valid, unless LQ_BUSY was returned.
 * Threads: any.
 */
lq_status lq_store_close(lq_store *store);

/**
 * Puts on disk all that was sent, by any process, to the topics that this process has open.
 *
 * store: the store.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open store); LQ_READ_ONLY; LQ_POISONED (a sync failed);
 * LQ_DISK_FULL, LQ_IO, LQ_CLOSED, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_store_sync(lq_store *store);

/**
 * The store's id, which stays the same wherever its folder is moved.
 *
 * store: the store.
 * id: gets the id as text.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store); LQ_CLOSED; in the child of a fork all
 * that lq_store_open returns.
 * Memory: the text belongs to the store; valid until it is closed.
 * Threads: any, several at once.
 */
lq_status lq_store_id(lq_store *store, const char **id);

/**
 * The store's folder as an absolute path.
 *
 * store: the store.
 * path: gets the path.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store); LQ_INTERNAL.
 * Memory: the text belongs to the store; valid until it is closed.
 * Threads: any, several at once.
 */
lq_status lq_store_path(lq_store *store, const char **path);

/**
 * The names of the store's topics, sorted.
 *
 * store: the store.
 * names: gets the list.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store); LQ_PERMISSION_DENIED, LQ_IO,
 * LQ_CLOSED, LQ_INTERNAL.
 * Memory: free the list with lq_names_free.
 * Threads: any, several at once.
 */
lq_status lq_store_topics(lq_store *store, lq_names **names);

/**
 * Opens a topic, and creates it where there is none.
 *
 * store: the store that it is in.
 * name: 1 to 249 of the characters A-Z a-z 0-9 . _ -
 * options: NULL takes what is stored, or the defaults.
 * topic: gets the handle.
 *
 * Returns: LQ_OK; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL; a number of the options);
 * LQ_CONFIG_MISMATCH (an option contradicts what is stored); LQ_READ_ONLY (to be created in a
 * store that is only read); LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_DISK_FULL, LQ_PERMISSION_DENIED,
 * LQ_STUCK, LQ_TOO_MANY, LQ_UNSUPPORTED, LQ_CLOSED, LQ_IO, LQ_INTERNAL.
 * Memory: close the handle with lq_topic_close.
 * Threads: any, several at once.
 */
lq_status lq_topic_open(lq_store *store,
                        const char *name,
                        const lq_topic_options *options,
                        lq_topic **topic);

/**
 * Creates a topic that must not exist yet.
 *
 * store: the store that it will be in.
 * name: 1 to 249 of the characters A-Z a-z 0-9 . _ -
 * options: NULL for the defaults.
 * topic: gets the handle.
 *
 * Returns: LQ_OK; LQ_ALREADY_EXISTS; and what lq_topic_open returns but LQ_CONFIG_MISMATCH.
 * Memory: close the handle with lq_topic_close.
 * Threads: any, several at once.
 */
lq_status lq_topic_create(lq_store *store,
                          const char *name,
                          const lq_topic_options *options,
                          lq_topic **topic);

/**
 * Opens a topic that must exist.
 *
 * store: the store that it is in.
 * name: its name.
 * topic: gets the handle.
 *
 * Returns: LQ_OK; LQ_NOT_FOUND; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL); LQ_DAMAGED,
 * LQ_INCOMPATIBLE, LQ_PERMISSION_DENIED, LQ_STUCK, LQ_TOO_MANY, LQ_CLOSED, LQ_IO, LQ_INTERNAL.
 * Memory: close the handle with lq_topic_close.
 * Threads: any, several at once.
 */
lq_status lq_topic_open_existing(lq_store *store, const char *name, lq_topic **topic);

/**
 * Deletes a topic: its messages, its groups and their positions, durably, before the call returns.
 * Whoever has it open in any process gets LQ_NOT_FOUND from the next call on, and so does who
 * waits for messages; batches stay good. Topics that its groups' dead letters are in stay. The
 * name is free for another topic.
 *
 * store: the store that it is in.
 * name: its name.
 *
 * Returns: LQ_OK; LQ_NOT_FOUND (there is none); LQ_BUSY (a group of another topic has its dead
 * letters in it: delete that group first, or give it another dead_letter_topic); LQ_INVALID_NAME;
 * LQ_INVALID_ARGUMENT (NULL, no open store); LQ_READ_ONLY, LQ_DAMAGED, LQ_PERMISSION_DENIED,
 * LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_delete(lq_store *store, const char *name);

/**
 * Closes a topic. Its groups, consumers and readers stay open.
 *
 * topic: the topic; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no topic); LQ_INTERNAL.
 * Memory: the handle is no longer valid. Calls that are using it end as usual.
 * Threads: any.
 */
lq_status lq_topic_close(lq_topic *topic);

/**
 * The topic's name.
 *
 * topic: the topic.
 * name: gets the name.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_INTERNAL.
 * Memory: the text belongs to the topic; valid until it is closed.
 * Threads: any, several at once.
 */
lq_status lq_topic_name(lq_topic *topic, const char **name);

/**
 * The number of the topic's partitions.
 *
 * topic: the topic.
 * partitions: gets the number, 1 to 1024.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_partitions(lq_topic *topic, uint32_t *partitions);

/**
 * How full the topic is, from 0.0 to 1.0: what is not settled as a part of max_messages or
 * max_bytes, of the one that is nearer; 0.0 without a limit, 1.0 where it takes nothing. Read from
 * shared memory, without a system call: the first call for a handle, and the first after the topic
 * has another group, looks at the groups' files.
 *
 * topic: the topic.
 * pressure: gets the number.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_NOT_FOUND (the topic was deleted);
 * LQ_READ_ONLY (a topic with a limit in a store that is only read); LQ_DAMAGED, LQ_STUCK,
 * LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_pressure(lq_topic *topic, double *pressure);

/**
 * The configuration that is stored for the topic, as options that agree with it.
 *
 * topic: the topic.
 * config: gets it; begin with LQ_TOPIC_OPTIONS_INIT.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic, a wrong size); LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_config(lq_topic *topic, lq_topic_options *config);

/**
 * The names of the topic's groups, sorted.
 *
 * topic: the topic.
 * names: gets the list.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_PERMISSION_DENIED, LQ_IO,
 * LQ_INTERNAL.
 * Memory: free the list with lq_names_free.
 * Threads: any, several at once.
 */
lq_status lq_topic_groups(lq_topic *topic, lq_names **names);

/**
 * Puts on disk all that was sent to the topic, by any process.
 *
 * topic: the topic.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open topic); LQ_POISONED (a sync failed); LQ_DISK_FULL,
 * LQ_IO, LQ_CLOSED, LQ_FORKED, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_sync(lq_topic *topic);

/**
 * Waits until a message is on disk, so that a power loss cannot take it any more.
 *
 * topic: the topic that it was sent to.
 * id: what lq_send gave for it.
 * timeout_ms: how long to wait, in milliseconds; LQ_FOREVER for as long as it takes.
 *
 * Returns: LQ_OK; LQ_TIMEOUT; LQ_INVALID_ARGUMENT (NULL, an id of another topic, a bad time);
 * LQ_NOT_FOUND (it was never sent); LQ_POISONED (a sync failed); LQ_CLOSED, LQ_FORKED, LQ_IO,
 * LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_wait_durable(lq_topic *topic,
                                const lq_message_id *id,
                                int64_t timeout_ms);

/**
 * For each partition of a topic the first offset that a power loss may take.
 *
 * topic: the topic.
 * offsets: gets one number for each partition, in their order.
 * len: how many numbers there is room for; at least lq_topic_partitions.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic, too little room); LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_durable_offsets(lq_topic *topic, uint64_t *offsets, size_t len);

/**
 * Sends messages: all or none of them. Once it returns, they survive the end of any process, kill
 * -9 included, and a power loss as far as the topic's durability says. Messages of one call
 * without key and partition go to one partition together.
 *
 * A batch for several partitions is whole in each of them. A death in the middle of the call may
 * leave the parts of some partitions in the log and not the others', and a failed sync may take
 * some back and not others: then the error names the partitions whose part is in the log.
 *
 * topic: where to.
 * messages: n messages, each begun with LQ_MESSAGE_INIT; read during the call only.
 * n: how many; nothing happens where it is 0.
 * ids: gets the id of each message, in their order; NULL if they are of no interest.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (a bad pointer, handle, size, partition, priority or time; a
 * header's name that is not UTF-8; a dedup_id that is empty or too long, or whose topic has no
 * dedup_window_ms); LQ_TOO_LARGE (above max_message_bytes, or above the topic's limit by itself);
 * LQ_FULL (the topic has no room: nothing was stored); LQ_READ_ONLY (a store that is only read);
 * LQ_DISK_FULL (nothing was stored); LQ_TIMEOUT (there was no room within the topic's
 * send_timeout_ms, and nothing was stored; or it was, but the disk did not confirm it); LQ_STUCK
 * (a live process holds the partition's lock); LQ_POISONED (an earlier sync failed); LQ_CLOSED,
 * LQ_FORKED (the store was closed; open it again in the child); LQ_IO, LQ_FENCED, LQ_INTERNAL.
 * Memory: nothing is kept, and nothing has to be freed.
 * Threads: any, several at once.
 */
lq_status lq_send(lq_topic *topic,
                  const lq_message *messages,
                  size_t n,
                  lq_message_id *ids);

/**
 * As lq_send, with how long to wait for room in a topic that is full.
 *
 * topic: where to.
 * messages: n messages, each begun with LQ_MESSAGE_INIT; read during the call only.
 * n: how many; nothing happens where it is 0.
 * options: NULL waits as the topic is configured, as lq_send does.
 * ids: gets the id of each message, in their order; NULL if they are of no interest.
 *
 * Returns: LQ_OK; what lq_send returns; LQ_TIMEOUT also where there was no room in time, and then
 * nothing was stored; LQ_UNSUPPORTED (options of a newer library).
 * Memory: nothing is kept, and nothing has to be freed.
 * Threads: any, several at once.
 */
lq_status lq_send_with(lq_topic *topic,
                       const lq_message *messages,
                       size_t n,
                       const lq_send_options *options,
                       lq_message_id *ids);

/**
 * Opens a group that must exist.
 *
 * topic: the topic.
 * name: the group's name.
 * group: gets the handle.
 *
 * Returns: LQ_OK; LQ_NOT_FOUND; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL, no open topic);
 * LQ_READ_ONLY (in a store that is only read), LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_TOO_MANY, LQ_STUCK,
 * LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: close the handle with lq_group_close.
 * Threads: any, several at once.
 */
lq_status lq_group_open(lq_topic *topic, const char *name, lq_group **group);

/**
 * Opens a group, and creates it where there is none: durably, before the call returns. From then
 * on the topic keeps its messages until this group has settled them.
 *
 * topic: the topic.
 * name: 1 to 249 of the characters A-Z a-z 0-9 . _ -
 * options: NULL takes what is stored, or the defaults.
 * group: gets the handle.
 *
 * Returns: LQ_OK; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL; a number of the options; a start at
 * an offset where the topic has several partitions); LQ_INVALID_FILTER (the filter does not
 * parse); LQ_CONFIG_MISMATCH (an option contradicts what is stored); LQ_READ_ONLY; LQ_DISK_FULL,
 * LQ_PERMISSION_DENIED, LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_TOO_MANY, LQ_STUCK, LQ_UNSUPPORTED,
 * LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: close the handle with lq_group_close.
 * Threads: any, several at once.
 */
lq_status lq_group_create(lq_topic *topic,
                          const char *name,
                          const lq_group_options *options,
                          lq_group **group);

/**
 * Closes a group's handle. The group itself and its consumers stay.
 *
 * group: the group; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no group); LQ_INTERNAL.
 * Memory: the handle is no longer valid.
 * Threads: any.
 */
lq_status lq_group_close(lq_group *group);

/**
 * The group's name.
 *
 * group: the group.
 * name: gets the name.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_INTERNAL.
 * Memory: the text belongs to the group's handle; valid until it is closed.
 * Threads: any, several at once.
 */
lq_status lq_group_name(lq_group *group, const char **name);

/**
 * The configuration that is stored for the group, as options that agree with it.
 *
 * group: the group.
 * config: gets it; begin with LQ_GROUP_OPTIONS_INIT. Its start is left out: it is not kept. Its
 * filter is NULL where the group takes all messages.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group, a wrong size); LQ_INTERNAL.
 * Memory: the texts in it belong to the group's handle; valid until it is closed.
 * Threads: any, several at once.
 */
lq_status lq_group_config(lq_group *group, lq_group_options *config);

/**
 * The name of the topic that the group's dead letters go to.
 *
 * group: the group.
 * name: gets the name, or NULL where they are dropped. The topic is created with the first of
 * them.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_INTERNAL.
 * Memory: the text belongs to the group's handle; valid until it is closed.
 * Threads: any, several at once.
 */
lq_status lq_group_dead_letter_topic(lq_group *group, const char **name);

/**
 * The group's dead letters, oldest first.
 *
 * group: the group.
 * max: how many at most; 1 or more.
 * list: gets the list; an empty one where there are none, and where they are dropped.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group, max is 0); LQ_DAMAGED, LQ_CLOSED,
 * LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: free the list with lq_dead_letters_free.
 * Threads: any, several at once.
 */
lq_status lq_group_dead_letters(lq_group *group, size_t max, lq_dead_letters **list);

/**
 * Changes the configuration that is stored for a topic, durably, before the call returns. All
 * processes go by it from their next call on. What was sent before keeps what it was sent with.
 *
 * topic: the topic.
 * changes: begin with LQ_TOPIC_OPTIONS_INIT; what it leaves out stays. The number of partitions
 * cannot be changed: keys find their order by it.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open topic, a number of the options, another number of
 * partitions); LQ_NOT_FOUND (the topic was deleted); LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED,
 * LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_configure(lq_topic *topic, const lq_topic_options *changes);

/**
 * Changes the configuration that is stored for a group, durably, before the call returns. All
 * processes go by it from their next call on. Leases that are out keep their time.
 *
 * group: the group.
 * changes: begin with LQ_GROUP_OPTIONS_INIT; what it leaves out stays. The start cannot be set,
 * nor the window be changed, which the layout of the group's files depends on. Another
 * ordering than LQ_ORDERING_NONE needs a group in which no message is taken in and not settled.
 * max_lease_ms holds for consumers that are opened from then on, another filter for messages that
 * the group has not looked at yet. Where dead letters go to another topic, or are dropped, from
 * then on, none may be left in the former one, which would be out of sight: redrive and settle
 * them, or purge them, before.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open group, a number of the options, a start, another
 * window); LQ_INVALID_FILTER (the filter does not parse); LQ_BUSY (the ordering, on_dead_letter or
 * where dead letters go to, now: the message says what is to be done before); LQ_NOT_FOUND (the
 * group was deleted); LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED,
 * LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_configure(lq_group *group, const lq_group_options *changes);

/**
 * Stops handing out, in all processes, until lq_group_resume: durably, also when everyone leaves.
 * Receive calls wait as at an empty topic; what is out can be settled; leases and delays go on
 * running. Pausing twice is fine. lq_group_get_stats tells of it.
 *
 * group: the group.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (the group was deleted);
 * LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
 * LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_pause(lq_group *group);

/**
 * Hands out again, durably, and wakes those who wait. Resuming twice is fine.
 *
 * group: the group.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (the group was deleted);
 * LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
 * LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_resume(lq_group *group);

/**
 * Deletes a group, durably, with its position and all that it counted. Messages stay in the topic,
 * dead letters in theirs, where no group lists or redrives them any more. Its consumers and
 * handles, in all processes, get LQ_NOT_FOUND at their next call; a group made later under the
 * name is another one. Close the handles all the same.
 *
 * group: the group; its handle stays open.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (it was deleted before);
 * LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
 * LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_delete(lq_group *group);

/**
 * Settles a message by its id, whoever has it: it counts as acknowledged, and the receipt of its
 * consumer is stale.
 *
 * group: the group.
 * id: the message's id.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (it is settled already); LQ_BUSY (it is on its way to the dead
 * letters); LQ_NOT_FOUND (it was never sent, or is gone; the group was deleted); LQ_FULL (it is
 * further ahead than the group's window); LQ_INVALID_ARGUMENT (NULL, no open group, an id of
 * another topic); LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED,
 * LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_settle(lq_group *group, const lq_message_id *id);

/**
 * Has a message come back after a time, whoever has it: it is taken from its consumer, whose
 * receipt is stale. It goes on holding its key; nothing is counted.
 *
 * group: the group.
 * id: the message's id.
 * delay_ms: milliseconds from now, at most 365 days; 0 makes it ready at once.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (it is settled already); LQ_BUSY (it is on its way to the dead
 * letters, or waits for an earlier message of its key); LQ_INVALID_ARGUMENT (NULL, no open group,
 * an id of another topic, delay_ms); as lq_group_settle also LQ_NOT_FOUND, LQ_FULL, LQ_READ_ONLY,
 * LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_delay(lq_group *group, const lq_message_id *id, int64_t delay_ms);

/**
 * Gives up on a message now, whoever has it: it becomes a dead letter, and the receipt of its
 * consumer is stale.
 *
 * group: the group.
 * id: the message's id.
 * reason: why, in UTF-8; NULL is fine.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (it is settled already); LQ_BUSY (it is on its way to the dead
 * letters); LQ_INVALID_ARGUMENT (NULL, no open group, an id of another topic); as lq_group_settle
 * also LQ_NOT_FOUND, LQ_FULL, LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED,
 * LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_dead_letter(lq_group *group,
                               const lq_message_id *id,
                               const char *reason);

/**
 * How many dead letters a list has.
 *
 * list: the list.
 *
 * Returns: the number; 0 for NULL and for a list that was freed.
 * Threads: any, several at once.
 */
size_t lq_dead_letters_len(const lq_dead_letters *list);

/**
 * A dead letter of a list.
 *
 * list: the list.
 * i: its place, from 0.
 *
 * Returns: the dead letter; NULL where there is none at i, and for a list that is NULL or freed,
 * with the reason in lq_last_error_message.
 * Memory: belongs to the list; valid until it is freed.
 * Threads: any, several at once.
 */
const lq_dead_letter_entry *lq_dead_letters_get(const lq_dead_letters *list,
                                                       size_t i);

/**
 * Frees a list, and all that its dead letters point to.
 *
 * list: the list; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no list); LQ_INTERNAL.
 * Threads: any.
 */
lq_status lq_dead_letters_free(lq_dead_letters *list);

/**
 * Hands dead letters of a group out again, to its consumers and to nobody else, before what is
 * fresh. Each is the message that it was, with its own id, key, headers, payload and time, and a
 * header lq-cycles that says how often it came back dead before; one that held its key
 * (LQ_ON_DEAD_LETTER_HOLD_KEY) has its own headers alone. Its failures begin at 0, its attempts go
 * on. It is no dead letter from here on; where it fails for the last time again it
 * becomes another one. Durable before the call returns. By hand, as with lq_group_settle, it goes
 * by the id of its dead letter.
 *
 * group: the group.
 * options: which, and how; NULL for all, as fast as it can.
 * results: gets a code for each of the ids, LQ_OK or LQ_NOT_FOUND, where the call returns one of
 * these two; else left as it is. NULL if they are of no interest.
 * count: gets how many were redriven; NULL if that is of no interest.
 *
 * Returns: LQ_OK; LQ_NOT_FOUND (some ids are no dead letters of the group now, as after an earlier
 * redrive, or the group was deleted; all others are redriven); LQ_FULL (the oldest dead letter is
 * too far before the others); LQ_DAMAGED (some letters cannot be read; told once, all others are
 * redriven); LQ_BUSY (the group's letters go to another topic since); LQ_INVALID_ARGUMENT (no open
 * group, NULL ids, a number of the options); LQ_READ_ONLY, LQ_DISK_FULL, LQ_STUCK, LQ_CLOSED,
 * LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once; not from progress of the same call.
 */
lq_status lq_group_redrive(lq_group *group,
                           const lq_redrive_options *options,
                           lq_status *results,
                           uint64_t *count);

/**
 * Gives up on dead letters for good. They stay in their topic, for who reads that, and are no dead
 * letters of the group any more. What was redriven is left alone. Where a letter is damaged its
 * message goes on holding the key that it held: lq_group_settle ends that, by the message's id.
 * Durable before the call returns.
 *
 * group: the group.
 * ids: n ids, as lq_group_dead_letters shows them, read during the call only; NULL for all that
 * are there when the call begins: what comes meanwhile stays.
 * n: how many ids.
 * results: gets n codes, each LQ_OK or LQ_NOT_FOUND, where the call returns one of these two; else
 * left as it is. NULL if they are of no interest.
 * count: gets how many were purged; NULL if that is of no interest.
 *
 * Returns: as lq_group_redrive.
 * Threads: any, several at once.
 */
lq_status lq_group_purge_dead_letters(lq_group *group,
                                      const lq_message_id *ids,
                                      size_t n,
                                      lq_status *results,
                                      uint64_t *count);

/**
 * Sets a group to a place in the log or to a snapshot, in all partitions or in one, while its
 * consumers are at work. What is before the place counts as settled, what is behind it comes, with
 * no attempts and no failures; to a snapshot, what was settled then counts as settled, and all
 * else comes with the attempts and failures that it had. Durable, and in force in all processes,
 * before the call returns; those that wait are woken. Leases from before are stale: to settle one
 * is LQ_STALE_RECEIPT. Dead letters stay, and what was redriven keeps its leases; a dead letter
 * that holds its key is a message like any other.
 *
 * group: the group.
 * options: where to.
 * plan: gets what the seek does, as it was counted a moment before; NULL if that is of no
 * interest.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open group, NULL options, nothing or two things that say
 * where to, an offset behind the end, or without a partition where there are several); LQ_REMOVED
 * (an offset that retention took); LQ_INVALID_NAME (of a snapshot); LQ_NOT_FOUND (no such
 * snapshot, or the group was deleted); LQ_BUSY (what failed for the last time would be passed
 * over, and is no dead letter yet); LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED: the group is
 * where it was. After LQ_DAMAGED (the snapshot, or a window), LQ_DISK_FULL, LQ_STUCK, LQ_TOO_MANY,
 * LQ_IO or LQ_INTERNAL it may have been sought: call it again.
 * Memory: free the plan with lq_seek_plan_free.
 * Threads: any, several at once.
 */
lq_status lq_group_seek(lq_group *group,
                        const lq_seek_options *options,
                        lq_seek_plan **plan);

/**
 * What lq_group_seek would do now, which is not done.
 *
 * group: the group.
 * options: where to.
 * plan: gets what the seek would do.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (as lq_group_seek, and a plan that is NULL); LQ_REMOVED (an
 * offset that retention took); LQ_INVALID_NAME (of a snapshot); LQ_NOT_FOUND (no such snapshot, or
 * the group was deleted); LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: free the plan with lq_seek_plan_free.
 * Threads: any, several at once.
 */
lq_status lq_group_preview_seek(lq_group *group,
                                const lq_seek_options *options,
                                lq_seek_plan **plan);

/**
 * How many partitions a plan is about.
 *
 * plan: the plan.
 *
 * Returns: the number; 0 for NULL and for a plan that was freed.
 * Threads: any, several at once.
 */
size_t lq_seek_plan_len(const lq_seek_plan *plan);

/**
 * What a plan says of a partition.
 *
 * plan: the plan.
 * i: its place, from 0.
 *
 * Returns: what becomes of it; NULL where there is none at i, and for a plan that is NULL or
 * freed, with the reason in lq_last_error_message.
 * Memory: belongs to the plan; valid until it is freed.
 * Threads: any, several at once.
 */
const lq_seek_partition *lq_seek_plan_get(const lq_seek_plan *plan, size_t i);

/**
 * Frees a plan.
 *
 * plan: the plan; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no plan); LQ_INTERNAL.
 * Threads: any.
 */
lq_status lq_seek_plan_free(lq_seek_plan *plan);

/**
 * Takes a snapshot of a group: which messages of each partition are settled, and the attempts and
 * failures of those that are not, at one point of each partition. lq_group_seek goes back to it.
 * On disk before the call returns; deleted with the group.
 *
 * group: the group.
 * name: a letter and up to 63 more of the characters A-Z a-z 0-9 . _ - but neither "earliest" nor
 * "latest".
 *
 * Returns: LQ_OK; LQ_INVALID_NAME; LQ_ALREADY_EXISTS; LQ_TOO_MANY (a group has at most 100);
 * LQ_TOO_LARGE (more than 4,194,304 messages are taken in and not settled); LQ_INVALID_ARGUMENT
 * (NULL, no open group); LQ_NOT_FOUND (the group was deleted); LQ_READ_ONLY, LQ_DISK_FULL,
 * LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_snapshot(lq_group *group, const char *name);

/**
 * Deletes a snapshot of a group, durably.
 *
 * group: the group.
 * name: the snapshot's name.
 *
 * Returns: LQ_OK; LQ_NOT_FOUND (there is none of the name, or the group was deleted); LQ_BUSY (a
 * seek to it cannot be done with yet); LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL, no open group);
 * LQ_READ_ONLY, LQ_DISK_FULL, LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
 * LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_delete_snapshot(lq_group *group, const char *name);

/**
 * The snapshots of a group, in the order of their names.
 *
 * group: the group.
 * list: gets the list; an empty one where there are none.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (the group was deleted);
 * LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: free the list with lq_snapshots_free.
 * Threads: any, several at once.
 */
lq_status lq_group_snapshots(lq_group *group, lq_snapshots **list);

/**
 * How many snapshots a list has.
 *
 * list: the list.
 *
 * Returns: the number; 0 for NULL and for a list that was freed.
 * Threads: any, several at once.
 */
size_t lq_snapshots_len(const lq_snapshots *list);

/**
 * A snapshot of a list.
 *
 * list: the list.
 * i: its place, from 0.
 *
 * Returns: the snapshot; NULL where there is none at i, and for a list that is NULL or freed, with
 * the reason in lq_last_error_message.
 * Memory: belongs to the list; valid until it is freed.
 * Threads: any, several at once.
 */
const lq_snapshot *lq_snapshots_get(const lq_snapshots *list, size_t i);

/**
 * Frees a list, and all that its snapshots point to.
 *
 * list: the list; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no list); LQ_INTERNAL.
 * Threads: any.
 */
lq_status lq_snapshots_free(lq_snapshots *list);

/**
 * Opens a consumer of a group, which is created where there is none.
 *
 * topic: the topic.
 * group: the group's name, 1 to 249 of the characters A-Z a-z 0-9 . _ -
 * options: NULL takes the configuration that is stored, or the defaults.
 * consumer: gets the handle.
 *
 * Returns: LQ_OK; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL; a number of the options; a start at
 * an offset where the topic has several partitions); LQ_INVALID_FILTER (the filter does not
 * parse); LQ_CONFIG_MISMATCH (an option contradicts what is stored); LQ_READ_ONLY; LQ_TOO_MANY
 * (consumers or groups); LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_DISK_FULL, LQ_PERMISSION_DENIED,
 * LQ_STUCK, LQ_UNSUPPORTED, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: close the handle with lq_consumer_close.
 * Threads: any, several at once.
 */
lq_status lq_consumer_open(lq_topic *topic,
                           const char *group,
                           const lq_consumer_options *options,
                           lq_consumer **consumer);

/**
 * Closes a consumer. What it has not settled goes back to the group, uncounted and at once; until
 * it is handed out again, other consumers of the group may settle it with its receipts. A thread
 * that waits in lq_receive returns from it with LQ_CLOSED.
 *
 * consumer: the consumer; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no consumer); or how handing
 * back failed, with the handle closed: LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: the handle is no longer valid.
 * Threads: any.
 */
lq_status lq_consumer_close(lq_consumer *consumer);

/**
 * The consumer's name, as statistics and dead letters show it.
 *
 * consumer: the consumer.
 * name: gets the name.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_INTERNAL.
 * Memory: the text belongs to the consumer; valid until it is closed.
 * Threads: any, several at once.
 */
lq_status lq_consumer_name(lq_consumer *consumer, const char **name);

/**
 * Receives messages, each of them leased from now on for the consumer's lease, else the group's.
 * Settle each with lq_ack, lq_nack, lq_release or lq_dead_letter before its lease ends, or extend
 * it. Where the group hands out at most once each was settled before the call returns it: receive
 * as many as are sure to be handled.
 *
 * Where the group has a filter, the call passes over what that leaves out until its timeout, and
 * for 50 ms where the timeout is shorter, 0 included; the next call goes on from there.
 *
 * consumer: the consumer.
 * max: how many at most; 1 or more.
 * timeout_ms: how long to wait for the first, in milliseconds; 0 does not wait, LQ_FOREVER waits
 * for as long as it takes.
 * batch: gets the messages, 1 to max of them.
 *
 * Returns: LQ_OK; LQ_TIMEOUT (nothing came); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad
 * number); LQ_DAMAGED (a message's bytes are damaged: told once, by the next call if this one has
 * messages; the message is settled; go on receiving); LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_STUCK,
 * LQ_DISK_FULL, LQ_IO, LQ_INTERNAL.
 * Memory: free the batch with lq_batch_free. Freeing settles nothing.
 * Threads: any, several at once.
 */
lq_status lq_receive(lq_consumer *consumer,
                     size_t max,
                     int64_t timeout_ms,
                     lq_batch **batch);

/**
 * As lq_receive, with all that can be asked for.
 *
 * Where the group has a filter, the call passes over what that leaves out until its timeout, and
 * for 50 ms where the timeout is shorter, 0 included; the next call goes on from there.
 *
 * consumer: the consumer.
 * options: NULL takes one message, for as long as it takes.
 * batch: gets the messages, at least one.
 *
 * Returns: LQ_OK; LQ_TIMEOUT (nothing came); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad
 * number, a lease above the group's max_lease_ms, or where it hands out at most once);
 * LQ_UNSUPPORTED (options of a newer library);
 * LQ_DAMAGED (a message's bytes are damaged: told once, by the next call if this one has messages;
 * the message is settled; go on receiving); LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_STUCK,
 * LQ_DISK_FULL, LQ_IO, LQ_INTERNAL.
 * Memory: free the batch with lq_batch_free. Freeing settles nothing.
 * Threads: any, several at once.
 */
lq_status lq_receive_with(lq_consumer *consumer,
                          const lq_receive_options *options,
                          lq_batch **batch);

/**
 * A descriptor that is readable while a receive of this consumer may return something, a message
 * or an error, and not readable while none can: for poll, epoll and event loops. When it is
 * readable, receive with a timeout of 0; another consumer may have been faster. A receive that
 * empties the group makes it unreadable. With the first one a thread starts, which serves all
 * descriptors of the store and sleeps while nothing happens.
 *
 * consumer: the consumer.
 * fd: gets the descriptor; the same with each call.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_TOO_MANY (threads); LQ_CLOSED,
 * LQ_FORKED (the child of a fork opens consumers of its own), LQ_IO (no descriptor is left),
 * LQ_INTERNAL.
 * Memory: the descriptor belongs to the consumer: only poll it, do not read or close it; take it
 * out of poll sets before the consumer is closed. It is closed on exec.
 * Threads: any, several at once.
 */
lq_status lq_consumer_fd(lq_consumer *consumer, int *fd);

/**
 * Hands out nothing more, and waits until all messages that the consumer has out are settled or
 * their leases ended. From here on receives, those that wait included, end with LQ_CLOSED;
 * settling goes on. Draining is final: close the consumer afterwards.
 *
 * consumer: the consumer.
 * timeout_ms: how long to wait, in milliseconds; 0 does not wait, LQ_FOREVER waits for as long as
 * it takes.
 *
 * Returns: LQ_OK; LQ_TIMEOUT (some are still out; lq_consumer_close hands them back, uncounted);
 * LQ_INVALID_ARGUMENT (no open consumer, a bad timeout_ms); LQ_CLOSED, LQ_FORKED, LQ_FENCED,
 * LQ_STUCK, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_consumer_drain(lq_consumer *consumer, int64_t timeout_ms);

/**
 * How many messages a batch has.
 *
 * batch: the batch.
 *
 * Returns: the number; 0 for NULL and for a batch that was freed.
 * Threads: one at a time.
 */
size_t lq_batch_len(const lq_batch *batch);

/**
 * A message of a batch. From a consumer's batch, this says that work on the message begins: if
 * this process dies, only messages that were got are charged with a failure, or all of the batch
 * if none was.
 *
 * batch: the batch.
 * i: the message's place, from 0.
 *
 * Returns: the message; NULL where there is none at i, and for a batch that is NULL or freed, with
 * the reason in lq_last_error_message.
 * Memory: belongs to the batch; valid until it is freed.
 * Threads: one at a time.
 */
const lq_delivery *lq_batch_get(const lq_batch *batch, size_t i);

/**
 * Frees a batch. What was not settled stays leased until its lease ends.
 *
 * batch: the batch; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no batch); LQ_INTERNAL.
 * Memory: the messages of the batch, and all that they point to, are no longer valid; receipts
 * are.
 * Threads: any, while no other uses the batch.
 */
lq_status lq_batch_free(lq_batch *batch);

/**
 * The consumers of a group, in all processes, in the order of their names.
 *
 * group: the group.
 * list: gets the list; an empty one where there are none.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group); LQ_NOT_FOUND (the group was deleted);
 * LQ_DAMAGED, LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: free the list with lq_consumers_free.
 * Threads: any, several at once.
 */
lq_status lq_group_consumers(lq_group *group, lq_consumers **list);

/**
 * How many consumers a list has.
 *
 * list: the list.
 *
 * Returns: the number; 0 for NULL and for a list that was freed.
 * Threads: any, several at once.
 */
size_t lq_consumers_len(const lq_consumers *list);

/**
 * A consumer of a list.
 *
 * list: the list.
 * i: its place, from 0.
 *
 * Returns: the consumer; NULL where there is none at i, and for a list that is NULL or freed, with
 * the reason in lq_last_error_message.
 * Memory: belongs to the list; valid until it is freed.
 * Threads: any, several at once.
 */
const lq_consumer_stats *lq_consumers_get(const lq_consumers *list, size_t i);

/**
 * Frees a list, and all that its consumers point to.
 *
 * list: the list; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no list); LQ_INTERNAL.
 * Threads: any.
 */
lq_status lq_consumers_free(lq_consumers *list);

/**
 * Looks at a message, and at where it stands in a group, changing nothing.
 *
 * group: the group.
 * partition: the message's partition.
 * offset: its offset.
 * found: gets what was found.
 *
 * Returns: LQ_OK; LQ_NOT_FOUND (it was never sent, is still being sent, or is gone; the group was
 * deleted); LQ_INVALID_ARGUMENT (NULL, no open group, no such partition); LQ_DAMAGED, LQ_STUCK,
 * LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: free what was found with lq_peeked_free.
 * Threads: any, several at once.
 */
lq_status lq_group_peek(lq_group *group,
                        uint32_t partition,
                        uint64_t offset,
                        lq_peeked **found);

/**
 * What a look found.
 *
 * found: what lq_group_peek gave.
 *
 * Returns: the message and where it stands; NULL for what is NULL or freed, with the reason in
 * lq_last_error_message.
 * Memory: belongs to found; valid until that is freed.
 * Threads: any, several at once.
 */
const lq_peek *lq_peeked_get(const lq_peeked *found);

/**
 * Frees what a look found, and all that it points to.
 *
 * found: what lq_group_peek gave; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is something else); LQ_INTERNAL.
 * Threads: any.
 */
lq_status lq_peeked_free(lq_peeked *found);

/**
 * The messages are done. Where the group hands out at most once they were before, and nothing
 * happens.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_STUCK, LQ_READ_ONLY,
 * LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_ack(lq_consumer *consumer, const lq_receipt *receipts, size_t n);

/**
 * As lq_ack, and says of each receipt whether it was stale.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 * results: gets n codes, each LQ_OK or LQ_STALE_RECEIPT, where the call returns one of these two;
 * else left as it is. NULL if they are of no interest.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_STUCK, LQ_READ_ONLY,
 * LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_ack_results(lq_consumer *consumer,
                         const lq_receipt *receipts,
                         size_t n,
                         lq_status *results);

/**
 * The messages failed: they come back after a delay, and after the group's max_attempts failures
 * they become dead letters. Where the group hands out at most once a failure is counted, and
 * nothing comes back.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 * delay_ms: when they come back, in milliseconds; LQ_BACKOFF takes the group's backoff.
 * error: why, for statistics and dead letters; read during the call only; NULL for no text. What
 * is not UTF-8 in it is replaced.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad delay_ms); LQ_DISK_FULL
 * (no room for a dead letter); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
 * LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_nack(lq_consumer *consumer,
                  const lq_receipt *receipts,
                  size_t n,
                  int64_t delay_ms,
                  const char *error);

/**
 * As lq_nack, and says of each receipt whether it was stale.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 * delay_ms: when they come back, in milliseconds; LQ_BACKOFF takes the group's backoff.
 * error: why, for statistics and dead letters; read during the call only; NULL for no text. What
 * is not UTF-8 in it is replaced.
 * results: gets n codes, each LQ_OK or LQ_STALE_RECEIPT, where the call returns one of these two;
 * else left as it is. NULL if they are of no interest.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad delay_ms); LQ_DISK_FULL
 * (no room for a dead letter); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO,
 * LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_nack_results(lq_consumer *consumer,
                          const lq_receipt *receipts,
                          size_t n,
                          int64_t delay_ms,
                          const char *error,
                          lq_status *results);

/**
 * The messages go back to the group, not counted as failures; they are ready at once. Not where
 * the group hands out at most once: LQ_INVALID_ARGUMENT, also from lq_extend and lq_dead_letter.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_STUCK, LQ_READ_ONLY,
 * LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_release(lq_consumer *consumer, const lq_receipt *receipts, size_t n);

/**
 * As lq_release, and says of each receipt whether it was stale.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 * results: gets n codes, each LQ_OK or LQ_STALE_RECEIPT, where the call returns one of these two;
 * else left as it is. NULL if they are of no interest.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_STUCK, LQ_READ_ONLY,
 * LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_release_results(lq_consumer *consumer,
                             const lq_receipt *receipts,
                             size_t n,
                             lq_status *results);

/**
 * The leases of the messages end lease_ms from now on. Where the group has a max_lease_ms,
 * none ends later than that after its message was handed out: those that would are left as they
 * are, all others extended, and only the consumer that received a message extends it.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 * lease_ms: the new lease in milliseconds; 1 to a year.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are extended); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad lease_ms, or beyond
 * max_lease_ms); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_extend(lq_consumer *consumer,
                    const lq_receipt *receipts,
                    size_t n,
                    int64_t lease_ms);

/**
 * As lq_extend, and says of each receipt whether it was stale, or would end beyond max_lease_ms.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 * lease_ms: the new lease in milliseconds; 1 to a year.
 * results: gets n codes, each LQ_OK, LQ_STALE_RECEIPT or, beyond max_lease_ms,
 * LQ_INVALID_ARGUMENT, where the call extended what it could; else left as it is. NULL if they are
 * of no interest.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are extended); LQ_INVALID_ARGUMENT (NULL, no open consumer, a bad lease_ms, or beyond
 * max_lease_ms); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_extend_results(lq_consumer *consumer,
                            const lq_receipt *receipts,
                            size_t n,
                            int64_t lease_ms,
                            lq_status *results);

/**
 * Gives up on the messages: they become dead letters now.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 * reason: why, for the dead letter; read during the call only; NULL for no text. What is not UTF-8
 * in it is replaced.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_DISK_FULL (no room for a
 * dead letter); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_dead_letter(lq_consumer *consumer,
                         const lq_receipt *receipts,
                         size_t n,
                         const char *reason);

/**
 * As lq_dead_letter, and says of each receipt whether it was stale.
 *
 * consumer: a consumer of the group.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 * reason: why, for the dead letter; read during the call only; NULL for no text. What is not UTF-8
 * in it is replaced.
 * results: gets n codes, each LQ_OK or LQ_STALE_RECEIPT, where the call returns one of these two;
 * else left as it is. NULL if they are of no interest.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some messages were settled or handed out again meanwhile; all
 * others are settled); LQ_INVALID_ARGUMENT (NULL, no open consumer); LQ_DISK_FULL (no room for a
 * dead letter); LQ_STUCK, LQ_READ_ONLY, LQ_CLOSED, LQ_FORKED, LQ_FENCED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_dead_letter_results(lq_consumer *consumer,
                                 const lq_receipt *receipts,
                                 size_t n,
                                 const char *reason,
                                 lq_status *results);

/**
 * Opens a reader.
 *
 * topic: the topic.
 * options: NULL reads all partitions from the earliest message on.
 * reader: gets the handle.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL; a number of the options; no such partition; a start
 * at an offset with several partitions); LQ_UNSUPPORTED, LQ_DAMAGED, LQ_CLOSED, LQ_FORKED, LQ_IO,
 * LQ_INTERNAL.
 * Memory: close the handle with lq_reader_close.
 * Threads: any, several at once.
 */
lq_status lq_reader_open(lq_topic *topic,
                         const lq_reader_options *options,
                         lq_reader **reader);

/**
 * Reads on: the messages behind those that were read before, in the order of each partition.
 *
 * reader: the reader.
 * max: how many at most; 1 or more.
 * timeout_ms: how long to wait for the first, in milliseconds; 0 does not wait, LQ_FOREVER waits
 * for as long as it takes.
 * batch: gets the messages, 1 to max of them. They have no receipts.
 *
 * Returns: LQ_OK; LQ_TIMEOUT (nothing more is there); LQ_INVALID_ARGUMENT (NULL, no open reader, a
 * bad number); LQ_DAMAGED (a message's bytes are damaged: told once, then passed over; go on
 * reading); LQ_BUSY (another thread is using it); LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: free the batch with lq_batch_free.
 * Threads: one at a time.
 */
lq_status lq_reader_receive(lq_reader *reader,
                            size_t max,
                            int64_t timeout_ms,
                            lq_batch **batch);

/**
 * Moves a reader, in all its partitions.
 *
 * reader: the reader.
 * start: where to: one of LQ_START_.
 * start_at: with LQ_START_OFFSET the offset (of a reader of one partition), with LQ_START_TIME
 * nanoseconds since the Unix epoch; else 0.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (no open reader, a bad number, an offset with several
 * partitions); LQ_BUSY (another thread is using it); LQ_DAMAGED, LQ_IO, LQ_INTERNAL.
 * Threads: one at a time.
 */
lq_status lq_reader_seek(lq_reader *reader, int32_t start, int64_t start_at);

/**
 * Closes a reader.
 *
 * reader: the reader; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no reader); LQ_INTERNAL.
 * Memory: the handle is no longer valid. Batches of it are, until they are freed.
 * Threads: any; a call that is using it ends as usual.
 */
lq_status lq_reader_close(lq_reader *reader);

/**
 * Opens the producer of a name, which is created where there is none. Handles of the name that
 * were opened before, in any process, get LQ_FENCED from then on.
 *
 * topic: the topic.
 * name: 1 to 249 of the characters A-Z a-z 0-9 . _ -
 * producer: gets the handle.
 *
 * Returns: LQ_OK; LQ_INVALID_NAME; LQ_INVALID_ARGUMENT (NULL, no open topic); LQ_READ_ONLY;
 * LQ_TOO_MANY, LQ_DAMAGED, LQ_INCOMPATIBLE, LQ_DISK_FULL, LQ_PERMISSION_DENIED, LQ_STUCK,
 * LQ_NOT_FOUND (the topic was deleted); LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: close the handle with lq_producer_close.
 * Threads: any, several at once.
 */
lq_status lq_producer_open(lq_topic *topic, const char *name, lq_producer **producer);

/**
 * Sends one message. A sequence that was sent before, by this handle or an earlier one of the
 * name, returns the first send's id and appends nothing, whatever the message is: so it may be
 * sent again after an error, a timeout or a kill.
 *
 * producer: the producer.
 * message: begun with LQ_MESSAGE_INIT, without a dedup_id; read during the call only.
 * sequence: its number, above the last one, from 1; gaps are allowed. 0 counts on by itself.
 * id: gets the message's id; NULL if it is of no interest.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (a bad pointer, handle or number; a sequence that is older
 * than the last 1,000, or was passed over); LQ_FENCED (the name was opened again: nothing was
 * sent); and what lq_send returns.
 * Memory: nothing is kept, and nothing has to be freed.
 * Threads: any, several at once.
 */
lq_status lq_producer_send(lq_producer *producer,
                           const lq_message *message,
                           uint64_t sequence,
                           lq_message_id *id);

/**
 * As lq_producer_send, with how long to wait for room in a topic that is full, and for other
 * threads that do by this handle.
 *
 * producer: the producer.
 * message: begun with LQ_MESSAGE_INIT, without a dedup_id; read during the call only.
 * sequence: its number, above the last one, from 1; gaps are allowed. 0 counts on by itself.
 * options: NULL waits as the topic is configured, as lq_producer_send does.
 * id: gets the message's id; NULL if it is of no interest.
 *
 * Returns: LQ_OK; what lq_producer_send returns; LQ_TIMEOUT also where there was no room in time,
 * and then nothing was stored; LQ_UNSUPPORTED (options of a newer library).
 * Memory: nothing is kept, and nothing has to be freed.
 * Threads: any, several at once.
 */
lq_status lq_producer_send_with(lq_producer *producer,
                                const lq_message *message,
                                uint64_t sequence,
                                const lq_send_options *options,
                                lq_message_id *id);

/**
 * The highest sequence that was sent, by any opening of the name. What was sent in a call that
 * timed out, or whose process was killed, is in it, or is not in the log and never will be.
 *
 * producer: the producer.
 * sequence: gets it; 0 before the first send.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open producer); LQ_STUCK, LQ_NOT_FOUND (the topic
 * was deleted), LQ_DAMAGED, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_producer_last_sequence(lq_producer *producer, uint64_t *sequence);

/**
 * Closes a producer.
 *
 * producer: the producer; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no producer); LQ_INTERNAL.
 * Memory: the handle is no longer valid.
 * Threads: any; a call that is using it ends as usual.
 */
lq_status lq_producer_close(lq_producer *producer);

/**
 * Begins a transaction.
 *
 * store: the store.
 * transaction: gets the handle.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store); LQ_READ_ONLY (a store that is only
 * read); LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Memory: close the handle with lq_transaction_abort.
 * Threads: any, several at once.
 */
lq_status lq_transaction_begin(lq_store *store, lq_transaction **transaction);

/**
 * Sends messages when the transaction is committed; all of the call are added, or none.
 *
 * transaction: the transaction.
 * topic: where to, of the same store.
 * messages: n messages, each begun with LQ_MESSAGE_INIT; read during the call only, and copied.
 * n: how many; nothing happens where it is 0.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (a bad pointer, handle, size, partition, priority or time; a
 * dedup_id; a topic of another store); LQ_TOO_LARGE (above max_message_bytes, or the transaction
 * would have more than 16 MiB of messages or 10,000 operations); LQ_NOT_FOUND (the topic was
 * deleted); LQ_CLOSED (it was committed, or its store closed); LQ_BUSY (another thread is using
 * it); LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Threads: one at a time.
 */
lq_status lq_transaction_send(lq_transaction *transaction,
                              lq_topic *topic,
                              const lq_message *messages,
                              size_t n);

/**
 * Acknowledges deliveries when the transaction is committed.
 *
 * transaction: the transaction.
 * consumer: the consumer that received them, of the same store.
 * receipts: n receipts, read during the call only.
 * n: how many; nothing happens where it is 0.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open handle; a consumer of another store; a group
 * that hands out at most once, where all was settled before); LQ_TOO_LARGE (more than 10,000
 * operations); LQ_CLOSED (it was committed, or its store or consumer closed); LQ_BUSY (another
 * thread is using it); LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Threads: one at a time.
 */
lq_status lq_transaction_ack(lq_transaction *transaction,
                             lq_consumer *consumer,
                             const lq_receipt *receipts,
                             size_t n);

/**
 * Does all of a transaction, or, on an error, nothing; either way it is over, and its handle is
 * still to be closed.
 *
 * transaction: the transaction.
 * ids: gets the ids of the messages, in the order in which they were sent; NULL if they are of no
 * interest.
 * n: how many there is room for: as many as were sent, or 0 where ids is NULL.
 *
 * Returns: LQ_OK; LQ_STALE_RECEIPT (some of the deliveries were settled or handed out again
 * meanwhile: nothing happened); LQ_INVALID_ARGUMENT (NULL; n is not as many as were sent: nothing
 * happened, and it is still open); LQ_NOT_FOUND (a topic or group was deleted); LQ_FULL,
 * LQ_TOO_LARGE (a topic has no room for it, or never has: nothing happened); LQ_DISK_FULL,
 * LQ_STUCK, LQ_FENCED, LQ_DAMAGED (nothing happened); LQ_POISONED, LQ_IO, LQ_TIMEOUT (there was no
 * room within a topic's send_timeout_ms, and nothing happened; but where the message of the error
 * begins with "the transaction is done" it has happened, and is not on disk);
 * LQ_CLOSED (it is over, or its store closed); LQ_BUSY (another thread is using it); LQ_FORKED,
 * LQ_INTERNAL.
 * Memory: close the handle with lq_transaction_abort.
 * Threads: one at a time.
 */
lq_status lq_transaction_commit(lq_transaction *transaction,
                                lq_message_id *ids,
                                size_t n);

/**
 * As lq_transaction_commit, and says of each receipt whether it was stale.
 *
 * transaction: the transaction.
 * ids: gets the ids of the messages, in the order in which they were sent; NULL if they are of no
 * interest.
 * n: how many there is room for: as many as were sent, or 0 where ids is NULL.
 * results: gets a code for each receipt, in the order in which they were acknowledged, each LQ_OK
 * or LQ_STALE_RECEIPT, where the call returns one of these two; else left as it is. NULL if they
 * are of no interest.
 * results_n: how many there is room for: as many as were acknowledged, or 0 where results is NULL.
 *
 * Returns: as lq_transaction_commit; LQ_INVALID_ARGUMENT also where results_n is not as many as
 * were acknowledged.
 * Memory: close the handle with lq_transaction_abort.
 * Threads: one at a time.
 */
lq_status lq_transaction_commit_results(lq_transaction *transaction,
                                        lq_message_id *ids,
                                        size_t n,
                                        lq_status *results,
                                        size_t results_n);

/**
 * Closes a transaction; one that was not committed does nothing.
 *
 * transaction: the transaction; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was closed before, or is no transaction); LQ_INTERNAL.
 * Memory: the handle is no longer valid.
 * Threads: any; a call that is using it ends as usual.
 */
lq_status lq_transaction_abort(lq_transaction *transaction);

/**
 * How many names a list has.
 *
 * names: the list.
 *
 * Returns: the number; 0 for NULL and for a list that was freed.
 * Threads: any, several at once.
 */
size_t lq_names_len(const lq_names *names);

/**
 * A name of a list.
 *
 * names: the list.
 * i: its place, from 0.
 *
 * Returns: the name, in UTF-8; NULL where there is none at i, and for a list that is NULL or
 * freed, with the reason in lq_last_error_message.
 * Memory: belongs to the list; valid until it is freed.
 * Threads: any, several at once.
 */
const char *lq_names_get(const lq_names *names, size_t i);

/**
 * Frees a list, and the names in it.
 *
 * names: the list; NULL is fine.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (it was freed before, or is no list); LQ_INTERNAL.
 * Threads: any.
 */
lq_status lq_names_free(lq_names *names);

/**
 * Looks at a store. Walks all its files: not for a hot path.
 *
 * store: the store.
 * stats: gets the numbers; begin with LQ_STORE_STATS_INIT.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open store, a wrong size); LQ_CLOSED, LQ_IO,
 * LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_store_get_stats(lq_store *store, lq_store_stats *stats);

/**
 * Looks at a topic. Waits for nobody who lives, and costs the same however much it holds.
 *
 * topic: the topic.
 * stats: gets the numbers; begin with LQ_TOPIC_STATS_INIT.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic, a wrong size); LQ_CLOSED, LQ_FORKED,
 * LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_get_stats(lq_topic *topic, lq_topic_stats *stats);

/**
 * Looks at one partition of a topic.
 *
 * topic: the topic.
 * partition: its number, from 0.
 * stats: gets the numbers; begin with LQ_PARTITION_STATS_INIT.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open topic, no such partition, a wrong size);
 * LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_topic_get_partition_stats(lq_topic *topic,
                                       uint32_t partition,
                                       lq_partition_stats *stats);

/**
 * Looks at a group. Waits for nobody who lives, and costs the same however far it is behind.
 *
 * group: the group.
 * stats: gets the numbers; begin with LQ_GROUP_STATS_INIT.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (NULL, no open group, a wrong size); LQ_NOT_FOUND (the group
 * was deleted); LQ_STUCK, LQ_CLOSED, LQ_FORKED, LQ_IO, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_group_get_stats(lq_group *group, lq_group_stats *stats);

/**
 * Makes a copy of a store while it is in use: a store of its own, with the same ids, offsets,
 * configuration, positions and dead letters. Nobody waits for it. It holds what had been sent when
 * the call began; what is settled while it runs may come once more in the copy. Nobody has a lease
 * there: what was handed out is ready, and has not failed. It is on disk, and gets its name, once
 * it is whole: after an error or a death nothing is there, and the next backup to the same place
 * removes what is left beside it.
 *
 * store: the store.
 * path: a new folder, or an empty one, outside of the store.
 * options: progress and context; NULL for neither.
 * stats: gets what is in it; NULL if that is of no interest.
 *
 * Returns: LQ_OK; LQ_ALREADY_EXISTS (something is there); LQ_INVALID_ARGUMENT (NULL, no open
 * store, a folder inside of it); LQ_NOT_FOUND (the folder above is missing); LQ_BUSY (another
 * backup to the same place is under way); LQ_TIMEOUT (progress ended the call); LQ_DAMAGED
 * (configuration, a window, or a segment's header); LQ_READ_ONLY, LQ_DISK_FULL,
 * LQ_PERMISSION_DENIED, LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_store_backup(lq_store *store,
                          const char *path,
                          const lq_copy_options *options,
                          lq_copy_stats *stats);

/**
 * Writes topics into a file in the native format, with their groups, settings, positions,
 * snapshots and dead letters, and the topics that the dead letters are in; taken at one moment, as
 * a backup is, while the store is in use. The file gets its name, and takes the place of what had
 * it, once it is whole and on disk. What is there and no file, such as a pipe, is written as it
 * comes.
 *
 * store: the store.
 * path: the file.
 * options: topics, progress and context; NULL for all topics.
 * stats: gets what is in it; NULL if that is of no interest.
 *
 * Returns: LQ_OK; LQ_NOT_FOUND (there is no topic of a name, or the folder is missing);
 * LQ_INVALID_NAME; LQ_DAMAGED (with file and position); LQ_INVALID_ARGUMENT (NULL, no open store);
 * LQ_TIMEOUT (progress ended the call); LQ_READ_ONLY, LQ_DISK_FULL, LQ_PERMISSION_DENIED, LQ_BUSY,
 * LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_store_export(lq_store *store,
                          const char *path,
                          const lq_copy_options *options,
                          lq_copy_stats *stats);

/**
 * Makes the topics of an export, with offsets, timestamps, groups, positions, snapshots and dead
 * letters as they were. Ids are kept where they are free. All of it is read and checked before
 * anything is seen of it; then each topic is there as a whole. (Messages that are appended are
 * sent one batch after the other; an error says how many.)
 *
 * store: the store.
 * path: the file, or a pipe.
 * options: append, progress and context; NULL for none of them.
 * stats: gets what was made; NULL if that is of no interest.
 *
 * Returns: LQ_OK; LQ_DAMAGED (with the place where the export is not what was written, or ends too
 * early); LQ_INCOMPATIBLE (another format); LQ_ALREADY_EXISTS (a topic exists); LQ_NOT_FOUND
 * (there is no such file); LQ_INVALID_ARGUMENT (NULL, no open store, dead letters that would lead
 * back); LQ_TIMEOUT (progress ended the call); LQ_READ_ONLY, LQ_DISK_FULL, LQ_PERMISSION_DENIED,
 * LQ_BUSY, LQ_FULL, LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_store_import(lq_store *store,
                          const char *path,
                          const lq_copy_options *options,
                          lq_copy_stats *stats);

/**
 * As lq_store_export, as JSON lines: UTF-8, an object a line, to be looked at and changed with any
 * tool. A line has one of these:
 *
 * - topic_config: a topic's name and the fields of its configuration, before its messages;
 * - topic, partition, offset, timestamp_ns, key, headers, priority, deliver_at_ms, expires_at_ms,
 *   payload: a message. Bytes that are no UTF-8 are key_base64 and payload_base64, and
 *   {"base64": ...} in a header;
 * - log_end: the offset of the next message of a partition;
 * - group, standing, snapshot: a group, where it stands in a partition, a snapshot of it;
 * - end: how many topics, groups and messages there were.
 *
 * store: the store.
 * path: the file.
 * options: topics, progress and context; NULL for all topics.
 * stats: gets what is in it, with the bytes of the lines; NULL if that is of no interest.
 *
 * Returns: LQ_OK; LQ_NOT_FOUND (there is no topic of a name, or the folder is missing);
 * LQ_INVALID_NAME; LQ_DAMAGED (with file and position); LQ_INVALID_ARGUMENT (NULL, no open store);
 * LQ_TIMEOUT (progress ended the call); LQ_READ_ONLY, LQ_DISK_FULL, LQ_PERMISSION_DENIED, LQ_BUSY,
 * LQ_STUCK, LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_store_export_lines(lq_store *store,
                                const char *path,
                                const lq_copy_options *options,
                                lq_copy_stats *stats);

/**
 * Makes the topics of JSON lines, as lq_store_import does those of a native export. Lines may be
 * left out, changed, and come from elsewhere: what is not said is as by default. A message needs
 * its topic, and a payload or payload_base64. Without offset it follows on the one before, without
 * timestamp_ns it is sent now, without partition its key finds it, or it is its turn; delay and
 * ttl are seconds from now on. A topic without topic_config has one partition and the defaults.
 * Where there is an end, it is the last line, and has to agree with what was read. All lines are
 * read and checked before anything is made: for progress that is the first half.
 *
 * store: the store.
 * path: the file, or a pipe.
 * options: append, progress and context; NULL for none of them.
 * stats: gets what was made; NULL if that is of no interest.
 *
 * Returns: LQ_OK; LQ_INVALID_ARGUMENT (with the number of the line that cannot be, from 1 on, and
 * then nothing was imported; NULL, no open store, dead letters that would lead back);
 * LQ_ALREADY_EXISTS (a topic exists); LQ_NOT_FOUND (there is no such file); LQ_TIMEOUT (progress
 * ended the call); LQ_READ_ONLY, LQ_DISK_FULL, LQ_PERMISSION_DENIED, LQ_BUSY, LQ_FULL, LQ_STUCK,
 * LQ_CLOSED, LQ_FENCED, LQ_IO, LQ_UNSUPPORTED, LQ_INTERNAL.
 * Threads: any, several at once.
 */
lq_status lq_store_import_lines(lq_store *store,
                                const char *path,
                                const lq_copy_options *options,
                                lq_copy_stats *stats);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/** Leaves everything out: an empty payload, no key, no headers, the clock's time, any partition. */
#define LQ_MESSAGE_INIT                                                                            \
    {sizeof(lq_message), {NULL, 0}, {NULL, 0}, NULL, 0, 0, LQ_ANY_PARTITION, 0, 0, 0, 0, {NULL, 0}}

/** The defaults: create, read and write, LQ_DURABILITY_PROCESS, 0660, 10 seconds for a lock. */
#define LQ_STORE_OPTIONS_INIT {sizeof(lq_store_options), 1, 0, LQ_DURABILITY_DEFAULT, 0, 0, 0}

/** Leaves everything out. */
#define LQ_TOPIC_OPTIONS_INIT                                                                      \
    {sizeof(lq_topic_options), 0, LQ_DURABILITY_DEFAULT, 0, 0, -1, -1, LQ_ON_FULL_DEFAULT, 0, 0,   \
     -1, -1, LQ_RETENTION_DEFAULT, LQ_ON_LOST_DEFAULT, 0, 0, 0, -1, LQ_COMPACTION_DEFAULT}

/** Waits for room as the topic is configured. */
#define LQ_SEND_OPTIONS_INIT {sizeof(lq_send_options), LQ_TIMEOUT_STORED}

/** Leaves everything out. */
#define LQ_GROUP_OPTIONS_INIT                                                                      \
    {sizeof(lq_group_options), LQ_ORDERING_DEFAULT, 0, 0, -1, -1, 0.0, LQ_DEAD_LETTERS_DEFAULT,    \
     LQ_START_DEFAULT, 0, NULL, 0, LQ_ON_EXPIRED_DEFAULT, 0, NULL, LQ_DELIVERY_DEFAULT, -1, 0,     \
     LQ_ON_DEAD_LETTER_DEFAULT}

/** The stored configuration of the group, or the defaults, and the default name. */
#define LQ_CONSUMER_OPTIONS_INIT {sizeof(lq_consumer_options), NULL, NULL, 0, 0}

/** One message, as long as it takes, with the consumer's lease. */
#define LQ_RECEIVE_OPTIONS_INIT {sizeof(lq_receive_options), 1, 1, 0, LQ_FOREVER, 0}

/** All dead letters, as fast as it can. */
#define LQ_REDRIVE_OPTIONS_INIT                                                                    \
    {sizeof(lq_redrive_options), NULL, 0, 0, NULL, {NULL, 0}, -1, 0, 0, 0.0, NULL, NULL}

/** All partitions; say where to. */
#define LQ_SEEK_OPTIONS_INIT                                                                       \
    {sizeof(lq_seek_options), LQ_START_DEFAULT, 0, NULL, -1}

/** All partitions, from the earliest message on. */
#define LQ_READER_OPTIONS_INIT {sizeof(lq_reader_options), LQ_START_DEFAULT, 0, NULL, 0}

/** All zero. */
#define LQ_STORE_STATS_INIT {sizeof(lq_store_stats), 0, 0, 0}

/** All zero. */
#define LQ_TOPIC_STATS_INIT                                                                        \
    {sizeof(lq_topic_stats), 0, 0, 0, 0, 0.0, LQ_PINNED_BY_NOTHING, {0}, 0, 0, 0, 0, 0, 0, 0, 0,   \
     0.0, 0, 0.0, 0.0}

/** All zero. */
#define LQ_PARTITION_STATS_INIT {sizeof(lq_partition_stats), 0, 0, 0, 0, 0, 0, 0}

/** All zero. */
#define LQ_GROUP_STATS_INIT                                                                        \
    {sizeof(lq_group_stats), 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,            \
     LQ_PAUSED_BY_NOBODY, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0.0, 0, 0.0, 0.0}

/** All topics, nothing appended, nobody told. */
#define LQ_COPY_OPTIONS_INIT {sizeof(lq_copy_options), NULL, 0, 0, NULL, NULL}

/** All zero. */
#define LQ_COPY_STATS_INIT {sizeof(lq_copy_stats), 0, 0, 0, 0, 0}

/**
 * The bytes of a C string, without the NUL at its end; no bytes for NULL.
 *
 * text: the string, which has to live for as long as the bytes are used.
 *
 * Returns: the bytes.
 * Threads: any.
 */
static inline lq_bytes lq_bytes_of(const char *text)
{
    lq_bytes bytes;
    bytes.data = (const uint8_t *)text;
    bytes.len = text == NULL ? 0 : strlen(text);
    return bytes;
}

#endif /* LIBQUEUE_H */
