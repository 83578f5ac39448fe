import sys

# Asked in the namespace: who gets through to somebody there, without the mark and with it?
ASK = """
import socket
def make(family, mark):
    one = socket.socket(family)
    one.settimeout(0.15)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    return one
for mark in (0, 0xC114):
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with make(family, mark) as there, make(family, mark) as one:
            there.bind((address, 0))
            there.listen()
            print(one.connect_ex(there.getsockname()))
"""
OPEN, SHUT = ["0"] * 4, ["11"] * 2 + ["0"] * 2


def look(o):
    name = o.kept["name"]
    return o.host("nsenter", f"--net=/run/netns/{name}", sys.executable, "-Sc", ASK).split()


def ready(o):
    name = f"zdtm-{o.tag}"
    o.host("ip", "netns", "attach", name, str(o.pid))
    o.kept["name"] = name
    o.same(OPEN, look(o))


def dumped(o):
    o.same(SHUT, look(o))


def restore_options(o):
    return ["--join-ns", f"net:/run/netns/{o.kept['name']}"]


def restored(o):
    o.same(OPEN, look(o))


def clean(o):
    if name := o.kept.get("name"):
        o.host("ip", "netns", "delete", name)
