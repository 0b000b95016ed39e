/*
 * Holds something that cannot be moved, and says it is still there: refuse KIND FILE. It counts in FILE until SIGTERM.
 * KIND: io_uring, device, tty, socket, file (KIND decides what the plan must name).
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/migrate/mover.h"

static volatile sig_atomic_t end;

static void on_term(int sig)
{
	(void)sig;
	end = 1;
}

static int hold(const char *kind)
{
	char params[256] = { 0 }; /* struct io_uring_params, as large as it may be */
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int fd;

	if (!strcmp(kind, "io_uring"))
		return (int)syscall(SYS_io_uring_setup, 4, params);
	if (!strcmp(kind, "device"))
		return open("/dev/fuse", O_RDWR);
	if (!strcmp(kind, "tty"))
		return open("/dev/ptmx", O_RDWR | O_NOCTTY);
	if (!strcmp(kind, "file"))
		return open("/run/local-file", O_RDWR | O_CREAT, 0600);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 1) ? -1 : fd;
}

int main(int argc, char **argv)
{
	char text[32];
	int fd;

	if (argc != 3)
		return 2;
	signal(SIGTERM, on_term);
	if (hold(argv[1]) < 0) {
		perror(argv[1]);
		return 77;
	}
	for (long i = 0; !end; i++) {
		fd = open(argv[2], O_WRONLY | O_CREAT, 0644);
		CHECK(fd >= 0, "open");
		snprintf(text, sizeof(text), "%012ld\n", i);
		CHECK(pwrite(fd, text, 13, 0) == 13, "write");
		close(fd);
		usleep(10000);
	}
	return 0;
}
