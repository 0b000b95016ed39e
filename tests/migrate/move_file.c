/* One file: what was written is there, the offset is where it was left, appended lines are in order; pid and cwd stay. */
#include <fcntl.h>
#include <string.h>

#include "tests/migrate/mover.h"

static void check_content(int fd, long lines)
{
	char want[32], got[32];

	for (long i = 0; i < lines; i += lines / 50 + 1) {
		snprintf(want, sizeof(want), "%015ld\n", i);
		CHECK(pread(fd, got, 16, i * 16) == 16 && !memcmp(want, got, 16), "line %ld of %ld", i, lines);
	}
}

int main(int argc, char **argv)
{
	double end = mover_end(argc, argv);
	pid_t pid = getpid();
	char name[64], line[32], cwd[4096], now[4096];
	long lines = 0;
	int fd, log;

	snprintf(name, sizeof(name), "file.%d", pid);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	snprintf(name, sizeof(name), "log.%d", pid);
	log = open(name, O_WRONLY | O_CREAT | O_APPEND, 0644);
	CHECK(fd >= 0 && log >= 0 && getcwd(cwd, sizeof(cwd)), "cannot open");
	for (; mover_now() < end; lines++) {
		snprintf(line, sizeof(line), "%015ld\n", lines);
		CHECK(write(fd, line, 16) == 16 && write(log, line, 16) == 16, "write %ld", lines);
		CHECK(lseek(fd, 0, SEEK_CUR) == (lines + 1) * 16, "offset at %ld", lines);
		CHECK(getpid() == pid, "pid %d became %d", pid, getpid());
		if (lines % 64 == 0)
			check_content(fd, lines);
		usleep(2000);
	}
	check_content(fd, lines);
	CHECK(lseek(log, 0, SEEK_END) == lines * 16, "length of the log");
	CHECK(getcwd(now, sizeof(now)) && !strcmp(now, cwd), "cwd");
	return mover_pass();
}
