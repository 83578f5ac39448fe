from zdtm.cgroups import ALONE, clean, dumped, ready
