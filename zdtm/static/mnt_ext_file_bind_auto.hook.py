from zdtm import volumes

clean = volumes.clean


def prepare(o):
    file = volumes.make(o, "volume") / "file"
    file.write_text("outside")
    o.give(file, "/scratch/file")
