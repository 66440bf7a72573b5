"""Exports and imports as JSON lines: an object a line, to be looked at and changed with any tool.

    from libqueue import lines

    with libqueue.open("queue") as store, open("orders.jsonl", "w") as out:
        lines.export_lines(store, out, ["orders"])

A line is one of these, by the member that it has:

- `topic_config`: a topic's name and the fields of its configuration. It comes before its messages;
  where there is none, a topic has one partition and the defaults.
- `payload` or `payload_base64`, with `topic`: a message. `key` or `key_base64`, `headers`,
  `priority`, `deliver_at_ms`, `expires_at_ms` as it was sent; `partition`, `offset` and
  `timestamp_ns` where it stood. What `libqueue send --jsonl` takes, with `topic`, will do:
  `delay` and `ttl` are seconds from now on, and offsets follow on each other.
- `log_end`: the offset of the next message of a partition.
- `group`, `standing`, `snapshot`: a group with the fields of its configuration, where it stands in
  a partition, with the messages that are open, and its snapshots.
- `end`: how many topics, groups and messages there were. Where it is there, nothing is missing.

C has the same as `lq_store_export_lines` and `lq_store_import_lines`, Rust as `Store::export_lines`
and `Store::import_lines`.
"""

from libqueue._native import export_lines, import_lines

__all__ = ["export_lines", "import_lines"]
