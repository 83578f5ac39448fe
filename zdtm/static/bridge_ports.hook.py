import re


def ready(o):
    for words in (
        "link add zbr0 type bridge ageing_time 4200",
        "link add zv0 index 31 type veth peer name zv1 index 30",
        "link add zv2 type veth peer name zv3",
        "link set zv2 master zbr0",
        "link set zv1 master zbr0",
        "link set zv0 address 02:00:00:00:66:01 mtu 1400",
        "addr add 10.66.0.1/24 dev zbr0",
        "addr add fd66::1/64 dev zbr0 nodad",
    ):
        o.inside("ip", *words.split())
    for name in ("zbr0", "zv0", "zv1", "zv2", "zv3"):
        o.inside("ip", "link", "set", name, "up")
    o.kept["before"] = look(o)


def look(o):
    text = (
        o.inside("ip", "-br", "link")
        + "\n".join(sorted(o.inside("bridge", "link").splitlines()))
        + o.inside("ip", "-4", "addr")
    )
    text += o.inside("ip", "-6", "addr", "show", "scope", "global") + o.inside("ip", "-d", "link")
    return re.sub(r" (state|\w+_timer) +\S+|\w+ +(?=[0-9a-f]{2}:)|qdisc \S+", "", re.sub(r"<.*?>", "", text))


def restored(o):
    o.same(o.kept["before"], look(o))
