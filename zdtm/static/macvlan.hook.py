import json
import subprocess


def ready(o):
    o.host("ip", "link", "add", f"zb{o.tag}", "type", "bridge")
    o.host("ip", "link", "set", f"zb{o.tag}", "up")
    o.host("ip", "link", "add", f"zm{o.tag}", "link", f"zb{o.tag}", "type", "macvlan", "mode", "vepa")
    o.host("ip", "link", "set", f"zm{o.tag}", "netns", str(o.pid), "name", "zdtmmvlan0")
    o.inside("ip", "link", "set", "zdtmmvlan0", "up", "mtu", "1200")
    o.inside("ip", "addr", "add", "10.8.7.5/24", "dev", "zdtmmvlan0")
    o.kept["before"] = look(o)


def look(o):
    links = json.loads(o.inside("ip", "-j", "-d", "addr"))
    for link in links:
        for volatile in ("operstate", "link_index", "link_netnsid"):
            link.pop(volatile, None)
        link["addr_info"] = [a for a in link["addr_info"] if a["scope"] != "link"]  # they come by themselves
        link["flags"] = sorted(set(link["flags"]) - {"NO-CARRIER", "LOWER_UP", "M-DOWN"})
    return links


def restore_options(o):
    return ["--external", f"macvlan[zdtmmvlan0]:zb{o.tag}"]


def restored(o):
    o.same(o.kept["before"], look(o))


def clean(o):
    subprocess.run(["ip", "link", "del", f"zb{o.tag}"], capture_output=True)
