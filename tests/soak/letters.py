"""Dead letters, their redrives and purges, and how many attempts and failures made them."""

from __future__ import annotations

from evidence import Evidence
from history import HandOut, Place


def check_letters(of: Evidence) -> None:
    """All dead letters that are known: those at the end, and those that a keeper had to do with."""
    seen: set[Place] = set()
    for letter in of.dead:
        if letter.place in seen:
            of.say("letters", letter.place, "two dead letters of one message")
        seen.add(letter.place)
        check_claim(of, letter.place, letter.sender, letter.number, letter.whole)
    for place, raises in list(of.raises.items()):
        for one in raises:
            check_claim(of, place, one.sender, one.number, one.whole)
    for one in of.refused:
        if not any(other.letter == one.letter for other in of.raises.get(one.place, ())):
            of.say("letters", one.place, f"{one.life} was refused a letter that nobody had")
    for place in set(of.raises) | seen | set(of.hand_outs):
        if place in of.log:
            check_cycles(of, place)
            check_raised(of, place)
            check_failures(of, place)


def check_claim(of: Evidence, place: Place, sender: str, number: int, whole: bool) -> None:
    message = of.log.get(place)
    if message is None or not whole or (sender, number) != (message.sender, message.number):
        of.say("invented", place, "a dead letter of a message that is not there")


def check_cycles(of: Evidence, place: Place) -> None:
    """Each redrive that ends in a dead letter makes that one's cycles one higher."""
    letters = of.letters_of(place)
    cycles = [letter[2] for letter in letters]
    if cycles != list(range(len(letters))):
        of.say("redriven", place, f"its dead letters, by attempts, have the cycles {cycles}")
    if len({letter[0] for letter in letters}) < len(letters):
        of.say("letters", place, f"two dead letters of one hand-out: {letters}")


def check_raised(of: Evidence, place: Place) -> None:
    """Handed out again only behind a redrive, and each letter is redriven or purged once."""
    letters = of.letters_of(place)
    for one in of.hand_outs.get(place, ()):
        cycle = sum(letter[0] < one.attempt for letter in letters)
        came = [each.will for each in of.redrives(place) if each.cycles == cycle - 1]
        if cycle > 0 and not any(will <= one.ended for will in came):
            text = f"attempt {one.attempt} to {one.life}, though its dead letter was not redriven"
            of.say("redriven", place, text)
        # What holds its key is handed out from where it was sent, without a header of its own.
        stays = of.terms.holds and place in of.log and of.log[place].key != "-"
        if one.cycle != (0 if stays else cycle):
            text = f"attempt {one.attempt} to {one.life} says it is of cycle {one.cycle}"
            of.say("redriven", place, f"{text}, and is of {cycle}")
        if any(each.done is not None and each.done < one.began for each in of.purges(place)):
            of.say("redriven", place, f"attempt {one.attempt} to {one.life}, though it was purged")
    good: dict[int, str] = {}
    for each in of.raises.get(place, ()):
        if each.outcome == 0 and each.letter in good:
            text = f"letter {each.letter}: {good[each.letter]} and {each.how} by {each.life}"
            of.say("letters", place, f"{text}, both good")
        if each.outcome == 0:
            good[each.letter] = each.how


def check_failures(of: Evidence, place: Place) -> None:
    """In each cycle as many failures as make it dead, where nothing else ended a hand-out."""
    if of.terms.once:
        return
    behind, most = 0, of.max_attempts
    hand_outs = {one.attempt: one for one in of.hand_outs.get(place, ())}
    for attempts, failures, _ in of.letters_of(place):
        tried = range(behind + 1, attempts + 1)
        fewest, highest, given_up = count_failures(of, place, hand_outs, tried, most)
        if not given_up:
            fewest = max(fewest, most)
        if not fewest <= failures <= min(highest, most):
            text = f"{failures} failures of {attempts} attempts made it dead, not"
            of.say("letters", place, f"{text} {fewest} to {min(highest, most)}")
        behind = attempts
    later = [attempt for attempt in hand_outs if attempt > behind]
    if later:
        tried = range(behind + 1, max(later) + 1)
        fewest, _, given_up = count_failures(of, place, hand_outs, tried, most)
        if fewest >= most and not given_up and of.expires(place) is None:
            of.say("letters", place, f"{fewest} failures did not make it dead")


def count_failures(
    of: Evidence, place: Place, hand_outs: dict[int, HandOut], tried: range, most: int
) -> tuple[int, int, bool]:
    """How many there are at least, how many there may be, and whether somebody gave it up."""
    fewest, highest, given_up = 0, 0, False
    for attempt in tried:
        if fewest >= most and attempt in hand_outs:
            of.say("letters", place, f"attempt {attempt} after {fewest} failures")
        hows = {
            one.how: one.outcome
            for one in of.settles.get(place, ())
            if one.attempt == attempt and one.outcome != 1 and one.how != "x"
        }
        given_up |= "d" in hows
        if hows.get("n") == 0 or hows.get("d") == 0:
            fewest, highest = fewest + 1, highest + 1
        elif hows.get("r") != 0:
            # It may have died, or its lease ended: that counts or not.
            highest += 1
    return fewest, highest, given_up
