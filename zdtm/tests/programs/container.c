/* A small container: its own mounts (all of them in a tmpfs), and a cgroup namespace that begins where it is.
 * Arguments: a directory for its root, the options of a hierarchy to mount, "user" for a user and a pid
 * namespace. That one waits for its maps until a byte can be read from descriptor 0. */
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call) ((long)(call) == -1 ? err(1, "%s", #call) : (void)0)

static void copy(const char *from, const char *to)
{
	struct stat st;
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0755);

	MUST(fstat(in, &st));
	MUST(sendfile(out, in, NULL, st.st_size));
	close(in);
	close(out);
}

static void begin(const char *root, int user)
{
	char c;

	if (user) {
		MUST(unshare(CLONE_NEWUSER | CLONE_NEWPID));
		MUST(read(0, &c, 1));
		MUST(setgid(0));
		MUST(setuid(0));
		if (fork()) {
			close(0);
			wait(NULL);
			_exit(0);
		}
		MUST(setsid());
	}
	MUST(unshare(CLONE_NEWNS | CLONE_NEWCGROUP));
	MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
	MUST(mount("none", root, "tmpfs", 0, "size=8m"));
	MUST(chdir(root));
	copy("/proc/self/exe", "program");
	MUST(mkdir("cg", 0755));
	MUST(mkdir("bound", 0755));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
}

int main(int argc, char **argv)
{
	if (argc > 2) {
		begin(argv[1], argc > 3);
		MUST(execl("/program", "program", argv[2], NULL));
	}
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	MUST(mount("none", "/cg", argv[1][0] ? "cgroup" : "cgroup2", 0, argv[1]));
	MUST(mount("/cg/below", "/bound", NULL, MS_BIND, NULL));
	for (;;)
		pause();
}
