/* See local.h. Marks that must hold after a power loss are written with a sync. */
#include "cfsd/local.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cfsd/meta_key.h"
#include "cfsd/system.h"
#include "common/cleanup.h"

#define COPYING "copying"
#define BOOT "boot"
enum { BOOT_ID_LEN = 36 };

bool local_is_key(const void *key, size_t klen)
{
	uint64_t ino;

	return meta_key_is_system(key, klen, SYSTEM_POSITION) || meta_key_is_system(key, klen, COPYING) ||
	       meta_key_is_system(key, klen, BOOT) || meta_key_number(key, klen, META_REMOVED, &ino);
}

static int apply(struct store *s, struct batch *b, bool sync)
{
	struct meta *m = store_meta(s);
	int r = b->err;

	if (!r)
		r = m->ops->apply(m, b->buf, b->len, sync);
	batch_release(b);
	return r;
}

int local_mark_copying(struct store *s)
{
	struct meta_key k;
	struct batch b;
	int r;

	batch_init(&b);
	meta_key_system(&k, COPYING);
	batch_put(&b, k.b, k.len, "1", 1);
	/* Whatever page the copy ends with, it can be opened. */
	system_put_position(&b, (struct wire_logpos){ 0 });
	system_put_counters(&b, &(struct system_counters){ 0 });
	r = apply(s, &b, true);
	return r < 0 ? r : store_reload(s);
}

int local_mark_whole(struct store *s, struct wire_logpos pos)
{
	struct meta_key k;
	struct batch b;
	int r;

	batch_init(&b);
	meta_key_system(&k, COPYING);
	batch_del(&b, k.b, k.len);
	system_put_position(&b, pos);
	r = apply(s, &b, true);
	return r < 0 ? r : store_reload(s);
}

int local_set_position(struct store *s, struct wire_logpos pos)
{
	struct batch b;
	int r;

	batch_init(&b);
	system_put_position(&b, pos);
	r = apply(s, &b, false);
	return r < 0 ? r : store_reload(s);
}

static bool has(struct store *s, const char *what, char *ret_val, size_t size)
{
	_cleanup_free_ void *val = NULL;
	struct meta *m = store_meta(s);
	struct meta_key k;
	size_t len;

	meta_key_system(&k, what);
	if (m->ops->get(m, k.b, k.len, &val, &len) < 0 || len > size)
		return false;
	memset(ret_val, 0, size);
	memcpy(ret_val, val, len);
	return true;
}

bool local_is_copying(struct store *s)
{
	char val[1];

	return has(s, COPYING, val, sizeof(val));
}

static int this_boot(char ret_id[BOOT_ID_LEN])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, ret_id, BOOT_ID_LEN) == BOOT_ID_LEN ? 0 : -EIO;
}

int local_power_lost(struct store *s, bool *ret_lost)
{
	char now[BOOT_ID_LEN], then[BOOT_ID_LEN];
	int r = this_boot(now);

	if (r < 0)
		return r;
	*ret_lost = has(s, BOOT, then, sizeof(then)) && memcmp(now, then, sizeof(now));
	return 0;
}

static int note_boot(struct store *s, const char id[BOOT_ID_LEN])
{
	struct meta_key k;
	struct batch b;

	batch_init(&b);
	meta_key_system(&k, BOOT);
	batch_put(&b, k.b, k.len, id, BOOT_ID_LEN);
	return apply(s, &b, true);
}

int local_note_opened(struct store *s)
{
	char now[BOOT_ID_LEN];
	int r = this_boot(now);

	return r < 0 ? r : note_boot(s, now);
}

int local_note_lost(struct store *s)
{
	static const char no_boot[BOOT_ID_LEN];

	return note_boot(s, no_boot);
}

int local_note_closed(struct store *s)
{
	struct meta_key k;
	struct batch b;

	batch_init(&b);
	meta_key_system(&k, BOOT);
	batch_del(&b, k.b, k.len);
	return apply(s, &b, true);
}
