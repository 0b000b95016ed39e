/* Random file operations that meet often: few names, small files, inodes that are there or were. Same seed, same requests. */
#ifndef CFS_TESTS_LIB_FS_RANDOM_H
#define CFS_TESTS_LIB_FS_RANDOM_H

#include <stdint.h>

#include "wire/message.h"

#define FS_RANDOM_WRITE_MAX 9000
#define FS_RANDOM_DIRS 8

struct fs_random {
	uint64_t state;	   /* the seed */
	uint64_t last_ino; /* the highest inode number there was */
	uint64_t dirs[FS_RANDOM_DIRS], nr_dirs; /* some directories made; 0: not yet */
	char names[2][8], target[16];
	uint8_t bytes[FS_RANDOM_WRITE_MAX];
};

/* Room for any request of cfsd/ops.def, and for any reply. */
union fs_request {
	struct wire_ophdr h; /* the first field of all of them */
#define OP(name, change) struct msg_##name##_req name;
#include "cfsd/ops.def"
#undef OP
};
union fs_reply {
#define OP(name, change) struct msg_##name##_rep name;
#include "cfsd/ops.def"
#undef OP
};

/* 0 <= result < n */
uint64_t fs_random_below(struct fs_random *g, uint64_t n);
/* The next request, without header; it points into G. */
enum msg_type fs_random_request(struct fs_random *g, union fs_request *ret_req);
/* What came of it, so that the next ones meet it. */
void fs_random_note(struct fs_random *g, enum msg_type type, int status, const union fs_reply *rep);

#endif
