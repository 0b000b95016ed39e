#include "tests/sim/model.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

#define ANYWHERE SIZE_MAX

static void drop(struct model *m, uint32_t name)
{
	free(m->files[name].data);
	free(m->files[name].synced);
	free(m->files[name].loose);
	m->files[name] = (struct model_file){ 0 };
	m->used[name] = false;
}

void model_release(struct model *m)
{
	for (uint32_t i = 0; i < CHECK_NAMES; i++)
		drop(m, i);
}

static const struct model_file *by_ino(const struct model *m, uint64_t ino)
{
	for (uint32_t i = 0; i < CHECK_NAMES; i++)
		if (m->used[i] && m->files[i].ino == ino)
			return &m->files[i];
	return NULL;
}

static void add_loose(struct model_file *f, size_t off, uint64_t value)
{
	f->loose = realloc(f->loose, (f->nr_loose + 1) * sizeof(*f->loose));
	assert(f->loose);
	f->loose[f->nr_loose++] = (struct model_word){ off, value };
}

static bool put(struct model *m, const struct check_op *op, bool answered)
{
	struct model_file *f = (struct model_file *)by_ino(m, op->ino);
	size_t off = f && op->kind == OP_APPEND ? f->len : 0;

	if (!f || (answered && op->ret_off != off))
		return false;
	if (f->len < off + op->len) {
		f->data = realloc(f->data, off + op->len);
		assert(f->data);
		f->len = off + op->len;
	}
	for (uint32_t at = 0; at < op->len; at += 8) {
		put_le64(f->data + off + at, op->value);
		add_loose(f, off + at, op->value);
	}
	return true;
}

void model_stray(struct model *m, uint64_t ino, uint64_t value)
{
	struct model_file *f = (struct model_file *)by_ino(m, ino);

	if (f)
		add_loose(f, ANYWHERE, value);
}

static void settle(struct model_file *f)
{
	free(f->synced);
	free(f->loose);
	f->synced = malloc(f->len + 1);
	assert(f->synced);
	if (f->len)
		memcpy(f->synced, f->data, f->len);
	f->synced_len = f->len;
	f->loose = NULL;
	f->nr_loose = 0;
}

void model_synced(struct model *m, uint64_t ino)
{
	struct model_file *f = (struct model_file *)by_ino(m, ino);

	if (f)
		settle(f);
}

static bool may_be_left(const struct model_file *f, size_t off, uint64_t value)
{
	if (value == (off < f->synced_len ? get_le64(f->synced + off) : 0))
		return true;
	for (size_t i = 0; i < f->nr_loose; i++)
		if ((f->loose[i].off == off || f->loose[i].off == ANYWHERE) && f->loose[i].value == value)
			return true;
	return false;
}

bool model_adopt(struct model *m, uint64_t ino, const uint8_t *data, size_t len)
{
	struct model_file *f = (struct model_file *)by_ino(m, ino);

	if (!f || f->len != len)
		return false;
	for (size_t off = 0; off < len; off += 8)
		if (!may_be_left(f, off, get_le64(data + off)))
			return false;
	if (len)
		memcpy(f->data, data, len);
	settle(f);
	return true;
}

size_t model_count(const struct model *m)
{
	size_t n = 0;

	for (uint32_t i = 0; i < CHECK_NAMES; i++)
		n += m->used[i];
	return n;
}

static bool rename_file(struct model *m, const struct check_op *op)
{
	if (!m->used[op->name])
		return false;
	drop(m, op->to);
	m->files[op->to] = m->files[op->name];
	m->used[op->to] = true;
	m->files[op->name] = (struct model_file){ 0 };
	m->used[op->name] = false;
	return true;
}

bool model_apply(struct model *m, const struct check_op *op, uint64_t ino, bool answered)
{
	switch (op->kind) {
	case OP_CREATE:
		if (m->used[op->name] || (answered && op->ret_ino != ino))
			return false;
		m->used[op->name] = true;
		m->files[op->name].ino = ino;
		return true;
	case OP_UNLINK:
		if (!m->used[op->name])
			return false;
		drop(m, op->name);
		return true;
	case OP_RENAME:
		return rename_file(m, op);
	case OP_APPEND:
	case OP_WRITE:
		return put(m, op, answered);
	default:
		return false;
	}
}

static bool read_fits(const struct model *m, const struct check_op *op)
{
	const struct model_file *f = by_ino(m, op->ino);

	if (op->status)
		return !f;
	return f && f->len == op->ret_len && (!f->len || !memcmp(f->data, op->ret_data, f->len));
}

bool model_fits(const struct model *m, const struct check_op *op)
{
	switch (op->kind) {
	case OP_LOOKUP:
		if (op->status == -ENOENT || !op->ret_ino)
			return !m->used[op->name];
		return !op->status && m->used[op->name] && m->files[op->name].ino == op->ret_ino;
	case OP_READ:
		return read_fits(m, op);
	case OP_FSYNC:
		return op->status == -EIO || !op->status == (by_ino(m, op->ino) != NULL);
	case OP_CREATE:
		return op->status == -EEXIST && m->used[op->name];
	case OP_UNLINK:
	case OP_RENAME:
		return op->status == -ENOENT && !m->used[op->name];
	case OP_APPEND:
	case OP_WRITE:
		return (op->status == -ENOENT || op->status == -ESTALE) && !by_ino(m, op->ino);
	default:
		return false;
	}
}
