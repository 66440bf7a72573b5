"""One worker of the group "delays": STORE TOPIC OUTPUT STOP COLUMNS [mended].

Takes flights and appends what it did with each to OUTPUT before it acknowledges, one write a
batch: the time, the row, the carrier, the plane, the arrival delay, and a mark that the line is
whole. A flight without an arrival time is refused, and becomes a dead letter after the group's
attempts; a mended worker knows that such a flight was cancelled, and takes it.
"""

import os
import sys
import time
from pathlib import Path

import libqueue

MISSING = ("", "NA")
END = "."
GROUP = "delays"
GROUP_CONFIG = {"max_attempts": 5, "backoff": (0.005, 0.02, 2.0)}


def main() -> None:
    path, topic_name, output, stop, columns = sys.argv[1:6]
    mended = sys.argv[6:] == ["mended"]
    place = {name: number for number, name in enumerate(columns.split(","))}
    carrier, tail = place["carrier"], place["tailnum"]
    arrived, delay = place["arr_time"], place["arr_delay"]
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o660)
    # An earlier life may have been killed in the middle of a line.
    os.write(log, b"\n")
    with libqueue.open(path) as store:
        with store.topic(topic_name).consumer(GROUP, **GROUP_CONFIG) as consumer:
            while True:
                batch = consumer.receive(max_messages=100, timeout=0.2)
                if not batch and Path(stop).exists():
                    return
                done, refused, lines = [], [], []
                for delivery in batch:
                    row, _, line = delivery.payload.decode().partition("\t")
                    fields = line.split(",")
                    if fields[arrived] in MISSING and not mended:
                        refused.append(delivery)
                        continue
                    late = "" if fields[delay] in MISSING else fields[delay]
                    now = time.monotonic_ns()
                    lines.append(f"{now},{row},{fields[carrier]},{fields[tail]},{late},{END}\n")
                    done.append(delivery)
                os.write(log, "".join(lines).encode())
                settle(consumer.ack, done)
                if refused:
                    settle(lambda them: consumer.nack(them, error="no arrival time"), refused)


def settle(how, deliveries) -> None:
    """A stale receipt means that another worker has the flight now: nothing is left to do."""
    try:
        if deliveries:
            how(deliveries)
    except libqueue.StaleReceipt:
        pass


if __name__ == "__main__":
    main()
