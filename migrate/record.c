#include "migrate/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"

#define PATH_LEN 4096

static int open_dir(const char *state_dir)
{
	char path[PATH_LEN];
	int fd;

	snprintf(path, sizeof(path), "%s/migrate", state_dir);
	if (mkdir(path, 0755) && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/migrate/moves", state_dir);
	if (mkdir(path, 0755) && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void file_name(uint64_t move, char ret_name[32])
{
	snprintf(ret_name, 32, "%016" PRIx64, move);
}

static int write_temp(int dir, const struct record *rec)
{
	_cleanup_close_ int fd = openat(dir, ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (dprintf(fd, "cfs-move 1\nmove %016" PRIx64 "\ntarget %u\ncpid %u\ndecided %d\njob %s\ncgroup %s\nprocs %s\nend\n",
		    rec->move, rec->target, rec->cpid, rec->decided, rec->job, rec->cgroup, rec->procs ? rec->procs : "-") < 0)
		return -EIO;
	return rec->decided && fsync(fd) ? -errno : 0;
}

int record_write(const char *state_dir, const struct record *rec)
{
	_cleanup_close_ int dir = open_dir(state_dir);
	char name[32];
	int r;

	if (dir < 0)
		return dir;
	file_name(rec->move, name);
	r = write_temp(dir, rec);
	if (!r && renameat(dir, ".new", dir, name))
		r = -errno;
	if (!r && rec->decided && fsync(dir)) {
		/* It may or may not come back after a power loss, but then the original is gone anyway; for us it is no. */
		r = -errno;
		unlinkat(dir, name, 0);
	}
	return r;
}

int record_remove(const char *state_dir, uint64_t move)
{
	_cleanup_close_ int dir = open_dir(state_dir);
	char name[32];

	if (dir < 0)
		return dir;
	file_name(move, name);
	return unlinkat(dir, name, 0) && errno != ENOENT ? -errno : 0;
}

static int read_one(int dir, const char *name, struct record *ret_rec)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), decided = 0;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	struct record rec = { 0 };
	char end[8] = "";
	int n;

	if (!f)
		return -errno;
	n = fscanf(f, "cfs-move 1 move %" SCNx64 " target %u cpid %u decided %d job %63s cgroup %1023s procs %ms %7s", &rec.move,
		   &rec.target, &rec.cpid, &decided, rec.job, rec.cgroup, &rec.procs, end);
	fclose(f);
	if (n != 8 || strcmp(end, "end")) {
		free(rec.procs);
		return -EBADMSG;
	}
	rec.decided = decided;
	*ret_rec = rec;
	return 0;
}

int record_set_procs(struct record *rec, const struct tree *tree, const uint8_t *pids)
{
	size_t size = tree->nr * 64 + 1, len = 0;
	char *procs = malloc(size);

	if (!procs)
		return -ENOMEM;
	procs[0] = 0;
	for (size_t i = 0; i < tree->nr; i++)
		len += (size_t)snprintf(procs + len, size - len, "%s%d:%" PRIu64 ":%u:%u", i ? "," : "", tree->procs[i].pid,
					tree->procs[i].start, get_le32(pids + 8 * i), get_le32(pids + 8 * i + 4));
	free(rec->procs);
	rec->procs = procs;
	return 0;
}

struct one_proc {
	int pid;
	uint64_t start;
	uint32_t nspid, cpid;
};

static bool next_proc(const char **p, struct one_proc *ret)
{
	int len;

	if (!*p || sscanf(*p, "%d:%" SCNu64 ":%u:%u%n", &ret->pid, &ret->start, &ret->nspid, &ret->cpid, &len) != 4)
		return false;
	*p += len;
	*p += **p == ',';
	return true;
}

int record_get_pids(const struct record *rec, uint8_t **ret_pids, uint32_t *ret_len)
{
	const char *p = rec->procs;
	struct one_proc one;
	uint8_t *pids;
	uint32_t n = 0;

	if (!p || !next_proc(&p, &one))
		return -ENOENT;
	pids = malloc(strlen(rec->procs) + 8);
	if (!pids)
		return -ENOMEM;
	for (p = rec->procs; next_proc(&p, &one); n++) {
		put_le32(pids + 8 * n, one.nspid);
		put_le32(pids + 8 * n + 4, one.cpid);
	}
	*ret_pids = pids;
	*ret_len = 8 * n;
	return 0;
}

void record_kill_procs(const struct record *rec)
{
	const char *p = rec->procs;
	struct tree_proc now;
	struct one_proc one;

	while (next_proc(&p, &one))
		if (tree_proc_read(one.pid, &now) == 0 && now.start == one.start)
			kill(one.pid, SIGKILL);
}

void record_release(struct record *rec)
{
	free(rec->procs);
	rec->procs = NULL;
}

int record_each(const char *state_dir, int (*fn)(void *ctx, struct record *rec), void *ctx)
{
	int dir = open_dir(state_dir), r = 0;
	DIR *d = dir < 0 ? NULL : fdopendir(dir);
	struct record rec;
	struct dirent *e;

	if (!d)
		return dir < 0 ? dir : -errno;
	while (r >= 0 && (e = readdir(d)))
		if (e->d_name[0] != '.' && read_one(dirfd(d), e->d_name, &rec) == 0) {
			r = fn(ctx, &rec);
			record_release(&rec);
		}
	closedir(d);
	return r < 0 ? r : 0;
}
