/*
 * libqueue for C++17: handles that close themselves, errors as exceptions. Header only, over
 * libqueue.h, which documents what each call does and returns. Link with -lqueue.
 *
 *     lq::store store("/var/lib/shop/queue");
 *     lq::topic orders = store.topic("orders");
 *     orders.send({"paid", "user-12345"});
 *     orders.send_many({{"a"}, {"b", "user-7"}});
 *
 *     lq::consumer billing = orders.consumer("billing");
 *     while (lq::batch batch = billing.receive(100, std::chrono::seconds(1))) {
 *         for (lq::delivery d : batch) {
 *             if (handle(d.payload()))
 *                 billing.ack(d);
 *             else
 *                 billing.nack(d, "bad total");
 *         }
 *     }
 *
 * Every function throws lq::error, or what the standard library throws when memory runs out, unless
 * it is noexcept. Objects are moved, not copied; one that was moved from or closed gives
 * LQ_INVALID_ARGUMENT. Topics, groups, consumers and readers keep their store open: it is left when
 * the last of them is gone. Threads: as in libqueue.h; moving and destroying need care as always.
 */
#ifndef LIBQUEUE_HPP
#define LIBQUEUE_HPP

#include <libqueue.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lq {

/** A call failed; what() says what was expected, what was found, where, and what to do. */
class error : public std::runtime_error {
public:
    /** The last error of this thread, with the status of the call. */
    explicit error(lq_status status)
        : std::runtime_error(lq_last_error_message()), status_(status),
          os_code_(lq_last_error_os_code())
    {
    }

    /** An error that is met before the call. */
    error(lq_status status, const std::string &what)
        : std::runtime_error(what), status_(status), os_code_(0)
    {
    }

    /** What to act on: one of the LQ_ codes. */
    lq_status status() const noexcept { return status_; }

    /** The name of the code, as in "LQ_DISK_FULL". */
    const char *name() const noexcept { return lq_status_name(status_); }

    /** The operating system's error number behind it; 0 where there is none. */
    std::int32_t os_code() const noexcept { return os_code_; }

private:
    lq_status status_;
    std::int32_t os_code_;
};

/** Some receipts of a settle call were stale; all others are settled. */
class stale_receipt : public error {
public:
    /** With the places, in the call, of the stale ones. */
    explicit stale_receipt(std::vector<std::size_t> places)
        : error(LQ_STALE_RECEIPT), places_(std::move(places))
    {
    }

    /** Places, in the call, of the stale receipts. */
    const std::vector<std::size_t> &places() const noexcept { return places_; }

private:
    std::vector<std::size_t> places_;
};

/** Waits for as long as it takes. */
inline constexpr std::chrono::milliseconds forever{LQ_FOREVER};

/** A header: name and value. */
using header = std::pair<std::string_view, std::string_view>;

/** A message to send. Borrows everything: what it views has to live until it is sent. */
struct message {
    /** The payload. */
    std::string_view payload = {};
    /** The key, if it has one; the empty key is a key. */
    std::optional<std::string_view> key = std::nullopt;
    /** Names, in UTF-8, and values. */
    std::vector<header> headers = {};
    /** The partition, if not the one of its key, or without a key each in turn. */
    std::optional<std::uint32_t> partition = std::nullopt;
    /** Nanoseconds since the Unix epoch; 0 takes the clock's. */
    std::int64_t timestamp_ns = 0;
    /** For so long no group hands it out. */
    std::chrono::milliseconds delay = std::chrono::milliseconds::zero();
    /** As delay, until a time in nanoseconds since the Unix epoch; 0 leaves it out. */
    std::int64_t deliver_at_ns = 0;
    /** After so long nobody is handed it any more; zero: never. */
    std::chrono::milliseconds ttl = std::chrono::milliseconds::zero();
    /** 0 to 9, the most urgent. */
    std::int32_t priority = 0;
    /** The id under which it is sent once, in a topic with a dedup_window_ms. */
    std::optional<std::string_view> dedup_id = std::nullopt;
};

namespace detail {

inline void check(lq_status status)
{
    if (status != LQ_OK) {
        throw error(status);
    }
}

/* A C string ends at its first NUL: what is behind it would be cut silently. */
inline const char *text(const std::string &given, lq_status status)
{
    if (given.find('\0') != std::string::npos) {
        throw error(status, "the text has a NUL at byte " + std::to_string(given.find('\0'))
                                + "; expected text without");
    }
    return given.c_str();
}

inline lq_bytes bytes(std::string_view view) noexcept
{
    lq_bytes bytes;
    // An empty view may have no address, which would make an empty key no key.
    bytes.data = reinterpret_cast<const std::uint8_t *>(view.data() ? view.data() : "");
    bytes.len = view.size();
    return bytes;
}

/** What it borrows has to live for as long as the message and the headers do. */
inline lq_message lower(const message &one, std::vector<lq_header> &headers)
{
    for (const auto &[name, value] : one.headers) {
        headers.push_back({bytes(name), bytes(value)});
    }
    lq_message raw = LQ_MESSAGE_INIT;
    raw.payload = bytes(one.payload);
    if (one.key) {
        raw.key = bytes(*one.key);
    }
    raw.headers = headers.data();
    raw.headers_len = headers.size();
    raw.timestamp_ns = one.timestamp_ns;
    raw.delay_ms = one.delay.count();
    raw.deliver_at_ns = one.deliver_at_ns;
    raw.ttl_ms = one.ttl.count();
    raw.priority = one.priority;
    if (one.dedup_id) {
        raw.dedup_id = bytes(*one.dedup_id);
    }
    if (one.partition) {
        // Above what the field holds there is no partition anyway: let the library refuse it.
        raw.partition = *one.partition > INT32_MAX ? INT32_MAX
                                                   : static_cast<std::int32_t>(*one.partition);
    }
    return raw;
}

inline std::string_view view(lq_bytes bytes) noexcept
{
    return {reinterpret_cast<const char *>(bytes.data), bytes.len};
}

inline std::vector<std::string> strings(lq_names *list)
{
    const std::unique_ptr<lq_names, lq_status (*)(lq_names *)> owner(list, lq_names_free);
    std::vector<std::string> strings;
    for (std::size_t i = 0; i < lq_names_len(list); i++) {
        strings.emplace_back(lq_names_get(list, i));
    }
    return strings;
}

inline std::vector<header> headers(const lq_delivery &of)
{
    std::vector<header> headers;
    for (std::size_t i = 0; i < of.headers_len; i++) {
        headers.emplace_back(view(of.headers[i].name), view(of.headers[i].value));
    }
    return headers;
}

template <typename T, lq_status (*close_it)(T *)> struct closer {
    /** Kept open until the handle is closed. */
    std::shared_ptr<lq_store> store;
    void operator()(T *handle) const noexcept { close_it(handle); }
};

/** One handle of the C library, closed at the end. */
template <typename T, lq_status (*close_it)(T *)> class handle {
public:
    /** No handle, as after a move. */
    handle() = default;

    /** Takes the handle over, and keeps the store open for it. */
    explicit handle(T *raw, std::shared_ptr<lq_store> store = nullptr) noexcept
        : raw_(raw, {std::move(store)})
    {
    }

    /** The handle of the C library, NULL once closed or moved from. Stays with its owner. */
    T *get() const noexcept { return raw_.get(); }

    /** Closes it and tells how that went; the destructor closes without telling. */
    void close() { check(close_it(raw_.release())); }

protected:
    /** The store that it is in. */
    const std::shared_ptr<lq_store> &store() const noexcept { return raw_.get_deleter().store; }

private:
    std::unique_ptr<T, closer<T, close_it>> raw_;
};

} // namespace detail

/** A message that was received or read. It views its batch and must not outlive it. */
class delivery {
public:
    /** The same as the C library has it. */
    explicit delivery(const lq_delivery *raw) noexcept : raw_(raw) {}

    /** The payload, in the mapped log. */
    std::string_view payload() const noexcept { return detail::view(raw_->payload); }

    /** The key, if there is one. */
    std::optional<std::string_view> key() const noexcept
    {
        return raw_->key.data ? std::optional(detail::view(raw_->key)) : std::nullopt;
    }

    /** Names and values of the headers. */
    std::vector<header> headers() const { return detail::headers(*raw_); }

    /** Nanoseconds since the Unix epoch. */
    std::int64_t timestamp_ns() const noexcept { return raw_->timestamp_ns; }

    /** Partition of the topic. */
    std::uint32_t partition() const noexcept { return raw_->partition; }

    /** Number of the message in its partition. */
    std::uint64_t offset() const noexcept { return raw_->offset; }

    /** The message's id. */
    lq_message_id id() const noexcept { return raw_->id; }

    /** The number of this hand-out, from 1; 0 from a reader. */
    std::uint32_t attempt() const noexcept { return raw_->attempt; }

    /** When the lease ends, in nanoseconds since the Unix epoch; 0 from a reader. */
    std::int64_t deadline_ns() const noexcept { return raw_->deadline_ns; }

    /** What settles it; may be kept longer than the batch. */
    const lq_receipt &receipt() const noexcept { return raw_->receipt; }

private:
    const lq_delivery *raw_;
};

/**
 * Messages that came together. Getting one says that work on it begins (see lq_batch_get). One
 * thread at a time, also of a const batch.
 */
class batch : public detail::handle<lq_batch, lq_batch_free> {
public:
    using handle::handle;

    /** How many there are; 0 after a timeout. */
    std::size_t size() const noexcept { return get() ? lq_batch_len(get()) : 0; }

    /** Whether nothing came. */
    bool empty() const noexcept { return size() == 0; }

    /** Whether anything came. */
    explicit operator bool() const noexcept { return !empty(); }

    /** The message at i, from 0. */
    delivery operator[](std::size_t i) const
    {
        const lq_delivery *found = lq_batch_get(get(), i);
        if (!found) {
            throw error(lq_last_error_status());
        }
        return delivery(found);
    }

    /** The receipts of all messages. */
    std::vector<lq_receipt> receipts() const
    {
        std::vector<lq_receipt> receipts;
        for (const delivery one : *this) {
            receipts.push_back(one.receipt());
        }
        return receipts;
    }

    /** Goes over a batch. */
    class iterator {
    public:
        /** At a place of a batch. */
        iterator(const batch *of, std::size_t at) noexcept : of_(of), at_(at) {}
        /** The message there. */
        delivery operator*() const { return (*of_)[at_]; }
        /** The next place. */
        iterator &operator++() noexcept
        {
            at_++;
            return *this;
        }
        /** Whether it is another place. */
        bool operator!=(const iterator &other) const noexcept { return at_ != other.at_; }

    private:
        const batch *of_;
        std::size_t at_;
    };

    /** The first message. */
    iterator begin() const noexcept { return {this, 0}; }

    /** Behind the last message. */
    iterator end() const noexcept { return {this, size()}; }
};

/** Dead letters of a group. */
class dead_letters : public detail::handle<lq_dead_letters, lq_dead_letters_free> {
public:
    using handle::handle;

    /** How many there are. */
    std::size_t size() const noexcept { return get() ? lq_dead_letters_len(get()) : 0; }

    /** The one at i, from 0; it belongs to this list. */
    const lq_dead_letter_entry &operator[](std::size_t i) const
    {
        const lq_dead_letter_entry *found = lq_dead_letters_get(get(), i);
        if (!found) {
            throw error(lq_last_error_status());
        }
        return *found;
    }

    /** The message of the one at i. */
    delivery message(std::size_t i) const { return delivery(&(*this)[i].message); }
};

/** What a seek does, for each partition that is sought. */
class seek_plan : public detail::handle<lq_seek_plan, lq_seek_plan_free> {
public:
    using handle::handle;

    /** How many partitions it is about. */
    std::size_t size() const noexcept { return get() ? lq_seek_plan_len(get()) : 0; }

    /** What it says of the one at i, from 0; it belongs to this plan. */
    const lq_seek_partition &operator[](std::size_t i) const
    {
        const lq_seek_partition *found = lq_seek_plan_get(get(), i);
        if (!found) {
            throw error(lq_last_error_status());
        }
        return *found;
    }
};

/** The snapshots of a group. */
class snapshots : public detail::handle<lq_snapshots, lq_snapshots_free> {
public:
    using handle::handle;

    /** How many there are. */
    std::size_t size() const noexcept { return get() ? lq_snapshots_len(get()) : 0; }

    /** The one at i, from 0; it belongs to this list. */
    const lq_snapshot &operator[](std::size_t i) const
    {
        const lq_snapshot *found = lq_snapshots_get(get(), i);
        if (!found) {
            throw error(lq_last_error_status());
        }
        return *found;
    }
};

/** One worker of a group. */
class consumer : public detail::handle<lq_consumer, lq_consumer_close> {
public:
    using handle::handle;

    /** Its name, as statistics and dead letters show it. */
    std::string name() const
    {
        const char *name = nullptr;
        detail::check(lq_consumer_name(get(), &name));
        return name;
    }

    /** Up to max messages; empty if nothing came in time. */
    lq::batch receive(std::size_t max = 1, std::chrono::milliseconds timeout = forever)
    {
        lq_batch *raw = nullptr;
        const lq_status status = lq_receive(get(), max, timeout.count(), &raw);
        if (status == LQ_TIMEOUT) {
            return {};
        }
        detail::check(status);
        return lq::batch(raw);
    }

    /** What the options ask for, begun with LQ_RECEIVE_OPTIONS_INIT; empty if nothing came. */
    lq::batch receive(const lq_receive_options &options)
    {
        lq_batch *raw = nullptr;
        const lq_status status = lq_receive_with(get(), &options, &raw);
        if (status == LQ_TIMEOUT) {
            return {};
        }
        detail::check(status);
        return lq::batch(raw);
    }

    /** A descriptor that is readable while receive may return something; not to be read. */
    int fd() const
    {
        int found = -1;
        detail::check(lq_consumer_fd(get(), &found));
        return found;
    }

    /** Hands out nothing more and waits for what is out; false if some is after the timeout. */
    bool drain(std::chrono::milliseconds timeout = forever)
    {
        const lq_status status = lq_consumer_drain(get(), timeout.count());
        if (status == LQ_TIMEOUT) {
            return false;
        }
        detail::check(status);
        return true;
    }

    /** The messages are done. */
    void ack(const std::vector<lq_receipt> &receipts)
    {
        settle(receipts, [&](auto *at, auto n, auto *results) {
            return lq_ack_results(get(), at, n, results);
        });
    }

    /** The messages failed: they come back after the group's backoff, or after delay. */
    void nack(const std::vector<lq_receipt> &receipts, const std::string &why = {},
              std::optional<std::chrono::milliseconds> delay = std::nullopt)
    {
        const std::int64_t delay_ms = delay ? delay->count() : LQ_BACKOFF;
        if (delay && delay_ms < 0) {
            // -1 would be the group's backoff: let the library refuse it.
            return nack_after(receipts, why, INT64_MIN);
        }
        nack_after(receipts, why, delay_ms);
    }

    /** Hands the messages back, uncounted. */
    void release(const std::vector<lq_receipt> &receipts)
    {
        settle(receipts, [&](auto *at, auto n, auto *results) {
            return lq_release_results(get(), at, n, results);
        });
    }

    /** The leases end that much from now on. */
    void extend(const std::vector<lq_receipt> &receipts, std::chrono::milliseconds lease)
    {
        settle(receipts, [&](auto *at, auto n, auto *results) {
            return lq_extend_results(get(), at, n, lease.count(), results);
        });
    }

    /** Gives up on the messages: they become dead letters. */
    void dead_letter(const std::vector<lq_receipt> &receipts, const std::string &reason)
    {
        settle(receipts, [&](auto *at, auto n, auto *results) {
            const char *text = detail::text(reason, LQ_INVALID_ARGUMENT);
            return lq_dead_letter_results(get(), at, n, text, results);
        });
    }

    /** The message is done. */
    void ack(const delivery &one) { ack({one.receipt()}); }

    /** All messages of the batch are done. */
    void ack(const lq::batch &all) { ack(all.receipts()); }

    /** The message failed. */
    void nack(const delivery &one, const std::string &why = {},
              std::optional<std::chrono::milliseconds> delay = std::nullopt)
    {
        nack({one.receipt()}, why, delay);
    }

    /** Hands the message back, uncounted. */
    void release(const delivery &one) { release({one.receipt()}); }

    /** The lease ends that much from now on. */
    void extend(const delivery &one, std::chrono::milliseconds lease)
    {
        extend({one.receipt()}, lease);
    }

    /** Gives up on the message. */
    void dead_letter(const delivery &one, const std::string &reason)
    {
        dead_letter({one.receipt()}, reason);
    }

private:
    void nack_after(const std::vector<lq_receipt> &receipts, const std::string &why,
                    std::int64_t delay_ms)
    {
        const char *text = why.empty() ? nullptr : detail::text(why, LQ_INVALID_ARGUMENT);
        settle(receipts, [&](auto *at, auto n, auto *results) {
            return lq_nack_results(get(), at, n, delay_ms, text, results);
        });
    }

    template <typename Call>
    static void settle(const std::vector<lq_receipt> &receipts, const Call &call)
    {
        std::vector<lq_status> results(receipts.size(), LQ_OK);
        const lq_status status = call(receipts.data(), receipts.size(), results.data());
        if (status != LQ_STALE_RECEIPT) {
            return detail::check(status);
        }
        std::vector<std::size_t> places;
        for (std::size_t place = 0; place < results.size(); place++) {
            if (results[place] == LQ_STALE_RECEIPT) {
                places.push_back(place);
            }
        }
        throw stale_receipt(std::move(places));
    }
};

/** A place in a topic that belongs to no group. One thread at a time. */
class reader : public detail::handle<lq_reader, lq_reader_close> {
public:
    using handle::handle;

    /** The next messages, up to max; empty if nothing more came in time. */
    lq::batch receive(std::size_t max = 1,
                      std::chrono::milliseconds timeout = std::chrono::milliseconds(0))
    {
        lq_batch *raw = nullptr;
        const lq_status status = lq_reader_receive(get(), max, timeout.count(), &raw);
        if (status == LQ_TIMEOUT) {
            return {};
        }
        detail::check(status);
        return lq::batch(raw);
    }

    /** Moves to one of LQ_START_, with an offset or a time where that needs one. */
    void seek(std::int32_t start, std::int64_t at = 0)
    {
        detail::check(lq_reader_seek(get(), start, at));
    }
};

/** A named, idempotent producer: a sequence that is sent again returns the first send's id. */
class producer : public detail::handle<lq_producer, lq_producer_close> {
public:
    using handle::handle;

    /** Sends one message. A sequence is above the last one, from 1; 0 counts on by itself. */
    lq_message_id send(const message &one, std::uint64_t sequence = 0)
    {
        std::vector<lq_header> headers;
        const lq_message raw = detail::lower(one, headers);
        lq_message_id id{};
        detail::check(lq_producer_send(get(), &raw, sequence, &id));
        return id;
    }

    /** As send, waiting so long for room where the topic is full; 0 does not wait. */
    lq_message_id send_within(const message &one,
                              std::chrono::milliseconds timeout,
                              std::uint64_t sequence = 0)
    {
        std::vector<lq_header> headers;
        const lq_message raw = detail::lower(one, headers);
        lq_message_id id{};
        lq_send_options options = LQ_SEND_OPTIONS_INIT;
        options.timeout_ms = timeout.count();
        detail::check(lq_producer_send_with(get(), &raw, sequence, &options, &id));
        return id;
    }

    /** The highest sequence that was sent, by any opening of the name; 0 before the first. */
    std::uint64_t last_sequence() const
    {
        std::uint64_t sequence = 0;
        detail::check(lq_producer_last_sequence(get(), &sequence));
        return sequence;
    }
};

/** A group, to look at and to manage. */
class group : public detail::handle<lq_group, lq_group_close> {
public:
    using handle::handle;

    /** Its name. */
    std::string name() const
    {
        const char *name = nullptr;
        detail::check(lq_group_name(get(), &name));
        return name;
    }

    /** Where it stands. */
    lq_group_stats stats() const
    {
        lq_group_stats stats = LQ_GROUP_STATS_INIT;
        detail::check(lq_group_get_stats(get(), &stats));
        return stats;
    }

    /** The stored configuration; the text in it belongs to this object. */
    lq_group_options config() const
    {
        lq_group_options config = LQ_GROUP_OPTIONS_INIT;
        detail::check(lq_group_config(get(), &config));
        return config;
    }

    /** The topic of its dead letters; none where they are dropped. */
    std::optional<std::string> dead_letter_topic() const
    {
        const char *name = nullptr;
        detail::check(lq_group_dead_letter_topic(get(), &name));
        return name ? std::optional<std::string>(name) : std::nullopt;
    }

    /** Up to max dead letters, oldest first. */
    lq::dead_letters dead_letters(std::size_t max) const
    {
        lq_dead_letters *raw = nullptr;
        detail::check(lq_group_dead_letters(get(), max, &raw));
        return lq::dead_letters(raw);
    }

    /** Redrives dead letters; how many. An error of LQ_NOT_FOUND where some ids are none of the
     *  group now; the others are redriven all the same. */
    std::uint64_t redrive(const lq_redrive_options &options = LQ_REDRIVE_OPTIONS_INIT)
    {
        std::uint64_t count = 0;
        detail::check(lq_group_redrive(get(), &options, nullptr, &count));
        return count;
    }

    /** Redrives these dead letters; how many. */
    std::uint64_t redrive(const std::vector<lq_message_id> &ids)
    {
        static const lq_message_id none = {};
        lq_redrive_options options = LQ_REDRIVE_OPTIONS_INIT;
        options.ids = ids.empty() ? &none : ids.data();
        options.ids_len = ids.size();
        return redrive(options);
    }

    /** Purges all dead letters that are there now; how many. */
    std::uint64_t purge_dead_letters()
    {
        std::uint64_t count = 0;
        detail::check(lq_group_purge_dead_letters(get(), nullptr, 0, nullptr, &count));
        return count;
    }

    /** Purges these dead letters; how many. */
    std::uint64_t purge_dead_letters(const std::vector<lq_message_id> &ids)
    {
        static const lq_message_id none = {};
        const lq_message_id *at = ids.empty() ? &none : ids.data();
        std::uint64_t count = 0;
        detail::check(lq_group_purge_dead_letters(get(), at, ids.size(), nullptr, &count));
        return count;
    }

    /** Sets the group to a place or to a snapshot; what it does to each partition. */
    seek_plan seek(const lq_seek_options &options)
    {
        lq_seek_plan *raw = nullptr;
        detail::check(lq_group_seek(get(), &options, &raw));
        return seek_plan(raw);
    }

    /** Sets the group to a snapshot. */
    seek_plan seek(const std::string &snapshot)
    {
        lq_seek_options options = LQ_SEEK_OPTIONS_INIT;
        options.snapshot = detail::text(snapshot, LQ_INVALID_NAME);
        return seek(options);
    }

    /** What a seek would do, which is not done. */
    seek_plan preview_seek(const lq_seek_options &options) const
    {
        lq_seek_plan *raw = nullptr;
        detail::check(lq_group_preview_seek(get(), &options, &raw));
        return seek_plan(raw);
    }

    /** Takes a snapshot, to go back to with seek. */
    void snapshot(const std::string &name)
    {
        detail::check(lq_group_snapshot(get(), detail::text(name, LQ_INVALID_NAME)));
    }

    /** The snapshots, by name. */
    lq::snapshots snapshots() const
    {
        lq_snapshots *raw = nullptr;
        detail::check(lq_group_snapshots(get(), &raw));
        return lq::snapshots(raw);
    }

    /** Deletes a snapshot. */
    void delete_snapshot(const std::string &name)
    {
        detail::check(lq_group_delete_snapshot(get(), detail::text(name, LQ_INVALID_NAME)));
    }

    /** Changes the stored configuration, in all processes; what is left out stays. */
    void configure(const lq_group_options &changes)
    {
        detail::check(lq_group_configure(get(), &changes));
    }

    /** Stops handing out, in all processes, until resume. */
    void pause() { detail::check(lq_group_pause(get())); }

    /** Hands out again. */
    void resume() { detail::check(lq_group_resume(get())); }

    /** Deletes the group; this handle stays open. */
    void remove() { detail::check(lq_group_delete(get())); }

    /** Settles a message by its id, whoever has it. */
    void settle(const lq_message_id &id) { detail::check(lq_group_settle(get(), &id)); }

    /** Has a message come back after a time, whoever has it. */
    void delay(const lq_message_id &id, std::chrono::milliseconds time)
    {
        detail::check(lq_group_delay(get(), &id, time.count()));
    }

    /** Gives up on a message, whoever has it. */
    void dead_letter(const lq_message_id &id, const std::string &reason)
    {
        const char *text = detail::text(reason, LQ_INVALID_ARGUMENT);
        detail::check(lq_group_dead_letter(get(), &id, text));
    }
};

/** A named stream of messages. */
class topic : public detail::handle<lq_topic, lq_topic_close> {
public:
    using handle::handle;

    /** Its name. */
    std::string name() const
    {
        const char *name = nullptr;
        detail::check(lq_topic_name(get(), &name));
        return name;
    }

    /** Number of partitions. */
    std::uint32_t partitions() const
    {
        std::uint32_t partitions = 0;
        detail::check(lq_topic_partitions(get(), &partitions));
        return partitions;
    }

    /** The stored configuration. */
    lq_topic_options config() const
    {
        lq_topic_options config = LQ_TOPIC_OPTIONS_INIT;
        detail::check(lq_topic_config(get(), &config));
        return config;
    }

    /** Changes the stored configuration, in all processes; what is left out stays. */
    void configure(const lq_topic_options &changes)
    {
        detail::check(lq_topic_configure(get(), &changes));
    }

    /** Sends one message. */
    lq_message_id send(const message &one)
    {
        std::vector<lq_header> headers;
        const lq_message raw = detail::lower(one, headers);
        lq_message_id id = {};
        detail::check(lq_send(get(), &raw, 1, &id));
        return id;
    }

    /** Sends all messages or none; their ids in the same order. A batch for several partitions is
     *  whole in each of them; what a death or a failed sync may leave of it, lq_send says. */
    std::vector<lq_message_id> send_many(const std::vector<message> &many)
    {
        std::vector<std::vector<lq_header>> headers(many.size());
        std::vector<lq_message> raw;
        for (std::size_t i = 0; i < many.size(); i++) {
            raw.push_back(detail::lower(many[i], headers[i]));
        }
        std::vector<lq_message_id> ids(many.size());
        detail::check(lq_send(get(), raw.data(), raw.size(), ids.data()));
        return ids;
    }

    /** As send, waiting so long for room where the topic is full; 0 does not wait. */
    lq_message_id send_within(const message &one, std::chrono::milliseconds timeout)
    {
        std::vector<lq_header> headers;
        const lq_message raw = detail::lower(one, headers);
        lq_message_id id = {};
        lq_send_options options = LQ_SEND_OPTIONS_INIT;
        options.timeout_ms = timeout.count();
        detail::check(lq_send_with(get(), &raw, 1, &options, &id));
        return id;
    }

    /** How full it is, from 0.0 to 1.0; 0.0 without a limit. */
    double pressure() const
    {
        double pressure = 0.0;
        detail::check(lq_topic_pressure(get(), &pressure));
        return pressure;
    }

    /** Puts on disk all that was sent to it. */
    void sync() { detail::check(lq_topic_sync(get())); }

    /** For each partition the first offset that a power loss may take. */
    std::vector<std::uint64_t> durable_offsets() const
    {
        std::vector<std::uint64_t> offsets(partitions());
        detail::check(lq_topic_durable_offsets(get(), offsets.data(), offsets.size()));
        return offsets;
    }

    /** Waits until the message is on disk; whether it is, within the time. */
    bool wait_durable(const lq_message_id &id, std::chrono::milliseconds timeout = forever)
    {
        const lq_status status = lq_topic_wait_durable(get(), &id, timeout.count());
        if (status == LQ_TIMEOUT) {
            return false;
        }
        detail::check(status);
        return true;
    }

    /** What it holds. */
    lq_topic_stats stats() const
    {
        lq_topic_stats stats = LQ_TOPIC_STATS_INIT;
        detail::check(lq_topic_get_stats(get(), &stats));
        return stats;
    }

    /** What a partition holds. */
    lq_partition_stats stats(std::uint32_t partition) const
    {
        lq_partition_stats stats = LQ_PARTITION_STATS_INIT;
        detail::check(lq_topic_get_partition_stats(get(), partition, &stats));
        return stats;
    }

    /** A consumer of the group, which is created where there is none. */
    lq::consumer consumer(const std::string &group,
                          const lq_consumer_options &options = LQ_CONSUMER_OPTIONS_INIT)
    {
        lq_consumer *raw = nullptr;
        const char *named = detail::text(group, LQ_INVALID_NAME);
        detail::check(lq_consumer_open(get(), named, &options, &raw));
        return lq::consumer(raw, store());
    }

    /** The named producer, created where there is none; older handles of the name are fenced. */
    lq::producer producer(const std::string &name)
    {
        lq_producer *raw = nullptr;
        detail::check(lq_producer_open(get(), detail::text(name, LQ_INVALID_NAME), &raw));
        return lq::producer(raw, store());
    }

    /** A reader. */
    lq::reader reader(const lq_reader_options &options = LQ_READER_OPTIONS_INIT)
    {
        lq_reader *raw = nullptr;
        detail::check(lq_reader_open(get(), &options, &raw));
        return lq::reader(raw, store());
    }

    /** The group, which must exist. */
    lq::group group(const std::string &name)
    {
        lq_group *raw = nullptr;
        detail::check(lq_group_open(get(), detail::text(name, LQ_INVALID_NAME), &raw));
        return lq::group(raw, store());
    }

    /** The group, created where there is none. */
    lq::group create_group(const std::string &name,
                           const lq_group_options &options = LQ_GROUP_OPTIONS_INIT)
    {
        lq_group *raw = nullptr;
        detail::check(lq_group_create(get(), detail::text(name, LQ_INVALID_NAME), &options, &raw));
        return lq::group(raw, store());
    }

    /** Names of its groups, sorted. */
    std::vector<std::string> groups() const
    {
        lq_names *names = nullptr;
        detail::check(lq_topic_groups(get(), &names));
        return detail::strings(names);
    }
};

/** Settles deliveries and sends messages, to any topics of its store, all or nothing. Nothing
 *  happens before commit, and nothing at all where it ends without. One thread at a time. */
class transaction : public detail::handle<lq_transaction, lq_transaction_abort> {
public:
    using handle::handle;

    /** Sends a message when it is committed. */
    void send(lq::topic &topic, const message &one)
    {
        std::vector<lq_header> headers;
        const lq_message raw = detail::lower(one, headers);
        detail::check(lq_transaction_send(get(), topic.get(), &raw, 1));
        sends_ += 1;
    }

    /** Sends messages when it is committed; all are added, or none. */
    void send_many(lq::topic &topic, const std::vector<message> &many)
    {
        std::vector<std::vector<lq_header>> headers(many.size());
        std::vector<lq_message> raw;
        for (std::size_t i = 0; i < many.size(); i++) {
            raw.push_back(detail::lower(many[i], headers[i]));
        }
        detail::check(lq_transaction_send(get(), topic.get(), raw.data(), raw.size()));
        sends_ += many.size();
    }

    /** Acknowledges deliveries of a consumer when it is committed. */
    void ack(lq::consumer &consumer, const std::vector<lq_receipt> &receipts)
    {
        detail::check(lq_transaction_ack(get(), consumer.get(), receipts.data(), receipts.size()));
        acks_ += receipts.size();
    }

    /** Acknowledges a delivery when it is committed. */
    void ack(lq::consumer &consumer, const delivery &one) { ack(consumer, {one.receipt()}); }

    /** Acknowledges all deliveries of a batch when it is committed. */
    void ack(lq::consumer &consumer, const lq::batch &all) { ack(consumer, all.receipts()); }

    /** Does all of it, or throws and does nothing; the ids of the messages, in the order in which
     *  they were sent. A stale_receipt names the places of the acknowledgements. Then it is over.
     */
    std::vector<lq_message_id> commit()
    {
        std::vector<lq_message_id> ids(sends_);
        std::vector<lq_status> results(acks_, LQ_OK);
        const lq_status status = lq_transaction_commit_results(
            get(), sends_ ? ids.data() : nullptr, sends_, acks_ ? results.data() : nullptr, acks_);
        if (status != LQ_STALE_RECEIPT) {
            detail::check(status);
            return ids;
        }
        std::vector<std::size_t> places;
        for (std::size_t place = 0; place < results.size(); place++) {
            if (results[place] == LQ_STALE_RECEIPT) {
                places.push_back(place);
            }
        }
        throw stale_receipt(std::move(places));
    }

    /** Drops all of it, as its end does. */
    void abort() { close(); }

private:
    std::size_t sends_ = 0;
    std::size_t acks_ = 0;
};

/** A folder of topics. */
class store {
public:
    /** Opens the store at path, creates it where there is none. */
    explicit store(const std::string &path,
                   const lq_store_options &options = LQ_STORE_OPTIONS_INIT)
    {
        lq_store *raw = nullptr;
        detail::check(lq_store_open(detail::text(path, LQ_INVALID_ARGUMENT), &options, &raw));
        raw_ = std::shared_ptr<lq_store>(raw, [](lq_store *last) { lq_store_close(last); });
    }

    /** The handle of the C library. Stays with its owners. */
    lq_store *get() const noexcept { return raw_.get(); }

    /** Leaves the store and tells how that went. LQ_BUSY, and still open, while topics, groups,
        consumers or readers are. */
    void close()
    {
        detail::check(lq_store_close(raw_.get()));
        raw_ = nullptr;
    }

    /** The topic, created where there is none. */
    lq::topic topic(const std::string &name,
                    const lq_topic_options &options = LQ_TOPIC_OPTIONS_INIT)
    {
        lq_topic *raw = nullptr;
        detail::check(lq_topic_open(get(), detail::text(name, LQ_INVALID_NAME), &options, &raw));
        return lq::topic(raw, raw_);
    }

    /** The topic, which must not exist yet. */
    lq::topic create_topic(const std::string &name,
                           const lq_topic_options &options = LQ_TOPIC_OPTIONS_INIT)
    {
        lq_topic *raw = nullptr;
        detail::check(lq_topic_create(get(), detail::text(name, LQ_INVALID_NAME), &options, &raw));
        return lq::topic(raw, raw_);
    }

    /** Deletes a topic with all that is in it; whoever has it open is told. */
    void delete_topic(const std::string &name)
    {
        detail::check(lq_topic_delete(get(), detail::text(name, LQ_INVALID_NAME)));
    }

    /** The topic, which must exist. */
    lq::topic open_topic(const std::string &name)
    {
        lq_topic *raw = nullptr;
        detail::check(lq_topic_open_existing(get(), detail::text(name, LQ_INVALID_NAME), &raw));
        return lq::topic(raw, raw_);
    }

    /** Begins a transaction. */
    lq::transaction transaction()
    {
        lq_transaction *raw = nullptr;
        detail::check(lq_transaction_begin(get(), &raw));
        return lq::transaction(raw, raw_);
    }

    /** Names of its topics, sorted. */
    std::vector<std::string> topics() const
    {
        lq_names *names = nullptr;
        detail::check(lq_store_topics(get(), &names));
        return detail::strings(names);
    }

    /** Puts on disk all that was sent to the topics that this process has open. */
    void sync() { detail::check(lq_store_sync(get())); }

    /** Its id, which stays the same wherever the folder is moved. */
    std::string id() const
    {
        const char *id = nullptr;
        detail::check(lq_store_id(get(), &id));
        return id;
    }

    /** Its folder, as an absolute path. */
    std::string path() const
    {
        const char *path = nullptr;
        detail::check(lq_store_path(get(), &path));
        return path;
    }

    /** What it holds. */
    lq_store_stats stats() const
    {
        lq_store_stats stats = LQ_STORE_STATS_INIT;
        detail::check(lq_store_get_stats(get(), &stats));
        return stats;
    }

    /** Makes a copy of it in a new folder while it is in use; what is in it. */
    lq_copy_stats backup(const std::string &path,
                         const lq_copy_options &options = LQ_COPY_OPTIONS_INIT)
    {
        lq_copy_stats stats = LQ_COPY_STATS_INIT;
        detail::check(
            lq_store_backup(get(), detail::text(path, LQ_INVALID_ARGUMENT), &options, &stats));
        return stats;
    }

    /** Writes these topics, or all where none is named, into a file; what is in it. What the
        options name as topics is left out of account. */
    lq_copy_stats export_topics(const std::string &path,
                                const std::vector<std::string> &topics = {},
                                lq_copy_options options = LQ_COPY_OPTIONS_INIT)
    {
        std::vector<const char *> names;
        for (const std::string &name : topics) {
            names.push_back(detail::text(name, LQ_INVALID_NAME));
        }
        options.topics = names.empty() ? nullptr : names.data();
        options.topics_len = names.size();
        lq_copy_stats stats = LQ_COPY_STATS_INIT;
        detail::check(
            lq_store_export(get(), detail::text(path, LQ_INVALID_ARGUMENT), &options, &stats));
        return stats;
    }

    /** As export_topics, as JSON lines. */
    lq_copy_stats export_lines(const std::string &path,
                               const std::vector<std::string> &topics = {},
                               lq_copy_options options = LQ_COPY_OPTIONS_INIT)
    {
        std::vector<const char *> names;
        for (const std::string &name : topics) {
            names.push_back(detail::text(name, LQ_INVALID_NAME));
        }
        options.topics = names.empty() ? nullptr : names.data();
        options.topics_len = names.size();
        lq_copy_stats stats = LQ_COPY_STATS_INIT;
        detail::check(lq_store_export_lines(get(), detail::text(path, LQ_INVALID_ARGUMENT),
                                            &options, &stats));
        return stats;
    }

    /** Makes the topics of an export; what was made. */
    lq_copy_stats import_topics(const std::string &path,
                                const lq_copy_options &options = LQ_COPY_OPTIONS_INIT)
    {
        lq_copy_stats stats = LQ_COPY_STATS_INIT;
        detail::check(
            lq_store_import(get(), detail::text(path, LQ_INVALID_ARGUMENT), &options, &stats));
        return stats;
    }

    /** Makes the topics of JSON lines; what was made. A line that cannot be is an error with
        LQ_INVALID_ARGUMENT that says its number. */
    lq_copy_stats import_lines(const std::string &path,
                               const lq_copy_options &options = LQ_COPY_OPTIONS_INIT)
    {
        lq_copy_stats stats = LQ_COPY_STATS_INIT;
        detail::check(lq_store_import_lines(get(), detail::text(path, LQ_INVALID_ARGUMENT),
                                            &options, &stats));
        return stats;
    }

private:
    std::shared_ptr<lq_store> raw_;
};

} // namespace lq

#endif // LIBQUEUE_HPP
