"""A producer of the soak: FOLDER TOPIC GROUP NAME SPACE SEED; see producer.c."""

from __future__ import annotations

import libqueue
from work import Worker, boot_ns

KEYS = 40
CHILD_ROUNDS = 30
BATCH_MOST = 8


def size_of_next(me: Worker) -> int:
    """Most are small; one in a hundred takes the path of large batches."""
    if me.chance.randrange(100) == 0:
        return 33_000 + me.chance.randrange(1_000_000 if me.chance.randrange(8) == 0 else 100_000)
    return me.chance.randrange(2000 if me.chance.randrange(4) == 0 else 200)


def send_some(me: Worker, number: int) -> int:
    count = me.chance.randint(1, BATCH_MOST) if me.chance.randrange(3) == 0 else 1
    messages, lines = [], []
    for seq in range(number + 1, number + 1 + count):
        payload, total = me.make_payload(seq, size_of_next(me))
        key = f"k{me.chance.randrange(KEYS)}" if me.chance.randrange(5) < 3 else None
        messages.append(libqueue.Message(payload, key=None if key is None else key.encode()))
        lines.append(f"W {boot_ns()} {seq} {key or '-'} {len(payload)} {total:08x}\n")
    me.put("".join(lines))
    if count == 1:
        ids = [me.topic.send(messages[0].payload, key=messages[0].key)]
    else:
        ids = me.topic.send_many(messages)
    now = boot_ns()
    lines = [f"S {now} {number + 1 + i} {id.partition} {id.offset}\n" for i, id in enumerate(ids)]
    me.put("".join(lines))
    return number + count


def main() -> None:
    me = Worker("producer")
    number, left = 0, -1
    while left != 0 and not me.should_end("stop-producers"):
        left -= 1
        if me.forked():
            number, left = 0, CHILD_ROUNDS
        number = send_some(me, number)
        me.rest(0.016)
    me.end()


if __name__ == "__main__":
    main()
