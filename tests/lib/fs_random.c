#include "tests/lib/fs_random.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "wire/fileop.h"

/* splitmix64 */
static uint64_t next(struct fs_random *g)
{
	uint64_t z = g->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t fs_random_below(struct fs_random *g, uint64_t n)
{
	return next(g) % n;
}

static bool chance(struct fs_random *g, unsigned int percent)
{
	return fs_random_below(g, 100) < percent;
}

/* Mostly one of the last made, or the root. */
static uint64_t some_ino(struct fs_random *g)
{
	uint64_t last = g->last_ino ? g->last_ino : 1;

	if (chance(g, 20))
		return 1;
	if (chance(g, 80))
		return last > 40 ? last - fs_random_below(g, 40) : 1 + fs_random_below(g, last);
	return 1 + fs_random_below(g, last + 1);
}

static uint64_t some_dir(struct fs_random *g)
{
	uint64_t ino = chance(g, 10) ? some_ino(g) : g->dirs[fs_random_below(g, FS_RANDOM_DIRS)];

	return ino ? ino : 1;
}

static const char *some_name(struct fs_random *g, int which)
{
	if (chance(g, 1))
		return (const char *const[]){ "", ".", "..", "a/b" }[fs_random_below(g, 4)];
	snprintf(g->names[which], sizeof(g->names[which]), "%c", (char)('a' + fs_random_below(g, 12)));
	return g->names[which];
}

/* Names that are mostly those of directories, so that rmdir finds some. */
static const char *some_dir_name(struct fs_random *g)
{
	if (chance(g, 20))
		return some_name(g, 0);
	snprintf(g->names[0], sizeof(g->names[0]), "%c", (char)('A' + fs_random_below(g, 4)));
	return g->names[0];
}

static uint32_t some_bits(struct fs_random *g)
{
	return (uint32_t)fs_random_below(g, 010000);
}

static struct wire_cred some_cred(struct fs_random *g)
{
	return (struct wire_cred){ (uint32_t)fs_random_below(g, 3), (uint32_t)fs_random_below(g, 3) };
}

static uint32_t some_mknod_mode(struct fs_random *g)
{
	static const uint32_t types[] = { S_IFDIR, S_IFDIR, S_IFDIR, S_IFREG, S_IFIFO, S_IFCHR, S_IFSOCK, 0, S_IFLNK };

	return types[fs_random_below(g, 9)] | some_bits(g);
}

static void some_setattr(struct fs_random *g, struct msg_setattr_req *q)
{
	q->ino = some_ino(g);
	q->valid = chance(g, 50) ? (uint32_t)SETATTR_SIZE : (uint32_t)fs_random_below(g, 512);
	q->mode = some_bits(g);
	q->uid = (uint32_t)fs_random_below(g, 5);
	q->gid = (uint32_t)fs_random_below(g, 5);
	q->size = chance(g, 2) ? UINT64_MAX - 5 : fs_random_below(g, chance(g, 30) ? 3000 : chance(g, 15) ? 1 : 30000);
	q->atime = fs_random_below(g, 1000000);
	q->mtime = fs_random_below(g, 10000000000);
}

static void some_write(struct fs_random *g, struct msg_write_req *q)
{
	uint32_t len = (uint32_t)fs_random_below(g, chance(g, 50) ? 100 : FS_RANDOM_WRITE_MAX);

	memset(g->bytes, (int)next(g), len);
	q->ino = some_ino(g);
	q->off = fs_random_below(g, chance(g, 30) ? 3000 : 40000);
	q->flags = (uint32_t)fs_random_below(g, 4);
	q->data = (struct wire_blob){ g->bytes, len };
}

static void some_fallocate(struct fs_random *g, struct msg_fallocate_req *q)
{
	q->ino = some_ino(g);
	q->mode = (const uint32_t[]){ 0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE }[fs_random_below(g, 3)];
	q->off = fs_random_below(g, chance(g, 30) ? 3000 : 40000);
	q->len = fs_random_below(g, 20000);
}

static void some_rename(struct fs_random *g, struct msg_rename_req *q)
{
	q->parent = some_dir(g);
	q->entry = some_name(g, 0);
	q->new_parent = chance(g, 40) ? q->parent : some_dir(g);
	q->new_entry = some_name(g, 1);
	q->flags = chance(g, 60) ? 0 : (uint32_t)fs_random_below(g, 5);
}

static const char *some_xattr(struct fs_random *g)
{
	snprintf(g->target, sizeof(g->target), chance(g, 5) ? "system.%u" : "user.%u", (unsigned int)fs_random_below(g, 4));
	return g->target;
}

#define NEW(name, ...) (ret_req->name = (struct msg_##name##_req){ __VA_ARGS__ }, MSG_##name)
#define FILLED(name, fill) (ret_req->name = (struct msg_##name##_req){ 0 }, fill(g, &ret_req->name), MSG_##name)

static enum msg_type some_name_change(struct fs_random *g, union fs_request *ret_req)
{
	switch (fs_random_below(g, 19)) {
	case 0 ... 3:
		return NEW(create, .cred = some_cred(g), .parent = some_dir(g), .entry = some_name(g, 0), .mode = some_bits(g),
			   .flags = (uint32_t)fs_random_below(g, 4));
	case 4 ... 6:
		return NEW(mknod, .cred = some_cred(g), .parent = some_dir(g), .entry = some_dir_name(g),
			   .mode = some_mknod_mode(g), .rdev = next(g));
	case 7:
		return NEW(symlink, .cred = some_cred(g), .parent = some_dir(g), .entry = some_name(g, 0),
			   .target = chance(g, 5) ? "" : some_name(g, 1));
	case 8:
		return NEW(link, .ino = some_ino(g), .parent = some_dir(g), .entry = some_name(g, 0));
	case 9 ... 10:
		return NEW(unlink, .parent = some_dir(g), .entry = some_name(g, 0));
	case 11 ... 14:
		return NEW(rmdir, .parent = some_dir(g), .entry = some_dir_name(g));
	default:
		return FILLED(rename, some_rename);
	}
}

static enum msg_type some_file_change(struct fs_random *g, union fs_request *ret_req)
{
	switch (fs_random_below(g, 10)) {
	case 0 ... 3:
		return FILLED(write, some_write);
	case 4:
		return FILLED(fallocate, some_fallocate);
	case 5 ... 6:
		return FILLED(setattr, some_setattr);
	case 7:
		return NEW(open, .ino = some_ino(g), .flags = (uint32_t)fs_random_below(g, 8));
	case 8:
		return NEW(setxattr, .ino = some_ino(g), .attr_name = some_xattr(g), .flags = (uint32_t)fs_random_below(g, 4),
			   .value = { g->bytes, (uint32_t)fs_random_below(g, 200) });
	default:
		return NEW(removexattr, .ino = some_ino(g), .attr_name = some_xattr(g));
	}
}

static enum msg_type some_question(struct fs_random *g, union fs_request *ret_req)
{
	switch (fs_random_below(g, 7)) {
	case 0:
		return NEW(lookup, .parent = some_dir(g), .entry = some_name(g, 0));
	case 1:
		return NEW(getattr, .ino = some_ino(g));
	case 2:
		return NEW(read, .ino = some_ino(g), .off = fs_random_below(g, 30000), .len = (uint32_t)fs_random_below(g, 30000));
	case 3:
		return NEW(readdir, .ino = some_dir(g), .after = chance(g, 50) ? "" : some_name(g, 0),
			   .max_bytes = (uint32_t)fs_random_below(g, 2000));
	case 4:
		return NEW(readlink, .ino = some_ino(g));
	case 5:
		return NEW(getxattr, .ino = some_ino(g), .attr_name = some_xattr(g));
	default:
		return NEW(listxattr, .ino = some_ino(g));
	}
}

enum msg_type fs_random_request(struct fs_random *g, union fs_request *ret_req)
{
	uint64_t kind = fs_random_below(g, 100);

	if (kind < 45)
		return some_name_change(g, ret_req);
	return kind < 75 ? some_file_change(g, ret_req) : some_question(g, ret_req);
}

void fs_random_note(struct fs_random *g, enum msg_type type, int status, const union fs_reply *rep)
{
	uint64_t ino = 0;

	if (status < 0)
		return;
	if (type == MSG_create)
		ino = rep->create.attr.ino;
	if (type == MSG_symlink)
		ino = rep->symlink.attr.ino;
	if (type == MSG_mknod) {
		ino = rep->mknod.attr.ino;
		if (S_ISDIR(rep->mknod.attr.mode))
			g->dirs[g->nr_dirs++ % FS_RANDOM_DIRS] = ino;
	}
	if (ino > g->last_ino)
		g->last_ino = ino;
}
