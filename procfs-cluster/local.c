/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each call looks at the node afresh: jobs, then pids, then files. Nothing is kept between calls but the jobs' files
 * and two buffers. A process that ends while it is read is left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "procfs-cluster/files.h"
#include "procfs-cluster/local_internal.h"
#include "procfs-cluster/procdir.h"

/* A file of a scan that is larger is left out of it; who wants it reads it alone. */
#define BULK_FILE_MAX (32u << 10)

int local_new(const struct local_conf *conf, struct local **ret_local)
{
	struct local *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	wire_writer_init(&l->raw);
	wire_writer_init(&l->cooked);
	wire_writer_init(&l->thread);
	l->node = conf->node_id;
	l->proc_fd = open(conf->proc_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = l->proc_fd < 0 ? -errno : jobs_new(conf->state_dir, &l->jobs);
	if (r < 0) {
		local_free(l);
		return r;
	}
	*ret_local = l;
	return 0;
}

void local_free(struct local *l)
{
	if (!l)
		return;
	if (l->proc_fd >= 0)
		close(l->proc_fd);
	jobs_free(l->jobs);
	wire_writer_release(&l->raw);
	wire_writer_release(&l->cooked);
	wire_writer_release(&l->thread);
	free(l);
}

struct text local_text(const struct wire_writer *w)
{
	return text_of(w->buf, w->len);
}

/* A small file into l->raw. */
int local_raw(struct local *l, const char *path)
{
	l->raw.len = 0;
	l->raw.err = 0;
	return procdir_read(l->proc_fd, path, LOCAL_FILE_MAX, &l->raw);
}

/* ---- who is who ---- */

static int add_guest(struct local *l, struct pidmap *m, uint32_t pid)
{
	struct pidmap_guest g = { .pid = pid };
	const struct job *job;
	char path[64];
	unsigned depth;

	snprintf(path, sizeof(path), "%u/ns/pid", pid);
	if (procdir_inode(l->proc_fd, path, &g.pidns) < 0)
		return 0;
	job = jobs_by_pidns(l->jobs, g.pidns);
	if (!job)
		return 0;
	snprintf(path, sizeof(path), "%u/status", pid);
	if (local_raw(l, path) < 0 || !status_nspid(local_text(&l->raw), &g.nspid, &depth))
		return 0;
	g.cpid = job_cpid(job, l->node, g.nspid, pid);
	return pidmap_add(m, &g);
}

/* The node's pids and what they are called in the cluster. Without jobs the map needs no look at the processes. */
static int look(struct local *l, uint32_t **ret_pids, size_t *ret_nr, struct pidmap *ret_map)
{
	struct pidmap map;
	uint32_t *pids;
	size_t nr;
	int r = jobs_refresh(l->jobs);

	if (r < 0)
		return r;
	r = procdir_numbers(l->proc_fd, ".", &pids, &nr);
	if (r < 0)
		return r;
	pidmap_init(&map, l->node);
	for (size_t i = 0; i < nr && !r && jobs_count(l->jobs); i++)
		r = add_guest(l, &map, pids[i]);
	if (r < 0) {
		pidmap_release(&map);
		free(pids);
		return r;
	}
	pidmap_sort(&map);
	*ret_map = map;
	*ret_pids = pids;
	*ret_nr = nr;
	return 0;
}

/* The map alone; without jobs that is nothing at all. */
int local_map(struct local *l, struct pidmap *ret_map)
{
	_cleanup_free_ uint32_t *pids = NULL;
	size_t nr;
	int r = jobs_refresh(l->jobs);

	if (r < 0)
		return r;
	if (jobs_count(l->jobs))
		return look(l, &pids, &nr, ret_map);
	pidmap_init(ret_map, l->node);
	return 0;
}

/* The pid of a process that is here; 0 when it is not. */
uint32_t local_find(struct local *l, const struct pidmap *map, uint32_t cpid)
{
	uint32_t pid = pidmap_pid(map, cpid);
	char path[16];

	/* What has the number of one that left is not it. */
	if (!pidmap_guest(map, pid) && jobs_away_node(l->jobs, cpid))
		return 0;
	snprintf(path, sizeof(path), "%u", pid);
	return pid && faccessat(l->proc_fd, path, F_OK, 0) == 0 ? pid : 0;
}

int local_owners(struct local *l, uint32_t pid, struct scan_proc *ret)
{
	struct stat st;
	char path[32];

	snprintf(path, sizeof(path), "%u", pid);
	if (fstatat(l->proc_fd, path, &st, 0) < 0)
		return -ESRCH;
	ret->uid = st.st_uid;
	ret->gid = st.st_gid;
	snprintf(path, sizeof(path), "%u/stat", pid);
	if (fstatat(l->proc_fd, path, &st, 0) < 0)
		return -ESRCH;
	ret->file_uid = st.st_uid;
	ret->file_gid = st.st_gid;
	return 0;
}

/* ---- scans ---- */

/* A file of the kernel onto OUT, its pids rewritten. PATH is below /proc. */
int local_cook(struct local *l, const char *path, unsigned flags, size_t max, rewrite_map map, void *map_ctx,
		struct wire_writer *out)
{
	int r;

	if (!(flags & (PF_STAT | PF_STATUS)))
		return procdir_read(l->proc_fd, path, max, out);
	r = local_raw(l, path);
	if (r < 0)
		return r;
	if (!l->raw.len)
		return -ESRCH;
	return (flags & PF_STAT ? rewrite_stat : rewrite_status)(local_text(&l->raw), map, map_ctx, out);
}

/* One file of a record, onto l->cooked. */
static int scan_file(struct local *l, struct pidmap *map, uint32_t pid, unsigned n)
{
	const struct proc_file_info *info = proc_file_info(n);
	char path[64];

	if (n == PROC_FILE_task)
		return local_threads(l, map, pid, &l->cooked);
	snprintf(path, sizeof(path), "%u/%s", pid, info->name);
	if (info->flags & PF_LINK)
		return procdir_readlink(l->proc_fd, path, &l->cooked);
	return local_cook(l, path, info->flags, BULK_FILE_MAX, pidmap_cpid, map, &l->cooked);
}

static int scan_one(struct local *l, struct pidmap *map, uint32_t pid, uint32_t files, struct wire_writer *out)
{
	struct scan_proc p = { .pid = pid, .cpid = pidmap_cpid(map, pid) };
	size_t ends[SCAN_FILES_MAX];
	size_t start = 0;
	int r = local_owners(l, pid, &p);

	if (r < 0)
		return 0;
	l->cooked.len = 0;
	l->cooked.err = 0;
	for (unsigned n = 0; n < SCAN_FILES_MAX; n++) {
		const struct proc_file_info *info = proc_file_info(n);

		if (!(files & 1u << n) || !info->name || !(info->flags & PF_BULK))
			continue;
		r = scan_file(l, map, pid, n);
		if (r == -ENOMEM)
			return r;
		if (r == -ENOENT && n == PROC_FILE_stat)
			return 0;
		if (r < 0)
			l->cooked.len = p.nr_files ? ends[p.nr_files - 1] : 0;
		if (r == -EFBIG)
			continue;
		p.files[p.nr_files].number = (uint8_t)n;
		p.files[p.nr_files].state = r < 0 ? (uint8_t)scan_state_of(r) : SCAN_DATA;
		ends[p.nr_files++] = l->cooked.len;
	}
	for (unsigned i = 0; i < p.nr_files; start = ends[i++])
		p.files[i].text = text_of(l->cooked.buf + start, ends[i] - start);
	return scan_put(out, &p);
}

/* One whose cluster pid is another process's: of one that left (the original, which ends; then its number, kept by
   cfs-migrated), or that came back under another number. */
static bool is_elsewhere(const struct local *l, struct pidmap *map, uint32_t pid)
{
	uint32_t cpid = pidmap_cpid(map, pid);

	return pidmap_pid(map, cpid) != pid || (!pidmap_guest(map, pid) && jobs_away_node(l->jobs, cpid));
}

int local_scan(struct local *l, uint32_t files, uint32_t after, size_t max_bytes, struct wire_writer *out,
	       uint32_t *ret_next)
{
	_cleanup_free_ uint32_t *pids = NULL;
	size_t nr, start = out->len;
	struct pidmap map;
	uint32_t next = 0;
	int r = look(l, &pids, &nr, &map);

	if (r < 0)
		return r;
	for (size_t i = 0; i < nr && !r && !next; i++) {
		if (pids[i] <= after || is_elsewhere(l, &map, pids[i]))
			continue;
		r = scan_one(l, &map, pids[i], files, out);
		if (out->len - start >= max_bytes && i + 1 < nr)
			next = pids[i];
	}
	pidmap_release(&map);
	if (r < 0)
		return r;
	*ret_next = next;
	return 0;
}

int local_node(struct local *l, uint32_t node_files, struct wire_writer *out)
{
	for (unsigned n = 0; n < NODE_FILE_NR; n++) {
		int r;

		if (!(node_files & 1u << n) || !node_file_name(n))
			continue;
		r = local_raw(l, node_file_name(n));
		if (!r)
			r = scan_put_node(out, n, l->raw.buf, l->raw.len);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

/* ---- places ---- */

int local_where(struct local *l, uint32_t cpid, struct local_place *ret_place)
{
	struct scan_proc who;
	struct pidmap map;
	uint32_t pid, node;
	int r = local_map(l, &map);

	if (r < 0)
		return r;
	pid = local_find(l, &map, cpid);
	pidmap_release(&map);
	/* The pid of one that left may have been taken by another. */
	node = jobs_away_node(l->jobs, cpid);
	if (node && node != l->node) {
		*ret_place = (struct local_place){ .node = node };
		return 0;
	}
	if (!pid || local_owners(l, pid, &who) < 0)
		return -ESRCH;
	*ret_place = (struct local_place){ l->node, pid, who.uid, who.gid, who.file_uid, who.file_gid };
	return 0;
}

static int status_number(struct text status, const char *key, uint32_t *ret)
{
	struct text rest, word;
	uint64_t v;

	if (!text_find(status, key, &rest) || !text_word(&rest, &word) || !text_u64(word, &v) || v > UINT32_MAX)
		return -EBADMSG;
	*ret = (uint32_t)v;
	return 0;
}

static int read_status(struct local *l, uint32_t pid)
{
	char path[32];
	int r;

	snprintf(path, sizeof(path), "%u/status", pid);
	r = local_raw(l, path);
	return r == -ENOENT || (!r && !l->raw.len) ? -ESRCH : r;
}

int local_resolve(struct local *l, uint32_t pid, uint32_t caller, uint32_t *ret_cpid, uint32_t *ret_tid)
{
	const struct pidmap_guest *self, *g;
	uint32_t tgid = 0, cpid = 0, tid = 0, of_pid;
	struct pidmap map;
	int r = local_map(l, &map);

	if (r < 0)
		return r;
	r = read_status(l, caller);
	if (!r)
		r = status_number(local_text(&l->raw), "Tgid:", &tgid);
	self = pidmap_guest(&map, tgid);
	if (!r && !pid) {
		cpid = pidmap_cpid(&map, tgid);
		tid = caller == tgid ? cpid : local_thread_cpid(l, &map, tgid, caller);
	} else if (!r && self) {
		g = pidmap_in_ns(&map, self->pidns, pid);
		if (g)
			cpid = tid = g->cpid;
		else
			r = -ESRCH;
	} else if (r == -ESRCH || !r) {
		/* a caller that is gone, or in a namespace above ours: the node's pids */
		r = pid ? read_status(l, pid) : -ESRCH;
		if (!r)
			r = status_number(local_text(&l->raw), "Tgid:", &of_pid);
		if (!r)
			cpid = tid = pidmap_cpid(&map, of_pid);
		else if (r == -ESRCH && pid && jobs_away_node(l->jobs, cpid_make(l->node, pid))) {
			/* one of the node's own that left, and nobody has taken its pid */
			cpid = tid = cpid_make(l->node, pid);
			r = 0;
		}
	}
	pidmap_release(&map);
	if (r < 0)
		return r;
	*ret_cpid = cpid;
	*ret_tid = tid;
	return 0;
}

int local_may_signal(struct local *l, uint32_t cpid, uint32_t uid, uint32_t *ret_pid)
{
	struct pidmap map;
	uint32_t uids[4], pid;
	int r = local_map(l, &map);

	if (r < 0)
		return r;
	pid = local_find(l, &map, cpid);
	pidmap_release(&map);
	r = pid ? read_status(l, pid) : -ESRCH;
	if (r < 0)
		return r;
	if (!status_uids(local_text(&l->raw), uids))
		return -EBADMSG;
	if (uid && uid != uids[0] && uid != uids[2])
		return -EPERM;
	*ret_pid = pid;
	return 0;
}

int local_job(struct local *l, uint32_t cpid, uint32_t *ret_home, uint32_t *ret_moves)
{
	const struct pidmap_guest *g;
	const struct job *job;
	struct pidmap map;
	int r = local_map(l, &map);

	if (r < 0)
		return r;
	g = pidmap_guest(&map, pidmap_pid(&map, cpid));
	job = g ? jobs_by_pidns(l->jobs, g->pidns) : NULL;
	if (job) {
		*ret_home = job->home;
		*ret_moves = job->moves;
	}
	pidmap_release(&map);
	return job ? 0 : -ENOENT;
}
