/* A tree of processes with pipes and a socket pair among themselves: numbers go round, children end with their status. */
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/migrate/mover.h"

#define STAGES 4

/* Adds one to each number it passes on. */
static void stage(int from, int to, int nr)
{
	long v;

	while (read(from, &v, sizeof(v)) == sizeof(v)) {
		v++;
		if (write(to, &v, sizeof(v)) != sizeof(v))
			_exit(99);
	}
	_exit(10 + nr);
}

/* Starts the stages, one after the other; *from becomes the output of the last. BACK is ours alone: a child that held it
   too would keep the first stage from ever seeing the end of its input. */
static void grow(int *from, int back)
{
	for (int i = 0; i < STAGES; i++) {
		int p[2];
		pid_t pid;

		CHECK(pipe(p) == 0, "pipe");
		pid = fork();
		CHECK(pid >= 0, "fork");
		if (pid == 0) {
			close(p[0]);
			close(back);
			stage(*from, p[1], i);
		}
		close(p[1]);
		close(*from);
		*from = p[0];
	}
}

int main(int argc, char **argv)
{
	double end = mover_end(argc, argv);
	int sp[2], from, status;
	long v, got;
	bool seen[STAGES] = { false };

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sp) == 0, "socketpair");
	from = sp[1];
	grow(&from, sp[0]);
	for (v = 0; mover_now() < end; v++) {
		CHECK(write(sp[0], &v, sizeof(v)) == sizeof(v), "write %ld", v);
		CHECK(read(from, &got, sizeof(got)) == sizeof(got), "read %ld", v);
		CHECK(got == v + STAGES, "%ld came back as %ld", v, got);
		usleep(1000);
	}
	close(sp[0]);
	while (wait(&status) > 0) {
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) >= 10 && WEXITSTATUS(status) < 10 + STAGES, "status %x", status);
		seen[WEXITSTATUS(status) - 10] = true;
	}
	for (int i = 0; i < STAGES; i++)
		CHECK(seen[i], "child %d is missing", i);
	return mover_pass();
}
