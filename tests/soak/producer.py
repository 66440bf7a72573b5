"""A producer of the soak: FOLDER TOPIC GROUP NAME SPACE SEED; see producer.c."""

from __future__ import annotations

import time
from typing import Any

import libqueue
from work import Worker, boot_ns

KEYS = 40
CHILD_ROUNDS = 30
BATCH_MOST = 8
PAUSE_SECONDS = 0.016
CALM_SECONDS = 0.06


def size_of_next(me: Worker) -> int:
    """Most are small; one in a hundred takes the path of large batches."""
    if me.chance.randrange(100) == 0:
        return 33_000 + me.chance.randrange(1_000_000 if me.chance.randrange(8) == 0 else 100_000)
    return me.chance.randrange(2000 if me.chance.randrange(4) == 0 else 200)


def draw_attributes(me: Worker) -> tuple[dict[str, Any], str]:
    """Delay, time to live, priority and kind, for the call and as a line of history says them."""
    chance = me.chance
    kind = ("sale", "test", "-", "-")[chance.randrange(4)]
    delay = 1 + chance.randrange(1200) if chance.randrange(12) == 0 else 0
    ttl = 20 + chance.randrange(3000) if chance.randrange(10) == 0 else 0
    priority = 1 + chance.randrange(9) if chance.randrange(5) == 0 else 0
    attributes: dict[str, Any] = {"priority": priority}
    if kind != "-":
        attributes["headers"] = {"kind": kind.encode()}
    if delay:
        attributes["delay"] = delay / 1000
    if ttl:
        attributes["ttl"] = ttl / 1000
    return attributes, f"{delay} {ttl} {priority} {kind} {time.time_ns()}"


def send_some(me: Worker, number: int) -> int:
    count = me.chance.randint(1, BATCH_MOST) if me.chance.randrange(3) == 0 else 1
    messages, lines = [], []
    for seq in range(number + 1, number + 1 + count):
        payload, total = me.make_payload(seq, size_of_next(me))
        key = f"k{me.chance.randrange(KEYS)}" if me.chance.randrange(5) < 3 else None
        begun = boot_ns()
        attributes, said = draw_attributes(me)
        sent = {"key": None if key is None else key.encode(), **attributes}
        messages.append((payload, sent))
        lines.append(f"W {begun} {seq} {key or '-'} {len(payload)} {total:08x} {said}\n")
    me.put("".join(lines))
    if count == 1:
        ids = [me.topic.send(messages[0][0], **messages[0][1])]
    else:
        ids = me.topic.send_many([libqueue.Message(payload, **sent) for payload, sent in messages])
    now = boot_ns()
    lines = [f"S {now} {number + 1 + i} {id.partition} {id.offset}\n" for i, id in enumerate(ids)]
    me.put("".join(lines))
    return number + count


def main() -> None:
    me = Worker("producer")
    pause = CALM_SECONDS if me.group_name == "calm" else PAUSE_SECONDS
    number, left = 0, -1
    while left != 0 and not me.should_end("stop-producers"):
        left -= 1
        if me.forked():
            number, left = 0, CHILD_ROUNDS
        number = send_some(me, number)
        me.rest(pause)
    me.end()


if __name__ == "__main__":
    main()
