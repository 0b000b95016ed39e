/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzz harness without libFuzzer, so that every build tests its decoders: first each file
 * of the corpus as it is, then seeded mutations of them for a short time.
 *
 *   fuzz_x [FILE | DIRECTORY]...
 *
 * CFS_FUZZ_SECONDS (1) and CFS_FUZZ_SEED (1) change how long and from where.  The input at hand is
 * kept in a mapping of a file while it runs, so that a crash leaves it behind as fuzz-crash-PID.
 */
#include "tests/lib/fuzz.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 16, INPUTS_MAX = 4096, PATH_LEN = 4096 };

struct input {
	uint8_t *data;
	size_t len;
};

struct fuzz {
	struct input inputs[INPUTS_MAX];
	size_t nr_inputs;
	uint64_t random;
	char crash_name[64];
	uint8_t *crash; /* what is being run, in a file */
	int crash_fd;
};

static uint64_t next_random(struct fuzz *f)
{
	/* splitmix64 */
	uint64_t z = f->random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static size_t below(struct fuzz *f, size_t limit)
{
	return limit ? (size_t)(next_random(f) % limit) : 0;
}

/* The harness gets an exact allocation, so that ASan sees one byte too far. */
static void run(struct fuzz *f, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy || ftruncate(f->crash_fd, (off_t)(len ? len : 1)))
		err(2, "cannot keep the input");
	memcpy(f->crash, data, len);
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static void add_file(struct fuzz *f, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *data = malloc(INPUT_MAX);
	ssize_t len;

	if (fd < 0 || !data)
		err(2, "%s", path);
	len = read(fd, data, INPUT_MAX);
	if (len < 0)
		err(2, "%s", path);
	close(fd);
	if (f->nr_inputs == INPUTS_MAX)
		errx(2, "%s: more than %d inputs", path, INPUTS_MAX);
	f->inputs[f->nr_inputs++] = (struct input){ data, (size_t)len };
}

static void add_path(struct fuzz *f, const char *path)
{
	struct dirent **names = NULL;
	char file[PATH_LEN];
	struct stat st;
	int n;

	if (stat(path, &st)) {
		if (errno == ENOENT)
			return; /* no corpus yet */
		err(2, "%s", path);
	}
	if (!S_ISDIR(st.st_mode)) {
		add_file(f, path);
		return;
	}
	/* Sorted: the same seed must give the same run everywhere. */
	n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
		if (!stat(file, &st) && S_ISREG(st.st_mode))
			add_file(f, file);
		free(names[i]);
	}
	free(names);
}

/* Flips, inserts, cuts, and the values that length checks get wrong. */
static size_t mutate(struct fuzz *f, uint8_t *data, size_t len)
{
	static const uint8_t edge[] = { 0, 1, 0x7f, 0x80, 0xff, 0xfe, 0xf8 };
	size_t at, n, changes = 1 + below(f, 4);

	while (changes--) {
		at = below(f, len);
		n = 1 + below(f, 8);
		switch (len ? below(f, 5) : 3) {
		case 0:
			data[at] ^= (uint8_t)(1u << below(f, 8));
			break;
		case 1:
			for (size_t i = at; i < at + n && i < len; i++)
				data[i] = edge[below(f, sizeof edge)];
			break;
		case 2:
			len = at;
			break;
		case 3:
			if (len + n > INPUT_MAX)
				break;
			memmove(data + at + n, data + at, len - at);
			for (size_t i = at; i < at + n; i++)
				data[i] = (uint8_t)next_random(f);
			len += n;
			break;
		default:
			if (at + n <= len) {
				memmove(data + at, data + at + n, len - at - n);
				len -= n;
			}
		}
	}
	return len;
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void open_crash_file(struct fuzz *f)
{
	snprintf(f->crash_name, sizeof f->crash_name, "fuzz-crash-%d", getpid());
	f->crash_fd = open(f->crash_name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (f->crash_fd < 0 || ftruncate(f->crash_fd, INPUT_MAX))
		err(2, "%s", f->crash_name);
	f->crash = mmap(NULL, INPUT_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, f->crash_fd, 0);
	if (f->crash == MAP_FAILED)
		err(2, "mmap");
}

int main(int argc, char **argv)
{
	static struct fuzz f;
	static uint8_t data[INPUT_MAX];
	uint64_t seconds = env_number("CFS_FUZZ_SECONDS", 1);
	uint64_t runs = 0;
	time_t end;

	f.random = env_number("CFS_FUZZ_SEED", 1);
	open_crash_file(&f);
	for (int i = 1; i < argc; i++)
		add_path(&f, argv[i]);
	run(&f, data, 0);
	for (size_t i = 0; i < f.nr_inputs; i++, runs++)
		run(&f, f.inputs[i].data, f.inputs[i].len);
	for (end = time(NULL) + (time_t)seconds; time(NULL) < end; runs++) {
		size_t len = 0;

		if (f.nr_inputs && below(&f, 16)) {
			const struct input *from = &f.inputs[below(&f, f.nr_inputs)];

			memcpy(data, from->data, from->len);
			len = from->len;
		}
		run(&f, data, mutate(&f, data, len));
	}
	printf("%llu inputs\n", (unsigned long long)runs);
	for (size_t i = 0; i < f.nr_inputs; i++)
		free(f.inputs[i].data);
	unlink(f.crash_name);
	return 0;
}
