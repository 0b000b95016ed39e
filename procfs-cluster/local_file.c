/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single files, links and directories of a process of this node, for one caller. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "procfs-cluster/files.h"
#include "procfs-cluster/local_internal.h"
#include "procfs-cluster/procdir.h"

/* A process with more threads than fit is left out of scans; its threads are read one by one. */
#define THREADS_MAX (1u << 20)

/* A path below a process, taken apart. */
struct place {
	const struct proc_file_info *info; /* of the last name */
	unsigned dir;	    /* PROC_FILE_fd, _fdinfo or _task; PROC_FILE_NR: the process itself */
	uint32_t number;    /* below dir: descriptor, or thread by its cluster pid */
};

static bool take_name(struct text *path, struct text *ret)
{
	const char *slash = memchr(path->p, '/', text_len(*path));

	if (path->p == path->end)
		return false;
	*ret = (struct text){ path->p, slash ? slash : path->end };
	path->p = slash ? slash + 1 : path->end;
	return true;
}

static int file_by_text(struct text name)
{
	char buf[32];

	if (text_len(name) >= sizeof(buf))
		return -ENOENT;
	memcpy(buf, name.p, text_len(name));
	buf[text_len(name)] = 0;
	return proc_file_by_name(buf);
}

static int place_parse(const char *path, struct place *ret)
{
	static const struct proc_file_info descriptor = { "fd", 0700, PF_LINK | PF_OWNER }, info = { "fdinfo", 0444, PF_OWNER };
	struct text rest = text_of(path, strlen(path)), name;
	struct place p = { .dir = PROC_FILE_NR };
	uint64_t number;
	int n = take_name(&rest, &name) ? file_by_text(name) : -ENOENT;

	if (n >= 0 && rest.end[-1] == '/')
		return -ENOENT;
	if (n < 0)
		return n;
	p.info = proc_file_info((unsigned)n);
	if (take_name(&rest, &name)) {
		if (!(p.info->flags & PF_DIR) || !text_u64(name, &number) || number > UINT32_MAX)
			return -ENOENT;
		p.dir = (unsigned)n;
		p.number = (uint32_t)number;
		if (n != PROC_FILE_task) {
			p.info = n == PROC_FILE_fd ? &descriptor : &info;
		} else {
			n = take_name(&rest, &name) ? file_by_text(name) : -ENOENT;
			if (n < 0 || !(proc_file_info((unsigned)n)->flags & PF_THREAD))
				return -ENOENT;
			p.info = proc_file_info((unsigned)n);
		}
	}
	if (rest.p != rest.end)
		return -ENOENT;
	*ret = p;
	return 0;
}

uint32_t local_thread_cpid(struct local *l, const struct pidmap *map, uint32_t pid, uint32_t tid)
{
	const struct pidmap_guest *g = pidmap_guest(map, pid);
	const struct job *job = g ? jobs_by_pidns(l->jobs, g->pidns) : NULL;
	uint32_t nstid;
	unsigned depth;
	char path[64];

	if (!job)
		return cpid_make(l->node, tid);
	snprintf(path, sizeof(path), "%u/task/%u/status", pid, tid);
	if (local_raw(l, path) < 0 || !status_nspid(local_text(&l->raw), &nstid, &depth))
		return cpid_make(l->node, tid);
	return job_cpid(job, l->node, nstid, tid);
}

/* A map that knows one thread more. */
struct thread_map {
	struct pidmap *map;
	uint32_t tid, cpid;
};

static uint32_t thread_map_cpid(void *ctx, uint32_t pid)
{
	const struct thread_map *t = ctx;

	return pid == t->tid ? t->cpid : pidmap_cpid(t->map, pid);
}

int local_list(struct local *l, struct pidmap *map, uint32_t pid, unsigned dir, struct wire_writer *out)
{
	_cleanup_free_ uint32_t *numbers = NULL;
	char path[64];
	size_t nr;
	int r;

	snprintf(path, sizeof(path), "%u/%s", pid, proc_file_info(dir)->name);
	r = procdir_numbers(l->proc_fd, path, &numbers, &nr);
	for (size_t i = 0; i < nr && !r; i++) {
		uint32_t name = dir == PROC_FILE_task ? local_thread_cpid(l, map, pid, numbers[i]) : numbers[i];

		text_printf(out, "%u", name);
		r = text_put(out, "", 1);
	}
	return r;
}

/*
 * Onto OUT a record (scan.h) for each thread, with the files that ps and top want of them; an only thread has none, for
 * they are the process's.
 */
int local_threads(struct local *l, struct pidmap *map, uint32_t pid, struct wire_writer *out)
{
	static const unsigned wanted[] = { PROC_FILE_stat, PROC_FILE_status };
	_cleanup_free_ uint32_t *tids = NULL;
	size_t nr, start = out->len;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "%u/task", pid);
	r = procdir_numbers(l->proc_fd, path, &tids, &nr);
	for (size_t i = 0; i < nr && !r; i++) {
		struct scan_proc t = { .pid = tids[i], .cpid = local_thread_cpid(l, map, pid, tids[i]) };
		struct thread_map thread = { map, t.pid, t.cpid };
		size_t ends[ARRAY_LEN(wanted) + 1] = { 0 };

		l->thread.len = 0;
		l->thread.err = 0;
		for (unsigned k = 0; nr > 1 && k < ARRAY_LEN(wanted); k++) {
			const struct proc_file_info *info = proc_file_info(wanted[k]);

			snprintf(path, sizeof(path), "%u/task/%u/%s", pid, t.pid, info->name);
			if (local_cook(l, path, info->flags, LOCAL_FILE_MAX, thread_map_cpid, &thread, &l->thread) < 0)
				break;
			t.files[t.nr_files].number = (uint8_t)wanted[k];
			ends[++t.nr_files] = l->thread.len;
		}
		for (unsigned k = 0; k < t.nr_files; k++)
			t.files[k].text = text_of(l->thread.buf + ends[k], ends[k + 1] - ends[k]);
		/* one that has ended meanwhile */
		if (nr > 1 && t.nr_files < ARRAY_LEN(wanted))
			continue;
		r = scan_put(out, &t);
		if (!r && out->len - start > THREADS_MAX)
			r = -EFBIG;
	}
	return r;
}

/* The thread whose cluster pid ends in the same pid bits: a node's part cannot be told in an inode number. */
static int find_thread(struct local *l, struct pidmap *map, uint32_t pid, uint32_t number, struct thread_map *ret)
{
	_cleanup_free_ uint32_t *tids = NULL;
	char path[64];
	size_t nr;
	int r;

	snprintf(path, sizeof(path), "%u/task", pid);
	r = procdir_numbers(l->proc_fd, path, &tids, &nr);
	for (size_t i = 0; i < nr && !r; i++) {
		uint32_t cpid = local_thread_cpid(l, map, pid, tids[i]);

		if (cpid_pid(cpid) == cpid_pid(number)) {
			*ret = (struct thread_map){ map, tids[i], cpid };
			return 0;
		}
	}
	return r < 0 ? r : -ENOENT;
}

static int read_thread_file(struct local *l, struct pidmap *map, uint32_t pid, const struct place *p,
			    struct wire_writer *out)
{
	struct thread_map thread;
	char path[96];
	int r = find_thread(l, map, pid, p->number, &thread);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%u/task/%u/%s", pid, thread.tid, p->info->name);
	return local_cook(l, path, p->info->flags, LOCAL_FILE_MAX, thread_map_cpid, &thread, out);
}

static int read_place(struct local *l, struct pidmap *map, uint32_t pid, const struct place *p, struct wire_writer *out)
{
	char path[64];

	if (p->dir == PROC_FILE_task)
		return read_thread_file(l, map, pid, p, out);
	if (p->dir != PROC_FILE_NR)
		snprintf(path, sizeof(path), "%u/%s/%u", pid, p->info->name, p->number);
	else
		snprintf(path, sizeof(path), "%u/%s", pid, p->info->name);
	if (p->info->flags & PF_DIR)
		return local_list(l, map, pid, (unsigned)proc_file_by_name(p->info->name), out);
	if (p->info->flags & PF_LINK)
		return procdir_readlink(l->proc_fd, path, out);
	return local_cook(l, path, p->info->flags, LOCAL_FILE_MAX, pidmap_cpid, map, out);
}

/* We read as root: it must be the reader's still, and not of a program that it began meanwhile, which sets its user. */
static int read_checked(struct local *l, struct pidmap *map, uint32_t pid, const struct place *p, uint32_t uid,
			uint32_t gid, struct wire_writer *out)
{
	size_t start = out->len;
	struct scan_proc who;
	int r = read_place(l, map, pid, p, out), e = r < 0 ? r : local_owners(l, pid, &who);

	if (!e && !proc_may_read(p->info->flags, uid, gid, who.file_uid, who.file_gid))
		e = -EACCES;
	if (e < 0)
		out->len = start;
	return e < 0 ? e : r;
}

int local_read(struct local *l, uint32_t cpid, uint32_t uid, uint32_t gid, const char *path, struct wire_writer *out)
{
	struct scan_proc who;
	struct place place;
	struct pidmap map;
	uint32_t pid;
	int r = place_parse(path, &place);

	if (r < 0)
		return r;
	r = local_map(l, &map);
	if (r < 0)
		return r;
	pid = local_find(l, &map, cpid);
	r = pid ? local_owners(l, pid, &who) : -ESRCH;
	if (!r && !proc_may_read(place.info->flags, uid, gid, who.file_uid, who.file_gid))
		r = place.info->flags & PF_ZERO ? text_put(out, "0", 1) : -EACCES;
	else if (!r)
		r = read_checked(l, &map, pid, &place, uid, gid, out);
	pidmap_release(&map);
	return r;
}
