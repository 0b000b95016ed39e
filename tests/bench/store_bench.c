/*
 * What the store and the operations cost by themselves: no network, no FUSE, no replication. One thread executes and
 * applies, as the server's loop does.
 *
 *	store_bench [DIR [COUNT]]    DIR: on disk (LevelDB, backing files), made and left there; without: in memory
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cfsd/inode.h"
#include "cfsd/op.h"

struct bench {
	struct store *store;
	struct wire_writer scratch;
	struct txn txn;
	uint64_t count, dir;
};

static void die(const char *what, int r)
{
	fprintf(stderr, "store_bench: %s: %s\n", what, strerror(-r));
	exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void run(struct bench *b, enum msg_type type, const void *req, void *rep)
{
	struct wire_logpos prev = store_position(b->store);
	struct op_env env = {
		.store = b->store,
		.pos = { 1, prev.lsn + 1 },
		.now_ns = clock_ns(CLOCK_REALTIME),
		.scratch = &b->scratch,
	};
	int r;

	b->scratch.len = 0;
	txn_clear(&b->txn);
	memset(rep, 0, msg_info((uint16_t)type)->rep_size);
	r = op_execute(&env, type, req, rep, &b->txn);
	if (!r && !txn_is_empty(&b->txn))
		r = store_apply(b->store, &(struct record){ .prev = prev,
							    .pos = env.pos,
							    .batch = b->txn.meta.buf,
							    .batch_len = b->txn.meta.len,
							    .extents = b->txn.extents.buf,
							    .extents_len = b->txn.extents.len });
	if (r < 0)
		die(msg_info((uint16_t)type)->name, r);
}

static const char *file_name(uint64_t i, char name[32])
{
	snprintf(name, 32, "file-%08" PRIu64 ".txt", i);
	return name;
}

static void bench_create(struct bench *b, uint64_t i)
{
	char name[32];
	struct msg_create_rep rep;

	run(b, MSG_create, &(struct msg_create_req){ .parent = b->dir, .entry = file_name(i, name), .mode = 0644 }, &rep);
}

static uint64_t lookup(struct bench *b, uint64_t i)
{
	char name[32];
	struct msg_lookup_rep rep;

	run(b, MSG_lookup, &(struct msg_lookup_req){ .parent = b->dir, .entry = file_name(i, name) }, &rep);
	return rep.attr.ino;
}

static void bench_lookup(struct bench *b, uint64_t i)
{
	if (!lookup(b, i * 7919 % b->count))
		die("lookup", -ENOENT);
}

static void bench_lookup_missing(struct bench *b, uint64_t i)
{
	if (lookup(b, b->count + i))
		die("lookup", -EEXIST);
}

static void bench_getattr(struct bench *b, uint64_t i)
{
	struct msg_getattr_rep rep;

	run(b, MSG_getattr, &(struct msg_getattr_req){ .ino = b->dir + 1 + i }, &rep);
}

static void bench_write(struct bench *b, uint64_t i)
{
	static const uint8_t block[4096] = { 1 };
	struct msg_write_rep rep;

	run(b, MSG_write, &(struct msg_write_req){ .ino = b->dir + 1 + i, .data = { block, 4096 } }, &rep);
}

static void bench_append(struct bench *b, uint64_t i)
{
	static const uint8_t block[4096] = { 1 };
	struct msg_write_rep rep;

	(void)i;
	run(b, MSG_write,
	    &(struct msg_write_req){ .ino = b->dir + 1, .flags = WRITE_APPEND, .data = { block, 4096 } }, &rep);
}

static void bench_write_big(struct bench *b, uint64_t i)
{
	static const uint8_t block[1 << 20] = { 1 };
	struct msg_write_rep rep;

	if (i % 64 == 0)
		run(b, MSG_write, &(struct msg_write_req){ .ino = b->dir + 2, .off = i / 64 << 20, .data = { block, 1 << 20 } },
		    &rep);
}

static void bench_read(struct bench *b, uint64_t i)
{
	struct msg_read_rep rep;

	run(b, MSG_read, &(struct msg_read_req){ .ino = b->dir + 1 + i, .len = 4096 }, &rep);
}

static void bench_unlink(struct bench *b, uint64_t i)
{
	char name[32];
	struct msg_unlink_rep rep;

	run(b, MSG_unlink, &(struct msg_unlink_req){ .parent = b->dir, .entry = file_name(i, name) }, &rep);
}

static void measure(struct bench *b, const char *what, void (*fn)(struct bench *b, uint64_t i))
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), took;

	for (uint64_t i = 0; i < b->count; i++)
		fn(b, i);
	took = clock_ns(CLOCK_MONOTONIC) - start;
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%-22s %9.0f /s  %7.2f us, %.2f us of CPU\n", what, (double)b->count * 1e9 / (double)took,
	       (double)took / 1e3 / (double)b->count, (double)cpu / 1e3 / (double)b->count);
}

static void bench_readdir(struct bench *b)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), n = 0;
	struct msg_readdir_rep rep;
	char after[256] = "";

	do {
		const uint8_t *p;

		run(b, MSG_readdir, &(struct msg_readdir_req){ .ino = b->dir, .after = after, .max_bytes = 128 << 10 }, &rep);
		p = rep.entries.p;
		for (const uint8_t *end = p + rep.entries.len; p < end; p += p[0] | p[1] << 8, n++)
			snprintf(after, sizeof(after), "%s", (const char *)p + (p[0] | p[1] << 8) - 18);
	} while (!rep.eof);
	printf("%-22s %9.0f entries/s\n", "readdir with attr", (double)n * 1e9 / (double)(clock_ns(CLOCK_MONOTONIC) - start));
	if (n != b->count)
		die("readdir", -EIO);
}

static void print_memory(const char *when)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmRSS:", 6))
			printf("memory %s: %s", when, line + 6);
	if (f)
		fclose(f);
}

static void open_store(struct bench *b, const char *dir)
{
	struct meta *m;
	struct data *d;
	int r;

	if (dir) {
		r = store_open_disk(dir, &b->store);
	} else {
		r = meta_mem_open(&m);
		if (!r)
			r = data_mem_open((uint64_t)64 << 30, &d);
		if (!r)
			r = store_open(m, d, &b->store);
	}
	if (!r)
		r = store_format(b->store, 1, 0);
	if (r < 0)
		die(dir ? dir : "memory", r);
}

int main(int argc, char **argv)
{
	struct bench b = { .count = argc > 2 ? strtoull(argv[2], NULL, 10) : 50000 };
	struct msg_mknod_rep rep;

	wire_writer_init(&b.scratch);
	txn_init(&b.txn);
	open_store(&b, argc > 1 ? argv[1] : NULL);
	print_memory("when opened");
	run(&b, MSG_mknod, &(struct msg_mknod_req){ .parent = INODE_ROOT, .entry = "d", .mode = S_IFDIR | 0755 }, &rep);
	b.dir = rep.attr.ino;
	measure(&b, "create", bench_create);
	measure(&b, "lookup", bench_lookup);
	measure(&b, "lookup, not there", bench_lookup_missing);
	measure(&b, "getattr", bench_getattr);
	measure(&b, "write 4K, new files", bench_write);
	measure(&b, "write 4K again", bench_write);
	measure(&b, "append 4K, one file", bench_append);
	measure(&b, "write 1M (per 64)", bench_write_big);
	measure(&b, "read 4K", bench_read);
	bench_readdir(&b);
	print_memory("before unlink");
	measure(&b, "unlink", bench_unlink);
	store_close(b.store);
	wire_writer_release(&b.scratch);
	txn_release(&b.txn);
	return 0;
}
