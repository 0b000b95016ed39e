/* From a message to its operation; the table is ops.def. */
#include "cfsd/op.h"

#include "cfsd/op_impl.h"

int op_execute(struct op_env *env, enum msg_type type, const void *req, void *rep, struct txn *txn)
{
	int r = -ENOSYS;

	switch ((int)type) {
#define OP(name, change)                            \
	case MSG_##name:                            \
		r = op_##name(env, req, rep, txn); \
		break;
#include "cfsd/ops.def"
#undef OP
	}
	if (!r)
		r = txn_error(txn);
	if (r < 0)
		txn_clear(txn);
	return r;
}

bool op_is_change(enum msg_type type, const void *req)
{
	const struct msg_open_req *open = req;

	if (type == MSG_open)
		return open->flags & OPEN_TRUNC;
	switch ((int)type) {
#define OP(name, change)   \
	case MSG_##name:   \
		return change;
#include "cfsd/ops.def"
#undef OP
	}
	return false;
}
