import json


def ready(o):
    o.kept["before"] = look(o)


def look(o):
    """Whose they are, what they are, and their indexes: all that the kernel tells of them."""
    links = json.loads(o.inside("ip", "-d", "-j", "link"))
    return [[x["ifindex"], x["ifname"], sorted(x["flags"]), x["linkinfo"]] for x in links if "linkinfo" in x]


def restored(o):
    o.same(o.kept["before"], look(o))
