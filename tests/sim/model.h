/* The reference: one directory of small files, as plain as it can be. It follows operations, it does not decide. */
#ifndef CFS_TESTS_SIM_MODEL_H
#define CFS_TESTS_SIM_MODEL_H

#include "tests/sim/check.h"

struct model_file {
	uint64_t ino;
	uint8_t *data;
	size_t len;
};

struct model {
	struct model_file files[CHECK_NAMES]; /* by name; used says whether there is one */
	bool used[CHECK_NAMES];
};

void model_release(struct model *m);
/* A change that happened; INO: of the file it created. False when it could not have, or had another answer. */
bool model_apply(struct model *m, const struct check_op *op, uint64_t ino);
/* Would an operation that changes nothing get the answer it got? */
bool model_fits(const struct model *m, const struct check_op *op);

#endif
