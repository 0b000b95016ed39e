/* Ports for tests that listen: below the range from which connections take theirs, and free at the moment. */
#ifndef CFS_TESTS_LIB_PORTS_H
#define CFS_TESTS_LIB_PORTS_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

static inline bool port_is_free(uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* BASE + STEP * i is free for i < NR; different in processes that run at the same time. */
static inline uint16_t ports_find(unsigned nr, unsigned step)
{
	unsigned base = 12000 + (unsigned)getpid() % 997 * 20;

	for (unsigned i = 0; i < nr; i++)
		if (!port_is_free((uint16_t)(base + step * i))) {
			base = base < 31000 ? base + step * nr : 12000;
			i = (unsigned)-1;
		}
	return (uint16_t)base;
}

#endif
