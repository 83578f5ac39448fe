/* Files by their names, many in a call: what they are, and to open them. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#define PAGE 4096

/* The GNU build-id among an ELF file's notes (elf(5)), in words; 0 if it is not there. */
static int find_note(const unsigned char *at, size_t size, unsigned *words, unsigned room)
{
	Elf64_Nhdr note; /* ELF32 has the same */
	size_t pos = 0, desc;

	while (pos + sizeof(note) <= size) {
		memcpy(&note, at + pos, sizeof(note));
		pos += sizeof(note);
		desc = pos + ((note.n_namesz + 3ul) & ~3ul);
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && desc + note.n_descsz <= size &&
		    !memcmp(at + pos, "GNU", 4)) {
			room = note.n_descsz / 4 < room ? note.n_descsz / 4 : room;
			memcpy(words, at + desc, room * 4ul);
			return (int)room;
		}
		pos = desc + ((note.n_descsz + 3ul) & ~3ul);
	}
	return 0;
}

static int read_build_id(int fd, unsigned *words, unsigned room)
{
	unsigned char head[PAGE], notes[PAGE];
	ssize_t n = pread(fd, head, sizeof(head), 0), got;
	Elf64_Ehdr e;
	Elf32_Ehdr small;
	Elf64_Phdr p;
	Elf32_Phdr q;
	int wide, found = 0;

	if (n < 0)
		return -errno;
	if (n < (ssize_t)sizeof(e) || memcmp(head, ELFMAG, SELFMAG))
		return 0;
	memcpy(&e, head, sizeof(e));
	memcpy(&small, head, sizeof(small));
	wide = head[EI_CLASS] == ELFCLASS64;
	if (!wide && head[EI_CLASS] != ELFCLASS32)
		return 0;
	if (!wide) {
		e.e_phoff = small.e_phoff;
		e.e_phentsize = small.e_phentsize;
		e.e_phnum = small.e_phnum;
	}
	for (unsigned i = 0, at = 0; i < e.e_phnum && !found; i++) {
		if (e.e_phoff > sizeof(head))
			break;
		at = (unsigned)e.e_phoff + i * e.e_phentsize;
		if (at + sizeof(p) > (size_t)n)
			break;
		memcpy(&p, head + at, sizeof(p));
		memcpy(&q, head + at, sizeof(q));
		if (!wide) {
			p.p_offset = q.p_offset;
			p.p_filesz = q.p_filesz;
		}
		if (p.p_type != PT_NOTE || p.p_offset > INT64_MAX)
			continue;
		got = pread(fd, notes, p.p_filesz < sizeof(notes) ? p.p_filesz : sizeof(notes),
			    (off_t)p.p_offset);
		found = got < 0 ? -errno : find_note(notes, (size_t)got, words, room);
	}
	return found;
}

/* Its access time stays where we may see to that. */
static int open_to_read(int dirfd, const char *name)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, fd = openat(dirfd, name, flags | O_NOATIME);

	return fd < 0 && errno == EPERM ? openat(dirfd, name, flags) : fd;
}

/* The GNU build-id of an ELF file, in 32-bit words: how many, 0 for any other file. */
int zd_build_id(int dirfd, const char *name, unsigned *words, unsigned room)
{
	int fd = open_to_read(dirfd, name), r;

	if (fd < 0)
		return -errno;
	r = read_build_id(fd, words, room);
	close(fd);
	return r;
}

void zd_build_ids(struct zd_named *files, unsigned count)
{
	struct stat st;

	for (struct zd_named *f = files; f < files + count; f++) {
		int fd = open_to_read(AT_FDCWD, f->name);

		f->words = -1;
		if (fd < 0)
			continue;
		if (!fstat(fd, &st) && st.st_dev == f->dev && st.st_ino == f->ino)
			f->words =
				read_build_id(fd, f->build_id, sizeof(f->build_id) / sizeof(f->build_id[0]));
		close(fd);
	}
}

static int is_as_wanted(int fd, const struct zd_open *f)
{
	unsigned bits = f->exact ? ~0u : S_IFMT;
	struct stat st;

	if (fstat(fd, &st) || (f->mode && (st.st_mode & bits) != (f->mode & bits)))
		return 0;
	return f->size < 0 || !S_ISREG(st.st_mode) || st.st_size == f->size;
}

/* Without waiting for whom a FIFO that stands there by now has at its other end. */
static int open_one(const struct zd_open *f)
{
	int fd = open(f->name, (int)f->flags | O_NONBLOCK | O_CLOEXEC), ok;

	if (fd < 0)
		return 0;
	ok = is_as_wanted(fd, f) && (f->flags & O_NONBLOCK || !fcntl(fd, F_SETFL, f->flags)) &&
	     (!f->pos || lseek(fd, f->pos, SEEK_SET) == f->pos) && dup3(fd, f->number, O_CLOEXEC) >= 0;
	close(fd);
	return ok;
}

/* What is not `done` is not there, or not as wanted. */
void zd_open_many(struct zd_open *files, unsigned count)
{
	for (struct zd_open *f = files; f < files + count; f++)
		f->done = open_one(f);
}

int zd_memfd_secret(unsigned flags)
{
	int fd = (int)syscall(SYS_memfd_secret, flags);

	return fd < 0 ? -errno : fd;
}

/* Which pages are there: bit 0 of a byte each. */
int zd_mincore(void *at, unsigned long size, unsigned char *pages)
{
	return mincore(at, size, pages) ? -errno : 0;
}
