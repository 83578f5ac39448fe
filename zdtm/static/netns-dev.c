/*
 * title: IPv4 and IPv6 sysctls of all devices, of those to come and of the loopback device keep their values
 * flavours: ns userns
 * flags: suid
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "zdtm.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const devices[] = {"all", "default", "lo"};
static const struct {
	const char *family, *name;
	int value;
} sysctls[] = {
	{"ipv4", "accept_local", 1},
	{"ipv4", "accept_redirects", 0},
	{"ipv4", "arp_announce", 2},
	{"ipv4", "arp_ignore", 8},
	{"ipv4", "bootp_relay", 1},
	{"ipv4", "disable_policy", 1},
	{"ipv4", "force_igmp_version", 2},
	{"ipv4", "forwarding", 1},
	{"ipv4", "igmpv2_unsolicited_report_interval", 4320},
	{"ipv4", "log_martians", 1},
	{"ipv4", "medium_id", 5},
	{"ipv4", "proxy_arp", 1},
	{"ipv4", "route_localnet", 1},
	{"ipv4", "rp_filter", 2},
	{"ipv4", "tag", 77},
	{"ipv6", "accept_dad", 2},
	{"ipv6", "accept_ra", 0},
	{"ipv6", "autoconf", 0},
	{"ipv6", "dad_transmits", 3},
	{"ipv6", "forwarding", 1},
	{"ipv6", "hop_limit", 99},
	{"ipv6", "keep_addr_on_down", 1},
	{"ipv6", "max_addresses", 7},
	{"ipv6", "mldv2_unsolicited_report_interval", 2400},
	{"ipv6", "router_solicitations", 4},
	{"ipv6", "temp_valid_lft", 5678},
	{"ipv6", "use_tempaddr", 1},
};
static const char secret[] = "2001:0db8:0000:0000:0000:0000:0000:0077";

/* A different value for each device, where there are as many; times are kept in units of up to 4 ms. */
static int wanted(size_t device, size_t i)
{
	return sysctls[i].value > 10 ? sysctls[i].value + 4 * (int)device : sysctls[i].value;
}

static const char *path(const char *family, const char *device, const char *name)
{
	static char buffer[128];

	snprintf(buffer, sizeof(buffer), "/proc/sys/net/%s/conf/%s/%s", family, device, name);
	return buffer;
}

static void put(const char *file, const char *value)
{
	int fd = SYS(open(file, O_WRONLY));

	CHECK(write(fd, value, strlen(value)) == (ssize_t)strlen(value), "%s: %s", file, strerror(errno));
	close(fd);
}

static void check(const char *file, const char *value)
{
	char *text = test_read_file(file, NULL);

	text[strcspn(text, "\n")] = 0;
	CHECK(!strcmp(text, value), "%s is %s, was %s", file, text, value);
	free(text);
}

static void each(void (*what)(const char *file, const char *value))
{
	char value[16];

	for (size_t d = 0; d < COUNT(devices); d++) {
		for (size_t i = 0; i < COUNT(sysctls); i++) {
			snprintf(value, sizeof(value), "%d", wanted(d, i));
			what(path(sysctls[i].family, devices[d], sysctls[i].name), value);
		}
	}
	what(path("ipv6", "default", "stable_secret"), secret);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	each(put);
	each(check);
	test_daemon();
	test_waitsig();
	each(check);
	pass();
}
