/*
 * Memory and files in company: a file mapped shared and one mapped private, memory shared with a child, a memfd, a file
 * without a name, locks of all three kinds, which another process still finds taken.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/migrate/mover.h"

#define LEN (64 << 10)

struct world {
	int file, gone, mem, flocked, posix, ofd;
	volatile long *shared, *private, *anon, *memfd;
	char name[64];
};

static int create(const char *what)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "%s.%d", what, getpid());
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	CHECK(fd >= 0 && ftruncate(fd, LEN) == 0, "%s", name);
	return fd;
}

static volatile long *map(int flags, int fd)
{
	void *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, flags, fd, 0);

	CHECK(p != MAP_FAILED, "mmap");
	return p;
}

static void make(struct world *w)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char name[64];

	w->file = create("map");
	snprintf(w->name, sizeof(w->name), "map.%d", getpid());
	w->shared = map(MAP_SHARED, w->file);
	w->private = map(MAP_PRIVATE, w->file);
	w->anon = map(MAP_SHARED | MAP_ANONYMOUS, -1);
	w->mem = memfd_create("mover", MFD_CLOEXEC);
	CHECK(w->mem >= 0 && ftruncate(w->mem, LEN) == 0, "memfd");
	w->memfd = map(MAP_SHARED, w->mem);
	w->gone = create("gone");
	snprintf(name, sizeof(name), "gone.%d", getpid());
	CHECK(unlink(name) == 0, "unlink");
	w->flocked = create("flock");
	w->posix = create("posix");
	w->ofd = create("ofd");
	CHECK(flock(w->flocked, LOCK_EX) == 0, "flock");
	CHECK(fcntl(w->posix, F_SETLK, &lock) == 0, "posix lock");
	CHECK(fcntl(w->ofd, F_OFD_SETLK, &lock) == 0, "ofd lock");
}

/* Counts what the parent has counted, in the memory they share. */
static void child(struct world *w)
{
	while (w->anon[0] >= 0) {
		w->anon[1] = w->anon[0];
		usleep(500);
	}
	_exit(44);
}

static int open_again(const char *what)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "%s.%d", what, getppid());
	fd = open(name, O_RDWR);
	if (fd < 0)
		_exit(10);
	return fd;
}

/* In a process that holds none of them. */
static void try_locks(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (flock(open_again("flock"), LOCK_EX | LOCK_NB) == 0)
			_exit(1);
		if (fcntl(open_again("posix"), F_SETLK, &lock) == 0)
			_exit(2);
		_exit(fcntl(open_again("ofd"), F_OFD_SETLK, &lock) == 0 ? 3 : 0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "a lock is not held: %x", status);
}

static void turn(struct world *w, long i)
{
	long want = i - 1, got = -1;

	CHECK(i == 0 || (w->shared[0] == want && w->private[0] == -want && w->memfd[0] == want), "memory at %ld", i);
	CHECK(i == 0 || w->shared[LEN / 8 - 1] == want, "the end of the mapping at %ld", i);
	w->shared[0] = w->memfd[0] = w->anon[0] = w->shared[LEN / 8 - 1] = i;
	w->private[0] = -i;
	CHECK(pread(w->mem, &got, sizeof(got), 0) == sizeof(got) && got == i, "memfd at %ld: %ld", i, got);
	CHECK(i == 0 || (pread(w->gone, &got, sizeof(got), 0) == sizeof(got) && got == want), "the file without a name at %ld: %ld", i, got);
	CHECK(pwrite(w->gone, &i, sizeof(i), 0) == sizeof(i), "pwrite");
	for (int k = 0; w->anon[1] != i && k < 2000; k++)
		usleep(1000);
	CHECK(w->anon[1] == i, "the child counts %ld, not %ld", w->anon[1], i);
}

int main(int argc, char **argv)
{
	double end = mover_end(argc, argv);
	struct world w = { 0 };
	struct stat st;
	int status;
	long i, got = -1;
	pid_t pid;

	make(&w);
	pid = fork();
	if (pid == 0)
		child(&w);
	for (i = 0; mover_now() < end; i++) {
		turn(&w, i);
		if (i % 16 == 0)
			try_locks();
		usleep(2000);
	}
	w.anon[0] = -1;
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 44, "child ended with %x", status);
	CHECK(msync((void *)(unsigned long)w.shared, LEN, MS_SYNC) == 0, "msync");
	CHECK(pread(open(w.name, O_RDONLY), &got, sizeof(got), 0) == sizeof(got) && got == i - 1, "the file has %ld, not %ld", got, i - 1);
	CHECK(fstat(w.gone, &st) == 0 && st.st_nlink == 0 && st.st_size == LEN, "the file without a name has %ld links", (long)st.st_nlink);
	return mover_pass();
}
