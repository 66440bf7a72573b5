"""Who looks after the groups of a topic: FOLDER TOPIC GROUP NAME SPACE SEED (GROUP is not used).

Now and then it lists dead letters, redrives some and purges others, which it writes down before and
after; pauses a group and resumes it; changes its backoff or its lease; lists consumers; peeks;
takes snapshots, and looks at what a seek would do. Once the producers ended it only sees to it that
no key is held, and nothing paused.
"""

from __future__ import annotations

import libqueue
from plan import GROUPS, Plan
from work import Worker, boot_ns, read_payload

CHILD_ROUNDS = 5
REST_SECONDS = 0.25
LATE_REST_SECONDS = 0.05
PAUSE_SECONDS = 0.3
LETTERS_MOST = 16
STATES = {"fresh", "ready", "delayed", "leased", "held", "dying", "settled", "holding"}


class Keeper:
    """One group and what is done to it."""

    def __init__(self, me: Worker, name: str, plan: Plan) -> None:
        self.me, self.name, self.plan = me, name, plan
        self.group = me.topic.group(name)

    def raise_letters(self, letters: list[libqueue.DeadLetter], how: str) -> None:
        """Redrives them or purges them."""
        lines = []
        for letter in letters:
            sender, number, _, whole = read_payload(letter.message.payload)
            place = f"{letter.source_partition} {letter.source_offset}"
            story = f"{letter.attempts} {letter.failures} {letter.cycles}"
            claim = f"{sender} {number} {int(whole)}"
            names = f"{self.name} {how} {letter.message.offset}"
            lines.append(f"K {boot_ns()} {names} {place} {story} {claim}\n")
        self.me.put("".join(lines))
        ids = [letter.message.id for letter in letters]
        refused = []
        try:
            self.group.redrive(ids) if how == "R" else self.group.purge_dead_letters(ids)
        except libqueue.NotFound as error:
            refused = error.refused
        lines = [
            f"k {boot_ns()} {self.name} {how} {id.offset} {int(id in refused)}\n" for id in ids
        ]
        self.me.put("".join(lines))

    def keep_letters(self) -> None:
        if self.plan.once:
            return
        letters = self.group.dead_letters(LETTERS_MOST)
        self.me.mark("lists", self.name)
        # Of those that hold their keys most are redriven: the others wait for them.
        redriven = [one for one in letters if self.me.chance.randrange(4) > 0]
        purged = [one for one in letters if one not in redriven]
        for how, some in (("R", redriven), ("P", purged)):
            if some:
                self.raise_letters(some, how)

    def pause(self) -> None:
        self.me.mark("pauses", self.name)
        self.group.pause()
        self.me.rest(PAUSE_SECONDS)
        self.resume()

    def resume(self) -> None:
        """Also what an earlier life left paused, or the brake did."""
        stats = self.group.stats()
        if stats["paused"]:
            if stats["paused_by"] == "brake":
                self.me.mark("brakes", self.name)
            self.group.resume()
        self.me.mark("resumes", self.name)

    def configure(self) -> None:
        if self.plan.once:
            return
        self.me.mark("configures", self.name)
        if self.me.chance.randrange(2) == 0:
            self.group.configure(lease=self.me.chance.choice(self.plan.leases))
        else:
            longest = self.me.chance.choice((0.005, 0.02))
            self.group.configure(backoff=(0.001, longest, 2.0))

    def look(self) -> None:
        self.me.mark("looks", self.name)
        for one in self.group.consumers():
            if one.leased > one.delivered:
                raise SystemExit(f"{self.me.name}: {one.name} has more than it was handed: {one}")
        partition = self.me.chance.randrange(self.me.topic.partitions)
        end = self.me.topic.stats()["partitions"][partition]["next_offset"]
        if end == 0:
            return
        offset = self.me.chance.randrange(end)
        try:
            found = self.group.peek(offset, partition)
        except libqueue.NotFound as error:
            if "is still being sent" not in str(error):
                raise
            return
        whole = read_payload(found.message.payload)[3]
        if found.state not in STATES or found.message.offset != offset or not whole:
            raise SystemExit(f"{self.me.name}: {offset} of {partition} looks wrong: {found}")

    def keep_places(self) -> None:
        """Takes snapshots and gives them up; looks at what a seek would do, and does not do it.

        What would come again nobody could tell from what must not come again.
        """
        self.me.mark("keeps", self.name)
        name = self.me.chance.choice(("one", "two"))
        kept = {one.name: one.whole for one in self.group.snapshots()}
        if not all(kept.values()):
            raise SystemExit(f"{self.me.name}: a snapshot of {self.name} is damaged: {kept}")
        try:
            for to in ("earliest", "latest", *kept):
                for one in self.group.preview_seek(to):
                    if to == "earliest" and one.passed_over > 0:
                        raise SystemExit(f"{self.me.name}: {self.name} would lose by {one}")
            if name in kept:
                self.group.delete_snapshot(name)
            else:
                self.group.snapshot(name)
        except (libqueue.NotFound, libqueue.AlreadyExists):
            # Another keeper of the group was faster.
            self.group.stats()

    def act(self) -> None:
        what = self.me.chance.choices(
            [self.keep_letters, self.pause, self.configure, self.look, self.keep_places],
            [6, 1, 1, 2, 2],
        )[0]
        what()
        if self.plan.brake is not None:
            self.resume()

    def finish(self) -> None:
        """Leaves no key held, and nothing paused."""
        self.resume()
        if self.plan.holds:
            self.keep_letters()


def main() -> None:
    me = Worker("keeper")
    kept = {name: plan for (topic, name), plan in GROUPS.items() if topic == me.topic_name}
    keepers = [Keeper(me, name, plan) for name, plan in kept.items()]
    for keeper in keepers:
        keeper.resume()
    left = -1
    while left != 0 and not me.should_end("stop-keepers"):
        left -= 1
        if me.forked():
            keepers = [Keeper(me, name, plan) for name, plan in kept.items()]
            left = CHILD_ROUNDS
        if (me.folder / "stop-producers").exists():
            for keeper in keepers:
                keeper.finish()
            me.rest(LATE_REST_SECONDS)
        else:
            me.chance.choice(keepers).act()
            me.rest(REST_SECONDS)
    me.end()


if __name__ == "__main__":
    main()
