from zdtm.cgroup_places import ALONE, clean, dumped, ready, restored
