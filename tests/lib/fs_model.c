#include "tests/lib/fs_model.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <uthash.h>
#include <utlist.h>

#include "common/bytes.h"

#define SIZE_LIMIT ((uint64_t)1 << 43)

/* A name in a directory, or a name of an xattr. Lists are kept in the order of the names' bytes. */
struct named {
	struct named *prev, *next;
	char *name;
	uint64_t ino; /* directory */
	void *val;    /* xattr */
	uint32_t vlen;
};

struct node {
	struct wire_attr a;
	uint8_t *bytes; /* a.size of them: regular files */
	char *target;
	struct named *names, *xattrs;
	uint64_t parent; /* directories */
	unsigned int holds;
	UT_hash_handle hh;
};

struct fs_model {
	struct node *nodes;
	uint64_t next_ino, now;
	struct wire_writer out; /* what replies point to */
};

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static struct node *node_of(const struct fs_model *m, uint64_t ino)
{
	struct node *n;

	HASH_FIND(hh, m->nodes, &ino, sizeof(ino), n);
	return n;
}

static struct node *node_make(struct fs_model *m, uint64_t ino, uint32_t mode)
{
	struct node *n = need(calloc(1, sizeof(*n)));

	n->a = (struct wire_attr){ .ino = ino,
				   .mode = mode,
				   .nlink = S_ISDIR(mode) ? 2 : 1,
				   .atime = m->now,
				   .mtime = m->now,
				   .ctime = m->now,
				   .btime = m->now,
				   .change = 1 };
	HASH_ADD(hh, m->nodes, a.ino, sizeof(n->a.ino), n);
	return n;
}

static int by_name(const struct named *a, const struct named *b)
{
	return strcmp(a->name, b->name);
}

static struct named *named_find(struct named *list, const char *name)
{
	struct named *e;

	DL_FOREACH(list, e)
		if (!strcmp(e->name, name))
			return e;
	return NULL;
}

static struct named *named_add(struct named **list, const char *name)
{
	struct named *e = need(calloc(1, sizeof(*e)));

	e->name = need(strdup(name));
	DL_INSERT_INORDER(*list, e, by_name);
	return e;
}

static void named_del(struct named **list, struct named *e)
{
	DL_DELETE(*list, e);
	free(e->name);
	free(e->val);
	free(e);
}

static void node_free(struct fs_model *m, struct node *n)
{
	HASH_DEL(m->nodes, n);
	while (n->names)
		named_del(&n->names, n->names);
	while (n->xattrs)
		named_del(&n->xattrs, n->xattrs);
	free(n->bytes);
	free(n->target);
	free(n);
}

static void touch(struct fs_model *m, struct node *n)
{
	n->a.ctime = m->now > n->a.ctime ? m->now : n->a.ctime + 1;
	n->a.change++;
}

static void touch_content(struct fs_model *m, struct node *n)
{
	touch(m, n);
	n->a.mtime = n->a.ctime;
}

static int set_size(struct node *n, uint64_t size)
{
	if (size > SIZE_LIMIT)
		return -EFBIG;
	if (size > n->a.size) {
		n->bytes = need(realloc(n->bytes, size));
		memset(n->bytes + n->a.size, 0, size - n->a.size);
	}
	n->a.size = size;
	return 0;
}

static int bad_name(const char *name)
{
	if (!name || !name[0] || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return strlen(name) > 255 ? -ENAMETOOLONG : 0;
}

static bool is_dir(const struct node *n)
{
	return S_ISDIR(n->a.mode);
}

/* The directory in which NAME may change. */
static int parent_of(struct fs_model *m, uint64_t ino, const char *name, struct node **ret_dir)
{
	struct node *n = node_of(m, ino);
	int r = bad_name(name);

	if (r)
		return r;
	if (!n)
		return -ESTALE;
	if (!is_dir(n))
		return -ENOTDIR;
	if (!n->a.nlink)
		return -ENOENT;
	*ret_dir = n;
	return 0;
}

static struct node *child_of(struct fs_model *m, struct node *dir, const char *name)
{
	struct named *e = named_find(dir->names, name);

	return e ? node_of(m, e->ino) : NULL;
}

static void add_name(struct fs_model *m, struct node *dir, const char *name, struct node *n)
{
	named_add(&dir->names, name)->ino = n->a.ino;
	dir->a.size++;
	touch_content(m, dir);
}

static struct node *make_in(struct fs_model *m, struct node *dir, const char *name, const struct wire_cred *cred,
			    uint32_t mode)
{
	struct node *n = node_make(m, m->next_ino++, mode);

	n->a.uid = cred->uid;
	n->a.gid = cred->gid;
	if (dir->a.mode & S_ISGID) {
		n->a.gid = dir->a.gid;
		n->a.mode |= is_dir(n) ? S_ISGID : 0;
	}
	if (is_dir(n)) {
		n->parent = dir->a.ino;
		dir->a.nlink++;
	}
	add_name(m, dir, name, n);
	return n;
}

static void drop_link(struct fs_model *m, struct node *n)
{
	touch(m, n);
	n->a.nlink = is_dir(n) ? 0 : n->a.nlink - 1;
	if (!n->a.nlink && !n->holds)
		node_free(m, n);
}

/* ---- one function an operation, named as its message ---- */

#define MODEL(name)                                                                                  \
	static int model_##name(struct fs_model *m, const struct msg_##name##_req *q, struct msg_##name##_rep *p)

MODEL(lookup)
{
	struct node *dir = node_of(m, q->parent), *n;
	int r = bad_name(q->entry);

	if (r)
		return r;
	if (!dir)
		return -ESTALE;
	if (!is_dir(dir))
		return -ENOTDIR;
	n = child_of(m, dir, q->entry);
	if (n)
		p->attr = n->a;
	return 0;
}

MODEL(getattr)
{
	struct node *n = node_of(m, q->ino);

	if (!n)
		return -ESTALE;
	p->attr = n->a;
	return 0;
}

MODEL(setattr)
{
	struct node *n = node_of(m, q->ino);
	int r = 0;

	if (!n)
		return -ESTALE;
	if (q->valid & SETATTR_SIZE) {
		r = is_dir(n) ? -EISDIR : !S_ISREG(n->a.mode) ? -EINVAL : set_size(n, q->size);
		if (r)
			return r;
	}
	if (q->valid & SETATTR_MODE)
		n->a.mode = (n->a.mode & S_IFMT) | (q->mode & 07777);
	if (q->valid & SETATTR_UID)
		n->a.uid = q->uid;
	if (q->valid & SETATTR_GID)
		n->a.gid = q->gid;
	if (q->valid & SETATTR_KILL_PRIV && !is_dir(n))
		n->a.mode &= n->a.mode & S_IXGRP ? ~06000u : ~04000u;
	if (q->valid)
		touch(m, n);
	if (q->valid & (SETATTR_SIZE | SETATTR_MTIME_NOW))
		n->a.mtime = n->a.ctime;
	if (q->valid & SETATTR_MTIME && !(q->valid & SETATTR_MTIME_NOW))
		n->a.mtime = q->mtime;
	if (q->valid & SETATTR_ATIME)
		n->a.atime = q->atime;
	if (q->valid & SETATTR_ATIME_NOW)
		n->a.atime = m->now;
	p->attr = n->a;
	return 0;
}

MODEL(create)
{
	struct node *dir, *n;
	int r = parent_of(m, q->parent, q->entry, &dir);

	if (r)
		return r;
	n = child_of(m, dir, q->entry);
	if (n && q->flags & CREATE_EXCL)
		return -EEXIST;
	if (n && is_dir(n))
		return -EISDIR;
	if (n && !S_ISREG(n->a.mode))
		return -ESTALE;
	if (!n) {
		n = make_in(m, dir, q->entry, &q->cred, S_IFREG | (q->mode & 07777));
	} else if (q->flags & CREATE_TRUNC) {
		set_size(n, 0);
		touch_content(m, n);
	}
	p->attr = n->a;
	p->dir_attr = dir->a;
	return 0;
}

MODEL(mknod)
{
	uint32_t type = q->mode & S_IFMT ? q->mode & S_IFMT : S_IFREG;
	struct node *dir, *n;
	int r;

	if (type == S_IFLNK)
		return -EINVAL;
	r = parent_of(m, q->parent, q->entry, &dir);
	if (r)
		return r;
	if (child_of(m, dir, q->entry))
		return -EEXIST;
	n = make_in(m, dir, q->entry, &q->cred, type | (q->mode & 07777));
	if (type == S_IFCHR || type == S_IFBLK)
		n->a.rdev = q->rdev;
	p->attr = n->a;
	p->dir_attr = dir->a;
	return 0;
}

MODEL(symlink)
{
	struct node *dir, *n;
	int r = q->target && *q->target ? parent_of(m, q->parent, q->entry, &dir) : -ENOENT;

	if (r)
		return r;
	if (child_of(m, dir, q->entry))
		return -EEXIST;
	n = make_in(m, dir, q->entry, &q->cred, S_IFLNK | 0777);
	n->target = need(strdup(q->target));
	n->a.size = strlen(q->target);
	p->attr = n->a;
	p->dir_attr = dir->a;
	return 0;
}

MODEL(link)
{
	struct node *dir, *n = node_of(m, q->ino);
	int r;

	if (!n)
		return -ESTALE;
	if (is_dir(n))
		return -EPERM;
	r = parent_of(m, q->parent, q->entry, &dir);
	if (r)
		return r;
	if (child_of(m, dir, q->entry))
		return -EEXIST;
	if (!n->a.nlink)
		return -ENOENT;
	n->a.nlink++;
	touch(m, n);
	add_name(m, dir, q->entry, n);
	p->attr = n->a;
	p->dir_attr = dir->a;
	return 0;
}

/* Removes a name; the caller has checked that it may. */
static void remove_name(struct fs_model *m, struct node *dir, const char *name, struct node *n)
{
	named_del(&dir->names, named_find(dir->names, name));
	dir->a.size--;
	dir->a.nlink -= is_dir(n);
	drop_link(m, n);
	touch_content(m, dir);
}

MODEL(unlink)
{
	struct node *dir, *n;
	int r = parent_of(m, q->parent, q->entry, &dir);

	if (r)
		return r;
	n = child_of(m, dir, q->entry);
	if (!n)
		return -ENOENT;
	if (is_dir(n))
		return -EISDIR;
	p->ino = n->a.ino;
	remove_name(m, dir, q->entry, n);
	p->dir_attr = dir->a;
	return 0;
}

MODEL(rmdir)
{
	struct node *dir, *n;
	int r = parent_of(m, q->parent, q->entry, &dir);

	if (r)
		return r;
	n = child_of(m, dir, q->entry);
	if (!n)
		return -ENOENT;
	if (!is_dir(n))
		return -ENOTDIR;
	if (n->names)
		return -ENOTEMPTY;
	p->ino = n->a.ino;
	remove_name(m, dir, q->entry, n);
	p->dir_attr = dir->a;
	return 0;
}

/* Is directory A the same as B, or above it? */
static bool is_above(struct fs_model *m, const struct node *a, const struct node *b)
{
	while (b != a && b->a.ino != 1)
		b = node_of(m, b->parent);
	return a == b;
}

/* The conditions of rename(2), in its order. 1: nothing to do. */
static int rename_check(struct fs_model *m, const struct msg_rename_req *q, struct node *from, struct node *to)
{
	struct node *n = child_of(m, from, q->entry), *old = child_of(m, to, q->new_entry);
	bool exchange = q->flags & RENAME_EXCHANGE;

	if (!n)
		return -ENOENT;
	if (old && q->flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (!old && exchange)
		return -ENOENT;
	if (old == n)
		return 1;
	if (is_dir(n) && is_above(m, n, to))
		return -EINVAL;
	if (old && is_dir(old) && is_above(m, old, from))
		return exchange ? -EINVAL : -ENOTEMPTY;
	if (!old || exchange)
		return 0;
	if (is_dir(n) != is_dir(old))
		return is_dir(n) ? -ENOTDIR : -EISDIR;
	return old->names ? -ENOTEMPTY : 0;
}

static void set_parent(struct node *n, struct node *from, struct node *to)
{
	if (!is_dir(n))
		return;
	from->a.nlink--;
	to->a.nlink++;
	n->parent = to->a.ino;
}

static void rename_names(struct fs_model *m, const struct msg_rename_req *q, struct node *from, struct node *to)
{
	struct node *n = child_of(m, from, q->entry), *old = child_of(m, to, q->new_entry);

	if (q->flags & RENAME_EXCHANGE) {
		named_find(from->names, q->entry)->ino = old->a.ino;
		named_find(to->names, q->new_entry)->ino = n->a.ino;
		set_parent(old, to, from);
		touch(m, old);
	} else {
		if (old) {
			named_del(&to->names, named_find(to->names, q->new_entry));
			to->a.size--;
			to->a.nlink -= is_dir(old);
			drop_link(m, old);
		}
		named_del(&from->names, named_find(from->names, q->entry));
		from->a.size--;
		named_add(&to->names, q->new_entry)->ino = n->a.ino;
		to->a.size++;
	}
	set_parent(n, from, to);
	touch(m, n);
	touch_content(m, from);
	if (to != from)
		touch_content(m, to);
}

MODEL(rename)
{
	struct node *from = NULL, *to = NULL, *n, *old;
	int r;

	if (q->flags & ~3u || q->flags == 3)
		return -EINVAL;
	r = parent_of(m, q->parent, q->entry, &from);
	if (!r)
		r = parent_of(m, q->new_parent, q->new_entry, &to);
	if (!r)
		r = rename_check(m, q, from, to);
	if (r < 0)
		return r;
	n = child_of(m, from, q->entry);
	old = child_of(m, to, q->new_entry);
	p->replaced = old ? old->a.ino : 0;
	if (!r)
		rename_names(m, q, from, to);
	p->attr = n->a;
	p->dir_attr = from->a;
	p->new_dir_attr = to->a;
	return 0;
}

MODEL(readlink)
{
	struct node *n = node_of(m, q->ino);

	if (!n)
		return -ESTALE;
	if (!S_ISLNK(n->a.mode))
		return -EINVAL;
	p->target = n->target;
	return 0;
}

MODEL(open)
{
	struct node *n = node_of(m, q->ino);

	if (!n)
		return -ESTALE;
	if (is_dir(n) && q->flags & (OPEN_WRITE | OPEN_TRUNC))
		return -EISDIR;
	if (q->flags & OPEN_TRUNC && S_ISREG(n->a.mode)) {
		set_size(n, 0);
		touch_content(m, n);
	}
	p->attr = n->a;
	return 0;
}

static int file_of(struct fs_model *m, uint64_t ino, struct node **ret_n)
{
	struct node *n = node_of(m, ino);

	if (!n)
		return -ESTALE;
	if (!S_ISREG(n->a.mode))
		return is_dir(n) ? -EISDIR : -EINVAL;
	*ret_n = n;
	return 0;
}

MODEL(read)
{
	struct node *n;
	int r = file_of(m, q->ino, &n);

	if (r || q->off >= n->a.size)
		return r;
	p->data.p = n->bytes + q->off;
	p->data.len = q->len < n->a.size - q->off ? q->len : (uint32_t)(n->a.size - q->off);
	return 0;
}

MODEL(write)
{
	struct node *n;
	int r = file_of(m, q->ino, &n);

	if (r)
		return r;
	p->off = q->flags & WRITE_APPEND ? n->a.size : q->off;
	if (q->data.len) {
		if (p->off + q->data.len > SIZE_LIMIT)
			return -EFBIG;
		if (p->off + q->data.len > n->a.size)
			set_size(n, p->off + q->data.len);
		memcpy(n->bytes + p->off, q->data.p, q->data.len);
		if (q->flags & WRITE_KILL_PRIV)
			n->a.mode &= n->a.mode & S_IXGRP ? ~06000u : ~04000u;
		touch_content(m, n);
	}
	p->written = q->data.len;
	p->attr = n->a;
	return 0;
}

MODEL(fsync)
{
	(void)p;
	return q->ino && !node_of(m, q->ino) ? -ESTALE : 0;
}

MODEL(fallocate)
{
	struct node *n = node_of(m, q->ino);
	uint64_t end;

	if (!n)
		return -ESTALE;
	if (!S_ISREG(n->a.mode))
		return is_dir(n) ? -EISDIR : -ENODEV;
	if (q->mode && q->mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (!q->len)
		return -EINVAL;
	if (add_overflows(q->off, q->len, &end) || end > SIZE_LIMIT)
		return -EFBIG;
	if (q->mode && q->off < n->a.size)
		memset(n->bytes + q->off, 0, (end < n->a.size ? end : n->a.size) - q->off);
	if (!q->mode && end > n->a.size)
		set_size(n, end);
	touch_content(m, n);
	p->attr = n->a;
	return 0;
}

static size_t put_entry(struct fs_model *m, const struct named *e)
{
	size_t start = m->out.len;

	wire_reserve(&m->out, 2);
	wire_put_attr(&m->out, &node_of(m, e->ino)->a);
	memcpy(need(wire_reserve(&m->out, strlen(e->name) + 1)), e->name, strlen(e->name) + 1);
	put_le16(m->out.buf + start, (uint16_t)(m->out.len - start));
	return m->out.len;
}

MODEL(readdir)
{
	size_t max = q->max_bytes < 1 << 20 ? q->max_bytes : 1 << 20;
	struct node *n = node_of(m, q->ino);
	struct named *e;

	if (!n)
		return -ESTALE;
	if (!is_dir(n))
		return -ENOTDIR;
	p->eof = 1;
	DL_FOREACH(n->names, e) {
		size_t before = m->out.len;

		if (q->after && strcmp(e->name, q->after) <= 0)
			continue;
		if (put_entry(m, e) > max) {
			m->out.len = before;
			p->eof = 0;
			break;
		}
	}
	if (!m->out.len && !p->eof)
		return -EINVAL;
	p->entries = (struct wire_blob){ m->out.buf, (uint32_t)m->out.len };
	return 0;
}

static int bad_xattr(const char *name)
{
	if (!name || !*name || strlen(name) > 255)
		return -ERANGE;
	return strncmp(name, "system.", 7) ? 0 : -EOPNOTSUPP;
}

MODEL(getxattr)
{
	struct node *n = node_of(m, q->ino);
	struct named *e;
	int r = bad_xattr(q->attr_name);

	if (r || !n)
		return r ? r : -ESTALE;
	e = named_find(n->xattrs, q->attr_name);
	if (!e)
		return -ENODATA;
	p->value = (struct wire_blob){ e->val, e->vlen };
	return 0;
}

static unsigned int count(const struct named *list)
{
	const struct named *e;
	unsigned int n;

	DL_COUNT(list, e, n);
	return n;
}

MODEL(setxattr)
{
	struct node *n = node_of(m, q->ino);
	struct named *e;
	int r = bad_xattr(q->attr_name);

	(void)p;
	if (r)
		return r;
	if (q->flags & ~3u)
		return -EINVAL;
	if (q->value.len > 65536)
		return -E2BIG;
	if (!n)
		return -ESTALE;
	e = named_find(n->xattrs, q->attr_name);
	if (e && q->flags & XATTR_CREATE)
		return -EEXIST;
	if (!e && q->flags & XATTR_REPLACE)
		return -ENODATA;
	if (!e && count(n->xattrs) == 256)
		return -ENOSPC;
	if (!e)
		e = named_add(&n->xattrs, q->attr_name);
	free(e->val);
	e->vlen = q->value.len;
	e->val = need(malloc(e->vlen + 1));
	memcpy(e->val, e->vlen ? q->value.p : "", e->vlen);
	touch(m, n);
	return 0;
}

MODEL(removexattr)
{
	struct node *n = node_of(m, q->ino);
	struct named *e;
	int r = bad_xattr(q->attr_name);

	(void)p;
	if (r || !n)
		return r ? r : -ESTALE;
	e = named_find(n->xattrs, q->attr_name);
	if (!e)
		return -ENODATA;
	named_del(&n->xattrs, e);
	touch(m, n);
	return 0;
}

MODEL(listxattr)
{
	struct node *n = node_of(m, q->ino);
	struct named *e;

	if (!n)
		return -ESTALE;
	DL_FOREACH(n->xattrs, e)
		memcpy(need(wire_reserve(&m->out, strlen(e->name) + 1)), e->name, strlen(e->name) + 1);
	p->names = (struct wire_blob){ m->out.buf, (uint32_t)m->out.len };
	return 0;
}

struct fs_model *fs_model_new(uint64_t now_ns)
{
	struct fs_model *m = need(calloc(1, sizeof(*m)));

	m->now = now_ns;
	m->next_ino = 2;
	wire_writer_init(&m->out);
	node_make(m, 1, S_IFDIR | 0755)->parent = 1;
	return m;
}

void fs_model_free(struct fs_model *m)
{
	while (m && m->nodes)
		node_free(m, m->nodes);
	if (m)
		wire_writer_release(&m->out);
	free(m);
}

int fs_model_execute(struct fs_model *m, enum msg_type type, const void *req, void *rep, uint64_t now_ns)
{
	m->now = now_ns;
	m->out.len = 0;
	memset(rep, 0, msg_info((uint16_t)type)->rep_size);
	switch ((int)type) {
#define RUN(name)         \
	case MSG_##name: \
		return model_##name(m, req, rep);
		RUN(lookup) RUN(getattr) RUN(setattr) RUN(create) RUN(mknod) RUN(symlink) RUN(link) RUN(unlink)
		RUN(rmdir) RUN(rename) RUN(readlink) RUN(open) RUN(read) RUN(write) RUN(fsync) RUN(fallocate)
		RUN(readdir) RUN(getxattr) RUN(setxattr) RUN(removexattr) RUN(listxattr)
#undef RUN
	}
	return -ENOSYS;
}

void fs_model_hold(struct fs_model *m, uint64_t ino)
{
	node_of(m, ino)->holds++;
}

void fs_model_unhold(struct fs_model *m, uint64_t ino)
{
	struct node *n = node_of(m, ino);

	if (!--n->holds && !n->a.nlink)
		node_free(m, n);
}

bool fs_model_exists(const struct fs_model *m, uint64_t ino)
{
	return node_of(m, ino);
}

uint64_t fs_model_nodes(const struct fs_model *m)
{
	return HASH_COUNT(m->nodes);
}

/* In the order they were made; 0 at the end. */
uint64_t fs_model_next(const struct fs_model *m, uint64_t ino)
{
	struct node *n = ino ? node_of(m, ino) : NULL;

	n = ino ? n->hh.next : m->nodes;
	return n ? n->a.ino : 0;
}
