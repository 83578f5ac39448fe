import json


def ready(o):
    for address in ("10.8.4.1/24", "fd84::1/64"):
        o.inside("ip", "addr", "add", address, "dev", "zbr0")
    o.kept["before"] = look(o)


def look(o):
    links = json.loads(o.inside("ip", "-j", "addr", "show", "dev", "zbr0"))
    for link in links:
        link.pop("operstate")  # the carrier goes a moment later
        link["flags"] = sorted(set(link["flags"]) - {"NO-CARRIER", "LOWER_UP"})
        link["addr_info"] = sorted(link["addr_info"], key=lambda a: a["local"])
    return links


def restored(o):
    o.same(o.kept["before"], look(o))
