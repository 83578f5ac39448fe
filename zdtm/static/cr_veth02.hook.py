import json
import subprocess


def ready(o):
    out = f"zh{o.tag}"
    o.host("ip", "link", "add", out, "type", "veth", "peer", "name", f"zt{o.tag}")
    o.host("ip", "link", "set", f"zt{o.tag}", "netns", str(o.pid), "name", "zdtmvthc0")
    o.host("ip", "link", "set", out, "up")
    o.inside("ip", "link", "set", "zdtmvthc0", "address", "02:00:00:01:02:03", "mtu", "1300")
    o.inside("ip", "link", "set", "zdtmvthc0", "up")
    o.inside("ip", "addr", "add", "10.8.7.6/24", "dev", "zdtmvthc0")
    o.inside("ip", "addr", "add", "fd08::1/64", "dev", "zdtmvthc0", "nodad")
    o.kept["before"] = look(o)


def look(o):
    links = json.loads(o.inside("ip", "-j", "addr"))
    for link in links:
        link.pop("link_index", None)  # the other end's, outside
        link.pop("operstate", None)  # carriers come a moment later
        link["addr_info"] = [a for a in link["addr_info"] if a["scope"] != "link"]  # they come by themselves
        link["flags"] = sorted(set(link["flags"]) - {"NO-CARRIER", "LOWER_UP", "M-DOWN"})
    return links


def restore_options(o):
    clean(o)  # a network namespace ends some time after its last process, and what is tied to it
    o.host("ip", "link", "add", f"zx{o.tag}", "type", "veth", "peer", "name", f"zt{o.tag}")
    o.host("ip", "link", "set", f"zx{o.tag}", "up")
    return ["--external", f"netdev[zdtmvthc0]:zt{o.tag}"]


def restored(o):
    o.same(o.kept["before"], look(o))


def clean(o):
    for name in (f"zh{o.tag}", f"zx{o.tag}"):
        subprocess.run(["ip", "link", "del", name], capture_output=True)
