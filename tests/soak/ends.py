"""How each message of a group ended, which it does once; and whether it was handed out in time."""

from __future__ import annotations

from evidence import MS, SLACK_NS, Evidence
from history import HandOut, Place

BATCH_MOST = 8
"""So many messages a consumer asks for at most."""


def check_ends(of: Evidence) -> None:
    """Acknowledged, dead, purged, expired, filtered out, or lost with a killed consumer."""
    lost: list[Place] = []
    for place in of.log:
        if not of.takes(place):
            if of.hand_outs.get(place) or of.letters_of(place):
                of.say("filtered", place, "handed out, though the filter leaves it out")
            continue
        check_once_ended(of, place)
        if not may_have_ended(of, place):
            if of.terms.once and not of.hand_outs.get(place):
                lost.append(place)
            else:
                say_unended(of, place)
        for one in of.hand_outs.get(place, ()):
            check_time(of, place, one)
    check_lost(of, lost)


def check_once_ended(of: Evidence, place: Place) -> None:
    acked = any(one.how == "a" and one.outcome == 0 for one in of.settles.get(place, ()))
    purged = any(one.outcome == 0 for one in of.purges(place))
    dead = place in of.letters_left
    if of.terms.once:
        if len(of.hand_outs.get(place, ())) > 1:
            lives = [one.life for one in of.hand_outs[place]]
            of.say("twice", place, f"handed to {lives}, though at most once")
        if dead:
            of.say("letters", place, "a dead letter of a group that has none")
        return
    if acked and dead:
        of.say("letters", place, "acknowledged, and a dead letter too")
    if acked and purged:
        of.say("letters", place, "acknowledged, and purged too")
    if purged and dead:
        of.say("letters", place, "purged, and a dead letter still")


def may_have_ended(of: Evidence, place: Place) -> bool:
    acked = any(one.how == "a" and one.outcome != 1 for one in of.settles.get(place, ()))
    handed = of.terms.once and bool(of.hand_outs.get(place))
    return (
        acked
        or handed
        or place in of.letters_left
        or bool(of.purges(place))
        or of.expires(place) is not None
    )


def say_unended(of: Evidence, place: Place) -> None:
    if hand_outs := of.hand_outs.get(place):
        last = hand_outs[-1]
        text = f"never settled; last seen as attempt {last.attempt} of {last.life}"
        of.say("stranded", place, text)
    else:
        of.say("lost", place, "never handed out")


def check_lost(of: Evidence, lost: list[Place]) -> None:
    """At most once, those that were killed may each have been handed one batch."""
    killed = sorted(of.deaths[life.name] for life in of.lives if life.name in of.deaths)
    for number, place in enumerate(sorted(lost, key=of.due, reverse=True)):
        # The later it was sent, the fewer were killed behind that.
        send = of.send_of(place)
        since = 0 if send is None else send.will
        after = sum(death >= since - of.dying for death in killed)
        if number >= BATCH_MOST * after:
            of.say("lost", place, f"never handed out, and {after} consumers were killed since")


def check_time(of: Evidence, place: Place, one: HandOut) -> None:
    """Not before it is due, and not, when it was taken out of the window, too late."""
    send = of.send_of(place)
    if send is None or not send.wall or not one.wall:
        return
    earliest, latest = one.began, one.ended
    if not of.terms.once and not one.gathered:
        shortest, longest = (one.lease_ms, one.lease_ms) if one.lease_ms else of.terms.leases_ms
        latest = min(latest, one.deadline - shortest * MS)
        earliest = max(earliest, one.deadline - longest * MS)
    to_wall = one.wall - one.ended
    early = send.wall + send.delay_ms * MS - (latest + to_wall)
    if send.delay_ms and early > SLACK_NS:
        of.say("early", place, f"to {one.life} {early / MS:.0f} ms before its time")
    # One that held its key and was redriven is handed out whenever that is.
    redriven = one.cycle > 0 or of.redriven(place, 0, one.ended)
    if send.ttl_ms and send.done is not None and not redriven:
        expiry = send.wall + (send.done - send.will) + send.ttl_ms * MS
        late = earliest + to_wall - expiry
        if late > SLACK_NS:
            of.say("expired", place, f"to {one.life} {late / MS:.0f} ms after its expiry")
