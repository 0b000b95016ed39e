#include "tests/sim/model.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

static void drop(struct model *m, uint32_t name)
{
	free(m->files[name].data);
	m->files[name] = (struct model_file){ 0 };
	m->used[name] = false;
}

void model_release(struct model *m)
{
	for (uint32_t i = 0; i < CHECK_NAMES; i++)
		drop(m, i);
}

static bool answered(const struct check_op *op)
{
	return op->answered != 0;
}

static const struct model_file *by_ino(const struct model *m, uint64_t ino)
{
	for (uint32_t i = 0; i < CHECK_NAMES; i++)
		if (m->used[i] && m->files[i].ino == ino)
			return &m->files[i];
	return NULL;
}

static bool put(struct model *m, const struct check_op *op)
{
	struct model_file *f = (struct model_file *)by_ino(m, op->ino);
	size_t off = f && op->kind == OP_APPEND ? f->len : 0;

	if (!f || (answered(op) && op->ret_off != off))
		return false;
	if (f->len < off + op->len) {
		f->data = realloc(f->data, off + op->len);
		assert(f->data);
		f->len = off + op->len;
	}
	for (uint32_t at = 0; at < op->len; at += 8)
		put_le64(f->data + off + at, op->value);
	return true;
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

bool model_apply(struct model *m, const struct check_op *op, uint64_t ino)
{
	switch (op->kind) {
	case OP_CREATE:
		if (m->used[op->name] || (answered(op) && op->ret_ino != ino))
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
		return put(m, op);
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
