def ready(o):
    o.inside("nft", "add", "table", "inet", "zdtm")
    o.inside("nft", "add", "chain", "inet", "zdtm", "c", "{ type filter hook input priority 0; policy accept; }")
    o.inside("nft", "add", "rule", "inet", "zdtm", "c", "udp", "dport", "9", "counter", "reject")
    o.kept["before"] = look(o)


def look(o):
    return o.inside("nft", "list", "table", "inet", "zdtm")


def restored(o):
    o.same(o.kept["before"], look(o))
