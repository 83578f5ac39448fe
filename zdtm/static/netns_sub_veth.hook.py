import json
import re
from pathlib import Path


def within(o, pid, words):
    return o.host("nsenter", f"--net=/proc/{pid}/ns/net", *words.split())


def inner(pid):
    """What a process is called in its own pid namespace."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].splitlines()[0].split()[-1])


def kids(o):
    """The children, as they were born: the test is the tree's root, or below a first process of its pid namespace."""
    pid = o.pid
    while True:
        its = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(its) == 2:
            return sorted(its, key=inner)
        (pid,) = its


def ready(o):
    one, two = kids(o)
    o.inside("ip", "link", "add", "zbr0", "type", "bridge")
    for number, kid in ((1, one), (2, two)):
        pair = f"zp{number} index 4{number} type veth peer name zk index 5{number} netns {kid}"
        o.inside("ip", "link", "add", *pair.split())
        o.inside(*f"ip link set zp{number} master zbr0 up".split())
        within(o, kid, f"ip addr add 10.77.0.{number}/24 dev zk")
        within(o, kid, "ip link set zk up mtu 1400")
    # between the children, past their parent
    within(o, one, f"ip link add zside index 60 type veth peer name zside index 70 netns {two}")
    o.inside("ip", "addr", "add", "10.77.0.7/24", "dev", "zbr0")
    o.inside("ip", "link", "set", "zbr0", "up")
    o.kept["before"] = look(o)


def look(o):
    return [look_at(o, pid) for pid in (o.pid, *kids(o))]


def look_at(o, pid):
    links = sorted(json.loads(within(o, pid, "ip -j -d addr")), key=lambda link: link["ifindex"])
    for link in links:
        link.pop("operstate", None)  # carriers come a moment later
        link["addr_info"] = [a for a in link["addr_info"] if a["scope"] != "link"]  # they come by themselves
        link["flags"] = sorted(set(link["flags"]) - {"NO-CARRIER", "LOWER_UP", "M-DOWN"})
        if "linkinfo" in link:
            # timers run; some engines give ports other numbers
            volatile = r'"(\w*(timer|state)\w*|designated_port|id|no)": ?[^,}]*'
            link["linkinfo"] = json.loads(re.sub(volatile, '"volatile": 0', json.dumps(link["linkinfo"])))
    return links


def restored(o):
    o.same(o.kept["before"], look(o))
    one, two = kids(o)
    within(o, one, "ip link set zside up")
    assert "LOWER_UP" not in within(o, two, "ip link show zside"), "who is up without the other?"
    within(o, two, "ip link set zside up")
    for pid in (one, two):
        assert "LOWER_UP" in within(o, pid, "ip link show zside"), "the children's own pair is torn"
    o.inside("ip", "link", "set", "zp1", "down")
    assert "NO-CARRIER" in within(o, one, "ip link show zk"), "zk of the first child is not zp1's other end"
    assert "NO-CARRIER" not in within(o, two, "ip link show zk"), "zk of the second child is zp1's other end"
    o.inside("ip", "link", "set", "zp1", "up")  # all as it was: there may be another round
    for pid in (one, two):
        within(o, pid, "ip link set zside down")
