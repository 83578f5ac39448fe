/*
 * title: autofs, indirect, direct and abandoned: daemons go on mounting what is looked for
 * flavours: ns
 * flags: suid
 * needs: mnt_id
 */
#include "mount.h"

#include <linux/auto_fs.h>
#include <limits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

enum { AUTOFS_MAGIC = 0x0187, DIRECT = 1, INDIRECT = 2, ABANDONED = 4 };

/* What is looked for gets a tmpfs, with a file that says by which request. */
static _Noreturn void serve(const char *dir, int how, uint32_t *ready)
{
	union autofs_v5_packet_union packet;
	char options[128], path[PATH_MAX];
	int pipe_fds[2], root;

	SYS(setpgid(0, 0));
	SYS(pipe(pipe_fds));
	snprintf(options, sizeof(options), "fd=%d,pgrp=%d,minproto=5,maxproto=5,%s", pipe_fds[1], getpgrp(),
		 how & DIRECT ? "direct" : "indirect");
	SYS(mount(dir, dir, "autofs", 0, options));
	root = SYS(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	SYS(close(pipe_fds[1]));
	if (how & ABANDONED) {
		SYS(ioctl(root, AUTOFS_IOC_CATATONIC, 0));
		test_post(ready);
		_exit(0);
	}
	if (how & INDIRECT)
		SYS(ioctl(root, AUTOFS_IOC_SETTIMEOUT, (unsigned long[]){77}));
	test_post(ready);
	for (int number = 1;; number++) {
		CHECK(read(pipe_fds[0], &packet, sizeof(packet)) == sizeof(packet), "%s: request: %m", dir);
		snprintf(path, sizeof(path), "%s/%s", dir, how & DIRECT ? "" : packet.v5_packet.name);
		if (how & INDIRECT)
			SYS(mkdir(path, 0755));
		SYS(mount("by-daemon", path, "tmpfs", 0, NULL));
		strcat(path, "/number");
		snprintf(options, sizeof(options), "%d", number);
		write_file(path, options);
		SYS(ioctl(root, AUTOFS_IOC_READY, packet.hdr.type ? packet.v5_packet.wait_queue_token : 0));
	}
}

static pid_t start(const char *dir, int how, uint32_t *ready)
{
	pid_t pid;

	SYS(mkdir(dir, 0755));
	pid = SYS(fork());
	if (!pid)
		serve(dir, how, ready);
	return pid;
}

static void check_autofs(const char *dir)
{
	struct statfs fs;

	SYS(statfs(dir, &fs));
	CHECK(fs.f_type == AUTOFS_MAGIC, "%s is of type %#lx", dir, fs.f_type);
}

int main(int argc, char **argv)
{
	pid_t indirect, direct, abandoned;
	struct stat before, now;
	uint32_t *ready;
	int root;

	test_init(argc, argv);
	ready = test_shared(sizeof(*ready));
	indirect = start("indirect", INDIRECT, ready);
	direct = start("direct", DIRECT, ready);
	abandoned = start("abandoned", INDIRECT | ABANDONED, ready);
	test_await(ready, 3);
	test_reap(abandoned);
	check_file("indirect/first/number", "1");
	root = SYS(open("indirect", O_RDONLY | O_DIRECTORY));
	SYS(fstat(root, &before));

	test_daemon();
	test_waitsig();
	SYS(fstat(root, &now));
	CHECK(now.st_mode == before.st_mode && now.st_uid == before.st_uid, "mode %o", now.st_mode);
	check_file("indirect/first/number", "1");
	check_file("indirect/second/number", "2");
	CHECK(faccessat(root, "third/number", F_OK, 0) == 0, "third: %m");
	check_file("indirect/third/number", "3");
	check_file("direct/number", "1");
	check_autofs("abandoned");
	CHECK(access("abandoned/name", F_OK) < 0 && errno == ENOENT, "something answers: %m");
	SYS(kill(indirect, SIGKILL));
	SYS(kill(direct, SIGKILL));

	pass();
}
