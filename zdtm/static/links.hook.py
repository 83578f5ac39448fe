import json
import re

MADE = """
link add zv0 index 20 numtxqueues 2 type veth peer name zv1 index 31
link set zv0 address 02:00:00:00:70:01 mtu 1400 alias 'one of two' group 7 txqueuelen 77
link set zv1 promisc on arp off
link add zmac index 50 link zv0 type macvlan mode private
link add zifb index 60 type ifb
link add zvx index 40 type vxlan id 42 dev zv0 dstport 4790 group 239.1.1.1 ttl 5 ageing 77
addr add 10.70.0.1/24 dev zv0 label zv0:x
addr add 10.70.1.1 peer 10.70.1.9/32 dev zv0
addr add fd70::1/64 dev zv0 nodad
link set zv0 up
link set zv1 up
link set zmac up
link set zvx up
route add 10.71.0.0/16 via 10.70.0.3 metric 10 mtu 1300
route add 10.72.0.0/16 dev zv0 table 100
route add 10.73.0.0/16 nexthop via 10.70.0.3 weight 2 nexthop via 10.70.0.4
-6 route add fd77::/64 via fd70::2 metric 10
rule add fwmark 7 table 100
-6 rule add from fd70::/64 table 100
neigh add 10.70.0.3 lladdr 02:00:00:00:00:01 dev zv0 nud permanent
neigh add proxy 10.70.0.7 dev zv0
-6 neigh add fd70::9 lladdr 02:00:00:00:00:02 dev zv0 nud permanent
"""
LISTINGS = (
    *("-d -j link", "-j -4 addr", "-j -6 addr show scope global", "-j route show table all", "-j rule"),
    *("-j -6 route show table main", "-j -6 rule", "-j neigh show nud permanent", "-j neigh show proxy"),
    *("-6 -j neigh show nud permanent",),
)
# carriers come a moment later, addresses of links and their routes by themselves; where multicast goes too
VOLATILE = ("operstate", "link_index", "preferred_life_time", "valid_life_time", "expires")
COMES_BY_ITSELF = re.compile(r"fe80:|ff00:|multicast")


def ready(o):
    for line in MADE.strip().splitlines():
        o.inside("sh", "-c", f"ip {line}")
    o.inside("sh", "-c", "cd /proc/sys/net; echo 2 > ipv4/conf/zv0/rp_filter; echo 17 > ipv6/conf/zv1/hop_limit")
    o.kept["before"] = look(o)


def look(o):
    out = []
    for words in LISTINGS:
        rows = json.loads(o.inside("ip", *words.split()) or "[]")
        for row in rows:
            for key in VOLATILE:
                row.pop(key, None)
            row["flags"] = sorted(set(row.get("flags", [])) - {"NO-CARRIER", "LOWER_UP", "M-DOWN", "linkdown"})
            for address in row.get("addr_info", []):
                for key in VOLATILE:
                    address.pop(key, None)
        rows = [json.dumps(row, sort_keys=True, indent=1) for row in rows]
        out += [f"== {words}", *sorted(row for row in rows if not COMES_BY_ITSELF.search(row) or "link" in words)]
    out.append(o.inside("sh", "-c", "cd /proc/sys/net; grep . ipv4/conf/zv?/* ipv6/conf/zv?/* 2>&-||true"))
    return "\n".join(out)


def restored(o):
    o.same(o.kept["before"], look(o))
