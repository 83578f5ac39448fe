/*
 * title: the names of host and domain are what they were set to
 * flavours: ns userns
 * flags: suid
 */
#include <sys/utsname.h>
#include <unistd.h>

#include "zdtm.h"

int main(int argc, char **argv)
{
	/* As long as can be, and with any byte. */
	static const char host[] = "zdtm.host.0123456789-0123456789-0123456789-0123456789-0123456789",
			  domain[] = "\303\244 domain\t\377.example";
	struct utsname name;

	test_init(argc, argv);
	SYS(sethostname(host, sizeof(host) - 1));
	SYS(setdomainname(domain, sizeof(domain) - 1));
	test_daemon();
	test_waitsig();
	SYS(uname(&name));
	CHECK(!strcmp(name.nodename, host), "the host is '%s'", name.nodename);
	CHECK(!strcmp(name.domainname, domain), "the domain is '%s'", name.domainname);
	SYS(sethostname("other", 5));
	pass();
}
