#include "fuse/dirh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "wire/message.h"

void dirh_init(struct dirh *d, uint64_t ino)
{
	memset(d, 0, sizeof(*d));
	d->ino = ino;
	wire_writer_init(&d->names);
}

void dirh_release(struct dirh *d)
{
	free(d->entries);
	wire_writer_release(&d->names);
	memset(d, 0, sizeof(*d));
}

void dirh_rewind(struct dirh *d)
{
	uint64_t ino = d->ino;

	dirh_release(d);
	dirh_init(d, ino);
}

int dirh_add(struct dirh *d, const char *name, uint64_t ino, uint32_t mode)
{
	size_t len = strlen(name) + 1;
	uint8_t *p;

	d->started = true;
	if (d->nr_entries == d->cap_entries) {
		size_t cap = d->cap_entries ? d->cap_entries * 2 : 64;
		struct dirh_entry *more = reallocarray(d->entries, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		d->entries = more;
		d->cap_entries = cap;
	}
	p = wire_reserve(&d->names, len);
	if (!p)
		return -ENOMEM;
	memcpy(p, name, len);
	d->entries[d->nr_entries++] =
		(struct dirh_entry){ .ino = ino, .mode = mode, .name = (uint32_t)(d->names.len - len) };
	return 0;
}

static int add_one(struct dirh *d, const uint8_t *p, size_t len)
{
	struct wire_reader r = { p, p + len };
	struct wire_attr attr;
	int err = wire_get_attr(&r, &attr);

	if (err < 0)
		return err;
	/* A name that ends exactly where the entry does. */
	if (r.p == r.end || memchr(r.p, '\0', (size_t)(r.end - r.p)) != r.end - 1 || !*r.p)
		return -EBADMSG;
	return dirh_add(d, (const char *)r.p, attr.ino, attr.mode);
}

int dirh_add_piece(struct dirh *d, const struct wire_blob *entries)
{
	const uint8_t *p = entries->p;
	size_t left = entries->len;

	d->started = true;
	while (left) {
		size_t len;
		int r;

		if (left < 2)
			return -EBADMSG;
		len = get_le16(p);
		if (len < 2 || len > left)
			return -EBADMSG;
		r = add_one(d, p + 2, len - 2);
		if (r < 0)
			return r;
		p += len;
		left -= len;
	}
	return 0;
}

const char *dirh_name(const struct dirh *d, size_t i)
{
	return (const char *)d->names.buf + d->entries[i].name;
}

const char *dirh_last_name(const struct dirh *d)
{
	return d->nr_entries > d->nr_local ? dirh_name(d, d->nr_entries - 1) : "";
}
