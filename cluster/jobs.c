/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One JSON object a file. The reader loads everything that can be read, and leaves out (silently: it is called often)
   what cannot: a file of a crashed writer is a temporary one and has another name. */
#include "cluster/jobs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <uthash.h>

#include "common/cleanup.h"
#include "common/file.h"

/* Directory times have the grain of the kernel's tick: a change this soon after a look may not show. */
#define GRAIN_NS 100000000ll

static const char jobs_dir[] = "migrate/jobs", away_dir[] = "migrate/away";

static void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

bool job_id_is_valid(const char *id)
{
	size_t len = strlen(id);

	if (!len || len >= JOB_ID_MAX || *id == '.')
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && !strchr("._-", *id))
			return false;
	return true;
}

void job_release(struct job *job)
{
	free(job->pids);
	*job = (struct job){ 0 };
}

void away_release(struct away *away)
{
	free(away->cpids);
	*away = (struct away){ 0 };
}

uint32_t job_cpid(const struct job *job, uint32_t node, uint32_t nspid, uint32_t host_pid)
{
	for (size_t i = 0; i < job->nr_pids; i++)
		if (job->pids[i].nspid == nspid)
			return job->pids[i].cpid;
	return cpid_make(node, host_pid);
}

/* Field 22 of stat; the command name in between may hold anything, so count from its last bracket. */
static int start_time(pid_t pid, uint64_t *ret_start)
{
	char path[64], buf[1024];
	_cleanup_close_ int fd = -1;
	const char *p;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	p = strrchr(buf, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EBADMSG;
	*ret_start = strtoull(p, NULL, 10);
	return 0;
}

int job_identify(struct job *job)
{
	char path[64];
	struct stat st;
	uint64_t start;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", job->root);
	if (stat(path, &st) < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	r = start_time(job->root, &start);
	if (r < 0)
		return r;
	job->root_start = start;
	job->pidns = st.st_ino;
	return 0;
}

/* ---- writing ---- */

static int make_dirs(const char *state_dir, const char *sub, char *ret_dir, size_t size)
{
	int n = snprintf(ret_dir, size, "%s/migrate", state_dir);

	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	if (mkdir(ret_dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	n = snprintf(ret_dir, size, "%s/%s", state_dir, sub);
	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	if (mkdir(ret_dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int file_write(const char *state_dir, const char *sub, const char *id, json_t *object)
{
	char dir[4096], name[JOB_ID_MAX + 16];
	_cleanup_free_ char *text = NULL;
	int r;

	if (!job_id_is_valid(id))
		return -EINVAL;
	if (!object)
		return -ENOMEM;
	r = make_dirs(state_dir, sub, dir, sizeof(dir));
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "%s.json", id);
	text = json_dumps(object, JSON_COMPACT);
	return text ? file_replace(dir, name, text, strlen(text), 0644, true) : -ENOMEM;
}

static int file_remove(const char *state_dir, const char *sub, const char *id)
{
	char path[4096];
	int n;

	if (!job_id_is_valid(id))
		return -EINVAL;
	n = snprintf(path, sizeof(path), "%s/%s/%s.json", state_dir, sub, id);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int job_write(const char *state_dir, const struct job *job)
{
	json_t *pids = json_array();
	_cleanup_json_ json_t *object = NULL;

	for (size_t i = 0; i < job->nr_pids; i++)
		json_array_append_new(pids, json_pack("[II]", (json_int_t)job->pids[i].nspid,
							 (json_int_t)job->pids[i].cpid));
	object = json_pack("{ss sI sI si sI sI so}", "id", job->id, "home", (json_int_t)job->home, "moves",
			   (json_int_t)job->moves, "root", job->root, "root_start", (json_int_t)job->root_start, "pidns", (json_int_t)job->pidns,
			   "pids", pids);
	return file_write(state_dir, jobs_dir, job->id, object);
}

int job_remove(const char *state_dir, const char *id)
{
	return file_remove(state_dir, jobs_dir, id);
}

int away_write(const char *state_dir, const struct away *away)
{
	json_t *cpids = json_array();
	_cleanup_json_ json_t *object = NULL;

	for (size_t i = 0; i < away->nr_cpids; i++)
		json_array_append_new(cpids, json_integer(away->cpids[i]));
	object = json_pack("{ss sI so}", "id", away->id, "node", (json_int_t)away->node, "cpids", cpids);
	return file_write(state_dir, away_dir, away->id, object);
}

int away_remove(const char *state_dir, const char *id)
{
	return file_remove(state_dir, away_dir, id);
}

/* ---- reading ---- */

static int get_u32(const json_t *j, uint32_t *ret)
{
	json_int_t v;

	if (!json_is_integer(j))
		return -EBADMSG;
	v = json_integer_value(j);
	if (v < 0 || v > UINT32_MAX)
		return -EBADMSG;
	*ret = (uint32_t)v;
	return 0;
}

static int get_u64(const json_t *j, uint64_t *ret)
{
	if (!json_is_integer(j) || json_integer_value(j) < 0)
		return -EBADMSG;
	*ret = (uint64_t)json_integer_value(j);
	return 0;
}

static int get_id(const json_t *object, char ret_id[JOB_ID_MAX])
{
	const char *id = json_string_value(json_object_get(object, "id"));

	if (!id || !job_id_is_valid(id))
		return -EBADMSG;
	memcpy(ret_id, id, strlen(id) + 1);
	return 0;
}

static int file_read(const char *state_dir, const char *sub, const char *id, json_t **ret_object)
{
	char path[4096];
	json_error_t error;
	json_t *object;
	int n;

	if (!job_id_is_valid(id))
		return -EINVAL;
	n = snprintf(path, sizeof(path), "%s/%s/%s.json", state_dir, sub, id);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	object = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!object)
		return access(path, F_OK) < 0 ? -errno : -EBADMSG;
	*ret_object = object;
	return 0;
}

static int job_pids_decode(const json_t *array, struct job *job)
{
	size_t nr = json_array_size(array);

	if (!json_is_array(array) || nr > JOB_PIDS_MAX)
		return -EBADMSG;
	job->pids = calloc(nr ? nr : 1, sizeof(*job->pids));
	if (!job->pids)
		return -ENOMEM;
	for (; job->nr_pids < nr; job->nr_pids++) {
		const json_t *pair = json_array_get(array, job->nr_pids);
		struct job_pid *p = &job->pids[job->nr_pids];

		if (get_u32(json_array_get(pair, 0), &p->nspid) || get_u32(json_array_get(pair, 1), &p->cpid))
			return -EBADMSG;
	}
	return 0;
}

int job_read(const char *state_dir, const char *id, struct job *ret_job)
{
	_cleanup_json_ json_t *object = NULL;
	struct job job = { 0 };
	uint32_t root = 0;
	int r = file_read(state_dir, jobs_dir, id, &object);

	if (r < 0)
		return r;
	if (get_id(object, job.id) || get_u32(json_object_get(object, "home"), &job.home) ||
	    get_u32(json_object_get(object, "moves"), &job.moves) ||
	    get_u32(json_object_get(object, "root"), &root) || root > INT32_MAX ||
	    get_u64(json_object_get(object, "root_start"), &job.root_start) ||
	    get_u64(json_object_get(object, "pidns"), &job.pidns))
		return -EBADMSG;
	job.root = (pid_t)root;
	r = job_pids_decode(json_object_get(object, "pids"), &job);
	if (r < 0) {
		job_release(&job);
		return r;
	}
	*ret_job = job;
	return 0;
}

int away_read(const char *state_dir, const char *id, struct away *ret_away)
{
	_cleanup_json_ json_t *object = NULL;
	const json_t *array;
	struct away away = { 0 };
	size_t nr;
	int r = file_read(state_dir, away_dir, id, &object);

	if (r < 0)
		return r;
	array = json_object_get(object, "cpids");
	nr = json_array_size(array);
	if (get_id(object, away.id) || get_u32(json_object_get(object, "node"), &away.node) ||
	    !json_is_array(array) || nr > JOB_PIDS_MAX)
		return -EBADMSG;
	away.cpids = calloc(nr ? nr : 1, sizeof(*away.cpids));
	if (!away.cpids)
		return -ENOMEM;
	for (; away.nr_cpids < nr; away.nr_cpids++)
		if (get_u32(json_array_get(array, away.nr_cpids), &away.cpids[away.nr_cpids])) {
			away_release(&away);
			return -EBADMSG;
		}
	*ret_away = away;
	return 0;
}

/* ---- all of a node ---- */

struct job_entry {
	struct job job;
	UT_hash_handle hh; /* by pidns */
};

struct away_entry {
	uint32_t cpid, node;
	UT_hash_handle hh; /* by cpid */
};

struct jobs {
	char *state_dir;
	struct job_entry *by_pidns;
	struct away_entry *away;
	int64_t jobs_mtime, away_mtime; /* of what was read; -1: to be read again */
};

static void clear_jobs(struct jobs *jobs)
{
	struct job_entry *e, *next;

	HASH_ITER(hh, jobs->by_pidns, e, next) {
		HASH_DEL(jobs->by_pidns, e);
		job_release(&e->job);
		free(e);
	}
}

static void clear_away(struct jobs *jobs)
{
	struct away_entry *e, *next;

	HASH_ITER(hh, jobs->away, e, next) {
		HASH_DEL(jobs->away, e);
		free(e);
	}
}

int jobs_new(const char *state_dir, struct jobs **ret_jobs)
{
	struct jobs *jobs = calloc(1, sizeof(*jobs));

	if (!jobs)
		return -ENOMEM;
	jobs->state_dir = strdup(state_dir);
	if (!jobs->state_dir) {
		free(jobs);
		return -ENOMEM;
	}
	jobs->jobs_mtime = jobs->away_mtime = -1;
	*ret_jobs = jobs;
	return 0;
}

void jobs_free(struct jobs *jobs)
{
	if (!jobs)
		return;
	clear_jobs(jobs);
	clear_away(jobs);
	free(jobs->state_dir);
	free(jobs);
}

static int load_job(struct jobs *jobs, const char *id)
{
	struct job_entry *e = calloc(1, sizeof(*e)), *old;
	uint64_t start;
	int r = e ? job_read(jobs->state_dir, id, &e->job) : -ENOMEM;

	/* A file that outlived its job, a reboot perhaps. */
	if (!r && (start_time(e->job.root, &start) < 0 || start != e->job.root_start))
		r = -ESRCH;
	if (r < 0) {
		if (e)
			job_release(&e->job);
		free(e);
		return r == -ENOMEM ? r : 0;
	}
	HASH_FIND(hh, jobs->by_pidns, &e->job.pidns, sizeof(e->job.pidns), old);
	if (old) {
		HASH_DEL(jobs->by_pidns, old);
		job_release(&old->job);
		free(old);
	}
	HASH_ADD(hh, jobs->by_pidns, job.pidns, sizeof(e->job.pidns), e);
	return 0;
}

static int load_away(struct jobs *jobs, const char *id)
{
	struct away away;
	int r = away_read(jobs->state_dir, id, &away);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	for (size_t i = 0; i < away.nr_cpids && !r; i++) {
		struct away_entry *e = NULL;

		HASH_FIND(hh, jobs->away, &away.cpids[i], sizeof(uint32_t), e);
		if (e) {
			e->node = away.node;
			continue;
		}
		e = calloc(1, sizeof(*e));
		if (!e) {
			r = -ENOMEM;
			break;
		}
		e->cpid = away.cpids[i];
		e->node = away.node;
		HASH_ADD(hh, jobs->away, cpid, sizeof(e->cpid), e);
	}
	away_release(&away);
	return r;
}

static int load_dir(struct jobs *jobs, const char *path, int (*load)(struct jobs *jobs, const char *id))
{
	DIR *dir = opendir(path);
	struct dirent *d;
	int r = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (!r && (d = readdir(dir))) {
		char id[JOB_ID_MAX];
		size_t len = strlen(d->d_name);

		if (d->d_name[0] == '.' || len < 6 || len - 5 >= sizeof(id) || strcmp(d->d_name + len - 5, ".json"))
			continue;
		memcpy(id, d->d_name, len - 5);
		id[len - 5] = 0;
		r = load(jobs, id);
	}
	closedir(dir);
	return r;
}

/* Returns 1 when the directory has changed since *MTIME, which then holds what to remember. */
static int dir_changed(const char *path, int64_t *mtime)
{
	struct timespec now;
	struct stat st;
	int64_t seen = 0;

	if (stat(path, &st) == 0)
		seen = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	else if (errno != ENOENT)
		return -errno;
	if (seen == *mtime)
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	*mtime = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - seen < GRAIN_NS ? -1 : seen;
	return 1;
}

int jobs_refresh(struct jobs *jobs)
{
	char path[4096];
	int r;

	snprintf(path, sizeof(path), "%s/%s", jobs->state_dir, jobs_dir);
	r = dir_changed(path, &jobs->jobs_mtime);
	if (r > 0) {
		clear_jobs(jobs);
		r = load_dir(jobs, path, load_job);
	}
	if (r < 0) {
		jobs->jobs_mtime = -1;
		return r;
	}
	snprintf(path, sizeof(path), "%s/%s", jobs->state_dir, away_dir);
	r = dir_changed(path, &jobs->away_mtime);
	if (r > 0) {
		clear_away(jobs);
		r = load_dir(jobs, path, load_away);
	}
	if (r < 0)
		jobs->away_mtime = -1;
	return r < 0 ? r : 0;
}

size_t jobs_count(const struct jobs *jobs)
{
	return HASH_COUNT(jobs->by_pidns);
}

const struct job *jobs_by_pidns(const struct jobs *jobs, uint64_t pidns)
{
	struct job_entry *e;

	HASH_FIND(hh, jobs->by_pidns, &pidns, sizeof(pidns), e);
	return e ? &e->job : NULL;
}

const struct job *jobs_by_id(const struct jobs *jobs, const char *id)
{
	for (struct job_entry *e = jobs->by_pidns; e; e = e->hh.next)
		if (!strcmp(e->job.id, id))
			return &e->job;
	return NULL;
}

uint32_t jobs_away_node(const struct jobs *jobs, uint32_t cpid)
{
	struct away_entry *e;

	HASH_FIND(hh, jobs->away, &cpid, sizeof(cpid), e);
	return e ? e->node : 0;
}

void jobs_each_away(const struct jobs *jobs, void (*fn)(void *ctx, uint32_t cpid), void *ctx)
{
	for (const struct away_entry *e = jobs->away; e; e = e->hh.next)
		fn(ctx, e->cpid);
}
