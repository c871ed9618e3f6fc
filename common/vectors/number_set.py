"""A set of numbers from 1 as ranges, so that what a log says of 2^53 of them costs what it is long."""

import bisect


class Numbers:
    def __init__(self):
        self.first, self.last = [], []

    def _at(self, number):
        """The place of the range that begins last, of those that begin up to this number; or -1."""
        return bisect.bisect_right(self.first, number) - 1

    def __contains__(self, number):
        return self.covers(number, number)

    def covers(self, first, last):
        at = self._at(first)
        return at >= 0 and last <= self.last[at]

    def highest(self):
        return self.last[-1] if self.last else 0

    def add(self, number):
        """Whether it was not there."""
        at = self._at(number)
        if at >= 0 and number <= self.last[at]:
            return False
        joins = at >= 0 and self.last[at] + 1 == number
        meets = at + 1 < len(self.first) and self.first[at + 1] == number + 1
        if joins and meets:
            self.last[at] = self.last.pop(at + 1)
            self.first.pop(at + 1)
        elif joins:
            self.last[at] = number
        elif meets:
            self.first[at + 1] = number
        else:
            self.first.insert(at + 1, number)
            self.last.insert(at + 1, number)
        return True

    def remove(self, first, last):
        """Takes out a range that is all there."""
        at = self._at(first)
        begin, end = self.first.pop(at), self.last.pop(at)
        for begins, ends in ((last + 1, end), (begin, first - 1)):
            if begins <= ends:
                self.first.insert(at, begins)
                self.last.insert(at, ends)

    def first_missing(self, highest, ranges=()):
        """The first number of 1 to `highest` that is neither here nor in `ranges`; 0 if there is none."""
        following, ranges = 1, [(first, last) for first, last in ranges]
        place = 0
        while True:
            at = self._at(following)
            if at >= 0 and following <= self.last[at]:
                following = self.last[at] + 1
            while place < len(ranges) and ranges[place][1] < following:
                place += 1
            if place < len(ranges) and ranges[place][0] <= following:
                following = ranges[place][1] + 1
                continue
            return following if following <= highest else 0


def are_ranges(ranges, highest=None, free=1):
    """Whether they ascend with a hole between any two, from `free` on, up to `highest`."""
    for pair in ranges:
        first, last = pair
        if not free <= first <= last:
            return False
        free = last + 2
    return highest is None or not ranges or ranges[-1][1] <= highest
