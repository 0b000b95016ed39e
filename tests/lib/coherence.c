/*
 * coherence DIR1 DIR2 [ROUNDS]: two mounts of one filesystem, seen by one process, so that every "after" is really
 * after. Each round changes something through one and looks at it through the other. 0: never anything stale.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE 8192

struct pair {
	int dir[2]; /* the same directory through each mount */
	int rounds;
};

static void die(const char *what, int round) __attribute__((noreturn));
static void die(const char *what, int round)
{
	fprintf(stderr, "coherence: round %d: %s (%s)\n", round, what, strerror(errno));
	exit(1);
}

static void must(bool ok, const char *what, int round)
{
	if (!ok)
		die(what, round);
}

static int open_in(int dir, const char *name, int flags, int round)
{
	int fd = openat(dir, name, flags, 0644);

	must(fd >= 0, name, round);
	return fd;
}

static void check_content_after_close(const struct pair *p)
{
	static char out[30000], in[sizeof(out) + 1];

	for (int i = 0; i < p->rounds; i++) {
		int w = p->dir[i % 2], r = p->dir[1 - i % 2];
		size_t len = 1 + (size_t)rand() % sizeof(out);
		struct stat st;
		int fd = open_in(w, "content", O_WRONLY | O_CREAT | O_TRUNC, i);

		memset(out, i, len);
		must(write(fd, out, len) == (ssize_t)len && close(fd) == 0, "write", i);
		must(fstatat(r, "content", &st, 0) == 0 && st.st_size == (off_t)len, "size after close", i);
		fd = open_in(r, "content", O_RDONLY, i);
		must(read(fd, in, sizeof(in)) == (ssize_t)len && !memcmp(in, out, len), "content after close", i);
		close(fd);
	}
}

/* Open all the time, read through pages that were cached, and through a mapping. */
static void check_content_of_open_files(const struct pair *p)
{
	static const char zero[FILE_SIZE];
	int fd[2] = { open_in(p->dir[0], "open", O_RDWR | O_CREAT, 0), -1 };
	char out[16], in[16];
	const char *map;

	must(write(fd[0], zero, FILE_SIZE) == FILE_SIZE, "write", 0);
	fd[1] = open_in(p->dir[1], "open", O_RDWR, 0);
	map = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, fd[1], 0);
	must(map != MAP_FAILED, "mmap", 0);
	for (int i = 0; i < p->rounds; i++) {
		off_t off = rand() % (FILE_SIZE - (int)sizeof(out));

		memset(out, i + 1, sizeof(out));
		must(pwrite(fd[i % 2], out, sizeof(out), off) == sizeof(out) && fsync(fd[i % 2]) == 0, "pwrite", i);
		must(pread(fd[1 - i % 2], in, sizeof(in), off) == sizeof(in) && !memcmp(in, out, sizeof(in)),
		     "content after fsync", i);
		must(!memcmp(map + off, out, sizeof(out)), "content of a mapping", i);
	}
	close(fd[0]);
	close(fd[1]);
}

/* Names of DIR as a bit set of the numbers in them. */
static unsigned int names(int dir, int round)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(fd);
	unsigned int set = 0, n;
	struct dirent *e;

	must(d != NULL, "opendir", round);
	while ((e = readdir(d)))
		if (sscanf(e->d_name, "n%u", &n) == 1)
			set |= 1u << n;
	closedir(d);
	return set;
}

static void check_names(const struct pair *p)
{
	unsigned int there = 0;

	for (int i = 0; i < p->rounds; i++) {
		int w = p->dir[rand() % 2];
		unsigned int n = (unsigned int)rand() % 20, k = (unsigned int)rand() % 20;
		char name[8], other[8];

		snprintf(name, sizeof(name), "n%u", n);
		snprintf(other, sizeof(other), "n%u", k);
		if (!(there & 1u << n)) {
			must(close(open_in(w, name, O_WRONLY | O_CREAT | O_EXCL, i)) == 0, "create", i);
			there |= 1u << n;
		} else if (rand() % 2) {
			must(unlinkat(w, name, 0) == 0, "unlink", i);
			there &= ~(1u << n);
		} else if (n != k) {
			must(renameat(w, name, w, other) == 0, "rename", i);
			there = (there & ~(1u << n)) | 1u << k;
		}
		for (int m = 0; m < 2; m++) {
			must((faccessat(p->dir[m], name, F_OK, 0) == 0) == !!(there & 1u << n), "a name", i);
			must((faccessat(p->dir[m], other, F_OK, 0) == 0) == !!(there & 1u << k), "another name", i);
			must(i % 5 || names(p->dir[m], i) == there, "a listing", i);
		}
	}
}

static void check_append(const struct pair *p)
{
	int fd[2];
	off_t size = 0;
	char in[16];

	for (int m = 0; m < 2; m++)
		fd[m] = open_in(p->dir[m], "append", O_RDWR | O_CREAT | O_APPEND, 0);
	for (int i = 0; i < p->rounds; i++) {
		char out[16] = { 0 };

		snprintf(out, sizeof(out), "%d", i);
		must(write(fd[i % 2], out, sizeof(out)) == sizeof(out), "append", i);
		/* Both mounts see what either appended, at the end. */
		for (int m = 0; m < 2; m++)
			must(pread(fd[m], in, sizeof(in), size) == sizeof(in) && !memcmp(in, out, sizeof(in)),
			     "what was appended", i);
		size += (off_t)sizeof(out);
	}
	close(fd[0]);
	close(fd[1]);
}

static void check_attributes(const struct pair *p)
{
	close(open_in(p->dir[0], "attr", O_WRONLY | O_CREAT, 0));
	for (int i = 0; i < p->rounds; i++) {
		int w = p->dir[i % 2], r = p->dir[1 - i % 2];
		struct timespec t[2] = { { i, 5 }, { i, 7 } };
		struct stat st;

		must(fchmodat(w, "attr", 0600 + (mode_t)i % 64, 0) == 0 && utimensat(w, "attr", t, 0) == 0, "chmod", i);
		must(fstatat(r, "attr", &st, 0) == 0 && (st.st_mode & 077) == (mode_t)i % 64 &&
			     st.st_mtim.tv_sec == i && st.st_mtim.tv_nsec == 7,
		     "attributes", i);
	}
}

static void check_unlinked_while_open(const struct pair *p)
{
	for (int i = 0; i < p->rounds / 10; i++) {
		int fd = open_in(p->dir[i % 2], "gone", O_RDWR | O_CREAT | O_EXCL, i);
		struct stat st;
		char in[4];

		must(write(fd, "keep", 4) == 4 && unlinkat(p->dir[1 - i % 2], "gone", 0) == 0, "unlink", i);
		must(fstat(fd, &st) == 0 && st.st_nlink == 0, "link count of an open file", i);
		must(pread(fd, in, 4, 0) == 4 && !memcmp(in, "keep", 4), "content of an unlinked file", i);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *what;
		void (*check)(const struct pair *p);
	} checks[] = {
		{ "content after close", check_content_after_close },
		{ "content of open files", check_content_of_open_files },
		{ "names", check_names },
		{ "append", check_append },
		{ "attributes", check_attributes },
		{ "unlinked while open", check_unlinked_while_open },
	};
	struct pair p = { .rounds = argc > 3 ? atoi(argv[3]) : 200 };

	if (argc < 3)
		return 2;
	for (int m = 0; m < 2; m++) {
		p.dir[m] = open(argv[1 + m], O_RDONLY | O_DIRECTORY);
		must(p.dir[m] >= 0, argv[1 + m], 0);
	}
	srand(1);
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		checks[i].check(&p);
		printf("%s: ok\n", checks[i].what);
	}
	return 0;
}
