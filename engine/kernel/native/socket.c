/* Sockets (socket(7)) by their descriptors. All return -errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>

#include "native.h"

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

int zd_socket(int family, int type, int protocol)
{
	return result(socket(family, type | SOCK_CLOEXEC, protocol));
}

/* The bytes of a value. */
int zd_getsockopt(int fd, int level, int name, void *value, unsigned size)
{
	socklen_t length = size;

	return getsockopt(fd, level, name, value, &length) < 0 ? -errno : (int)length;
}

/* Many of them: each is level, name and size; where an answer is -errno or a size, the value lies behind it.
 */
void zd_getsockopts(int fd, const int *wanted, unsigned count, char *out, unsigned stride)
{
	for (unsigned i = 0; i < count; i++, wanted += 3, out += stride) {
		int *size = (int *)out;

		*size = zd_getsockopt(fd, wanted[0], wanted[1], out + sizeof(*size), wanted[2]);
		if (*size < 0) /* nothing that it may have written counts */
			memset(out + sizeof(*size), 0, stride - sizeof(*size));
	}
}

int zd_setsockopt(int fd, int level, int name, const void *value, unsigned size)
{
	return result(setsockopt(fd, level, name, value, size));
}

/* How many instructions a classic filter has, as many as there is room for; with no room nothing is copied.
 */
int zd_get_filter(int fd, unsigned long long *filter, unsigned room)
{
	socklen_t length = room;

	return getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, filter, &length) < 0 ? -errno : (int)length;
}

int zd_attach_filter(int fd, unsigned long long *filter, unsigned count)
{
	struct sock_fprog program = {.len = count, .filter = (struct sock_filter *)filter};

	return result(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
}

/* The bytes of the address of a socket, or of its peer. */
int zd_sockname(int fd, int peer, void *address, unsigned size)
{
	socklen_t length = size;
	int r = peer ? getpeername(fd, address, &length) : getsockname(fd, address, &length);

	return r < 0 ? -errno : (int)length;
}

int zd_bind(int fd, const void *address, unsigned size)
{
	return result(bind(fd, address, size));
}

int zd_connect(int fd, const void *address, unsigned size)
{
	return result(connect(fd, address, size));
}

int zd_shutdown(int fd, int how)
{
	return result(shutdown(fd, how));
}
