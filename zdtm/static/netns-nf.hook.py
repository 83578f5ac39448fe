import re


def ready(o):
    o.inside("iptables-legacy", "-A", "INPUT", "-p", "icmp", "-j", "DROP")
    o.inside("iptables-legacy", "-t", "mangle", "-A", "OUTPUT", "-p", "tcp", "-j", "MARK", "--set-mark", "7")
    o.kept["before"] = look(o)


def look(o):
    text = o.inside("iptables-legacy-save", "-c")
    tables = re.sub(r"(?m)^#.*\n|\[\d+:\d+\]", "", text).split("*")
    return tables[0] + "*".join(sorted(tables[1:]))  # each of its own


def restored(o):
    o.same(o.kept["before"], look(o))
