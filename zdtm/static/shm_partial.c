/*
 * title: attachments that are cut, moved, read-only, doubled or of another protection are what they were
 * flavours: ns userns
 */
#include "memory.h"
#include "probe.h"
#include "sysv.h"

enum { PAGES = 32, TAIL = 100 };

int main(int argc, char **argv)
{
	unsigned char *whole, *reading, *cut, *moved, *doubled, *fixed;
	size_t size = (PAGES - 1) * PAGE + TAIL, mapped = PAGES * PAGE;
	unsigned long attached;
	int id;

	test_init(argc, argv);
	id = SYS(shmget(IPC_PRIVATE, size, 0600));
	whole = SYS(shmat(id, NULL, 0));
	pages_fill(whole, 10, 1);
	pages_fill(whole + 20 * PAGE, PAGES - 20, 21);
	reading = SYS(shmat(id, NULL, SHM_RDONLY));
	/* The first page of an attachment gone, one of its middle, and the last. */
	cut = SYS(shmat(id, map_nothing(mapped + 2 * PAGE) + PAGE, SHM_REMAP));
	SYS(munmap(cut, PAGE));
	SYS(munmap(cut + 15 * PAGE, PAGE));
	SYS(munmap(cut + (PAGES - 1) * PAGE, PAGE));
	SYS(mprotect(cut + 4 * PAGE, 3 * PAGE, PROT_READ));
	SYS(mprotect(cut + 8 * PAGE, PAGE, PROT_NONE));
	/* A part of one elsewhere. */
	moved = SYS(shmat(id, NULL, 0));
	fixed = map_nothing(8 * PAGE);
	SYS(mremap(moved + 20 * PAGE, 5 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, fixed + PAGE));
	SYS(munmap(moved, 20 * PAGE));
	SYS(munmap(moved + 25 * PAGE, (PAGES - 25) * PAGE));
	doubled = SYS(mremap(whole + 2 * PAGE, 0, 3 * PAGE, MREMAP_MAYMOVE));
	SYS(madvise(whole, mapped, MADV_DONTDUMP));
	attached = shm_stat(id).shm_nattch;
	test_daemon();
	test_waitsig();
	CHECK(shm_stat(id).shm_segsz == size, "its size is %zu", shm_stat(id).shm_segsz);
	CHECK(shm_stat(id).shm_nattch == attached, "attached %lu times instead of %lu",
	      shm_stat(id).shm_nattch, attached);
	pages_check(whole, 10, 1, "the beginning");
	zeros_check(whole + 10 * PAGE, 10, "the hole");
	pages_check(whole + 20 * PAGE, PAGES - 20, 21, "the end");
	CHECK(has_flag(whole, "dd"), "the advice is lost");
	CHECK(probe(reading, PROBE_READ) == 0 && probe(reading, PROBE_WRITE) == SIGSEGV, "read-only is not");
	CHECK(mprotect(reading, PAGE, RW) == -1 && errno == EACCES,
	      "what is attached to read can be written");
	CHECK(probe(cut, PROBE_READ) == SIGSEGV, "the first page is back");
	CHECK(probe(cut + 15 * PAGE, PROBE_READ) == SIGSEGV, "a page of the middle is back");
	CHECK(probe(cut + (PAGES - 1) * PAGE, PROBE_READ) == SIGSEGV, "the last page is back");
	pages_check(cut + PAGE, 7, 2, "behind the cut");
	CHECK(probe(cut + 8 * PAGE, PROBE_READ) == SIGSEGV, "PROT_NONE is not kept");
	CHECK(probe(cut + 5 * PAGE, PROBE_WRITE) == SIGSEGV && probe(cut + 7 * PAGE, PROBE_WRITE) == 0,
	      "protections are others");
	SYS(mprotect(cut + 4 * PAGE, 5 * PAGE, RW));
	pages_check(cut + 20 * PAGE, PAGES - 21, 21, "the end of the cut one");
	CHECK(probe(moved + 20 * PAGE, PROBE_READ) == SIGSEGV, "what was moved is where it was, too");
	pages_check(fixed + PAGE, 5, 21, "what was moved");
	pages_check(doubled, 3, 3, "what was doubled");
	pages_fill(fixed + 2 * PAGE, 1, 90);
	pages_fill(doubled, 1, 91);
	CHECK(page_is(reading + 21 * PAGE, 90) && page_is(cut + 21 * PAGE, 90), "there are several segments");
	CHECK(page_is(reading + 2 * PAGE, 91) && page_is(whole + 2 * PAGE, 91), "there are several segments");
	SYS(shmctl(id, IPC_RMID, NULL));
	CHECK(shm_stat(id).shm_perm.mode & SHM_DEST, "it is not to be removed");
	SYS(shmdt(reading));
	/* All that is there of one attachment goes at once, by the address that it began at. */
	SYS(shmdt(whole));
	CHECK(probe(whole + 30 * PAGE, PROBE_READ) == SIGSEGV, "shmdt leaves a part");
	CHECK(page_is(cut + 21 * PAGE, 90), "the rest is gone with the others");
	pass();
}
