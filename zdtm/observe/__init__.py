"""What the kernel shows of a tree, before and after, from outside and without disturbing it."""
