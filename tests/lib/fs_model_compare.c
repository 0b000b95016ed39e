/* Comparing replies, and everything with everything. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/bytes.h"
#include "tests/lib/fs_model.h"

static bool same_attr(const struct wire_attr *a, const struct wire_attr *b, bool times)
{
	if (a->ino != b->ino || a->mode != b->mode || a->nlink != b->nlink || a->uid != b->uid || a->gid != b->gid ||
	    a->rdev != b->rdev || a->size != b->size)
		return false;
	return !times || (a->atime == b->atime && a->mtime == b->mtime && a->ctime == b->ctime &&
			  a->btime == b->btime && a->change == b->change);
}

static bool same_blob(const struct wire_blob *a, const struct wire_blob *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->p, b->p, a->len));
}

/* The next entry of a readdir reply; false at the end or when it is torn. */
static bool next_entry(struct wire_reader *r, struct wire_attr *ret_attr, const char **ret_name)
{
	struct wire_reader e;
	uint16_t len;

	if (r->end - r->p < 2)
		return false;
	len = get_le16(r->p);
	if (len < 3 || len > r->end - r->p || r->p[len - 1])
		return false;
	e = (struct wire_reader){ r->p + 2, r->p + len };
	if (wire_get_attr(&e, ret_attr) < 0 || e.p >= e.end)
		return false;
	*ret_name = (const char *)e.p;
	r->p += len;
	return true;
}

static bool same_entries(const struct wire_blob *a, const struct wire_blob *b, bool times)
{
	struct wire_reader ra = { a->p, a->len ? (const uint8_t *)a->p + a->len : a->p };
	struct wire_reader rb = { b->p, b->len ? (const uint8_t *)b->p + b->len : b->p };
	struct wire_attr aa, ab;
	const char *na, *nb;

	while (next_entry(&ra, &aa, &na))
		if (!next_entry(&rb, &ab, &nb) || strcmp(na, nb) || !same_attr(&aa, &ab, times))
			return false;
	return ra.p == ra.end && rb.p == rb.end;
}

#define ATTR_ONLY(name)  \
	case MSG_##name: \
		return same_attr(&((const struct msg_##name##_rep *)a)->attr, &((const struct msg_##name##_rep *)b)->attr, times);
#define BLOB_ONLY(name, field) \
	case MSG_##name:       \
		return same_blob(&((const struct msg_##name##_rep *)a)->field, &((const struct msg_##name##_rep *)b)->field);
#define NODE_MADE(name)                                                                \
	case MSG_##name: {                                                             \
		const struct msg_##name##_rep *x = a, *y = b;                          \
                                                                                       \
		return same_attr(&x->attr, &y->attr, times) && same_attr(&x->dir_attr, &y->dir_attr, times); \
	}
#define NAME_GONE(name)                                                                \
	case MSG_##name: {                                                             \
		const struct msg_##name##_rep *x = a, *y = b;                          \
                                                                                       \
		return x->ino == y->ino && same_attr(&x->dir_attr, &y->dir_attr, times); \
	}

bool fs_model_same_reply(enum msg_type type, const void *a, const void *b, bool times)
{
	switch ((int)type) {
		ATTR_ONLY(lookup) ATTR_ONLY(getattr) ATTR_ONLY(setattr) ATTR_ONLY(open) ATTR_ONLY(fallocate)
		NODE_MADE(create) NODE_MADE(mknod) NODE_MADE(symlink) NODE_MADE(link)
		BLOB_ONLY(read, data) BLOB_ONLY(getxattr, value) BLOB_ONLY(listxattr, names)
		NAME_GONE(unlink) NAME_GONE(rmdir)
	case MSG_rename: {
		const struct msg_rename_rep *x = a, *y = b;

		return x->replaced == y->replaced && same_attr(&x->attr, &y->attr, times) &&
		       same_attr(&x->dir_attr, &y->dir_attr, times) && same_attr(&x->new_dir_attr, &y->new_dir_attr, times);
	}
	case MSG_readlink:
		return !strcmp(((const struct msg_readlink_rep *)a)->target, ((const struct msg_readlink_rep *)b)->target);
	case MSG_write: {
		const struct msg_write_rep *x = a, *y = b;

		return x->off == y->off && x->written == y->written && same_attr(&x->attr, &y->attr, times);
	}
	case MSG_readdir: {
		const struct msg_readdir_rep *x = a, *y = b;

		return x->eof == y->eof && same_entries(&x->entries, &y->entries, times);
	}
	}
	return true;
}

struct verify {
	struct fs_model *m;
	fs_model_run run;
	void *ctx;
	bool times;
};

/* Any reply fits. */
union reply {
	struct msg_getattr_rep getattr;
	struct msg_read_rep read;
	struct msg_readdir_rep readdir;
	struct msg_readlink_rep readlink;
	struct msg_listxattr_rep listxattr;
	struct msg_getxattr_rep getxattr;
};

/* The same request to both. The model's reply in *RET_REP. */
static bool ask(struct verify *v, enum msg_type type, const void *req, union reply *ret_rep)
{
	union reply real;
	int expected = fs_model_execute(v->m, type, req, ret_rep, 0), r = v->run(v->ctx, type, req, &real);

	return r == expected && (r < 0 || fs_model_same_reply(type, &real, ret_rep, v->times));
}

static bool verify_data(struct verify *v, uint64_t ino)
{
	union reply rep;
	uint64_t off = 0;

	do {
		if (!ask(v, MSG_read, &(struct msg_read_req){ .ino = ino, .off = off, .len = 1 << 16 }, &rep))
			return false;
		off += rep.read.data.len;
	} while (rep.read.data.len);
	return true;
}

static bool verify_names(struct verify *v, uint64_t ino)
{
	char after[256] = "";
	union reply rep;

	do {
		struct wire_reader r;
		struct wire_attr attr;
		const char *name = after;

		if (!ask(v, MSG_readdir, &(struct msg_readdir_req){ .ino = ino, .after = after, .max_bytes = 8192 }, &rep))
			return false;
		r = (struct wire_reader){ rep.readdir.entries.p,
					  (const uint8_t *)rep.readdir.entries.p + rep.readdir.entries.len };
		while (next_entry(&r, &attr, &name))
			;
		if (name != after)
			strcpy(after, name);
	} while (!rep.readdir.eof);
	return true;
}

static bool verify_xattrs(struct verify *v, uint64_t ino)
{
	union reply rep;
	char *names;
	uint32_t len;
	bool same;

	if (!ask(v, MSG_listxattr, &(struct msg_listxattr_req){ .ino = ino }, &rep))
		return false;
	len = rep.listxattr.names.len;
	names = malloc(len + 1);
	if (!names)
		abort();
	if (len)
		memcpy(names, rep.listxattr.names.p, len);
	same = true;
	for (const char *p = names; same && p < names + len; p += strlen(p) + 1)
		same = ask(v, MSG_getxattr, &(struct msg_getxattr_req){ .ino = ino, .attr_name = p }, &rep);
	free(names);
	return same;
}

static bool verify_node(struct verify *v, uint64_t ino)
{
	union reply rep;
	uint32_t mode;

	if (!ask(v, MSG_getattr, &(struct msg_getattr_req){ .ino = ino }, &rep))
		return false;
	mode = rep.getattr.attr.mode;
	if (S_ISDIR(mode) && !verify_names(v, ino))
		return false;
	if (S_ISREG(mode) && !verify_data(v, ino))
		return false;
	if (S_ISLNK(mode) && !ask(v, MSG_readlink, &(struct msg_readlink_req){ .ino = ino }, &rep))
		return false;
	return verify_xattrs(v, ino);
}

uint64_t fs_model_verify(struct fs_model *m, fs_model_run run, void *ctx, bool times)
{
	struct verify v = { .m = m, .run = run, .ctx = ctx, .times = times };

	for (uint64_t ino = fs_model_next(m, 0); ino; ino = fs_model_next(m, ino))
		if (!verify_node(&v, ino))
			return ino;
	return 0;
}
