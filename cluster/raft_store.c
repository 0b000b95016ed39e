/*
 * LevelDB under the consensus (raft_store.h). The writer thread is the only one that writes once it was started; it may
 * block on the disk as long as that takes.
 */
#include "cluster/raft_store.h"

#include <errno.h>
#include <leveldb/c.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"

enum { STORE_FORMAT = 1, RETRY_S = 1, WRITE_BUFFER = 1 << 20, OPEN_FILES = 64 };
static const char KEY_VERSION[] = "m/version", KEY_HARD[] = "m/hard", KEY_SNAP[] = "m/snap";

struct raft_job {
	leveldb_writebatch_t *batch;
	mailbox_fn done;
	void *arg;
	struct raft_job *next;
};

struct loaded {
	struct raft_core_disk disk;
	struct raft_core_entry *entries;
	size_t cap;
	char *snap;
};

struct raft_store {
	leveldb_t *db;
	leveldb_options_t *options;
	leveldb_readoptions_t *read;
	leveldb_writeoptions_t *sync;
	struct loaded loaded;
	struct mailbox *mb;
	pthread_t writer;
	bool started;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	struct raft_job *head, **tail;
	bool stop;
};

static void log_key(uint64_t index, char key[10])
{
	key[0] = 'l';
	key[1] = '/';
	put_be64(key + 2, index);
}

/* LevelDB's error text becomes -EIO and a line in the log, here only. */
static int failed(char *err, const char *what)
{
	if (!err)
		return 0;
	log_error("cluster", "%s: %s", what, err);
	leveldb_free(err);
	return -EIO;
}

/* ---- opening ---- */

static int get(struct raft_store *st, const char *key, char **ret_v, size_t *ret_len)
{
	char *err = NULL;

	*ret_v = leveldb_get(st->db, st->read, key, strlen(key), ret_len, &err);
	return failed(err, "reading the raft log");
}

static int check_version(struct raft_store *st)
{
	char *err = NULL, *v, format[4];
	size_t len;
	int r = get(st, KEY_VERSION, &v, &len);

	if (r < 0)
		return r;
	if (v) {
		r = len != 4 ? -EBADMSG : get_le32(v) > STORE_FORMAT ? -EPROTONOSUPPORT : 0;
		leveldb_free(v);
		return r;
	}
	put_le32(format, STORE_FORMAT);
	leveldb_put(st->db, st->sync, KEY_VERSION, strlen(KEY_VERSION), format, sizeof(format), &err);
	return failed(err, "writing the raft log");
}

int raft_store_open(const char *dir, struct raft_store **ret_st)
{
	struct raft_store *st = calloc(1, sizeof(*st));
	char *err = NULL;
	int r;

	if (!st)
		return -ENOMEM;
	pthread_mutex_init(&st->lock, NULL);
	pthread_cond_init(&st->wake, NULL);
	st->tail = &st->head;
	st->options = leveldb_options_create();
	leveldb_options_set_create_if_missing(st->options, 1);
	leveldb_options_set_paranoid_checks(st->options, 1);
	leveldb_options_set_write_buffer_size(st->options, WRITE_BUFFER);
	leveldb_options_set_max_open_files(st->options, OPEN_FILES);
	st->read = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(st->read, 1);
	st->sync = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(st->sync, 1);
	st->db = leveldb_open(st->options, dir, &err);
	r = failed(err, dir);
	if (!r)
		r = check_version(st);
	if (r < 0) {
		raft_store_close(st);
		return r;
	}
	*ret_st = st;
	return 0;
}

void raft_store_close(struct raft_store *st)
{
	if (!st)
		return;
	if (st->started) {
		pthread_mutex_lock(&st->lock);
		st->stop = true;
		pthread_cond_signal(&st->wake);
		pthread_mutex_unlock(&st->lock);
		pthread_join(st->writer, NULL);
	}
	for (struct raft_job *j = st->head, *next; j; j = next) {
		next = j->next;
		raft_job_free(j);
	}
	raft_store_unload(st);
	if (st->db)
		leveldb_close(st->db);
	leveldb_options_destroy(st->options);
	leveldb_readoptions_destroy(st->read);
	leveldb_writeoptions_destroy(st->sync);
	pthread_cond_destroy(&st->wake);
	pthread_mutex_destroy(&st->lock);
	free(st);
}

/* ---- loading ---- */

static int load_snapshot(struct raft_store *st, struct loaded *l)
{
	struct raft_core_snapshot *s = &l->disk.snapshot;
	struct wire_reader r;
	size_t len;
	int e = get(st, KEY_SNAP, &l->snap, &len);

	if (e < 0 || !l->snap)
		return e;
	r = (struct wire_reader){ (uint8_t *)l->snap, (uint8_t *)l->snap + len };
	if (wire_get_u64(&r, &s->index) < 0 || wire_get_u64(&r, &s->term) < 0 || wire_get_u64(&r, &s->conf_index) < 0 ||
	    wire_get_blob(&r, &s->conf) < 0 || wire_get_blob(&r, &s->state) < 0 || r.p != r.end)
		return -EBADMSG;
	return 0;
}

static int load_hard_state(struct raft_store *st, struct loaded *l)
{
	char *v;
	size_t len;
	int r = get(st, KEY_HARD, &v, &len);

	if (r < 0 || !v)
		return r;
	if (len == 16) {
		l->disk.term = get_le64(v);
		l->disk.voted_for = get_le64(v + 8);
	}
	leveldb_free(v);
	return len == 16 ? 0 : -EBADMSG;
}

static int load_entry(struct loaded *l, const char *key, size_t klen, const char *val, size_t vlen)
{
	struct wire_reader r = { (const uint8_t *)val, (const uint8_t *)val + vlen };
	struct raft_core_entry e = { 0 };
	struct wire_blob data;
	void *copy;

	if (klen != 10 || wire_get_u64(&r, &e.term) < 0 || wire_get_u8(&r, &e.type) < 0 ||
	    wire_get_blob(&r, &data) < 0 || r.p != r.end)
		return -EBADMSG;
	if (!l->disk.nr_entries)
		l->disk.start_index = get_be64(key + 2);
	if (get_be64(key + 2) != l->disk.start_index + l->disk.nr_entries)
		return -EBADMSG; /* a hole */
	if (l->disk.nr_entries == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 256;
		struct raft_core_entry *v = realloc(l->entries, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->entries = v;
		l->cap = cap;
	}
	copy = malloc(data.len ? data.len : 1);
	if (!copy)
		return -ENOMEM;
	if (data.len)
		memcpy(copy, data.p, data.len);
	e.data = copy;
	e.len = data.len;
	l->entries[l->disk.nr_entries++] = e;
	return 0;
}

static int load_entries(struct raft_store *st, struct loaded *l)
{
	leveldb_iterator_t *it = leveldb_create_iterator(st->db, st->read);
	char *err = NULL;
	int r = 0;

	for (leveldb_iter_seek(it, "l/", 2); !r && leveldb_iter_valid(it); leveldb_iter_next(it)) {
		size_t klen, vlen;
		const char *key = leveldb_iter_key(it, &klen), *val = leveldb_iter_value(it, &vlen);

		if (klen < 2 || memcmp(key, "l/", 2))
			break;
		r = load_entry(l, key, klen, val, vlen);
	}
	leveldb_iter_get_error(it, &err);
	leveldb_iter_destroy(it);
	if (failed(err, "reading the raft log") < 0)
		return -EIO;
	return r;
}

int raft_store_load(struct raft_store *st, const struct raft_core_disk **ret_disk)
{
	struct loaded *l = &st->loaded;
	int r;

	raft_store_unload(st);
	r = load_hard_state(st, l);
	if (!r)
		r = load_snapshot(st, l);
	if (!r)
		r = load_entries(st, l);
	if (r < 0) {
		raft_store_unload(st);
		return r;
	}
	if (!l->disk.nr_entries)
		l->disk.start_index = l->disk.snapshot.index + 1;
	l->disk.entries = l->entries;
	*ret_disk = &l->disk;
	return 0;
}

void raft_store_unload(struct raft_store *st)
{
	struct loaded *l = &st->loaded;

	for (size_t i = 0; i < l->disk.nr_entries; i++)
		free((void *)l->entries[i].data);
	free(l->entries);
	leveldb_free(l->snap);
	*l = (struct loaded){ 0 };
}

/* ---- jobs ---- */

struct raft_job *raft_job_new(void)
{
	struct raft_job *job = calloc(1, sizeof(*job));

	if (job)
		job->batch = leveldb_writebatch_create();
	return job;
}

void raft_job_free(struct raft_job *job)
{
	if (!job)
		return;
	leveldb_writebatch_destroy(job->batch);
	free(job);
}

void raft_job_hard_state(struct raft_job *job, uint64_t term, uint64_t vote)
{
	char v[16];

	put_le64(v, term);
	put_le64(v + 8, vote);
	leveldb_writebatch_put(job->batch, KEY_HARD, strlen(KEY_HARD), v, sizeof(v));
}

static void delete_entries(struct raft_job *job, uint64_t first, uint64_t last)
{
	for (uint64_t i = first; i <= last; i++) {
		char key[10];

		log_key(i, key);
		leveldb_writebatch_delete(job->batch, key, sizeof(key));
	}
}

void raft_job_truncate(struct raft_job *job, uint64_t index, uint64_t last)
{
	delete_entries(job, index, last);
}

int raft_job_entry(struct raft_job *job, uint64_t index, const struct raft_core_entry *e)
{
	struct wire_writer w;
	char key[10];
	int r;

	wire_writer_init(&w);
	wire_put_u64(&w, &e->term);
	wire_put_u8(&w, &e->type);
	wire_put_blob(&w, &(struct wire_blob){ e->data, e->len });
	r = w.err;
	log_key(index, key);
	if (!r)
		leveldb_writebatch_put(job->batch, key, sizeof(key), (const char *)w.buf, w.len);
	wire_writer_release(&w);
	return r;
}

int raft_job_snapshot(struct raft_job *job, const struct raft_core_snapshot *s, uint64_t first, uint64_t last)
{
	struct wire_writer w;
	int r;

	wire_writer_init(&w);
	wire_put_u64(&w, &s->index);
	wire_put_u64(&w, &s->term);
	wire_put_u64(&w, &s->conf_index);
	wire_put_blob(&w, &s->conf);
	wire_put_blob(&w, &s->state);
	r = w.err;
	if (!r) {
		leveldb_writebatch_put(job->batch, KEY_SNAP, strlen(KEY_SNAP), (const char *)w.buf, w.len);
		delete_entries(job, first, last);
	}
	wire_writer_release(&w);
	return r;
}

/* ---- the writer thread: waits for jobs and for the disk, nothing else ---- */

static struct raft_job *take_jobs(struct raft_store *st)
{
	LOCK_SCOPE(&st->lock);
	struct raft_job *j;

	while (!st->head && !st->stop)
		pthread_cond_wait(&st->wake, &st->lock);
	j = st->head;
	st->head = NULL;
	st->tail = &st->head;
	return j;
}

static int write_batch(struct raft_store *st, leveldb_writebatch_t *batch)
{
	char *err = NULL;

	leveldb_write(st->db, st->sync, batch, &err);
	return failed(err, "writing the raft log");
}

static bool stopping(struct raft_store *st)
{
	LOCK_SCOPE(&st->lock);

	return st->stop;
}

/* One synced write for all that wait: a server with unsynced entries never stands for election. */
static void *writer(void *arg)
{
	struct raft_store *st = arg;
	struct raft_job *jobs;

	while ((jobs = take_jobs(st))) {
		bool written;

		for (struct raft_job *j = jobs->next; j; j = j->next)
			leveldb_writebatch_append(jobs->batch, j->batch);
		while (!(written = write_batch(st, jobs->batch) == 0) && !stopping(st))
			nanosleep(&(struct timespec){ .tv_sec = RETRY_S }, NULL);
		for (struct raft_job *j = jobs, *next; j; j = next) {
			next = j->next;
			if (written && mailbox_post(st->mb, j->done, j->arg) < 0)
				abort(); /* a done write that nobody hears of would stop the node for good */
			raft_job_free(j);
		}
	}
	return NULL;
}

int raft_store_start(struct raft_store *st, struct mailbox *mb)
{
	int r;

	st->mb = mb;
	r = pthread_create(&st->writer, NULL, writer, st);
	st->started = r == 0;
	return -r;
}

void raft_store_write(struct raft_store *st, struct raft_job *job, mailbox_fn done, void *arg)
{
	LOCK_SCOPE(&st->lock);

	job->done = done;
	job->arg = arg;
	*st->tail = job;
	st->tail = &job->next;
	pthread_cond_signal(&st->wake);
}

int raft_store_write_now(struct raft_store *st, struct raft_job *job)
{
	int r = write_batch(st, job->batch);

	raft_job_free(job);
	return r;
}
