"""linux/in.h, linux/in6.h, linux/udp.h, linux/udplite.h, linux/tcp.h: options and states of IPv4 and IPv6 sockets."""

SOL_IP, SOL_UDP, SOL_IPV6, SOL_UDPLITE = 0, 17, 41, 136

ESTABLISHED, CLOSE = 1, 7  # TCP_*, of all protocols

IP_TOS = 1
IP_TTL = 2
IP_PKTINFO = 8
IP_FREEBIND = 15
IPV6_V6ONLY = 26
IPV6_RECVPKTINFO = 49
IPV6_FREEBIND = 78

# Options that nothing but themselves depends on, with the bytes that they may have.
IP_OPTIONS = {
    "IP_OPTIONS": (4, 40),
    "IP_RECVOPTS": (6, 4),
    "IP_RETOPTS": (7, 4),
    "IP_MTU_DISCOVER": (10, 4),
    "IP_RECVERR": (11, 4),
    "IP_RECVTTL": (12, 4),
    "IP_RECVTOS": (13, 4),
    "IP_PASSSEC": (18, 4),
    "IP_TRANSPARENT": (19, 4),
    "IP_RECVORIGDSTADDR": (20, 4),
    "IP_MINTTL": (21, 4),
    "IP_CHECKSUM": (23, 4),
    "IP_BIND_ADDRESS_NO_PORT": (24, 4),
    "IP_RECVFRAGSIZE": (25, 4),
    "IP_RECVERR_RFC4884": (26, 4),
    "IP_MULTICAST_IF": (32, 4),
    "IP_MULTICAST_TTL": (33, 4),
    "IP_MULTICAST_LOOP": (34, 4),
    "IP_MULTICAST_ALL": (49, 4),
    "IP_UNICAST_IF": (50, 4),
    "IP_LOCAL_PORT_RANGE": (51, 4),
}
MAPPED_OPTIONS = {"IP_TOS": (IP_TOS, 4), "IP_TTL": (IP_TTL, 4), "IP_PKTINFO": (IP_PKTINFO, 4)}  # of IPv6 sockets
IPV6_OPTIONS = {
    "IPV6_UNICAST_HOPS": (16, 4),
    "IPV6_MULTICAST_IF": (17, 4),
    "IPV6_MULTICAST_HOPS": (18, 4),
    "IPV6_MULTICAST_LOOP": (19, 4),
    "IPV6_MTU_DISCOVER": (23, 4),
    "IPV6_RECVERR": (25, 4),
    "IPV6_MULTICAST_ALL": (29, 4),
    "IPV6_RECVERR_RFC4884": (31, 4),
    "IPV6_FLOWINFO_SEND": (33, 4),
    "IPV6_RECVHOPLIMIT": (51, 4),
    "IPV6_RECVHOPOPTS": (53, 4),
    "IPV6_RECVRTHDR": (56, 4),
    "IPV6_RECVDSTOPTS": (58, 4),
    "IPV6_RECVPATHMTU": (60, 4),
    "IPV6_DONTFRAG": (62, 4),
    "IPV6_RECVTCLASS": (66, 4),
    "IPV6_TCLASS": (67, 4),
    "IPV6_AUTOFLOWLABEL": (70, 4),
    "IPV6_ADDR_PREFERENCES": (72, 4),
    "IPV6_MINHOPCOUNT": (73, 4),
    "IPV6_RECVORIGDSTADDR": (74, 4),
    "IPV6_TRANSPARENT": (75, 4),
    "IPV6_UNICAST_IF": (76, 4),
    "IPV6_RECVFRAGSIZE": (77, 4),
}
UDP_OPTIONS = {
    "UDP_CORK": (1, 4),
    "UDP_ENCAP": (100, 4),
    "UDP_NO_CHECK6_TX": (101, 4),
    "UDP_NO_CHECK6_RX": (102, 4),
    "UDP_SEGMENT": (103, 4),
    "UDP_GRO": (104, 4),
}
UDPLITE_OPTIONS = {"UDPLITE_SEND_CSCOV": (10, 4), "UDPLITE_RECV_CSCOV": (11, 4)}
