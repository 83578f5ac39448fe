import re

CLIENT = """
import socket
a, b = socket.socket(), socket.socket()
a.bind(("127.0.0.1", 0))
a.listen()
b.connect(a.getsockname())
"""


def ready(o):
    o.inside("nft", "add", "table", "ip", "zdtm")
    o.inside("nft", "add", "chain", "ip", "zdtm", "c", "{ type filter hook input priority 0; }")
    o.inside("nft", "add", "rule", "ip", "zdtm", "c", "ct", "state", "established", "accept")
    o.inside("python3", "-c", CLIENT)
    o.kept["before"] = look(o)
    assert "TIME_WAIT" in o.kept["before"] or "CLOSE" in o.kept["before"], o.kept["before"]


def look(o):
    text = o.inside("cat", "/proc/thread-self/net/nf_conntrack")
    return re.sub(r" use=\d+|(?<=tcp      6) \d+", "", text)


def restored(o):
    o.same(o.kept["before"], look(o))
