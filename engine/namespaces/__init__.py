"""One module a kind of namespace, both halves (namespaces(7))."""
