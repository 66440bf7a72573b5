"""The order in which a group hands out: of a key, of a partition, and of what is ready."""

from __future__ import annotations

import itertools
from collections import defaultdict

from evidence import Evidence
from history import Place

OVERLOOKED_NS = 8_000_000_000
"""Longer than the longest lease, and a stop, of a consumer that could not write down a hand-out."""


def check_order_of_group(of: Evidence) -> None:
    """All of it."""
    if of.terms.ordering != "none":
        for name, chain in chains(of).items():
            check_turns(of, name, chain)
            check_exclusion(of, name, chain)
    check_overlooked(of)


def chain_of(of: Evidence, place: Place) -> tuple[int, str] | None:
    """Whose order a message is in."""
    if of.terms.ordering == "partition":
        return place[0], "all"
    key = of.log[place].key
    return None if key == "-" or of.terms.ordering == "none" else (place[0], key)


def chains(of: Evidence) -> dict[tuple[int, str], list[Place]]:
    """What was handed out of each order, by offset."""
    found: dict[tuple[int, str], list[Place]] = defaultdict(list)
    for place in sorted(of.log):
        name = chain_of(of, place)
        if name is not None and of.first_cycle(place):
            found[name].append(place)
    return found


def check_turns(of: Evidence, name: tuple[int, str], chain: list[Place]) -> None:
    """Of each two neighbours the first is settled before the second is handed out.

    One with a delay takes its turn when it falls due: there `check_exclusion` has to do.
    """
    in_turn = [place for place in chain if not of.is_delayed(place)]
    for first, second in itertools.pairwise(in_turn):
        met = min(one.ended for one in of.first_cycle(second))
        if of.settled_from(first) > met:
            text = f"handed out before {first} of its order {name[1]} was settled"
            of.say("reordered", second, text)
        if any(one.began > met for one in of.first_cycle(first)):
            text = f"handed out again behind {second} of its order {name[1]}"
            of.say("reordered", first, text)


def check_exclusion(of: Evidence, name: tuple[int, str], chain: list[Place]) -> None:
    """Never are two under way at once, delayed ones included."""
    if not any(of.is_delayed(place) for place in chain):
        return
    met = {place: min(one.ended for one in of.first_cycle(place)) for place in chain}
    for first, second in itertools.pairwise(sorted(chain, key=lambda place: met[place])):
        if (
            (of.is_delayed(first) or of.is_delayed(second))
            and of.settled_from(first) > met[second]
            and of.settled_from(second) > met[first]
        ):
            text = f"handed out while {first} of its order {name[1]} was under way"
            of.say("reordered", second, text)


def check_overlooked(of: Evidence) -> None:
    """What is ready is handed out before anything of no higher priority behind it."""
    calls: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
    for place, hand_outs in of.hand_outs.items():
        send = of.send_of(place)
        urgent = 0 if send is None else send.priority
        calls[place[0]] += [(one.began, one.ended, place[1], urgent) for one in hand_outs]
    # Of each order, when all that stood before was over: a delayed one may have joined it too.
    over: dict[tuple[int, str], int] = defaultdict(int)
    for place in sorted(of.log):
        hand_outs = of.first_cycle(place)
        if not hand_outs:
            continue
        ready, name, send = of.due(place), chain_of(of, place), of.send_of(place)
        if name is not None:
            ready = max(ready, over[name])
            over[name] = max(over[name], of.over_by(place))
            if of.is_delayed(place):
                continue
        priority = 0 if send is None else send.priority
        for one in hand_outs:
            # A call that waits for a full batch took some of it only at its end.
            if one.began - ready > OVERLOOKED_NS and any(
                ready + OVERLOOKED_NS < began and ended < one.began and offset > place[1]
                and urgent <= priority
                for began, ended, offset, urgent in calls[place[0]]
            ):  # fmt: skip
                seconds = (one.began - ready) / 1e9
                text = f"attempt {one.attempt} to {one.life} after {seconds:.1f} s"
                of.say("overlooked", place, text)
            ready = max(one.ended, one.deadline, of.gone.get(one.life, 0), of.over_by(place))
