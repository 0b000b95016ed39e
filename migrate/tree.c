#include "migrate/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/stat.h>

#include "common/cleanup.h"

void tree_init(struct tree *t)
{
	memset(t, 0, sizeof(*t));
}

void tree_release(struct tree *t)
{
	free(t->procs);
	tree_init(t);
}

static pid_t read_nspid(pid_t pid)
{
	char path[64], line[512];
	pid_t last = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NSpid:", 6))
			continue;
		for (char *p = line + 6, *end; *p; p = end) {
			long v = strtol(p, &end, 10);

			if (end == p)
				break;
			last = (pid_t)v;
		}
		break;
	}
	if (f)
		fclose(f);
	return last;
}

int tree_proc_read(pid_t pid, struct tree_proc *ret_proc)
{
	char path[64], buf[1024], *p;
	struct tree_proc t = { .pid = pid };
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return -ESRCH;
	len = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	buf[len] = 0;
	/* The name may contain anything, a ')' too: the last one ends it. */
	p = strrchr(buf, ')');
	if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lu", &t.state,
			 &t.start) != 2)
		return -ESRCH;
	t.nspid = read_nspid(pid);
	if (t.nspid <= 0)
		return -ESRCH;
	*ret_proc = t;
	return 0;
}

bool tree_has(const struct tree *t, pid_t pid)
{
	for (size_t i = 0; i < t->nr; i++)
		if (t->procs[i].pid == pid)
			return true;
	return false;
}

static int tree_add(struct tree *t, pid_t pid)
{
	struct tree_proc proc;

	if (tree_has(t, pid) || tree_proc_read(pid, &proc))
		return 0;
	if (t->nr == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 16;
		struct tree_proc *bigger = realloc(t->procs, cap * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		t->procs = bigger;
		t->cap = cap;
	}
	t->procs[t->nr++] = proc;
	return 0;
}

/* Children belong to the thread that made them. */
static int add_children(struct tree *t, pid_t pid)
{
	char path[320];
	struct dirent *e;
	int r = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && !r && (e = readdir(d))) {
		FILE *f;
		int child;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", pid, e->d_name);
		f = fopen(path, "re");
		while (f && !r && fscanf(f, "%d", &child) == 1)
			r = tree_add(t, child);
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return r;
}

int tree_read(struct tree *t, pid_t root)
{
	int r;

	t->nr = 0;
	r = tree_add(t, root);
	if (!r && t->nr == 0)
		return -ESRCH;
	for (size_t i = 0; i < t->nr && !r; i++)
		r = add_children(t, t->procs[i].pid);
	return r;
}

uint64_t tree_namespace(pid_t pid, const char *name)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	return stat(path, &st) ? 0 : st.st_ino;
}

pid_t tree_tracer(pid_t pid)
{
	char path[64], line[256];
	int tracer = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	if (f)
		fclose(f);
	return tracer;
}

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

pid_t tree_free_pids(const pid_t *pids, size_t nr, pid_t pid_max)
{
	_cleanup_free_ pid_t *sorted = calloc(nr + 1, sizeof(*sorted));
	pid_t best = 0, length = -1;

	if (!sorted)
		return 0;
	memcpy(sorted, pids, nr * sizeof(*pids));
	qsort(sorted, nr, sizeof(*sorted), by_number);
	sorted[nr] = pid_max;
	for (size_t i = 0; i <= nr; i++) {
		/* The kernel takes no pid below 300 once it has wrapped round. */
		pid_t from = i ? sorted[i - 1] : 300;

		if (sorted[i] - from > length) {
			length = sorted[i] - from;
			best = from;
		}
	}
	return best;
}
