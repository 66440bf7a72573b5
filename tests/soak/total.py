"""What all rounds of a soak came to: counts, figures, and whether that is enough."""

from __future__ import annotations

from dataclasses import dataclass, field

import machine
from evidence import sends_by
from figures import REDELIVERY_AIM_MS, STALL_AIM_MS, Figures, percentile
from history import Story

SLOWEST = 3
IN_SPACE = "members at work in PID namespace "
FEWEST_SECONDS = 30.0
"""A soak of this length must have come to all that the machine lets it."""
DEEDS = {
    "asyncio": "consumers under asyncio",
    "descriptor": "consumers by descriptor",
    "extends": "consumers that extend by themselves",
    "drains": "drains",
    "lists": "lists of dead letters",
    "pauses": "pauses",
    "brakes": "resumes behind a brake",
    "configures": "configures",
    "looks": "lists of consumers, and peeks",
    "keeps": "snapshots, and looks at what a seek would do",
    "booked": "handed out again behind their effect",
}
"""By their marks in histories."""
WANTED = [
    "kills", "stops", "forks", "ends of all", "messages", "deliveries", "dead letters",
    "messages with a delay", "messages with a time to live", "messages with a priority",
    "hand-outs of delayed ones", "expired", "filtered out", "hand-outs at most once",
    "hand-outs by partition", "batches that were waited for", "hand-outs with a lease of the call",
    "redriven", "redriven, of those that hold their key", "purged", "dead again",
    "hand-outs of redriven ones", "sent under ids", "sent again under its id",
    "moved in transactions", "seeks", "seeks to a snapshot", "seeks cut short",
    "times between two seeks with hand-outs", "urgent ones that went before others",
    "readings of a table", "compacted away", "tombstones that went", "looks at a limit",
    "sends that waited for room", "senders killed that waited for room", "dropped, the oldest",
    "fenced", "sent under a sequence", "sent again under its sequence", "booked once",
    "backups", "backups cut short",
    *(what for deed, what in DEEDS.items() if deed != "brakes"),
]  # fmt: skip
"""What may not be missing."""


@dataclass
class Total:
    """What all rounds came to."""

    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    figures: Figures = field(default_factory=Figures)
    lacks: dict[str, str] = field(default_factory=dict)
    """What the machine does not let the soak do, and why."""

    def count(self, what: str, more: int) -> None:
        self.counts[what] = self.counts.get(what, 0) + more


def count_events(story: Story, total: Total) -> None:
    """What the driver did."""
    events = story.events
    locked = [event for event in events if event.lock]
    total.count("kills", sum(event.what == "kill" for event in events))
    total.count("kills inside a lock", sum(event.what == "kill" for event in locked))
    total.count("stops", sum(event.what == "stop" for event in events))
    total.count("stops inside a lock", sum(event.what == "stop" for event in locked))
    total.count("forks", sum("f" in life.name.partition(".")[2] for life in story.lives))
    total.count("clean ends", sum(event.what == "term" for event in events))
    total.count("ends of a PID namespace", sum(event.what == "space" for event in events))
    total.count("ends of all", sum(event.what == "all" for event in events))
    total.count("stalls of the machine", sum(event.what == "stall" for event in events))


def count_deeds(story: Story, total: Total) -> None:
    """What the workers did."""
    sends = sends_by(story)
    total.count("messages", sum(len(log) for log in story.logs.values()))
    total.count("messages with a delay", sum(send.delay_ms > 0 for send in sends.values()))
    total.count("messages with a time to live", sum(send.ttl_ms > 0 for send in sends.values()))
    total.count("messages with a priority", sum(send.priority > 0 for send in sends.values()))
    hand_outs = [
        (life, one, sends.get((one.sender, one.number)))
        for life in story.lives
        for one in life.hand_outs
    ]
    terms = story.terms
    total.count("deliveries", len(hand_outs))
    delayed = [one for _, one, send in hand_outs if send is not None and send.delay_ms > 0]
    total.count("hand-outs of delayed ones", len(delayed))
    by_group = [(terms[life.topic, life.group], one) for life, one, _ in hand_outs]
    total.count("hand-outs at most once", sum(of.once for of, _ in by_group))
    lined = sum(of.ordering == "partition" for of, _ in by_group)
    total.count("hand-outs by partition", lined)
    total.count("hand-outs of redriven ones", sum(one.cycle > 0 for _, one in by_group))
    gathered = {(one.life, one.began) for _, one in by_group if one.gathered}
    total.count("batches that were waited for", len(gathered))
    leased = sum(one.lease_ms > 0 for _, one in by_group)
    total.count("hand-outs with a lease of the call", leased)
    settles = [settle for life in story.lives for settle in life.settles]
    total.count("stale receipts", sum(settle.outcome == 1 for settle in settles))
    total.count("urgent ones that went before others", story.urgent)
    count_ends(story, total)
    for deed, what in DEEDS.items():
        total.count(what, sum(mark[1] == deed for life in story.lives for mark in life.marks))


def count_ends(story: Story, total: Total) -> None:
    """How messages ended other than by an acknowledgement, as the groups' numbers have it."""
    total.count("dead letters", sum(len(dead) for dead in story.dead.values()))
    for what in ("expired", "filtered", "lost_messages"):
        name = {"filtered": "filtered out", "lost_messages": "lost, as groups know"}.get(what, what)
        total.count(name, sum(stats[what] for stats in story.stats.values()))
    raises = [
        (story.terms[life.topic, group], one)
        for life in story.lives
        for group, some in life.raises.items()
        for one in some
        if one.outcome == 0
    ]
    total.count("redriven", sum(one.how == "R" for _, one in raises))
    holding = sum(one.how == "R" and of.holds for of, one in raises)
    total.count("redriven, of those that hold their key", holding)
    total.count("purged", sum(one.how == "P" for _, one in raises))
    total.count("dead again", sum(one.cycles > 0 for _, one in raises))
    total.count("lost at most once", lost_at_most_once(story))


def lost_at_most_once(story: Story) -> int:
    """Messages that a group that hands out at most once handed to nobody who could say so."""
    lost, sends = 0, sends_by(story)
    for group, of in story.terms.items():
        if of.once:
            seen = {
                one.place
                for life in story.lives
                if (life.topic, life.group) == group
                for one in life.hand_outs
            }
            for message in story.logs[group[0]]:
                send = sends.get((message.sender, message.number))
                lost += message.place not in seen and (send is None or not send.ttl_ms)
    return lost


def fell_short(total: Total, spaces: list[str]) -> list[str]:
    """What did not happen, though the machine lets it: a soak that does nothing finds nothing."""
    short = machine.errors(total.lacks)
    if total.seconds < FEWEST_SECONDS:
        return short
    wanted = list(WANTED) + [IN_SPACE + space for space in spaces]
    if "ptrace" not in total.lacks:
        wanted += ["kills inside a lock"]
    return short + [f"no {what}" for what in wanted if not total.counts.get(what)]


def report(total: Total) -> None:
    without = f", LEFT OUT: {', '.join(total.lacks)}" if total.lacks else ", nothing left out"
    print(f"soak minutes: {total.seconds / 60:.1f}{without}")
    for line in machine.left_out(total.lacks):
        print(line)
    for what, count in total.counts.items():
        print(f"{what}: {count:,}")
    found = total.figures
    stalls, calm = [one[0] for one in found.stalls], found.calm_stalls
    print(
        f"longest stall of a live process when another was killed inside a lock "
        f"(aim: {STALL_AIM_MS:.0f} ms): "
        f"{max(stalls, default=0):.1f} ms (p50 {percentile(stalls, 50):.1f}, "
        f"p99 {percentile(stalls, 99):.1f}, of {len(stalls)}); "
        f"in calls that need no such lock: {max(found.other_stalls, default=0):.1f} ms; "
        f"before the stepper came: {max(calm, default=0):.1f} ms "
        f"(p50 {percentile(calm, 50):.1f}, p99 {percentile(calm, 99):.1f})"
    )
    for stall, text in sorted(found.stalls, reverse=True)[:SLOWEST]:
        print(f"  {stall:.1f} ms: {text}")
    again = [one[0] for one in found.redeliveries]
    print(
        f"from a consumer's death to the redelivery of what it held "
        f"(aim: p99 {REDELIVERY_AIM_MS:.0f} ms): "
        f"p50 {percentile(again, 50):.1f} ms, p99 {percentile(again, 99):.1f} ms, "
        f"longest {max(again, default=0):.1f} ms, of {len(again):,} "
        f"({found.kept_waiting:,} more while no other consumer of the group was free)"
    )
    for time_ms, text in sorted(found.redeliveries, reverse=True)[:SLOWEST]:
        print(f"  {time_ms:.1f} ms: {text}")
    ends = [one[0] for one in found.ends]
    print(
        f"from a kill until the kernel had ended the process, and its locks with it: "
        f"p50 {percentile(ends, 50):.1f} ms, p99 {percentile(ends, 99):.1f} ms, "
        f"longest {max(ends, default=0):.1f} ms, of {len(ends):,}"
    )
