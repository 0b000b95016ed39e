/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reader takes bytes of another node: every length is compared with what is left before it is used. */
#include "procfs-cluster/scan.h"

#include <errno.h>

#include "common/bytes.h"

#define PROC_HEAD 25u
#define FILE_HEAD 6u
#define NODE_HEAD 5u

static int put_blob(struct wire_writer *w, const void *p, size_t len)
{
	uint8_t *to = wire_reserve(w, len);

	if (!to)
		return w->err;
	if (len)
		memcpy(to, p, len);
	return 0;
}

int scan_put(struct wire_writer *w, const struct scan_proc *p)
{
	uint8_t *to = wire_reserve(w, PROC_HEAD);

	if (!to)
		return w->err;
	put_le32(to, p->cpid);
	put_le32(to + 4, p->pid);
	put_le32(to + 8, p->uid);
	put_le32(to + 12, p->gid);
	put_le32(to + 16, p->file_uid);
	put_le32(to + 20, p->file_gid);
	to[24] = (uint8_t)p->nr_files;
	for (unsigned i = 0; i < p->nr_files; i++) {
		const struct scan_file *f = &p->files[i];

		to = wire_reserve(w, FILE_HEAD);
		if (!to)
			return w->err;
		to[0] = f->number;
		to[1] = f->state;
		put_le32(to + 2, (uint32_t)text_len(f->text));
		if (put_blob(w, f->text.p, text_len(f->text)))
			return w->err;
	}
	return 0;
}

static size_t left(const struct wire_reader *r)
{
	return (size_t)(r->end - r->p);
}

static int get_file(struct wire_reader *r, struct scan_file *ret)
{
	uint32_t len;

	if (left(r) < FILE_HEAD)
		return -EBADMSG;
	ret->number = r->p[0];
	ret->state = r->p[1];
	len = get_le32(r->p + 2);
	r->p += FILE_HEAD;
	if (len > left(r) || ret->state > SCAN_ABSENT || (ret->state != SCAN_DATA && len))
		return -EBADMSG;
	ret->text = text_of(r->p, len);
	r->p += len;
	return 0;
}

int scan_get(struct wire_reader *r, struct scan_proc *ret)
{
	int err = 0;

	if (!left(r))
		return 0;
	if (left(r) < PROC_HEAD)
		return -EBADMSG;
	ret->cpid = get_le32(r->p);
	ret->pid = get_le32(r->p + 4);
	ret->uid = get_le32(r->p + 8);
	ret->gid = get_le32(r->p + 12);
	ret->file_uid = get_le32(r->p + 16);
	ret->file_gid = get_le32(r->p + 20);
	ret->nr_files = r->p[24];
	r->p += PROC_HEAD;
	if (ret->nr_files > SCAN_FILES_MAX)
		return -EBADMSG;
	for (unsigned i = 0; i < ret->nr_files && !err; i++)
		err = get_file(r, &ret->files[i]);
	return err ? err : 1;
}

int scan_put_node(struct wire_writer *w, unsigned number, const void *p, size_t len)
{
	uint8_t *to = wire_reserve(w, NODE_HEAD);

	if (!to)
		return w->err;
	to[0] = (uint8_t)number;
	put_le32(to + 1, (uint32_t)len);
	return put_blob(w, p, len);
}

int scan_get_node(struct wire_reader *r, unsigned *ret_number, struct text *ret_text)
{
	uint32_t len;

	if (!left(r))
		return 0;
	if (left(r) < NODE_HEAD)
		return -EBADMSG;
	len = get_le32(r->p + 1);
	if (len > left(r) - NODE_HEAD)
		return -EBADMSG;
	*ret_number = r->p[0];
	*ret_text = text_of(r->p + NODE_HEAD, len);
	r->p += NODE_HEAD + len;
	return 1;
}

enum scan_state scan_state_of(int err)
{
	switch (err) {
	case -ESRCH:
		return SCAN_GONE;
	case -EACCES:
	case -EPERM:
		return SCAN_DENIED;
	default:
		return SCAN_ABSENT;
	}
}

int scan_state_error(unsigned state)
{
	static const int errors[] = { 0, -ESRCH, -EACCES, -ENOENT };

	return state < ARRAY_LEN(errors) ? errors[state] : -EBADMSG;
}
