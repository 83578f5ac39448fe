LISTINGS = (("link",), ("addr",), ("route", "show", "table", "all"), ("-6", "route"), ("rule",))


def ready(o):
    for words in (
        "addr add 10.66.0.1/24 dev lo",
        "addr add 10.66.1.1 peer 10.66.2.1/32 dev lo scope link",
        "addr add fd66::1/64 dev lo",
        "route add 10.67.0.0/16 via 10.66.0.7 metric 5",
        "route add unreachable 10.68.0.0/16",
        "-6 route add fd67::/64 dev lo metric 9",
        "rule add from 10.66.0.0/24 lookup main pref 100",
    ):
        o.inside("ip", *words.split())
    o.kept["before"] = look(o)


def look(o):
    return "\n".join("\n".join(sorted(o.inside("ip", *words).splitlines())) for words in LISTINGS)


def restored(o):
    o.same(o.kept["before"], look(o))
