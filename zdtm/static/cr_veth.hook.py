def ready(o):
    bridge, out = f"zb{o.tag}", f"zh{o.tag}"
    o.host("ip", "link", "add", bridge, "type", "bridge")
    o.host("ip", "link", "set", bridge, "up")
    o.host("ip", "link", "add", out, "type", "veth", "peer", "name", f"zt{o.tag}")
    o.host("ip", "link", "set", f"zt{o.tag}", "netns", str(o.pid), "name", "zdtmvthc0")
    o.host("ip", "link", "set", out, "master", bridge, "up")
    o.inside("ip", "link", "set", "zdtmvthc0", "address", "02:00:00:01:02:03", "mtu", "1300")
    o.inside("ip", "link", "set", "zdtmvthc0", "up")
    o.inside("ip", "addr", "add", "10.8.7.6/24", "dev", "zdtmvthc0")
    o.inside("ip", "addr", "add", "fd08::1/64", "dev", "zdtmvthc0", "nodad")
    o.kept["before"] = look(o)


def look(o):
    import json

    links = json.loads(o.inside("ip", "-j", "addr"))
    for link in links:
        link.pop("link_index", None)  # the other end's, outside
        link.pop("operstate", None)  # carriers come a moment later
        link["addr_info"] = [a for a in link["addr_info"] if a["scope"] != "link"]  # they come by themselves
        link["flags"] = sorted(set(link["flags"]) - {"NO-CARRIER", "LOWER_UP", "M-DOWN"})
    return links


def restore_options(o):
    return ["--external", f"veth[zdtmvthc0]:zh{o.tag}@zb{o.tag}"]


def restored(o):
    o.same(o.kept["before"], look(o))
    assert f"master zb{o.tag}" in o.host("ip", "link", "show", f"zh{o.tag}"), "the other end is not on the bridge"


def clean(o):
    import subprocess

    for name in (f"zh{o.tag}", f"zb{o.tag}"):
        subprocess.run(["ip", "link", "del", name], capture_output=True)
