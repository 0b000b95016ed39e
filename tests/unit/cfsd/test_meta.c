/* Both metadata stores behave the same; the one in memory against a sorted array, too. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/batch.h"
#include "cfsd/meta.h"
#include "cfsd/meta_key.h"
#include "tests/lib/tmpdir.h"

static void change(struct meta *m, const char *key, const char *val, bool sync)
{
	struct batch b;

	batch_init(&b);
	if (val)
		batch_put(&b, key, strlen(key), val, strlen(val));
	else
		batch_del(&b, key, strlen(key));
	cr_assert_eq(m->ops->apply(m, b.buf, b.len, sync), 0);
	batch_release(&b);
}

static void cr_value(struct meta *m, const char *key, const char *want)
{
	void *val = NULL;
	size_t vlen;
	int r = m->ops->get(m, key, strlen(key), &val, &vlen);

	cr_assert_eq(r, want ? 0 : -ENOENT, "%s", key);
	if (want)
		cr_assert(vlen == strlen(want) && !memcmp(val, want, vlen), "%s", key);
	free(val);
}

/* The keys from FROM on, each followed by a comma. */
static void list(struct meta_iter *it, struct meta *m, char *buf)
{
	const void *k, *v;
	size_t klen, vlen;
	int r;

	while ((r = m->ops->iter_next(it, &k, &klen, &v, &vlen)) > 0)
		buf += sprintf(buf, "%.*s,", (int)klen, (const char *)k);
	*buf = 0;
	cr_assert_eq(r, 0);
	m->ops->iter_free(it);
}

static void cr_keys(struct meta *m, const char *from, const char *want)
{
	struct meta_iter *it;
	char buf[256];

	cr_assert_eq(m->ops->iter_new(m, from, strlen(from), &it), 0);
	list(it, m, buf);
	cr_assert_str_eq(buf, want);
}

static void basics(struct meta *m)
{
	struct meta_iter *view;
	struct batch b;
	char buf[256];

	cr_value(m, "a", NULL);
	cr_keys(m, "", "");
	change(m, "b", "1", false);
	change(m, "a", "2", false);
	change(m, "ab", "", false);
	change(m, "c", "3", false);
	cr_value(m, "a", "2");
	cr_value(m, "ab", "");
	cr_keys(m, "", "a,ab,b,c,");
	cr_keys(m, "ab", "ab,b,c,");
	cr_keys(m, "aa", "ab,b,c,");
	cr_keys(m, "d", "");
	/* A view does not see what happens later. */
	cr_assert_eq(m->ops->iter_new(m, "", 0, &view), 0);
	change(m, "ab", NULL, false);
	change(m, "aa", "new", false);
	change(m, "b", "changed", false);
	list(view, m, buf);
	cr_assert_str_eq(buf, "a,ab,b,c,");
	cr_keys(m, "", "a,aa,b,c,");
	cr_value(m, "b", "changed");
	/* Later items win; deleting what is not there is fine. */
	batch_init(&b);
	batch_put(&b, "x", 1, "1", 1);
	batch_put(&b, "x", 1, "2", 1);
	batch_put(&b, "y", 1, "1", 1);
	batch_del(&b, "y", 1);
	batch_del(&b, "none", 4);
	cr_assert_eq(m->ops->apply(m, b.buf, b.len, true), 0);
	cr_value(m, "x", "2");
	cr_value(m, "y", NULL);
	/* All or nothing. */
	batch_put(&b, "z", 1, "1", 1);
	cr_assert_eq(m->ops->apply(m, b.buf, b.len - 1, false), -EBADMSG);
	cr_value(m, "z", NULL);
	cr_assert_eq(m->ops->apply(m, NULL, 0, true), 0);
	batch_release(&b);
	m->ops->iter_free(NULL);
}

Test(meta, in_memory)
{
	struct meta *m;

	cr_assert_eq(meta_mem_open(&m), 0);
	basics(m);
	m->ops->close(m);
}

Test(meta, on_disk)
{
	struct tmpdir dir;
	struct meta *m;

	tmpdir_make(&dir);
	cr_assert_eq(meta_leveldb_open(dir.path, &m), 0);
	basics(m);
	m->ops->close(m);
	cr_assert_eq(meta_leveldb_open(dir.path, &m), 0);
	cr_value(m, "x", "2");
	cr_keys(m, "", "a,aa,b,c,x,");
	m->ops->close(m);
	tmpdir_remove(&dir);
}

Test(meta, disk_store_that_cannot_be_opened)
{
	struct tmpdir dir;
	struct meta *m;
	char path[128];
	FILE *f;

	tmpdir_make(&dir);
	snprintf(path, sizeof(path), "%s/no/such", dir.path);
	cr_assert_eq(meta_leveldb_open(path, &m), -ENOENT);
	snprintf(path, sizeof(path), "%s/CURRENT", dir.path);
	f = fopen(path, "w");
	fputs("nonsense", f);
	fclose(f);
	cr_assert_eq(meta_leveldb_open(dir.path, &m), -EIO);
	tmpdir_remove(&dir);
}

Test(meta_leveldb, sync_while_an_older_log_is_there)
{
	char val[64 << 10], key[16];
	struct tmpdir dir;
	struct meta *m;

	memset(val, 'x', sizeof(val) - 1);
	val[sizeof(val) - 1] = 0;
	tmpdir_make(&dir);
	cr_assert_eq(meta_leveldb_open(dir.path, &m), 0);
	/* More than one log holds, with a sync now and then. */
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "k%03d", i);
		change(m, key, val, i % 7 == 0);
	}
	cr_assert_eq(m->ops->apply(m, NULL, 0, true), 0);
	cr_value(m, "k000", val);
	cr_value(m, "k199", val);
	m->ops->close(m);
	tmpdir_remove(&dir);
}

Test(meta_mem, power_loss)
{
	struct meta_iter *view;
	struct meta *m;
	char buf[256];

	cr_assert_eq(meta_mem_open(&m), 0);
	change(m, "a", "1", true);
	change(m, "b", "1", false);
	change(m, "a", "2", false);
	cr_assert_eq(m->ops->iter_new(m, "", 0, &view), 0);
	meta_mem_forget(m);
	cr_keys(m, "", "a,");
	cr_value(m, "a", "1");
	list(view, m, buf);
	cr_assert_str_eq(buf, "a,b,");
	change(m, "c", "1", false);
	cr_assert_eq(m->ops->apply(m, NULL, 0, true), 0);
	change(m, "d", "1", false);
	meta_mem_forget(m);
	cr_keys(m, "", "a,c,");
	m->ops->close(m);
}

/* Random changes against an array, with views of older states held open. */
Test(meta_mem, random_changes)
{
	enum { KEYS = 300, VIEWS = 8 };
	static unsigned char here[KEYS], viewed[VIEWS][KEYS];
	struct meta_iter *views[VIEWS] = { 0 };
	unsigned int seed = 1;
	struct meta *m;

	cr_assert_eq(meta_mem_open(&m), 0);
	for (int step = 0; step < 20000; step++) {
		int k = rand_r(&seed) % KEYS, v = rand_r(&seed) % VIEWS;
		char key[12];

		snprintf(key, sizeof(key), "%03d", k);
		here[k] = (unsigned char)(rand_r(&seed) % 2);
		change(m, key, here[k] ? "v" : NULL, false);
		if (step % 100)
			continue;
		for (int i = 0; views[v] && i < KEYS; i++) {
			const void *gk, *gv;
			size_t gklen, gvlen;

			if (!viewed[v][i])
				continue;
			snprintf(key, sizeof(key), "%03d", i);
			cr_assert_eq(m->ops->iter_next(views[v], &gk, &gklen, &gv, &gvlen), 1);
			cr_assert(gklen == 3 && !memcmp(gk, key, 3), "step %d view %d key %s", step, v, key);
		}
		m->ops->iter_free(views[v]);
		cr_assert_eq(m->ops->iter_new(m, "", 0, &views[v]), 0);
		memcpy(viewed[v], here, KEYS);
	}
	for (int i = 0; i < VIEWS; i++)
		m->ops->iter_free(views[i]);
	m->ops->close(m);
}

Test(meta_mem, hundred_thousand_keys)
{
	enum { KEYS = 100000 };
	struct meta_iter *it;
	const void *k, *v;
	size_t klen, vlen, n = 0;
	struct meta *m;
	char key[16];

	cr_assert_eq(meta_mem_open(&m), 0);
	for (int i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "%08d", i);
		change(m, key, "v", i % 1000 == 0);
	}
	cr_assert_eq(m->ops->iter_new(m, "", 0, &it), 0);
	while (m->ops->iter_next(it, &k, &klen, &v, &vlen) > 0)
		n++;
	m->ops->iter_free(it);
	cr_assert_eq(n, KEYS);
	for (int i = 0; i < KEYS; i += 2) {
		snprintf(key, sizeof(key), "%08d", i);
		change(m, key, NULL, false);
	}
	cr_value(m, "00000002", NULL);
	cr_value(m, "00000003", "v");
	m->ops->close(m);
}

Test(meta_key, order_is_numeric)
{
	struct meta_key a, b;

	meta_key_dentry(&a, 255, "zz");
	meta_key_dentry(&b, 256, "");
	cr_assert_lt(memcmp(a.b, b.b, 9), 0);
	meta_key_inode(&a, 1);
	meta_key_inode(&b, UINT64_MAX);
	cr_assert_lt(memcmp(a.b, b.b, 9), 0);
	meta_key_reply(&a, 7, 255);
	meta_key_reply(&b, 7, 256);
	cr_assert_lt(memcmp(a.b, b.b, 13), 0);
}

Test(meta_key, parts_come_back)
{
	struct meta_key k;
	uint64_t n;
	uint32_t slot;
	size_t len;
	const char *name;

	meta_key_xattr(&k, 0x0102030405060708, "user.a");
	cr_assert(meta_key_number(k.b, k.len, META_XATTR, &n));
	cr_assert_eq(n, 0x0102030405060708);
	cr_assert_eq(k.b[1], 1);
	name = meta_key_name(k.b, k.len, &len);
	cr_assert(len == 6 && !memcmp(name, "user.a", 6));
	cr_assert(!meta_key_number(k.b, k.len, META_DENTRY, &n));
	cr_assert(!meta_key_number(k.b, 8, META_XATTR, &n));
	cr_assert(!meta_key_slot(k.b, k.len, &slot));
	meta_key_reply(&k, 5, 6);
	cr_assert(meta_key_slot(k.b, k.len, &slot));
	cr_assert_eq(slot, 6);
	cr_assert(meta_key_number(k.b, k.len, META_REPLY, &n) && n == 5);
	meta_key_session(&k, 9);
	cr_assert(meta_key_number(k.b, k.len, META_SESSION, &n) && n == 9);
	meta_key_orphan(&k, 10);
	cr_assert(meta_key_number(k.b, k.len, META_ORPHAN, &n) && n == 10);
	meta_key_target(&k, 11);
	cr_assert(meta_key_number(k.b, k.len, META_TARGET, &n) && n == 11);
	meta_key_system(&k, "lsn");
	cr_assert(meta_key_is_system(k.b, k.len, "lsn"));
	cr_assert(!meta_key_is_system(k.b, k.len, "ls"));
	cr_assert(!meta_key_is_system(k.b, k.len, "lsm"));
}
