/* Which tokens of other clients an operation takes away: found before it runs, by the names and inodes as they are. */
#include "cfsd/op_impl.h"

struct conflicts {
	struct op_env *env;
	struct op_conflict *list;
	size_t n;
};

static void add(struct conflicts *c, uint64_t ino, uint32_t tokens)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->list[i].ino == ino) {
			c->list[i].tokens |= tokens;
			return;
		}
	}
	c->list[c->n++] = (struct op_conflict){ .ino = ino, .tokens = tokens };
}

/* The inode under a name; 0 when there is none, or no way to tell: then the operation will fail. */
static uint64_t named(struct conflicts *c, uint64_t parent, const char *name)
{
	struct dentry de;

	if (dentry_check_name(name) < 0 || dentry_load(c->env->store, parent, name, &de) < 0)
		return 0;
	return de.ino;
}

static void add_parent(struct conflicts *c, uint64_t parent)
{
	add(c, parent, TOKEN_NAMES | TOKEN_ATTR);
}

static void of_create(struct conflicts *c, const struct msg_create_req *req)
{
	uint64_t ino = named(c, req->parent, req->entry);

	if (!ino)
		add_parent(c, req->parent);
	else if (req->flags & CREATE_TRUNC && !(req->flags & CREATE_EXCL))
		add(c, ino, TOKEN_ATTR | TOKEN_DATA);
}

static void of_remove(struct conflicts *c, uint64_t parent, const char *name)
{
	uint64_t ino = named(c, parent, name);

	if (!ino)
		return;
	add_parent(c, parent);
	add(c, ino, TOKEN_ATTR);
}

static void of_rename(struct conflicts *c, const struct msg_rename_req *req)
{
	uint64_t moved = named(c, req->parent, req->entry), present = named(c, req->new_parent, req->new_entry);

	if (!moved)
		return;
	add_parent(c, req->parent);
	add_parent(c, req->new_parent);
	add(c, moved, TOKEN_ATTR);
	if (present)
		add(c, present, TOKEN_ATTR);
}

size_t op_conflicts(struct op_env *env, enum msg_type type, const void *req, struct op_conflict ret[4])
{
	struct conflicts c = { .env = env, .list = ret };

	switch ((int)type) {
	case MSG_setattr: {
		const struct msg_setattr_req *q = req;

		add(&c, q->ino, TOKEN_ATTR | (q->valid & SETATTR_SIZE ? (uint32_t)TOKEN_DATA : 0));
		break;
	}
	case MSG_create:
		of_create(&c, req);
		break;
	case MSG_mknod:
		add_parent(&c, ((const struct msg_mknod_req *)req)->parent);
		break;
	case MSG_symlink:
		add_parent(&c, ((const struct msg_symlink_req *)req)->parent);
		break;
	case MSG_link:
		add_parent(&c, ((const struct msg_link_req *)req)->parent);
		add(&c, ((const struct msg_link_req *)req)->ino, TOKEN_ATTR);
		break;
	case MSG_unlink:
		of_remove(&c, ((const struct msg_unlink_req *)req)->parent, ((const struct msg_unlink_req *)req)->entry);
		break;
	case MSG_rmdir:
		of_remove(&c, ((const struct msg_rmdir_req *)req)->parent, ((const struct msg_rmdir_req *)req)->entry);
		break;
	case MSG_rename:
		of_rename(&c, req);
		break;
	case MSG_open:
		if (((const struct msg_open_req *)req)->flags & OPEN_TRUNC)
			add(&c, ((const struct msg_open_req *)req)->ino, TOKEN_ATTR | TOKEN_DATA);
		break;
	case MSG_write:
		add(&c, ((const struct msg_write_req *)req)->ino, TOKEN_ATTR | TOKEN_DATA);
		break;
	case MSG_fallocate:
		add(&c, ((const struct msg_fallocate_req *)req)->ino, TOKEN_ATTR | TOKEN_DATA);
		break;
	case MSG_setxattr:
		add(&c, ((const struct msg_setxattr_req *)req)->ino, TOKEN_ATTR);
		break;
	case MSG_removexattr:
		add(&c, ((const struct msg_removexattr_req *)req)->ino, TOKEN_ATTR);
		break;
	}
	return c.n;
}
