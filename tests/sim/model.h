/* The reference: one directory of small files, as plain as it can be. It follows operations, it does not decide. */
#ifndef CFS_TESTS_SIM_MODEL_H
#define CFS_TESTS_SIM_MODEL_H

#include "tests/sim/check.h"

struct model_file {
	uint64_t ino;
	uint8_t *data;
	size_t len;
	/* What a loss of power may leave of it: what was synced, or words written since. */
	uint8_t *synced;
	size_t synced_len;
	struct model_word {
		size_t off;
		uint64_t value;
	} *loose;
	size_t nr_loose;
};

struct model {
	struct model_file files[CHECK_NAMES]; /* by name; used says whether there is one */
	bool used[CHECK_NAMES];
};

void model_release(struct model *m);
/* A change that happened; INO: of the file it created. False when it could not have, or ANSWERED, had another answer. */
bool model_apply(struct model *m, const struct check_op *op, uint64_t ino, bool answered);
/* The file was synced, as it is. */
void model_synced(struct model *m, uint64_t ino);
/* A write that is lost may have left its word somewhere in the file. */
void model_stray(struct model *m, uint64_t ino, uint64_t value);
/* A loss of power left these bytes of the file. False when it could not. */
bool model_adopt(struct model *m, uint64_t ino, const uint8_t *data, size_t len);
size_t model_count(const struct model *m);
/* Would an operation that changes nothing get the answer it got? */
bool model_fits(const struct model *m, const struct check_op *op);

#endif
