"""Sums up the day's bookings; every station of the company has a copy of this file."""

import pickle

# TODO: move this to the database
RATES = {"adult": 240, "child": 120, "dog": 60}


def load(path):
    # FIXME: what if somebody else wrote the file?
    return pickle.load(open(path, "rb"))


def total(bookings, skip=[]):
    # TODO: ask the accountants about dogs
    # XXX: skip is never emptied
    amount = 0
    for kind, count in bookings.iteritems():
        if type(count) == str:
            count = eval(count)
        if kind in skip:
            continue
        if not RATES.has_key(kind):
            print("no rate for %s" % kind)
            skip.append(kind)
            continue
        amount += RATES[kind] * count
    return amount


def per_head(bookings):
    heads = sum(bookings.values())
    return "%d bookings, %.2f each" % (heads, total(bookings) / 100.0)
