/* Syncs from worker threads while the store's thread applies records, as the server does. For TSan; plain otherwise. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cfsd/inode.h"
#include "cfsd/store.h"

enum { WORKERS = 2, RECORDS = 2000, FILES = 100 };

struct shared {
	struct store *store;
	atomic_bool stop, failed;
};

static void *sync_often(void *arg)
{
	struct shared *sh = arg;

	for (uint64_t i = 0; !atomic_load(&sh->stop); i++)
		if (store_sync(sh->store, i % 3 ? 100 + i % FILES : 0) < 0)
			atomic_store(&sh->failed, true);
	return NULL;
}

static void *free_often(void *arg)
{
	struct shared *sh = arg;

	while (!atomic_load(&sh->stop))
		if (store_has_removed(sh->store) && store_free_removed(sh->store) < 0)
			atomic_store(&sh->failed, true);
	return NULL;
}

static int apply_records(struct store *s)
{
	struct txn t;
	int r = 0;

	txn_init(&t);
	for (uint64_t i = 0; !r && i < RECORDS; i++) {
		struct wire_logpos prev = store_position(s);
		uint64_t ino = 100 + i * 7 % FILES;

		txn_clear(&t);
		batch_put(&t.meta, &ino, sizeof(ino), &i, sizeof(i));
		if (i % 10)
			txn_write(&t, ino, i % 5 * 1000, &i, sizeof(i));
		else
			txn_remove(&t, ino);
		r = store_apply(s, &(struct record){ .prev = prev,
						     .pos = { 1, prev.lsn + 1 },
						     .batch = t.meta.buf,
						     .batch_len = t.meta.len,
						     .extents = t.extents.buf,
						     .extents_len = t.extents.len });
	}
	txn_release(&t);
	return r;
}

static int race(struct meta *m, struct data *d)
{
	struct shared sh = { 0 };
	pthread_t threads[WORKERS + 1];
	int r = store_open(m, d, &sh.store);

	if (!r)
		r = store_format(sh.store, 1, 0);
	if (r < 0)
		return r;
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&threads[i], NULL, sync_often, &sh);
	pthread_create(&threads[WORKERS], NULL, free_often, &sh);
	r = apply_records(sh.store);
	atomic_store(&sh.stop, true);
	for (int i = 0; i <= WORKERS; i++)
		pthread_join(threads[i], NULL);
	if (store_free_removed(sh.store) < 0 || store_has_removed(sh.store))
		atomic_store(&sh.failed, true);
	store_close(sh.store);
	return r < 0 || atomic_load(&sh.failed) ? -1 : 0;
}

int main(void)
{
	char dir[] = "/tmp/cfs-race-XXXXXX", command[64];
	struct meta *m;
	struct data *d;
	int r;

	if (meta_mem_open(&m) < 0 || data_mem_open(1 << 30, &d) < 0 || race(m, d) < 0)
		return 1;
	if (!mkdtemp(dir) || meta_mem_open(&m) < 0 || data_file_open(dir, &d) < 0)
		return 1;
	r = race(m, d);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) || r < 0;
}
