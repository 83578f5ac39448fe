"""Network namespaces, both halves: links, addresses, routes, rules, filters (network_namespaces(7))."""
